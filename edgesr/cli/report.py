"""What commands print: tables for people, JSON for programs."""

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, cast

import click
from rich import box
from rich.console import Console
from rich.table import Table

if TYPE_CHECKING:
    from converters.manifest import BackendParity, InputParity, Manifest


def as_json(value: object) -> None:
    """Print a value as JSON on stdout; JSON has no infinity and no NaN, they become null."""
    click.echo(json.dumps(_strict(value), indent=2, allow_nan=False))


def _strict(value: object) -> object:
    """A value with None for every number that is not finite."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        entries = cast(Mapping[str, object], value)
        return {key: _strict(entry) for key, entry in entries.items()}
    if isinstance(value, list | tuple):
        return [_strict(entry) for entry in cast(Sequence[object], value)]
    return value


def converted(path: Path, manifest: "Manifest") -> None:
    """Print what a conversion made: parity, operators, and the file."""
    parity_tables(manifest.parity)
    operators = ", ".join(f"{name} {count}" for name, count in sorted(manifest.operators.items()))
    click.echo(f"operators: {operators}")
    ranges = manifest.fp16_range
    if ranges is not None:
        click.echo(
            f"largest intermediate: {ranges.largest_before:.4g} before rescaling, "
            f"{ranges.largest_after:.4g} after (FP16 ends at 65504)"
        )
    click.echo(f"GPU delegate rules: {_verdict(manifest)}; {_accelerator(manifest)}")
    click.echo(f"{path}  {manifest.size_bytes / 1024:.1f} KiB  sha256 {manifest.sha256[:16]}...")


def _verdict(manifest: "Manifest") -> str:
    if manifest.gpu.rules_passed:
        return f"all {sum(manifest.operators.values())} operators taken"
    return f"refused: {'; '.join(manifest.gpu.offences)}"


def _accelerator(manifest: "Manifest") -> str:
    """What is known of the GPU accelerator, and on which device."""
    if manifest.gpu.accelerator == "not checked":
        return f"accelerator not checked ({manifest.gpu.why_not_checked})"
    devices = {parity.device.adapter for parity in manifest.parity if parity.device}
    return f"accelerator passed on {', '.join(sorted(devices))}"


def parity_tables(backends: "Sequence[BackendParity]", *, err: bool = False) -> None:
    """Print one table per backend: how far the file is from PyTorch on every input."""
    from edgesr.gpu import describe_device

    console = Console(stderr=err)
    for parity in backends:
        verdict = "FAILED" if parity.failures else "passed"
        click.echo(f"{parity.backend}: {parity.gate}: {verdict}", err=err)
        if parity.device is not None:
            click.echo(f"all operators on {describe_device(parity.device)}", err=err)
        for text in parity.refusals or parity.failures:
            click.echo(f"{'refused' if parity.refusals else 'failed'}  {text}", err=err)
        if parity.inputs:
            console.print(_parity_table(parity))


def _parity_table(parity: "BackendParity") -> Table:
    """How far a file is from PyTorch on every input, and a GPU from the CPU."""
    on_gpu = parity.device is not None
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("input", no_wrap=True, max_width=16 if on_gpu else 22, overflow="ellipsis")
    for name in ("max abs", "levels", "p99.9", "PSNR dB", "residual", *(["to CPU"] * on_gpu)):
        table.add_column(name, justify="right", no_wrap=True)
    for row in parity.inputs:
        cells = [
            _named(row),
            f"{row.max_abs:.1e}",
            _levels(row.max_grey_levels),
            f"{row.p99_9:.1e}",
            _decibels(row.psnr_db),
            _decibels(row.residual_psnr_db),
        ]
        if row.max_abs_to_cpu is not None:
            cells.append(f"{row.max_abs_to_cpu:.1e}")
        table.add_row(*cells)
    largest = max(row.max_abs for row in parity.inputs)
    table.add_section()
    together = ["all together", f"{largest:.1e}", _levels(largest * 255), ""]
    table.add_row(*together, _decibels(parity.psnr_db))
    return table


def _named(row: "InputParity") -> str:
    return row.input if row.contrast == 1.0 else f"{row.input} x {row.contrast:g}"


def _levels(value: float) -> str:
    """Grey levels: beyond what pictures can differ by, only the magnitude tells."""
    return f"{value:.3f}" if value < 1e4 else f"{value:.1e}"


def _decibels(value: float | None) -> str:
    return "equal" if value is None else f"{value:.1f}"
