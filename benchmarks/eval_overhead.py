"""Overhead of `edgesr eval` over the interpreter's own runs.

Evaluates a `.tflite` on a set of images, as the command does: reads HR and LR, upscales by tiles,
measures, measures bicubic too, writes every result to a journal. Loading the model is left out.

    ratio = evaluation / sum of the interpreter's runs        target: at most 1.2

The runs are those of the evaluation itself, so that a busy machine slows down both.

Example: python benchmarks/eval_overhead.py imdn-rtc_x2_720x480_fp16.tflite BSD100/x2 --json x.json
"""

import argparse
import json
import tempfile
import time
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from statistics import median

from edgesr.common.machine import commit, processor, system
from edgesr.evaluation.evaluate import evaluate
from edgesr.evaluation.journal import Journal
from edgesr.evaluation.methods import Method, bicubic, by_tiles, digest_of
from edgesr.images.datasets import validation_pairs
from edgesr.runtime.gpu import GpuDevice
from edgesr.runtime.session import Float32Array, Runner, open_model
from edgesr.tflite.facts import read_reach
from edgesr.tflite.shape import ModelShape
from edgesr.upscaling.tiling import choose_overlap

TARGET = 1.2


class Timed:
    """A runner that adds up the time of its runs."""

    def __init__(self, runner: Runner) -> None:
        self._runner = runner
        self.shape: ModelShape = runner.shape
        self.device: GpuDevice | None = runner.device
        self.seconds, self.runs = 0.0, 0

    def run(self, lr_nhwc: Float32Array) -> Float32Array:
        """Upscale one tile."""
        started = time.perf_counter()
        result = self._runner.run(lr_nhwc)
        self.seconds += time.perf_counter() - started
        self.runs += 1
        return result

    def close(self) -> None:
        """Release the network."""
        self._runner.close()


@dataclass(frozen=True)
class Round:
    """One evaluation of the whole set."""

    evaluation_s: float
    runs_s: float
    runs: int
    psnr_db: float

    @property
    def ratio(self) -> float:
        """Time of the evaluation over that of its runs."""
        return self.evaluation_s / self.runs_s


def main() -> None:
    """Measure, print, write JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model_file", type=Path)
    parser.add_argument("data", type=Path)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    timed = Timed(open_model(args.model_file, threads=args.threads))
    overlap, _ = choose_overlap(read_reach(args.model_file), None, timed.shape)
    upscale = by_tiles(timed, overlap)
    upscale(validation_pairs(args.data, timed.shape.scale)[0].lr_hwc_u8)  # warm-up
    method = Method("file", "LiteRT", timed.shape.scale, digest_of("file"), upscale)
    rounds = [_round(method, timed, args.data) for _ in range(args.repeats)]
    ratio = median(one.ratio for one in rounds)
    for one in rounds:
        print(f"{one.evaluation_s:.2f} s, {one.runs} runs {one.runs_s:.2f} s: {one.ratio:.3f}")
    print(f"median {ratio:.3f}, target at most {TARGET}")
    if args.json:
        conditions = {
            "model_file": args.model_file.name,
            "data": "/".join(args.data.parts[-2:]),
            "threads": args.threads,
            "repeats": args.repeats,
            "warm_up_images": 1,
            "processor": processor(),
            "system": system(),
            "ai-edge-litert": version("ai-edge-litert"),
            "numpy": version("numpy"),
            "commit": commit(),
        }
        found = [{**asdict(one), "ratio": one.ratio} for one in rounds]
        content = {"conditions": conditions, "rounds": found, "median_ratio": ratio}
        args.json.write_text(json.dumps(content, indent=2) + "\n")


def _round(method: Method, timed: Timed, data: Path) -> Round:
    timed.seconds, timed.runs = 0.0, 0
    with tempfile.TemporaryDirectory() as folder:
        started = time.perf_counter()
        pairs = validation_pairs(data, method.scale)
        journal = Journal(Path(folder, "journal.jsonl"), resume=False)
        scores = evaluate(pairs, [bicubic(method.scale), method], journal)
        seconds = time.perf_counter() - started
    return Round(seconds, timed.seconds, timed.runs, scores[1].mean.psnr_db)


if __name__ == "__main__":
    main()
