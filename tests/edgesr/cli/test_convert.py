"""`edgesr convert`, run as users run it: a proven file, or one line and nothing left behind."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
import torch

from converters.manifest import read_manifest
from edgesr.cli.convert import log_folding
from edgesr.networks.spec import build, find_spec
from edgesr.weights import bundled
from edgesr.weights.checkpoints import load, weights_sha256
from helpers.bundles import LICENCE, replace_bundle
from helpers.commands import (
    HEED_CTRL_C,
    RUN,
    Command,
    files_in,
    no_network,
    run_alone,
    run_here,
    run_on_small_disk,
)

pytestmark = pytest.mark.usefixtures("one_torch_thread")

_CHILD = "converters.tflite._onnx2tf_child"
_SMALL = ("--size", "32x24")


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


@pytest.mark.slow
def test_bundled_weights_are_taken_by_default_and_known_to_verify(
    convert: Command,
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


def test_a_checkpoint_in_training_form_is_said_to_be_folded(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for form in (True, False):
        torch.save(
            build(find_spec("rtc"), training_form=form).state_dict(), tmp_path / f"{form}.pth"
        )
        log_folding(load(tmp_path / f"{form}.pth"))
    (line,) = capsys.readouterr().err.splitlines()
    assert line == (
        "edgesr: note: True.pth is imdn-rtc in training form; its 22,305 parameters are folded "
        "into 20,190"
    )


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


# What may happen on the way -------------------------------------------------------------------


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
    assert err.strip() == f"edgesr: {said}; nothing half-written is left"
    assert [child for child in children if child.is_running()] == []
    assert files_in(here) == []
    assert list(scratch.glob("edgesr-*")) == []


@pytest.mark.slow
def test_a_folder_with_a_slash_is_made_and_goes_again_without_files(
    convert: Command, here: Path, checkpoint: Path
) -> None:
    assert convert("--checkpoint", checkpoint, "--size", "32x24", "-o", "new/").status == 0
    assert len(list((here / "new").glob("*.tflite"))) == 1
    (here / "damaged.onnx").write_bytes(b"no graph")
    assert convert("--onnx", "damaged.onnx", "-o", "other/").status == 1
    assert not (here / "other").exists()
