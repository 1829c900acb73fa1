"""Wall time and memory of whole `edgesr upscale` commands, beside the network and beside peers.

    python benchmarks/upscale_speed.py --json benchmarks/results/upscale_speed.json

Rounds are interleaved, each command is a process of its own, the best of all rounds is told (other
work can only make a round slower) with the median beside it:

- start-up: the command on an image of one pixel;
- images: RTC x2 on photographs of three sizes; beside it the same network as a whole in onnxruntime
  and in PyTorch, read and written by Pillow, as one would write it by hand;
- a folder of 100 PNGs of Set5's size, beside the bare runs of the network at that size;
- a video of 640x360, beside the bare runs of the network on as many frames.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from importlib.metadata import version
from pathlib import Path

import numpy as np
import psutil
from numpy.typing import NDArray
from PIL import Image

from edgesr.common.machine import commit, processor, system
from edgesr.images.test_card import draw_test_card

_COMMAND = [sys.executable, "-c", "from edgesr.cli import main; main()", "upscale"]
_FLAGS = ("avx2", "fma", "avx512f", "avx512_vnni")
#: Name -> rows, columns, suffix of the input, suffix of the output.
_IMAGES = {
    "300x400 JPEG to PNG": (300, 400, ".jpg", ".png"),
    "1051x2040 JPEG to JPEG": (1051, 2040, ".jpg", ".jpg"),
    "3000x4000 JPEG to JPEG": (3000, 4000, ".jpg", ".jpg"),
    "3000x4000 JPEG to PNG": (3000, 4000, ".jpg", ".png"),
}
_WITHOUT_PEERS = "3000x4000 JPEG to PNG"  # they were measured for JPEG
_FOLDER, _SIDE = 100, 128  # Set5's LR images have 114 to 256 pixels a side
_FRAMES, _VIDEO = 60, (360, 640)

# A peer by hand: argv are network, source, target, threads.
_ONNXRUNTIME = """
import sys
import numpy as np, onnxruntime as ort
from PIL import Image
net, source, target, threads = sys.argv[1:]
options = ort.SessionOptions()
options.intra_op_num_threads = int(threads)
session = ort.InferenceSession(net, options, providers=["CPUExecutionProvider"])
lr = np.asarray(Image.open(source).convert("RGB"), np.float32).transpose(2, 0, 1)[None] / 255
(hr,) = session.run(None, {session.get_inputs()[0].name: lr})
hr = (hr[0].transpose(1, 2, 0) * 255).round().clip(0, 255).astype(np.uint8)
Image.fromarray(hr).save(target, quality=95)
"""
_TORCH = """
import sys
import numpy as np, torch
from PIL import Image
from edgesr import fold, load_checkpoint
net, source, target, threads = sys.argv[1:]
torch.set_num_threads(int(threads))
network = fold(load_checkpoint(net).net).eval()
lr = torch.from_numpy(np.asarray(Image.open(source).convert("RGB"), np.float32).transpose(2, 0, 1))
with torch.inference_mode():
    hr = network(lr[None] / 255)[0]
hr = (hr.numpy().transpose(1, 2, 0) * 255).round().clip(0, 255).astype(np.uint8)
Image.fromarray(hr).save(target, quality=95)
"""
_RUNS = """
import sys, time
from pathlib import Path
import numpy as np
from edgesr.runtime.session import open_model
path, rows, columns, runs, threads = sys.argv[1], *map(int, sys.argv[2:])
runner = open_model(Path(path), threads=threads, size=(rows, columns))
lr_nhwc = np.random.RandomState(0).rand(1, rows, columns, 3).astype(np.float32)
runner.run(lr_nhwc)
started = time.perf_counter()
for _ in range(runs):
    runner.run(lr_nhwc)
print(time.perf_counter() - started)
"""


class Timed:
    """Seconds of all rounds of one thing, and the most memory that it took."""

    def __init__(self) -> None:
        self.seconds: list[float] = []
        self.peak_mb = 0.0

    def run(self, words: Sequence[object]) -> str:
        """Run a command once; what it printed."""
        started = time.perf_counter()
        child = psutil.Popen([str(word) for word in words], stdout=subprocess.PIPE, text=True)
        while child.poll() is None:
            try:
                self.peak_mb = max(self.peak_mb, child.memory_info().rss / 1e6)
            except psutil.Error:
                break
            time.sleep(0.01)
        printed, _ = child.communicate()
        if child.returncode:
            sys.exit(f"{' '.join(map(str, words))} failed with status {child.returncode}")
        self.seconds.append(time.perf_counter() - started)
        return printed

    def told(self, printed: str) -> None:
        """Take the time that the command printed in place of its own."""
        self.seconds[-1] = float(printed)

    @property
    def best(self) -> float:
        """The fastest round."""
        return min(self.seconds)

    def record(self) -> dict[str, float]:
        """For the record."""
        median = statistics.median(self.seconds)
        return {"best_s": self.best, "median_s": median, "peak_mb": self.peak_mb}


def main() -> None:
    """Measure, print, write JSON."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    load = os.getloadavg()[0]
    with tempfile.TemporaryDirectory() as scratch:
        rows = _measure(Path(scratch), args.threads, args.rounds)
    for name, row in rows.items():
        print(
            name, json.dumps({k: v if isinstance(v, dict) else round(v, 3) for k, v in row.items()})
        )
    if args.json:
        conditions = _conditions(args.threads, args.rounds, load)
        text = json.dumps({"conditions": conditions, "results": rows}, indent=2)
        args.json.write_text(text + "\n")


def _measure(scratch: Path, threads: int, rounds: int) -> dict[str, dict[str, float]]:
    """All things in turn, round by round."""
    things: dict[str, tuple[Timed, Callable[[Timed], object]]] = {}

    def add(name: str, words: Sequence[object], *, tells: bool = False) -> None:
        def once(timed: Timed) -> None:
            printed = timed.run(words)
            if tells:
                timed.told(printed)

        things[name] = Timed(), once

    Image.new("RGB", (1, 1)).save(scratch / "one.png")
    edgesr = [*_COMMAND, "--force", "--threads", threads]
    add("start-up", [*edgesr, scratch / "one.png", "-o", scratch / "one_x2.png"])
    network = _network(scratch)
    for name, (height, width, suffix, wanted) in _IMAGES.items():
        source = scratch / f"{height}{suffix}"
        Image.fromarray(_photographs(height, width)).save(source, quality=95)
        target = scratch / f"out{wanted}"
        add(name, [*edgesr, source, "-o", target])
        if name == _WITHOUT_PEERS:
            continue
        words = (source, target, threads)
        add(f"{name}, onnxruntime", [sys.executable, "-c", _ONNXRUNTIME, network, *words])
        add(f"{name}, torch", [sys.executable, "-c", _TORCH, "rtc", *words])
    folder = scratch / "folder"
    folder.mkdir()
    for index in range(_FOLDER):
        tile = _photographs(_SIDE, _SIDE, first=index)
        Image.fromarray(tile).save(folder / f"{index}.png")
    add("folder", [*edgesr, folder, "-o", scratch / "folder_x2"])
    _write_video(scratch / "clip.mp4")
    add("video", [*edgesr, scratch / "clip.mp4", "-o", scratch / "clip_x2.mp4"])
    file = _bundled()
    runs = {"folder": (_SIDE, _SIDE, _FOLDER), "video": (*_VIDEO, _FRAMES), "pixel": (256, 256, 20)}
    for name, (height, width, count) in runs.items():
        words = [sys.executable, "-c", _RUNS, file, height, width, count, threads]
        add(f"{name}, runs", words, tells=True)
    for number in range(rounds):
        for name, (timed, once) in things.items():
            print(f"round {number + 1} of {rounds}: {name}", file=sys.stderr, flush=True)
            once(timed)
    return _rows({name: timed for name, (timed, _) in things.items()})


def _rows(timed: dict[str, Timed]) -> dict[str, dict[str, float]]:
    """What was measured, and what follows from it."""
    startup, pixel = timed["start-up"].best, timed["pixel, runs"].best / (20 * 256 * 256)
    rows = {name: t.record() for name, t in timed.items()}
    for name, (height, width, *_) in _IMAGES.items():
        beyond = timed[name].best - startup
        rows[name] |= {
            "beyond_start_up_s": beyond,
            "ns_per_pixel": 1e9 * beyond / (height * width),
            "of_runs_at_256x256": beyond / (height * width) / pixel,
        }
        for peer in ("onnxruntime", "torch"):
            if f"{name}, {peer}" in timed:
                rows[name][f"of_{peer}"] = timed[name].best / timed[f"{name}, {peer}"].best
    rows["folder"]["of_runs"] = (timed["folder"].best - startup) / timed["folder, runs"].best
    inference = timed["video, runs"].best
    rows["video"]["rate_of_runs"] = inference / (timed["video"].best - startup)
    rows["pixel, runs"]["ns_per_pixel"] = 1e9 * pixel
    return rows


def _network(folder: Path) -> Path:
    """The bundled RTC as an ONNX file of open size, its range [0, 1]."""
    import torch

    import edgesr

    net = edgesr.fold(edgesr.load_checkpoint("rtc").net).eval()
    path = folder / "rtc.onnx"
    axes = {"lr": {2: "h", 3: "w"}, "hr": {2: "h", 3: "w"}}
    torch.onnx.export(
        net, (torch.zeros(1, 3, 64, 64),), str(path), input_names=["lr"], output_names=["hr"],
        dynamic_axes=axes, opset_version=17, dynamo=False,
    )  # fmt: skip
    return path


def _bundled() -> Path:
    import tflite_models

    return Path(tflite_models.__file__).parent / "imdn-rtc_x2_720x480_fp16.tflite"


def _write_video(path: Path) -> None:
    """A photograph that moves, so that no frame equals the one before."""
    import av

    scene = _photographs(_VIDEO[0] + _FRAMES, _VIDEO[1] + _FRAMES)
    with av.open(str(path), "w") as out:
        stream = out.add_stream("libx264", rate=25)
        stream.height, stream.width = _VIDEO
        stream.pix_fmt = "yuv420p"
        for at in range(_FRAMES):
            cut = scene[at : at + _VIDEO[0], at : at + _VIDEO[1]]
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(cut), "rgb24")
            out.mux(stream.encode(frame))
        out.mux(stream.encode())


def _photographs(height: int, width: int, first: int = 0) -> NDArray[np.uint8]:
    """Photographs side by side where there are any, else the test card."""
    shared = os.environ.get("EDGESR_SHARED")
    files = sorted(Path(shared, "data/BSD100/x2/HR").glob("*.png")) if shared else []
    if not files:
        return draw_test_card(height, width)
    side = 320
    canvas = np.zeros((-(-height // side) * side, -(-width // side) * side, 3), np.uint8)
    places = [(y, x) for y in range(0, height, side) for x in range(0, width, side)]
    for index, (y, x) in enumerate(places, first):
        with Image.open(files[index % len(files)]) as image:
            canvas[y : y + side, x : x + side] = np.asarray(image.convert("RGB"))[:side, :side]
    return canvas[:height, :width]


def _conditions(threads: int, rounds: int, load: float) -> dict[str, object]:
    info = Path("/proc/cpuinfo")
    words = set(info.read_text().split()) if info.exists() else set[str]()
    names = ("ai-edge-litert", "onnxruntime", "torch", "numpy", "pillow", "imagecodecs", "av")
    return {
        "processor": processor(),
        "flags": [flag for flag in _FLAGS if flag in words],
        "cpus": os.cpu_count(),
        "system": system(),
        "threads": threads,
        "rounds": rounds,
        "load_before": load,
        "images": "photographs" if os.environ.get("EDGESR_SHARED") else "test card",
        "folder": f"{_FOLDER} PNGs of {_SIDE}x{_SIDE}",
        "video": f"{_FRAMES} frames of {_VIDEO[0]}x{_VIDEO[1]} (height x width), H.264",
        "versions": {name: version(name) for name in names},
        "commit": commit(),
    }


if __name__ == "__main__":
    main()
