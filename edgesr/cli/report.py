"""What commands print: tables for people, JSON for programs."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click
from rich import box
from rich.console import Console
from rich.table import Table

if TYPE_CHECKING:
    from converters.manifest import BackendParity, InputParity, Manifest


def as_json(value: object) -> None:
    """Print a value as JSON on stdout."""
    click.echo(json.dumps(value, indent=2))


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
    click.echo(f"GPU delegate rules: {_verdict(manifest)}; accelerator {manifest.gpu.accelerator}")
    click.echo(f"{path}  {manifest.size_bytes / 1024:.1f} KiB  sha256 {manifest.sha256[:16]}...")


def _verdict(manifest: "Manifest") -> str:
    if manifest.gpu.rules_passed:
        return f"all {sum(manifest.operators.values())} operators taken"
    return f"refused: {'; '.join(manifest.gpu.offences)}"


def parity_tables(backends: "Sequence[BackendParity]", *, err: bool = False) -> None:
    """Print one table per backend: how far the file is from PyTorch on every input."""
    console = Console(stderr=err)
    for parity in backends:
        verdict = "FAILED" if parity.failures else "passed"
        title = f"{parity.backend}: {parity.gate}: {verdict}"
        table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD)
        table.add_column("input", no_wrap=True, max_width=22, overflow="ellipsis")
        for name in ("max abs", "levels", "p99.9", "PSNR dB", "residual"):
            table.add_column(name, justify="right", no_wrap=True)
        for row in parity.inputs:
            table.add_row(
                _named(row),
                f"{row.max_abs:.1e}",
                f"{row.max_grey_levels:.3f}",
                f"{row.p99_9:.1e}",
                _decibels(row.psnr_db),
                _decibels(row.residual_psnr_db),
            )
        largest = max(row.max_abs for row in parity.inputs)
        together = ["all together", f"{largest:.1e}", f"{largest * 255:.3f}", ""]
        table.add_section()
        table.add_row(*together, _decibels(parity.psnr_db), "")
        console.print(table)


def _named(row: "InputParity") -> str:
    return row.input if row.contrast == 1.0 else f"{row.input} x {row.contrast:g}"


def _decibels(value: float | None) -> str:
    return "equal" if value is None else f"{value:.1f}"
