"""`edgesr verify`, run as users run it: numbers for a file that differs, one line for the rest."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from helpers.commands import Ran, files_in, no_network, run_alone, run_here
from helpers.small_net import SmallNet

pytestmark = pytest.mark.usefixtures("one_torch_thread")


def _third_party(net: SmallNet) -> bytes:
    return net.tflite(32, 24, facts=False)


Verify = Callable[..., Ran]


@pytest.fixture
def verify(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Verify:
    """Runs the command in this process, in a folder with a real file that edgesr did not make."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("EDGESR_SHARED", raising=False)
    (tmp_path / "foreign.tflite").write_bytes(_third_party(SmallNet()))

    def run(*words: object) -> Ran:
        return run_here(monkeypatch, capsys, "verify", *words)

    return run


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "FILE"),
        (["foreign.tflite"], "--model NAME"),
        (["foreign.tflite", "--model", "rtc", "--threads", "0"], "--threads"),
        (["foreign.tflite", "--checkpoint", "a", "--weights", "bundled"], "leave out --weights"),
    ],
    ids=["nothing", "a file that does not say what it is", "no threads", "two answers"],
)
def test_wrong_usage_has_status_2(verify: Verify, words: list[str], message: str) -> None:
    verify(*words).is_wrong_usage(message)


def _of_another_schema() -> bytes:
    """A file whose facts have a precision that this edgesr does not know."""
    content = SmallNet().tflite(32, 24)
    known, newer = b'"precision": "fp32"', b'"precision": "fp64"'
    assert content.count(known) == 1
    return content.replace(known, newer)


_FILES: dict[str, tuple[Callable[[], bytes] | None, str]] = {
    "missing": (None, "bad.tflite"),
    "empty": (lambda: b"", "bad.tflite"),
    "text": (lambda: b"hello, world\n", "bad.tflite"),
    "random": (lambda: np.random.RandomState(0).bytes(5000), "bad.tflite"),
    "truncated": (lambda: _third_party(SmallNet())[:3000], "bad.tflite"),
    "other scale": (lambda: _third_party(SmallNet(4)), "upscales by 4, imdn-rtc by 2"),
    "facts of another schema": (lambda: _of_another_schema(), "EDGESR_FACTS are damaged"),
}


@pytest.mark.parametrize("case", list(_FILES))
def test_an_unfit_file_ends_in_one_line(
    verify: Verify, checkpoint: Path, tmp_path: Path, case: str
) -> None:
    make, message = _FILES[case]
    if make:
        (tmp_path / "bad.tflite").write_bytes(make())
    before = files_in(tmp_path)
    verify("bad.tflite", "--checkpoint", checkpoint).fails_alone("bad.tflite", message)
    assert files_in(tmp_path) == before


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--model", "rtcc"], "did you mean rtc?"),
        (["--checkpoint", "missing.pth"], "cannot read missing.pth"),
        (["--checkpoint", "foreign.tflite"], "no PyTorch or safetensors file"),
    ],
    ids=["unknown network", "checkpoint missing", "checkpoint of another kind"],
)
def test_an_unfit_network_ends_in_one_line(verify: Verify, words: list[str], message: str) -> None:
    verify("foreign.tflite", *words).fails_alone(message)


def test_a_missing_folder_of_images_ends_in_one_line(verify: Verify, checkpoint: Path) -> None:
    words = ("--checkpoint", checkpoint, "--images", "photos")
    verify("foreign.tflite", *words).fails_alone("photos is not a folder")


def test_a_file_that_differs_fails_with_a_table(verify: Verify, checkpoint: Path) -> None:
    ran = verify("foreign.tflite", "--checkpoint", checkpoint)
    ran.fails("foreign.tflite", "allowed 0.0001")
    assert "max abs <= 0.0001, finite: FAILED" in ran.out
    assert "all together" in ran.out


def test_a_file_that_differs_fails_with_json(verify: Verify, checkpoint: Path) -> None:
    ran = verify("foreign.tflite", "--checkpoint", checkpoint, "--json")
    ran.fails_alone_on_stderr("foreign.tflite")
    (backend,) = json.loads(ran.out)
    assert backend["failures"]
    assert max(row["max_abs"] for row in backend["inputs"]) > 1e-2


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize(
    ("detail", "finite"), [(1e36, True), (float("nan"), False)], ids=["1e36", "NaN"]
)
def test_outputs_beyond_all_measure_are_strict_json_without_a_warning(
    verify: Verify, checkpoint: Path, tmp_path: Path, detail: float, finite: bool
) -> None:
    (tmp_path / "wild.tflite").write_bytes(_third_party(SmallNet(radius=1, detail=detail)))
    ran = verify("wild.tflite", "--checkpoint", checkpoint, "--json")
    ran.fails_alone_on_stderr("wild.tflite", "max abs" if finite else "NaN or infinity")

    def refuse(constant: str) -> None:
        pytest.fail(f"{constant} is no JSON")

    (backend,) = json.loads(ran.out, parse_constant=refuse)
    assert [row["finite"] for row in backend["inputs"]] == [finite] * len(backend["inputs"])
    largest = [row["max_abs"] for row in backend["inputs"]]
    assert max(largest) > 1e35 if finite else set(largest) == {None}, largest


def test_outputs_beyond_all_measure_are_shown_in_a_table(
    verify: Verify, checkpoint: Path, tmp_path: Path
) -> None:
    (tmp_path / "wild.tflite").write_bytes(_third_party(SmallNet(radius=1, detail=1e36)))
    ran = verify("wild.tflite", "--checkpoint", checkpoint)
    ran.fails_alone_on_stderr("wild.tflite", "max abs")
    assert "…" not in ran.out, "cells are cut off"


@pytest.mark.slow
def test_the_vendors_own_file_is_shown_to_differ(shared: Path) -> None:
    """It holds other weights than the checkpoint that was published beside it."""
    file = shared / "reference" / "imdn_rtc_time.tflite"
    with no_network(EDGESR_SHARED=shared) as env:
        ran = run_alone("verify", file, "--model", "rtc", "--weights", "published", env=env)
    ran.fails("imdn_rtc_time.tflite")
    assert "FAILED" in ran.out
    assert "all together" in ran.out
