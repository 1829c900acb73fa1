"""Overhead of `edgesr upscale` over the network itself.

Three kinds of fresh processes run in interleaved rounds:

- reference: loads the model and runs it as often as the image has tiles, and nothing else;
- start-up: `edgesr upscale` on an image of one pixel, less one run;
- command: `edgesr upscale` on the image, with reading, cutting, rounding, encoding and writing.

    ratio = (command - start-up) / reference's runs        target: at most 1.15

It is computed of the medians, and of the best times, which other work disturbs least.

Example: python benchmarks/upscale_overhead.py imdn-rtc_x2_720x480_fp16.tflite --json overhead.json
"""

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from statistics import median

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from edgesr.images.encoding import encode_image
from edgesr.images.files import read_image
from edgesr.images.test_card import draw_test_card
from edgesr.runtime.session import open_model
from edgesr.tflite.facts import read_reach
from edgesr.upscaling.files import Job, ReadAhead, Settings, UpscaledFile, upscale_files
from edgesr.upscaling.tiling import choose_overlap, cover
from edgesr.upscaling.upscaler import Upscaler

TARGET = 1.15

_REFERENCE = """
import sys, time
from pathlib import Path
import numpy as np
from edgesr.runtime.session import open_model
path, threads, runs = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
runner = open_model(path, threads=threads)
lr_nhwc = np.random.RandomState(0).rand(1, runner.shape.height, runner.shape.width, 3)
lr_nhwc = lr_nhwc.astype(np.float32)
started = time.perf_counter()
for _ in range(runs):
    runner.run(lr_nhwc)
print(time.perf_counter() - started)
"""
_COMMAND = "import sys; from edgesr.cli import main; main()"


def main() -> None:
    """Measure, print a table, write JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model_file", type=Path)
    parser.add_argument("--size", default="1900x1200", help="of the image, HxW")
    parser.add_argument("--formats", nargs="+", default=["png", "jpg"])
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    height, width = map(int, args.size.split("x"))
    with tempfile.TemporaryDirectory() as folder:
        rows = [
            _measure(args.model_file, _write_image(Path(folder), height, width, name), args)
            for name in args.formats
        ]
    _print_table(rows)
    if args.json:
        conditions = _conditions(args.model_file, height, width, args.threads, args.repeats)
        args.json.write_text(json.dumps({"conditions": conditions, "results": rows}, indent=2))


def _measure(model_file: Path, image: Path, args: argparse.Namespace) -> dict[str, object]:
    """Measure reference, start-up and command in interleaved rounds."""
    tiles = _count_tiles(model_file, image)
    target = image.with_name(f"out{image.suffix}")
    pixel = image.with_name(f"pixel{image.suffix}")
    Image.new("RGB", (1, 1)).save(pixel)
    common = ["--model-file", str(model_file), "--threads", str(args.threads), "--force"]
    common += ["--output", str(target)]
    runs: list[float] = []
    startups: list[float] = []
    totals: list[float] = []
    for _ in range(args.repeats):
        printed = _run([_REFERENCE, str(model_file), str(args.threads), str(tiles)])[1]
        runs.append(float(printed))
        startups.append(_run([_COMMAND, "upscale", str(pixel), *common])[0] - runs[-1] / tiles)
        totals.append(_run([_COMMAND, "upscale", str(image), *common])[0])
    return {
        "format": image.suffix[1:],
        "tiles": tiles,
        "ratio_of_medians": round((median(totals) - median(startups)) / median(runs), 4),
        "ratio_of_best": round((min(totals) - min(startups)) / min(runs), 4),
        "runs_ms": round(1000 * median(runs), 1),
        "command_ms": round(1000 * median(totals), 1),
        "startup_ms": round(1000 * median(startups), 1),
        "output_bytes": target.stat().st_size,
        **_stages(model_file, image, target, args.threads),
    }


def _run(words: list[str]) -> tuple[float, str]:
    """Run a Python process; return its wall time in seconds and its stdout."""
    started = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-c", *words],
        check=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )
    return time.perf_counter() - started, done.stdout.decode()


def _stages(model_file: Path, image: Path, target: Path, threads: int) -> dict[str, float]:
    """Time of each stage within one warm process; the best of three."""
    runner = open_model(model_file, threads=threads)
    upscaler = Upscaler(runner, choose_overlap(read_reach(model_file), None, runner.shape)[0])
    decoded = read_image(image)
    result = upscaler.upscale(decoded)
    job, settings = Job(image, target), Settings(overwrite=True)
    with ReadAhead([image], settings.max_pixels) as ahead:
        (done,) = upscale_files([job], ahead, upscaler, settings)
    if not isinstance(done, UpscaledFile):
        raise SystemExit(f"upscaling failed: {done.message}")
    return {
        "decode_ms": _best_ms(lambda: read_image(image)),
        "tiles_ms": _best_ms(lambda: upscaler.upscale(decoded)),
        "encode_ms": _best_ms(lambda: encode_image(result, target)),
    }


def _best_ms(work: Callable[[], object]) -> float:
    times: list[float] = []
    for _ in range(3):
        started = time.perf_counter()
        work()
        times.append(time.perf_counter() - started)
    return round(1000 * min(times), 1)


def _count_tiles(model_file: Path, image: Path) -> int:
    shape = open_model(model_file, threads=1).shape
    overlap = choose_overlap(read_reach(model_file), None, shape)[0]
    with Image.open(image) as opened:
        return len(cover(opened.height, opened.width, shape, overlap))


def _write_image(folder: Path, height: int, width: int, suffix: str) -> Path:
    """Write an image: photographs side by side where there are any, else the test card."""
    path = folder / f"in.{suffix}"
    Image.fromarray(_photographs(height, width)).save(path, quality=95)
    return path


def _photographs(height: int, width: int) -> NDArray[np.uint8]:
    shared = Path(os.environ.get("EDGESR_SHARED", "")) / "data/BSD100/x2/HR"
    files = sorted(shared.glob("*.png")) if os.environ.get("EDGESR_SHARED") else []
    if not files:
        return draw_test_card(height, width)
    side = 320
    canvas = np.zeros((-(-height // side) * side, -(-width // side) * side, 3), np.uint8)
    places = [(y, x) for y in range(0, height, side) for x in range(0, width, side)]
    for index, (y, x) in enumerate(places):
        with Image.open(files[index % len(files)]) as image:
            canvas[y : y + side, x : x + side] = np.asarray(image.convert("RGB"))[:side, :side]
    return canvas[:height, :width]


def _conditions(
    model_file: Path, height: int, width: int, threads: int, repeats: int
) -> dict[str, object]:
    return {
        "model_file": model_file.name,
        "image": f"{height}x{width}, "
        + ("photographs" if os.environ.get("EDGESR_SHARED") else "test card"),
        "threads": threads,
        "repeats": repeats,
        "statistic": "median and best; each repeat is reference, start-up, command",
        "machine": f"{platform.machine()}, {os.cpu_count()} CPUs, {platform.system()}",
        "python": platform.python_version(),
        "versions": {name: version(name) for name in ("ai-edge-litert", "numpy", "pillow")},
        "target_ratio": TARGET,
    }


def _print_table(rows: list[dict[str, object]]) -> None:
    names = list(rows[0])
    for name in names:
        print(f"{name:<18}" + "".join(f"{row[name]!s:>12}" for row in rows))


if __name__ == "__main__":
    main()
