"""What `edgesr eval` costs beside the interpreter's own runs.

Evaluates a `.tflite` on a set of pictures, as the command does: reads HR and LR, upscales by tiles,
measures, measures bicubic too, keeps every result in a journal. Loading the model is left out.

    ratio = evaluation / sum of the interpreter's runs        target: at most 1.2

The sum is of the very runs that the evaluation makes, so that a busy machine slows down both.

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

from edgesr.evaluation.contestants import Contestant, bicubic, by_tiles, digest_of
from edgesr.evaluation.evaluate import Journal, evaluate
from edgesr.gpu import GpuDevice
from edgesr.machine import commit, processor, system
from edgesr.overlap import choose_overlap, stated_facts
from edgesr.runtime import Float32Array, ModelShape, Runner, open_model
from edgesr.train.pictures import validation_pairs

TARGET = 1.2


class Timed:
    """A network that adds up how long its runs take."""

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
        """Let go of the network."""
        self._runner.close()


@dataclass(frozen=True)
class Turn:
    """One evaluation of the whole set."""

    evaluation_s: float
    runs_s: float
    runs: int
    psnr_db: float

    @property
    def ratio(self) -> float:
        """How much longer the evaluation took than its runs."""
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
    overlap, _ = choose_overlap(stated_facts(args.model_file), None, timed.shape)
    upscale = by_tiles(timed, overlap)
    upscale(validation_pairs(args.data, timed.shape.scale)[0].lr_hwc_u8)  # warm-up
    contestant = Contestant("file", "LiteRT", timed.shape.scale, digest_of("file"), upscale)
    turns = [_turn(contestant, timed, args.data) for _ in range(args.repeats)]
    ratio = median(turn.ratio for turn in turns)
    for turn in turns:
        print(f"{turn.evaluation_s:.2f} s, {turn.runs} runs {turn.runs_s:.2f} s: {turn.ratio:.3f}")
    print(f"median {ratio:.3f}, target at most {TARGET}")
    if args.json:
        conditions = {
            "model_file": args.model_file.name,
            "data": "/".join(args.data.parts[-2:]),
            "threads": args.threads,
            "repeats": args.repeats,
            "warm_up_pictures": 1,
            "processor": processor(),
            "system": system(),
            "ai-edge-litert": version("ai-edge-litert"),
            "numpy": version("numpy"),
            "commit": commit(),
        }
        found = [{**asdict(turn), "ratio": turn.ratio} for turn in turns]
        content = {"conditions": conditions, "turns": found, "median_ratio": ratio}
        args.json.write_text(json.dumps(content, indent=2) + "\n")


def _turn(contestant: Contestant, timed: Timed, data: Path) -> Turn:
    timed.seconds, timed.runs = 0.0, 0
    with tempfile.TemporaryDirectory() as folder:
        started = time.perf_counter()
        pairs = validation_pairs(data, contestant.scale)
        journal = Journal(Path(folder, "journal.jsonl"), resume=False)
        columns = evaluate(pairs, [bicubic(contestant.scale), contestant], journal)
        seconds = time.perf_counter() - started
    return Turn(seconds, timed.seconds, timed.runs, columns[1].mean.psnr_db)


if __name__ == "__main__":
    main()
