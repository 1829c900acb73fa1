"""The main job as users run it: convert, verify and upscale, and what goes wrong on the way."""

import json
import os
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from edgesr.archs.imdn_rtc import IMDNRTC
from edgesr.checkpoints import load
from edgesr.metrics import psnr_y

_HEED = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler); "
_RUN = _HEED + "from edgesr.cli import main; main()"
#: Anything that tried the network would fail at once.
_OFFLINE = {name: "http://127.0.0.1:9" for name in ("http_proxy", "https_proxy", "HTTPS_PROXY")}


def _edgesr(
    folder: Path, *words: object, shared: Path | None = None, file_bytes: int | None = None
) -> subprocess.CompletedProcess[str]:
    """Run a command in `folder`, with no network and a limit on the size of files."""
    environment = {k: v for k, v in os.environ.items() if k != "EDGESR_SHARED"}
    environment |= _OFFLINE | {"EDGESR_CACHE": str(folder / "cache")}
    if shared is not None:
        environment["EDGESR_SHARED"] = str(shared)

    def limit() -> None:
        if file_bytes is not None:
            signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
            resource.setrlimit(resource.RLIMIT_FSIZE, (file_bytes, file_bytes))

    return subprocess.run(
        [sys.executable, "-c", _RUN, *map(str, words)],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        preexec_fn=limit,
        check=False,
    )


def _assert_refused(done: subprocess.CompletedProcess[str], *words: str, status: int = 1) -> None:
    """One line on stderr that holds the words, the status, nothing on stdout."""
    assert done.returncode == status, done.stderr
    lines = done.stderr.strip().splitlines()
    assert "Traceback" not in done.stderr
    if status == 1:
        assert len(lines) == 1, done.stderr
        assert lines[0].startswith("edgesr: error: ")
    for word in words:
        assert word in done.stderr
    assert done.stdout == ""


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    """RTC with random weights, in a folder of its own."""
    torch.manual_seed(0)
    path = tmp_path / "weights" / "rtc.pth"
    path.parent.mkdir()
    torch.save(IMDNRTC().state_dict(), path)
    return path


@pytest.fixture
def work(tmp_path: Path) -> Path:
    """The folder a command runs in; nothing may be left there."""
    folder = tmp_path / "work"
    folder.mkdir()
    return folder


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "give --model NAME"),
        (["--model", "rtc", "--threads", "0"], "0 is not in the range"),
        (["--checkpoint", "{}", "--fp16", "--fp32", "-o", "a.tflite"], "give --output a folder"),
    ],
    ids=["nothing-to-convert", "no-threads", "one-name-for-two-files"],
)
def test_wrong_usage_has_status_2(
    work: Path, checkpoint: Path, words: list[str], message: str
) -> None:
    done = _edgesr(work, "convert", *(w.format(checkpoint) for w in words))
    _assert_refused(done, message, status=2)
    assert not list(work.iterdir())


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--model", "espcn"], "unknown model 'espcn', allowed: imdn-rtc"),
        (["--checkpoint", "missing.pth"], "missing.pth"),
        (["--checkpoint", "{}", "--model", "fmen-s"], "of imdn-rtc x2"),
        (["--checkpoint", "{}", "--size", "0x480"], "got height 0, allowed 16 to 16384"),
        (["--checkpoint", "{}", "--size", "-5x64"], "got height -5"),
        (["--checkpoint", "{}", "--size", "720"], "allowed HEIGHTxWIDTH"),
        (["--checkpoint", "{}", "--size", "16384x16384"], "GiB are free"),
        (["--checkpoint", "{}", "-o", "missing/a.tflite"], "does not exist; create it first"),
        (["--checkpoint", "{}", "-o", "a.onnx"], "a name ending in .tflite"),
        (["--checkpoint", "{}", "--pictures", "none"], "which is no folder"),
        (["--model", "rtc"], "https://raw.githubusercontent.com/Zheng222/IMDN"),
    ],
    ids=[
        "unknown-model",
        "missing-checkpoint",
        "wrong-architecture",
        "zero-size",
        "negative-size",
        "half-a-size",
        "more-than-memory",
        "missing-folder",
        "wrong-suffix",
        "missing-pictures",
        "offline",
    ],
)
def test_bad_input_is_one_line_and_leaves_nothing(
    work: Path, checkpoint: Path, words: list[str], message: str
) -> None:
    done = _edgesr(work, "convert", *(w.format(checkpoint) for w in words))
    _assert_refused(done, message)
    assert not [p for p in work.rglob("*") if p.is_file() and p.suffix != ".lock"]


@pytest.mark.parametrize("kind", ["empty", "text", "truncated", "nan"])
def test_a_bad_checkpoint_is_one_line(work: Path, checkpoint: Path, kind: str) -> None:
    content = checkpoint.read_bytes()
    if kind == "nan":
        state = torch.load(checkpoint, weights_only=True)
        state["model.0.bias"][3] = float("nan")
        torch.save(state, checkpoint)
    else:
        made = {"empty": b"", "text": b"no weights", "truncated": content[: len(content) // 2]}
        checkpoint.write_bytes(made[kind])
    done = _edgesr(work, "convert", "--checkpoint", checkpoint, "--size", "32x24")
    _assert_refused(done, "rtc.pth")
    assert not list(work.iterdir())


def test_an_existing_output_is_kept(work: Path, checkpoint: Path) -> None:
    (work / "a.tflite").write_text("mine")
    done = _edgesr(work, "convert", "--checkpoint", checkpoint, "-o", "a.tflite")
    _assert_refused(done, "exists; choose another name or pass --force")
    assert [p.read_text() for p in work.iterdir()] == ["mine"]


@pytest.mark.slow
def test_a_full_disk_is_one_line_and_leaves_nothing(work: Path, checkpoint: Path) -> None:
    """The limit is beyond the scratch files' size but not the outputs': those are written last."""
    out = work / "out"
    out.mkdir()
    words = ["convert", "--checkpoint", checkpoint, "--size", "32x24", "-o", out]
    done = _edgesr(work, *words, file_bytes=4096)
    assert done.returncode == 1, done.stderr
    assert len(done.stderr.strip().splitlines()) == 1, done.stderr
    assert not list(out.iterdir())


def test_a_read_only_folder_is_one_line(work: Path, checkpoint: Path) -> None:
    """/sys is read-only or takes no files, whoever asks."""
    done = _edgesr(work, "convert", "--checkpoint", checkpoint, "-o", "/sys/a.tflite")
    _assert_refused(done, "cannot write /sys/a.tflite")


@pytest.mark.slow
def test_ctrl_c_leaves_neither_files_nor_children(work: Path, checkpoint: Path) -> None:
    words = ["convert", "--checkpoint", str(checkpoint), "--size", "32x24"]
    process = subprocess.Popen(
        [sys.executable, "-c", _RUN, *words],
        cwd=work,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    deadline = time.monotonic() + 60
    while not _children(process.pid) and time.monotonic() < deadline:
        time.sleep(0.05)
    children = _children(process.pid)
    assert children, "the converter's child never started"
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    assert err.strip() == "edgesr: interrupted; nothing was written"
    assert not list(work.iterdir())
    assert not [child for child in children if Path(f"/proc/{child}").exists()]


def _children(pid: int) -> list[int]:
    path = Path(f"/proc/{pid}/task/{pid}/children")
    return [int(child) for child in path.read_text().split()] if path.exists() else []


@pytest.mark.slow
def test_the_main_job(work: Path, shared: Path) -> None:
    """Published checkpoint -> proven file -> Set5 upscaled as well as by PyTorch."""
    weights = shared / "reference" / "model_RTC.pth"
    words = ["convert", "--model", "rtc", "--checkpoint", weights, "--fp16", "--json"]
    done = _edgesr(work, *words, shared=shared)
    assert done.returncode == 0, done.stderr
    (manifest,) = json.loads(done.stdout)
    name = "imdn-rtc_x2_720x480_fp16.tflite"
    assert manifest["file"] == name
    wanted = {"CONV_2D", "LEAKY_RELU", "ADD", "DEPTH_TO_SPACE", "DEQUANTIZE"}
    assert set(manifest["operators"]) == wanted
    assert sorted(p.name for p in work.iterdir()) == [name.replace("tflite", "json"), name]

    verified = _edgesr(work, "verify", name, "--json", shared=shared)
    assert verified.returncode == 0, verified.stderr
    assert [b["backend"] for b in json.loads(verified.stdout)] == ["cpu", "cpu-fp16"]
    cheat = shared / "reference" / "imdn_rtc_time.tflite"
    refused = _edgesr(work, "verify", cheat, "--model", "rtc", shared=shared)
    assert refused.returncode == 1
    assert "not equal to PyTorch" in refused.stderr

    low = sorted((shared / "data" / "Set5" / "x2" / "LR").glob("*.png"))
    done = _edgesr(work, "upscale", *low, "-m", name, "-o", "large")
    assert done.returncode == 0, done.stderr
    files, network = _set5(work / "large", shared)
    assert files == pytest.approx(network, abs=0.01)
    assert files == pytest.approx(37.24, abs=0.01)


def _set5(results: Path, shared: Path) -> tuple[float, float]:
    """Mean Y-PSNR of the upscaled files, and of PyTorch on the whole pictures."""
    net = load(shared / "reference" / "model_RTC.pth").net
    folder = shared / "data" / "Set5" / "x2"
    of_files, of_network = [], []
    for high in sorted((folder / "HR").glob("*.png")):
        truth = np.asarray(Image.open(high).convert("RGB"))
        low = np.asarray(Image.open(folder / "LR" / high.name).convert("RGB"), np.float32) / 255
        with torch.inference_mode():
            hr_nchw = net(torch.from_numpy(low.transpose(2, 0, 1)[np.newaxis].copy()))
        rounded = (hr_nchw[0].numpy().transpose(1, 2, 0).clip(0, 1) * 255).round().astype(np.uint8)
        made = np.asarray(Image.open(results / f"{high.stem}_x2.png"))
        of_files.append(psnr_y(made, truth, 2))
        of_network.append(psnr_y(rounded, truth, 2))
    return float(np.mean(of_files)), float(np.mean(of_network))
