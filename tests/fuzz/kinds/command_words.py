"""Odd words on the command line: long names, numbers out of range, control characters, options."""

from random import Random

from fuzz.case import NASTY_TEXT, ODD_FLOATS, ODD_NUMBERS, Case
from fuzz.kinds.images import good_image, network

_COMMANDS = "convert eval fold info inspect metrics models upscale verify"
_SUFFIXES = (".png", ".jpg", ".tflite", ".pth", ".onnx", ".json", "", ".PNG", ".v2/")
_UPSCALE_NUMBERS = ("--threads", "--overlap", "--quality", "--max-pixels", "--factor")


def make(rng: Random) -> Case:
    """A command with one or two odd words."""
    files = {"in.png": good_image(), "net.tflite": network()}
    if rng.random() < 0.6:
        words = ["upscale", "in.png", "-m", "net.tflite", "-o", "out.png"]
        for _ in range(rng.choice((1, 1, 2))):
            words = _oddly(words, rng)
    else:
        words = [rng.choice(_COMMANDS.split()), *(_word(rng) for _ in range(rng.randrange(3)))]
    words = [word.replace("\0", "0") for word in words]  # no process takes NUL
    words = [word.replace("\ud800", "\udcd8") for word in words]  # nor what no byte stands for
    several = words[0] == "upscale"  # of several images one may fail and the others be written
    return Case(words, files, may_write=several)


def _oddly(words: list[str], rng: Random) -> list[str]:
    """The same command with another word, or an option more."""
    match rng.randrange(5):
        case 0:
            return [*words, rng.choice(_UPSCALE_NUMBERS), _number(rng)]
        case 1:
            size = f"{_number(rng)}x{_number(rng)}"
            return [*words, "--to", rng.choice((size, "x", "720", _word(rng)))]
        case 2:
            return [*words[:-1], _name(rng)]
        case 3:
            return [words[0], _word(rng), *words[2:]]
        case _:
            place = rng.randrange(1, len(words))
            return [*words[:place], _word(rng), *words[place:]]


def _number(rng: Random) -> str:
    return str(rng.choice((*ODD_NUMBERS, *ODD_FLOATS, "1e5", "0x10", "１２", "", "1_000", "+3")))


def _name(rng: Random) -> str:
    """An output's name: as long as names may be and longer, in no folder, without a suffix."""
    length = rng.choice((1, 200, 241, 246, 250, 255, 256, 5000))
    suffix = rng.choice(_SUFFIXES)
    return rng.choice(
        (
            "o" * max(1, length - len(suffix)) + suffix,
            "missing/out.png",
            "in.png/out.png",
            f"-dash{suffix}",
            "é" * 120 + suffix,
            "out" + rng.choice(NASTY_TEXT).replace("/", "") + ".png",
            *("in.png", "net.tflite", ".", "..", "/", "", "out.v2/", "plain"),
        )
    )


def _word(rng: Random) -> str:
    option = rng.choice(("--json", "--force", "--nothing", "-x", "--", "-", "--help", "--fp32"))
    return rng.choice((option, _name(rng), rng.choice(NASTY_TEXT), _number(rng), "\udcff\udc80"))
