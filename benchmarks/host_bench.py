"""RTC and FMEN-S on this host by `edgesr bench`, against the published timing file of RTC.

    python benchmarks/host_bench.py --json benchmarks/results/host.json           # under 10 minutes
    python benchmarks/host_bench.py --json benchmarks/results/host.json --print   # README's tables

Each part is written when it is measured, and a part that is there is not measured again: remove
the file to begin anew. On the CPU rounds are interleaved; on the GPU each runs alone, so that one
that the accelerator refuses does not keep the others from it. Without a GPU a CPU emulates one
(SwiftShader): that shows that the whole file runs there, and its times are compared with nothing.
"""

import json
import os
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import click
from pydantic import Field

from edgesr.benchmark.host import HostPlan, run_host_benchmark
from edgesr.benchmark.record import HostCase, HostRecord, HostSetting
from edgesr.cli.support.native_log import silence_native_log
from edgesr.cli.support.progress_bar import progress_bar
from edgesr.common.files import atomic_outputs
from edgesr.common.record import Record
from edgesr.errors import EdgeSRError, NoGpuError
from edgesr.runtime.gpu import GpuRefusalError, describe_device
from edgesr.runtime.session import Backend
from edgesr.weights.download import file_sha256

_MODELS = Path(__file__).parents[1] / "tflite_models"
_REFERENCE = Path("reference/imdn_rtc_time.tflite")
_FILES = ("imdn-rtc_*_720x480_fp16.tflite", "fmen-s_*_720x480_fp16.tflite")
_CPU = (Backend.CPU, Backend.CPU_FP16)
# Together under ten minutes on two cores; a run of FMEN-S takes 0.8 s there, on an emulated GPU a
# minute.
_CPU_BUDGET_S, _GPU_BUDGET_S = 90.0, 1.0
_RUNS = 50


class HostParts(Record):
    """What `--json` holds.

    Attributes:
        parts: Name of a part -> its record.
        refused: Name of a part that the accelerator does not take, or that has none -> why.
    """

    parts: dict[str, HostRecord] = Field(default_factory=dict[str, HostRecord])
    refused: dict[str, str] = Field(default_factory=dict[str, str])


@click.command(help=__doc__)
@click.argument("files", nargs=-1, type=click.Path(path_type=Path, exists=True))
@click.option("--json", "target", type=click.Path(path_type=Path), required=True)
@click.option("--threads", type=click.IntRange(1), default=2, show_default=True)
@click.option("--cpu-budget", default=_CPU_BUDGET_S, show_default=True, help="Seconds a backend.")
@click.option("--print", "show_only", is_flag=True, help="Print the tables of what is there.")
def main(
    *, files: tuple[Path, ...], target: Path, threads: int, cpu_budget: float, show_only: bool
) -> None:
    """Measure what is missing, write it, and print the tables."""
    silence_native_log()
    found = HostParts()
    if target.exists():
        found = HostParts.model_validate_json(target.read_text())
    if not show_only:
        for name, chosen, plan in _plans(files or _default_files(), threads, cpu_budget):
            if _is_there(found, name, chosen):
                click.echo(f"{name}: measured before", err=True)
                continue
            found = _measured(found, name, chosen, plan)
            with atomic_outputs([target], overwrite=True) as (part,):
                part.write_text(f"{json.dumps(found.model_dump(mode='json'), indent=1)}\n")
    click.echo(_tables(found))


def _default_files() -> list[Path]:
    """The published timing file, to which ratios are, and the shipped ones."""
    wanted = [(Path(os.environ.get("EDGESR_SHARED", "EDGESR_SHARED")), str(_REFERENCE))]
    wanted += [(_MODELS, pattern) for pattern in _FILES]
    found = [sorted(folder.glob(pattern)) for folder, pattern in wanted]
    missing = [str(f / p) for (f, p), paths in zip(wanted, found, strict=True) if not paths]
    if missing:
        raise click.UsageError(f"there is no {', '.join(missing)}; name FILES instead")
    return [path for paths in found for path in paths]


def _plans(
    files: Sequence[Path], threads: int, cpu_budget: float
) -> Iterator[tuple[str, Sequence[Path], HostPlan]]:
    """Name, files and plan of each part."""
    for backend in _CPU:
        settings = (HostSetting(backend=backend, threads=threads),)
        plan = HostPlan(settings, runs=_RUNS, warm_up=3, budget_s=cpu_budget)
        yield backend.value, files, plan
    for file in files:
        settings = (HostSetting(backend=Backend.GPU, threads=None),)
        plan = HostPlan(settings, runs=_RUNS, warm_up=0, budget_s=_GPU_BUDGET_S)
        yield f"gpu, {file.name}", [file], plan


def _is_there(found: HostParts, name: str, files: Sequence[Path]) -> bool:
    """Whether a part was measured, and of these files."""
    record = found.parts.get(name)
    if record is None:
        return name in found.refused
    if [file.sha256 for file in record.files] != [file_sha256(file) for file in files]:
        raise click.UsageError(f"its part {name!r} is of other files; write to another --json")
    return True


def _measured(found: HostParts, name: str, files: Sequence[Path], plan: HostPlan) -> HostParts:
    """With one part more."""
    click.echo(name, err=True)
    try:
        with progress_bar() as progress:
            record = run_host_benchmark(files, plan, progress=progress)
    except (GpuRefusalError, NoGpuError) as error:
        return found.model_copy(update={"refused": found.refused | {name: str(error)}})
    return found.model_copy(update={"parts": found.parts | {name: record}})


def _tables(found: HostParts) -> str:
    """CPU and GPU apart: an emulated GPU's time is compared with nothing."""
    records = list(found.parts.values())
    if not records:
        return "nothing was measured yet"
    first = records[0]
    lines = [
        f"{first.machine.processor}, {first.machine.cpus} CPUs, {first.machine.runtime}; load "
        f"{first.machine.load_before} before.",
        "",
        "| file | arithmetic | median ms | p90 | p95 | runs | first | init cold | init warm | "
        "peak MB | ratio to the first file |",
        f"|{'---|' * 11}",
    ]
    cases = [case for record in records for case in record.cases]
    lines += [_cpu_row(case) for case in cases if case.gpu is None]
    gpu = [case for case in cases if case.gpu is not None]
    if gpu or found.refused:
        lines += ["", "| file | GPU | one run, ms | init cold |", "|---|---|---|---|"]
    for case in gpu:
        assert case.gpu is not None
        device = describe_device(case.gpu)
        lines.append(
            f"| {case.file} | {device} | {case.summary.median_ms:.0f} | "
            f"{case.summary.cold_init_ms:.0f} |"
        )
    lines += [f"| {name} | refused: {reason} | - | - |" for name, reason in found.refused.items()]
    busy = dict.fromkeys(n for case in cases for n in case.notes if n.startswith("busy machine"))
    lines += ["", *busy] if busy else []
    return "\n".join(lines)


def _cpu_row(case: HostCase) -> str:
    got = case.summary
    arithmetic = "FP16" if case.setting.backend is Backend.CPU_FP16 else "FP32"
    numbers = (got.median_ms, got.p90_ms, got.p95_ms)
    cells = [
        case.file,
        f"{arithmetic}, {case.setting.threads} threads",
        *(f"{value:.1f}" for value in numbers),
        str(got.runs),
        *(f"{value:.0f}" for value in (got.first_ms, got.cold_init_ms, got.warm_init_ms)),
        "-" if got.peak_mb is None else f"{got.peak_mb:.0f}",
        f"{got.ratio_to_first:.3f}",
    ]
    return f"| {' | '.join(cells)} |"


if __name__ == "__main__":
    try:
        main()
    except EdgeSRError as error:
        sys.exit(f"host_bench: {error}")
