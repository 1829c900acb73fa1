"""Good commands in a bad environment: the terminal's width, the folder, limits, signals."""

from random import Random
from signal import SIGINT, SIGTERM

from fuzz.case import Case
from fuzz.kinds.images import good_image, network
from helpers.small_net import SmallNet

_WIDTHS = ("0", "1", "20", "-5", "99999", "x", "")


def make(rng: Random) -> Case:
    """A command that succeeds where nothing is wrong."""
    files = {"in.png": good_image(), "net.tflite": network(), "b.png": good_image()}
    words = rng.choice(
        [
            ["upscale", "in.png", "-m", "net.tflite", "-o", "out.png"],
            ["metrics", "in.png", "b.png"],
            ["inspect", "net.tflite"],
            ["models"],
            ["upscale", "--help"],
        ]
    )
    match rng.randrange(7):
        case 0:
            return Case(words, files, environment={"COLUMNS": rng.choice(_WIDTHS)})
        case 1:
            absolute = [w if "." not in w else f"/proc/self/cwd/{w}" for w in words]
            return Case(rng.choice((words, absolute)), {}, no_folder=True, fresh=rng.random() < 0.3)
        case 2:
            return Case(words, files, open_files=rng.choice((3, 4, 5, 8, 16, 32)))
        case 3:
            sent = rng.choice((SIGINT, SIGTERM)), rng.choice((0.0, 0.03, 0.1, 0.2, 0.5))
            # The signal may come when the result is there, whole, and the command about to end.
            return Case(words, files, fresh=True, signal=sent, may_write=True)
        case 4:
            files["net.tflite"] = SmallNet(radius=6).tflite(64, 64)
            delay_s = rng.random() / 2
            return Case(
                words, files, signal=(rng.choice((SIGINT, SIGTERM)), delay_s), may_write=True
            )
        case 5:
            variables = {"LC_ALL": "C", "PYTHONIOENCODING": "ascii", "PYTHONUTF8": "0"}
            return Case(words, files, environment=variables, fresh=True)
        case _:
            missing = rng.choice((None, "", "/nowhere", "/dev/null"))
            name = rng.choice(("TMPDIR", "HOME", "XDG_CACHE_HOME", "PATH", "EDGESR_SHARED", "TERM"))
            return Case(words, files, environment={name: missing})
