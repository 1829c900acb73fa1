"""Output of commands: tables for people, JSON for programs."""

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, cast

import click
from rich.table import Table

from edgesr.cli.support.lines import print_line
from edgesr.cli.support.tables import make_table, print_table

if TYPE_CHECKING:
    from converters.manifest import BackendParity, InputParity, Manifest


def as_json(value: object) -> None:
    """Print a value as JSON on stdout; JSON has no infinity and no NaN, they become null."""
    click.echo(json.dumps(_strict(value), indent=2, allow_nan=False))


def _strict(value: object) -> object:
    """Replace every number that is not finite by None."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        entries = cast(Mapping[str, object], value)
        return {key: _strict(entry) for key, entry in entries.items()}
    if isinstance(value, list | tuple):
        return [_strict(entry) for entry in cast(Sequence[object], value)]
    return value


def converted(path: Path, manifest: "Manifest") -> None:
    """Print the result of a conversion: parity, operators, and the file."""
    parity_tables(manifest.parity)
    operators = ", ".join(f"{name} {count}" for name, count in sorted(manifest.operators.items()))
    print_line(f"operators: {operators}")
    if manifest.value_range:
        print_line(f"value range of the network: {manifest.value_range}")
    ranges = manifest.fp16_range
    if ranges is not None:
        print_line(
            f"largest intermediate: {ranges.largest_before:.4g} before rescaling, "
            f"{ranges.largest_after:.4g} after (FP16 ends at 65504)"
        )
    print_line(f"GPU delegate rules: {_verdict(manifest)}; {_accelerator(manifest)}")
    print_line(f"{path}  {manifest.size_bytes / 1024:.1f} KiB  sha256 {manifest.sha256[:16]}...")


def _verdict(manifest: "Manifest") -> str:
    if manifest.gpu.rules_passed:
        return f"all {sum(manifest.operators.values())} operators accepted"
    return f"refused: {'; '.join(manifest.gpu.violations)}"


def _accelerator(manifest: "Manifest") -> str:
    """Result of the GPU accelerator, and its device."""
    if manifest.gpu.accelerator == "not checked":
        return f"accelerator not checked ({manifest.gpu.why_not_checked})"
    devices = {parity.device.adapter for parity in manifest.parity if parity.device}
    return f"accelerator passed on {', '.join(sorted(devices))}"


def parity_tables(backends: "Sequence[BackendParity]", *, err: bool = False) -> None:
    """Print one table per backend: the file's error on every input."""
    from edgesr.runtime.gpu import describe_device

    for parity in backends:
        verdict = "FAILED" if parity.failures else "passed"
        print_line(f"{parity.backend}: {parity.gate}: {verdict}", err=err)
        if parity.device is not None:
            print_line(f"all operators on {describe_device(parity.device)}", err=err)
        for text in parity.refusals or parity.failures:
            print_line(f"{'refused' if parity.refusals else 'failed'}  {text}", err=err)
        if parity.inputs:
            print_table(_parity_table(parity), err=err)
            _print_sizes(parity, err=err)


def _print_sizes(parity: "BackendParity", *, err: bool) -> None:
    """Say where only the first input had the file's own size."""
    first, *others = [row.size for row in parity.inputs]
    small = next((size for size in others if size and size != first), None)
    if small is not None:
        print_line(f"inputs but the first: {small[0]}x{small[1]}", err=err)


def _parity_table(parity: "BackendParity") -> Table:
    """Error of a file against PyTorch on every input, and of a GPU against the CPU."""
    on_gpu = parity.device is not None
    table = make_table()
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
    """Format grey levels; beyond the range of images only the magnitude matters."""
    return f"{value:.3f}" if value < 1e4 else f"{value:.1e}"


def _decibels(value: float | None) -> str:
    return "equal" if value is None else f"{value:.1f}"
