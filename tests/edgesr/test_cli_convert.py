"""`edgesr convert`, run as users run it: a proven file, or one line and nothing left behind."""

import io
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import psutil
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image

from converters.manifest import Manifest, read_manifest
from converters.verify import torch_reference
from edgesr import bundled
from edgesr.archs.imdn_rtc import IMDNRTC
from edgesr.checkpoints import load, weights_sha256
from edgesr.cli.convert import say_folded
from edgesr.metrics import psnr_y
from edgesr.registry import build, find_spec
from helpers.bundles import LICENCE, replace_bundle
from helpers.commands import (
    HEED_CTRL_C,
    RUN,
    Ran,
    files_in,
    no_network,
    run_alone,
    run_here,
    run_on_small_disk,
)

pytestmark = pytest.mark.usefixtures("one_torch_thread")

_CHILD = "converters._onnx2tf_child"
_SMALL = ("--size", "32x24")


def _state() -> dict[str, torch.Tensor]:
    torch.manual_seed(0)
    return IMDNRTC().state_dict()


def _saved(value: object) -> bytes:
    file = io.BytesIO()
    torch.save(value, file)
    return file.getvalue()


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder, the current one."""
    made = tmp_path / "here"
    made.mkdir()
    monkeypatch.chdir(made)
    monkeypatch.delenv("EDGESR_SHARED", raising=False)
    return made


Convert = Callable[..., Ran]


@pytest.fixture
def convert(
    here: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Convert:
    """Runs the command in this process, in the empty folder."""

    def run(*words: object) -> Ran:
        return run_here(monkeypatch, capsys, "convert", *words)

    return run


# What is refused -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "--model NAME"),
        (["--fp16", "--fp32", "--model", "rtc", "-o", "a.tflite"], "allowed a folder that exists"),
        (["--model", "rtc", "--threads", "0"], "--threads"),
        (["--model", "rtc", "--int8"], "--int8"),
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
    convert: Convert, here: Path, words: list[str], message: str
) -> None:
    convert(*words).is_wrong_usage(message)
    assert files_in(here) == []


def test_an_unknown_network_is_answered_with_the_known_ones(convert: Convert, here: Path) -> None:
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
    "another network": (lambda: _saved({"a.weight": torch.ones(3, 3)}), "a.weight"),
}


@pytest.mark.parametrize("case", list(_CHECKPOINTS))
def test_an_unfit_checkpoint_ends_in_one_line(convert: Convert, here: Path, case: str) -> None:
    make, message = _CHECKPOINTS[case]
    if make:
        (here / "bad.pth").write_bytes(make())
    convert("--checkpoint", "bad.pth", *_SMALL).fails_alone("bad.pth", message)
    assert sorted(os.listdir(here)) == (["bad.pth"] if make else [])


def test_a_checkpoint_of_another_network_than_asked_for_is_refused(
    convert: Convert, here: Path, checkpoint: Path
) -> None:
    ran = convert("--model", "fmen-s", "--checkpoint", checkpoint, *_SMALL)
    ran.fails_alone(str(checkpoint), "fmen-s", "imdn-rtc")
    assert files_in(here) == []


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
    convert: Convert, here: Path, checkpoint: Path, size: str, words: list[str]
) -> None:
    convert("--checkpoint", checkpoint, f"--size={size}").fails_alone(*words)
    assert files_in(here) == []


def test_a_size_beyond_the_memory_is_refused_before_any_work(
    convert: Convert, here: Path, checkpoint: Path
) -> None:
    if psutil.virtual_memory().available > 150 * 2**30:
        pytest.skip("this machine has memory for the largest size, or nearly")
    start = time.monotonic()
    ran = convert("--checkpoint", checkpoint, "--size", "16384x16384")
    ran.fails_alone("16384x16384 needs about", "GiB are free", "smaller --size")
    assert time.monotonic() - start < 30
    assert files_in(here) == []


@pytest.mark.parametrize("existing", ["a.tflite", "a.json"])
def test_an_output_that_exists_is_left_as_it_is(
    convert: Convert, here: Path, checkpoint: Path, existing: str
) -> None:
    (here / existing).write_text("precious")
    convert("--checkpoint", checkpoint, *_SMALL, "-o", "a.tflite").fails_alone(
        f"{existing} exists", "--force"
    )
    assert files_in(here) == [existing]
    assert (here / existing).read_text() == "precious"


def test_an_output_of_the_standard_name_is_left_as_it_is_too(
    convert: Convert, here: Path, checkpoint: Path
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
        ("missing/", ["allowed a folder that exists or a name ending in .tflite"]),
        ("a.onnx", ["a.onnx", "a name ending in .tflite"]),
        ("a", ["allowed a folder that exists or a name ending in .tflite"]),
        ("plain/a.tflite", ["plain"]),
        ("/sys/kernel/a.tflite", ["cannot write /sys/kernel/a.tflite: Permission denied"]),
    ],
    ids=["folder missing", "no folder", "other suffix", "no suffix", "below a file", "read-only"],
)
def test_an_output_that_cannot_be_is_refused(
    convert: Convert, here: Path, checkpoint: Path, output: str, words: list[str]
) -> None:
    """/sys takes files from nobody, not even root."""
    if output.startswith("/sys") and not Path("/sys/kernel").is_dir():
        pytest.skip("needs Linux's /sys")
    (here / "plain").write_text("precious")
    convert("--checkpoint", checkpoint, *_SMALL, "-o", output).fails_alone(*words)
    assert files_in(here) == ["plain"]


@pytest.mark.parametrize("kind", ["missing", "empty", "no picture"])
def test_an_unfit_folder_of_pictures_ends_in_one_line(
    convert: Convert, here: Path, checkpoint: Path, kind: str
) -> None:
    if kind != "missing":
        (here / "photos").mkdir()
    if kind == "no picture":
        (here / "photos" / "a.png").write_text("hello")
    before = files_in(here)
    ran = convert("--checkpoint", checkpoint, *_SMALL, "--pictures", "photos")
    ran.fails_alone("photos", {"missing": "no folder", "empty": "no picture"}.get(kind, "a.png"))
    assert files_in(here) == before


def test_bundled_weights_that_are_not_there_are_one_line(
    convert: Convert, here: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    replace_bundle(monkeypatch, tmp_path / "bundle")
    ran = convert("--model", "rtc", "--weights", "bundled", *_SMALL)
    ran.fails_alone("imdn-rtc has no bundled weights", "--weights published", "--checkpoint FILE")
    assert files_in(here) == []


@pytest.mark.slow
def test_bundled_weights_are_taken_by_default_and_known_to_verify(
    convert: Convert,
    here: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    bundle = replace_bundle(monkeypatch, tmp_path / "bundle")
    path = bundle.add_rtc()
    assert convert("--model", "rtc", *_SMALL, "-o", "a.tflite").status == 0
    facts = read_manifest(here / "a.json").facts
    assert facts.weights_licence == LICENCE
    assert facts.weights_source.endswith("edgesr/weights/imdn-rtc_x2.safetensors")
    assert facts.weights_sha256 == weights_sha256(load(path).net)
    ran = run_here(monkeypatch, capsys, "verify", "a.tflite")
    assert (ran.status, ran.err) == (0, "")
    # Another edgesr brings other weights: then the file's own are not to be had.
    monkeypatch.setattr(bundled, "WEIGHTS_FOLDER", tmp_path)
    ran = run_here(monkeypatch, capsys, "verify", "a.tflite")
    ran.fails_alone("a.tflite was made from weights that are neither", "--checkpoint FILE")


def test_without_network_and_cache_the_address_is_named(here: Path, tmp_path: Path) -> None:
    published = find_spec("rtc").published
    assert published is not None
    with no_network(EDGESR_CACHE=tmp_path / "cache") as env:
        words = ("--model", "rtc", "--weights", "published")
        ran = run_alone("convert", *words, *_SMALL, env=env, cwd=here)
    ran.fails_alone(published.url, "Connection refused", "--checkpoint FILE")
    assert files_in(here) == []
    assert [n for n in files_in(tmp_path / "cache") if not n.endswith(".lock")] == []


def test_a_read_only_disk_is_one_line_and_leaves_nothing(here: Path, checkpoint: Path) -> None:
    (here / "mount").mkdir()
    target = here / "mount" / "a.tflite"
    words = ("convert", "--checkpoint", checkpoint, *_SMALL, "-o", target)
    prepare = f"mount -o remount,ro tmpfs '{target.parent}'"
    ran = run_on_small_disk(target.parent, *words, size="8k", prepare=prepare)
    ran.fails_alone(f"cannot write {target}", "Read-only file system")


@pytest.mark.slow
def test_a_full_disk_is_one_line_and_leaves_nothing(here: Path, checkpoint: Path) -> None:
    (here / "mount").mkdir()
    target = here / "mount" / "a.tflite"
    words = ("convert", "--checkpoint", checkpoint, *_SMALL, "-o", target)
    ran = run_on_small_disk(target.parent, *words, size="64k")
    ran.fails_alone(f"cannot write {target}", "No space left on device")


@pytest.mark.slow
@pytest.mark.parametrize("size", ["64k", "4300k"], ids=["for the graph", "for its conversion"])
def test_a_full_folder_for_temporary_files_is_one_line(
    here: Path, checkpoint: Path, size: str
) -> None:
    mount = here / "mount"
    mount.mkdir()
    words = ("convert", "--checkpoint", checkpoint, *_SMALL, "-o", here / "a.tflite")
    ran = run_on_small_disk(mount, *words, size=size, environment=f"TMPDIR='{mount}'")
    ran.fails_alone("No space left on device")
    assert files_in(here) == []


@pytest.mark.slow
@pytest.mark.parametrize(
    ("number", "status", "said"),
    [(signal.SIGINT, 130, "interrupted"), (signal.SIGTERM, 143, "terminated")],
    ids=["Ctrl-C", "SIGTERM"],
)
def test_a_signal_leaves_neither_files_nor_processes(
    here: Path, checkpoint: Path, tmp_path: Path, number: signal.Signals, status: int, said: str
) -> None:
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    words = ["convert", "--checkpoint", str(checkpoint), *_SMALL]
    process = subprocess.Popen(
        [sys.executable, "-c", HEED_CTRL_C + RUN, *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "TMPDIR": str(scratch)},
    )
    deadline = time.monotonic() + 120
    while not list(scratch.rglob("model.onnx")) and time.monotonic() < deadline:
        assert process.poll() is None, process.communicate()
        time.sleep(0.02)
    time.sleep(0.3)  # into the work of the child
    children = psutil.Process(process.pid).children(recursive=True)
    assert any(_CHILD in child.cmdline() for child in children), children
    process.send_signal(number)
    out, err = process.communicate(timeout=60)
    assert process.returncode == status, err
    assert out == ""
    assert err.strip() == f"edgesr: {said}; nothing was written"
    assert [child for child in children if child.is_running()] == []
    assert files_in(here) == []
    assert list(scratch.glob("edgesr-*")) == []


def test_progress_is_shown_before_anything_heavy_is_imported(here: Path) -> None:
    """On a terminal, in a process that ends where torch is imported."""
    stop = (
        "import sys\n"
        "class Stop:\n"
        "    def find_spec(name, path=None, target=None):\n"
        "        if name == 'torch': raise SystemExit(77)\n"
        "sys.meta_path.insert(0, Stop)\n"
    )
    terminal, theirs = os.openpty()
    words = ["convert", "--model", "rtc", *_SMALL]
    with open(terminal, "rb", buffering=0) as shown, open(theirs, "wb", buffering=0) as stderr:
        done = subprocess.run(
            [sys.executable, "-c", stop + RUN, *words],
            stderr=stderr,
            env={**os.environ, "TERM": "xterm"},
        )
        stderr.write(b"the end")  # reading nothing would wait for ever
        assert b"prepare" in shown.read(10_000)
    assert done.returncode == 77


# What is made --------------------------------------------------------------------------------


@pytest.mark.slow
def test_both_precisions_go_into_a_folder_and_replace_with_force(
    here: Path, checkpoint: Path
) -> None:
    stems = [f"imdn-rtc_x2_32x24_{precision}" for precision in ("fp16", "fp32")]
    names = sorted(f"{stem}{suffix}" for stem in stems for suffix in (".tflite", ".json"))
    for name in names:
        (here / name).write_text("old")
    words = ("convert", "--checkpoint", checkpoint, *_SMALL, "--fp16", "--fp32", "--force")
    with no_network() as env:
        ran = run_alone(*words, "-o", here, env=env)
    assert ran.status == 0, ran.err
    assert ran.err == ""
    assert files_in(here) == names
    for stem in stems:
        manifest = read_manifest(here / f"{stem}.json")
        assert manifest.size_bytes == (here / f"{stem}.tflite").stat().st_size
        assert f"sha256 {manifest.sha256[:16]}" in ran.out
    assert ran.out.count(": passed") == 3, "FP16 on two backends, FP32 on one"


# The main job, with what the authors published -----------------------------------------------


@pytest.fixture(scope="module")
def published(shared: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Ran]:
    """RTC at 720x480 as its authors published it, converted without network."""
    path = tmp_path_factory.mktemp("published") / "rtc.tflite"
    weights = shared / "reference" / "model_RTC.pth"
    words = ("--model", "rtc", "--checkpoint", weights, "--fp16", "--json", "-o", path)
    with no_network(EDGESR_SHARED=shared) as env:
        return path, run_alone("convert", *words, env=env)


@pytest.mark.slow
def test_the_published_network_becomes_a_proven_file_without_network(
    published: tuple[Path, Ran],
) -> None:
    path, ran = published
    assert ran.status == 0, ran.err
    (manifest,) = (Manifest.model_validate(entry) for entry in json.loads(ran.out))
    assert ran.err == ""
    assert files_in(path.parent) == ["rtc.json", "rtc.tflite"]
    assert manifest == read_manifest(path.with_suffix(".json"))
    wanted = {"CONV_2D", "LEAKY_RELU", "ADD", "DEPTH_TO_SPACE", "DEQUANTIZE"}
    assert set(manifest.operators) == wanted
    assert manifest.gpu.rules_passed
    assert (manifest.facts.height, manifest.facts.width) == (720, 480)
    assert "model_RTC.pth" in manifest.facts.weights_source


@pytest.mark.slow
def test_verify_passes_on_what_convert_made(published: tuple[Path, Ran], shared: Path) -> None:
    with no_network(EDGESR_SHARED=shared) as env:
        ran = run_alone("verify", published[0], "--json", env=env)
    assert ran.status == 0, ran.err
    assert ran.err == ""
    backends = json.loads(ran.out)
    assert [backend["backend"] for backend in backends] == ["cpu", "cpu-fp16"]
    assert [backend["failures"] for backend in backends] == [[], []]


@pytest.mark.slow
def test_upscaled_pictures_reach_pytorchs_psnr(
    published: tuple[Path, Ran], shared: Path, tmp_path: Path
) -> None:
    pictures = sorted((shared / "data" / "Set5" / "x2" / "LR").glob("*.png"))
    assert len(pictures) == 5
    ran = run_alone("upscale", *pictures, "-m", published[0], "-o", tmp_path / "out")
    assert ran.status == 0, ran.err
    loaded = load(shared / "reference" / "model_RTC.pth")
    reference = torch_reference(loaded.net, loaded.spec.value_range)
    ours: list[float] = []
    pytorchs: list[float] = []
    for lr in pictures:
        wanted = _pixels(lr.parent.parent / "HR" / lr.name)
        whole = reference((_pixels(lr) / np.float32(255))[np.newaxis])[0]
        plain = np.rint(whole.clip(0, 1) * 255).astype(np.uint8)
        ours.append(psnr_y(_pixels(tmp_path / "out" / f"{lr.stem}_x2.png"), wanted, 2))
        pytorchs.append(psnr_y(plain, wanted, 2))
    got, best = float(np.mean(ours)), float(np.mean(pytorchs))
    measured = f"file {got:.4f} dB ({ours}), PyTorch {best:.4f} dB ({pytorchs})"
    assert f"{got:.2f}" == "37.24", measured
    assert abs(got - best) <= 0.01, measured


def _pixels(path: Path) -> NDArray[np.uint8]:
    with Image.open(path) as picture:
        return np.asarray(picture.convert("RGB"))


def test_a_checkpoint_in_training_form_is_said_to_be_folded(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for form in (True, False):
        torch.save(
            build(find_spec("rtc"), training_form=form).state_dict(), tmp_path / f"{form}.pth"
        )
        say_folded(load(tmp_path / f"{form}.pth"))
    (line,) = capsys.readouterr().err.splitlines()
    assert line == (
        "edgesr: note: True.pth is imdn-rtc in training form; its 22,305 parameters are folded "
        "into 20,190"
    )
