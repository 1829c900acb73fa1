"""Cost of a training step with collapsed blocks, and layer by layer, in one run.

    OMP_WAIT_POLICY=passive python benchmarks/training_forms.py --json FILE

The forms run in interleaved rounds (A B C A B C ...), so that a drift of the machine's speed
affects all alike; the ratios are medians of the ratios round by round. A step is the forward pass
in training mode, the mean absolute error and the backward pass; the optimiser's share is the same
for all.

Wall time on a busy machine is mostly other programs' time. Hence the processor time of all threads
is measured too, which does not count waiting for a core, as long as the threads do not spin while
they wait for each other: the variable prevents that.
"""

import argparse
import copy
import json
import os
import platform
import time
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor, nn

from edgesr.networks.architectures.collapsible import set_collapsed
from edgesr.networks.spec import ArchSpec, build, find_spec

COLLAPSED, EXPANDED, PLAIN = "collapsed", "layer by layer", "plain form"


@dataclass(frozen=True)
class StepTime:
    """Time of a training step of one form in milliseconds, and its ratio to collapsed.

    `cpu` is the processor time of all threads together.
    """

    model: str
    way: str
    parameters: int
    rounds: int
    wall_median_ms: float
    wall_min_ms: float
    wall_over_collapsed: float
    cpu_median_ms: float
    cpu_min_ms: float
    cpu_over_collapsed: float


def main() -> None:
    """Measure in interleaved rounds, print a table and write the record."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--patch", type=int, default=48, help="rows and columns of an LR patch")
    parser.add_argument("--models", default="rtc,fmen-s")
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    times: list[StepTime] = []
    for model in arguments.models.split(","):
        rounds = arguments.rounds if model == "rtc" else max(5, arguments.rounds // 3)
        times += measure(find_spec(model), arguments.batch, arguments.patch, rounds)
    show(times)
    if arguments.json:
        record = {"conditions": conditions(arguments), "steps": [asdict(t) for t in times]}
        arguments.json.write_text(json.dumps(record, indent=2) + "\n")


def forms(spec: ArchSpec) -> dict[str, nn.Module]:
    """Build the training form, collapsed and not, with equal weights, and the plain form."""
    torch.manual_seed(0)
    once = build(spec, training_form=True).train()
    layers = copy.deepcopy(once)
    set_collapsed(layers, False)
    return {COLLAPSED: once, EXPANDED: layers, PLAIN: build(spec).train()}


def measure(spec: ArchSpec, batch: int, patch: int, rounds: int) -> list[StepTime]:
    """Time one step of every network on one batch per round, after one warm-up round."""
    nets = forms(spec)
    lr_nchw = spec.value_range * torch.rand(batch, 3, patch, patch)
    hr_nchw = spec.value_range * torch.rand(batch, 3, spec.scale * patch, spec.scale * patch)
    # For each form one row of (wall, processor) seconds per round.
    seconds: dict[str, list[tuple[float, float]]] = {way: [] for way in nets}
    for index in range(rounds + 1):
        for way, net in nets.items():
            elapsed = _timed_step(net, lr_nchw, hr_nchw)
            if index:
                seconds[way].append(elapsed)
    once = np.array(seconds[COLLAPSED])
    return [
        _summary(spec.name, way, net, 1e3 * np.array(seconds[way]), 1e3 * once)
        for way, net in nets.items()
    ]


def _summary(model: str, way: str, net: nn.Module, ms: np.ndarray, once_ms: np.ndarray) -> StepTime:
    """Summarise milliseconds of shape rounds x (wall, processor)."""
    median, least = np.median(ms, axis=0), ms.min(axis=0)
    ratio = np.median(ms / once_ms, axis=0)
    wall, cpu = (tuple(map(float, (median[i], least[i], ratio[i]))) for i in (0, 1))
    return StepTime(model, way, sum(p.numel() for p in net.parameters()), len(ms), *wall, *cpu)


def _timed_step(net: nn.Module, lr_nchw: Tensor, hr_nchw: Tensor) -> tuple[float, float]:
    net.zero_grad(set_to_none=True)
    wall, cpu = time.perf_counter(), time.process_time()
    (net(lr_nchw) - hr_nchw).abs().mean().backward()
    return time.perf_counter() - wall, time.process_time() - cpu


def conditions(arguments: argparse.Namespace) -> dict[str, object]:
    """Conditions of the measurement."""
    return {
        "step": "forward in training mode, mean absolute error, backward; no optimiser",
        "batch": arguments.batch,
        "lr_patch": f"{arguments.patch}x{arguments.patch}",
        "precision": "float32",
        "threads": arguments.threads,
        "OMP_WAIT_POLICY": os.environ.get("OMP_WAIT_POLICY", "unset"),
        "warm_up_rounds": 1,
        "statistic": "median over rounds; ratios are medians of the ratios round by round",
        "other_load": _load(),
        "torch": torch.__version__,
        "machine": f"{platform.machine()}, {os.cpu_count()} CPUs",
        "python": platform.python_version(),
    }


def _load() -> str:
    """Load of the machine, which affects the times more than the ratios."""
    minute, _, quarter = os.getloadavg()
    return (
        f"load average {minute:.1f} over the last minute, {quarter:.1f} over the last 15, this "
        "benchmark included; the forms ran in interleaved rounds, so that it affected all alike"
    )


def show(times: list[StepTime]) -> None:
    """Print the table."""
    columns = ("wall ms", "wall / collapsed", "CPU ms", "CPU / collapsed")
    table = Table("model", "way", "parameters", *columns)
    for t in times:
        wall = f"{t.wall_median_ms:.1f}", f"{t.wall_over_collapsed:.2f}"
        cpu = f"{t.cpu_median_ms:.1f}", f"{t.cpu_over_collapsed:.2f}"
        table.add_row(t.model, t.way, f"{t.parameters:,}", *wall, *cpu)
    Console().print(table)


if __name__ == "__main__":
    main()
