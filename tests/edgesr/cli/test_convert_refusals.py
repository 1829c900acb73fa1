"""`edgesr convert`: what is refused, in one line each, and that nothing is left."""

import io
import os
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest
import torch

from edgesr.networks.architectures.imdn_rtc import IMDNRTC
from edgesr.networks.spec import find_spec
from helpers.bundles import replace_bundle
from helpers.commands import Command, files_in, no_network, processor_s, run_alone

pytestmark = pytest.mark.usefixtures("one_torch_thread")

_SMALL = ("--size", "32x24")


def _state() -> dict[str, torch.Tensor]:
    torch.manual_seed(0)
    return IMDNRTC().state_dict()


def _saved(value: object) -> bytes:
    file = io.BytesIO()
    torch.save(value, file)
    return file.getvalue()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "--model NAME"),
        (["--fp16", "--fp32", "--model", "rtc", "-o", "a.tflite"], "allowed a folder: a.tflite/"),
        (["--model", "rtc", "--threads", "0"], "--threads"),
        (["--model", "rtc", "--int4"], "--int8"),
        (["--checkpoint", "a.pth", "--weights", "bundled"], "leave out --weights"),
        (["--model", "rtc", "--weights", "mine"], "'bundled', 'published'"),
    ],
    ids=[
        "no network",
        "two precisions into one file",
        "no threads",
        "unknown option",
        "two answers to whose weights",
        "unknown weights",
    ],
)
def test_wrong_usage_has_status_2(
    convert: Command, here: Path, words: list[str], message: str
) -> None:
    convert(*words).is_wrong_usage(message)
    assert files_in(here) == []


def test_an_unknown_network_is_answered_with_the_known_ones(convert: Command, here: Path) -> None:
    convert("--model", "rtcc").fails_alone("'rtcc'", "imdn-rtc", "fmen-s", "did you mean rtc?")
    assert files_in(here) == []


class _Malicious:
    """Unpickled without care, it makes a file."""

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.mkdir, ("owned",)


def _with_nan() -> bytes:
    state = _state()
    next(iter(state.values())).view(-1)[3] = float("nan")
    return _saved(state)


_CHECKPOINTS: dict[str, tuple[Callable[[], bytes] | None, str]] = {
    "missing": (None, "No such file or directory"),
    "empty": (lambda: b"", "has 0 bytes"),
    "truncated": (lambda: _saved(_state())[:40_000], "truncated or damaged"),
    "text": (lambda: b"hello, world\n", "no PyTorch or safetensors file"),
    "malicious": (lambda: _saved({"a.weight": _Malicious()}), "holds more than tensors"),
    "NaN": (_with_nan, "holds 1 NaN and 0 infinite"),
    "another network": (lambda: _saved({"a.weight": torch.ones(3, 3)}), "--onnx FILE"),
}


@pytest.mark.parametrize("case", list(_CHECKPOINTS))
def test_an_unfit_checkpoint_ends_in_one_line(convert: Command, here: Path, case: str) -> None:
    make, message = _CHECKPOINTS[case]
    if make:
        (here / "bad.pth").write_bytes(make())
    convert("--checkpoint", "bad.pth", *_SMALL).fails_alone("bad.pth", message)
    assert sorted(os.listdir(here)) == (["bad.pth"] if make else [])


def test_a_checkpoint_of_another_network_than_asked_for_is_refused(
    convert: Command, here: Path, checkpoint: Path
) -> None:
    ran = convert("--model", "fmen-s", "--checkpoint", checkpoint, *_SMALL)
    ran.fails_alone(str(checkpoint), "fmen-s", "imdn-rtc")
    assert files_in(here) == []


def test_one_huge_weight_is_refused_and_the_file_is_named(
    convert: Command, here: Path, state: dict[str, torch.Tensor]
) -> None:
    state["model.0.weight"].view(-1)[0] = 3e38
    torch.save(state, "huge.pth")
    ran = convert("--checkpoint", "huge.pth", *_SMALL)
    ran.fails("huge.pth", "imdn-rtc x2", "weights are damaged")
    assert files_in(here) == ["huge.pth"]


@pytest.mark.parametrize(
    ("size", "words"),
    [
        ("0x480", ["height 0", "16 to 16384"]),
        ("-5x10", ["height -5", "16 to 16384"]),
        ("480x0", ["width 0", "16 to 16384"]),
        ("720", ["'720'", "HEIGHTxWIDTH"]),
        ("99999x99999", ["height 99999", "16 to 16384"]),
    ],
    ids=["no rows", "negative", "no columns", "one number", "huge"],
)
def test_an_impossible_size_is_refused(
    convert: Command, here: Path, checkpoint: Path, size: str, words: list[str]
) -> None:
    convert("--checkpoint", checkpoint, f"--size={size}").fails_alone(*words)
    assert files_in(here) == []


def test_a_size_beyond_the_memory_is_refused_before_any_work(
    convert: Command, here: Path, checkpoint: Path
) -> None:
    if psutil.virtual_memory().available > 150 * 2**30:
        pytest.skip("this machine has memory for the largest size, or nearly")
    start_s = time.process_time() + processor_s()
    ran = convert("--checkpoint", checkpoint, "--size", "16384x16384")
    ran.fails_alone("16384x16384 needs about", "GiB are free", "smaller --size")
    assert time.process_time() + processor_s() - start_s < 30
    assert files_in(here) == []


@pytest.mark.parametrize("existing", ["a.tflite", "a.json"])
def test_an_output_that_exists_is_left_as_it_is(
    convert: Command, here: Path, checkpoint: Path, existing: str
) -> None:
    (here / existing).write_text("precious")
    convert("--checkpoint", checkpoint, *_SMALL, "-o", "a.tflite").fails_alone(
        f"{existing} exists", "--force"
    )
    assert files_in(here) == [existing]
    assert (here / existing).read_text() == "precious"


def test_an_output_of_the_standard_name_is_left_as_it_is_too(
    convert: Command, here: Path, checkpoint: Path
) -> None:
    name = "imdn-rtc_x2_32x24_fp32.tflite"
    (here / name).write_text("precious")
    convert("--checkpoint", checkpoint, *_SMALL, "--fp16", "--fp32").fails_alone(f"{name} exists")
    assert files_in(here) == [name]
    assert (here / name).read_text() == "precious"


@pytest.mark.parametrize(
    ("output", "words"),
    [
        ("missing/a.tflite", ["output folder missing does not exist"]),
        ("a/b/", ["output folder a/b: a does not exist"]),
        ("a.onnx", ["a.onnx", "a name ending in .tflite"]),
        ("a", ["allowed a folder (a new one with a slash: a/) or a name ending in .tflite"]),
        ("plain/a.tflite", ["plain"]),
        ("/sys/kernel/a.tflite", ["cannot write /sys/kernel/a.tflite: Permission denied"]),
    ],
    ids=["folder missing", "no folder", "other suffix", "no suffix", "below a file", "read-only"],
)
def test_an_output_that_cannot_be_is_refused(
    convert: Command, here: Path, checkpoint: Path, output: str, words: list[str]
) -> None:
    """/sys takes files from nobody, not even root."""
    if output.startswith("/sys") and not Path("/sys/kernel").is_dir():
        pytest.skip("needs Linux's /sys")
    (here / "plain").write_text("precious")
    convert("--checkpoint", checkpoint, *_SMALL, "-o", output).fails_alone(*words)
    assert files_in(here) == ["plain"]


@pytest.mark.parametrize("kind", ["missing", "empty", "no image"])
def test_an_unfit_folder_of_images_ends_in_one_line(
    convert: Command, here: Path, checkpoint: Path, kind: str
) -> None:
    if kind != "missing":
        (here / "photos").mkdir()
    if kind == "no image":
        (here / "photos" / "a.png").write_text("hello")
    before = files_in(here)
    ran = convert("--checkpoint", checkpoint, *_SMALL, "--images", "photos")
    ran.fails_alone("photos", {"missing": "not a folder", "empty": "no image"}.get(kind, "a.png"))
    assert files_in(here) == before


def test_bundled_weights_that_are_not_there_are_one_line(
    convert: Command, here: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    replace_bundle(monkeypatch, tmp_path / "bundle")
    ran = convert("--model", "rtc", "--weights", "bundled", *_SMALL)
    ran.fails_alone("imdn-rtc has no bundled weights", "--weights published", "--checkpoint FILE")
    assert files_in(here) == []


def test_without_network_and_cache_the_address_is_named(here: Path, tmp_path: Path) -> None:
    published = find_spec("rtc").published
    assert published is not None
    with no_network(EDGESR_CACHE=tmp_path / "cache") as env:
        words = ("--model", "rtc", "--weights", "published")
        ran = run_alone("convert", *words, *_SMALL, env=env, cwd=here)
    ran.fails_alone(published.url, "Connection refused", "--checkpoint FILE")
    assert files_in(here) == []
    assert [n for n in files_in(tmp_path / "cache") if not n.endswith(".lock")] == []
