"""Support matrix: one real conversion of every network, all gates on.

    python benchmarks/support_matrix.py --json benchmarks/results/support_matrix.json
    python benchmarks/support_matrix.py --json FILE --only imdn-rte    # this row again
    python benchmarks/support_matrix.py --json FILE --print            # the table of the record

Networks with published weights are converted from these (under EDGESR_SHARED), the others from
random ones with a fixed seed: parity and range are then those of random weights, the rest is not.
"""

import json
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import click

from converters.manifest import Manifest, read_manifest
from edgesr.common.files import atomic_outputs
from edgesr.common.machine import machine
from edgesr.networks.spec import ArchSpec, all_specs, build
from edgesr.weights.download import published_checkpoint

_COLUMNS = (
    "network", "weights", "parameters", "operators", "CPU, max abs", "FP16 arithmetic, PSNR",
    "GPU gate", "largest intermediate: before", "after", "peak activations, MiB",
)  # fmt: skip
_SEED = 0


def name_of(spec: ArchSpec) -> str:
    """The row's name, e.g. `imdn x4`."""
    return f"{spec.name} x{spec.scale}"


def _checkpoint(spec: ArchSpec, folder: Path) -> tuple[Path, str]:
    """The checkpoint to convert, and the kind of its weights."""
    if spec.published is not None:
        return published_checkpoint(spec), "published"
    import safetensors.torch
    import torch

    torch.manual_seed(_SEED)
    path = folder / "random.safetensors"
    safetensors.torch.save_file(build(spec).state_dict(), path)
    return path, "random"


def _row(spec: ArchSpec, size: str, folder: Path) -> dict[str, Any]:
    checkpoint, weights = _checkpoint(spec, folder)
    output = folder / "file.tflite"
    command = [
        sys.executable, "-c", "import sys; from edgesr.cli import main; sys.exit(main())",
        "convert", "--checkpoint", str(checkpoint), "--size", size, "--gate", "gpu",
        "-o", str(output),
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise click.ClickException(f"{name_of(spec)}: {done.stderr.strip() or done.stdout}")
    manifest = read_manifest(output.with_suffix(".json"))
    return {
        "network": name_of(spec),
        "weights": weights,
        "parameters": spec.parameters,
        "size": size,
        "operators": _operators(manifest),
        "parity": {p.backend: p.model_dump() for p in manifest.parity},
        "accelerator": manifest.gpu.accelerator,
        "fp16_range": manifest.fp16_range.model_dump() if manifest.fp16_range else None,
        "peak_activation_bytes": manifest.peak_activation_bytes,
        "machine": machine(),
    }


def _operators(manifest: Manifest) -> int:
    """Number of operators that run, without the DEQUANTIZE of FP16 constants."""
    return sum(count for name, count in manifest.operators.items() if name != "DEQUANTIZE")


def table(rows: Sequence[Mapping[str, Any]]) -> str:
    """Write the rows as Markdown."""
    lines = [_joined(_COLUMNS), _joined(["---"] * len(_COLUMNS))]
    lines += [_joined(_cells(row)) for row in rows]
    return "\n".join(lines)


def _joined(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _cells(row: Mapping[str, Any]) -> list[str]:
    ranges = row["fp16_range"]
    worst = max(entry["max_abs"] for entry in row["parity"]["cpu"]["inputs"])
    return [
        row["network"],
        row["weights"],
        f"{row['parameters']:,}",
        str(row["operators"]),
        f"{worst:.1e}",
        f"{row['parity']['cpu-fp16']['psnr_db']:.1f} dB",
        row["accelerator"],
        f"{ranges['largest_before']:.3g}",
        f"{ranges['largest_after']:.3g}",
        f"{row['peak_activation_bytes'] / 2**20:.1f}",
    ]


@click.command()
@click.option("--json", "record", type=click.Path(path_type=Path), required=True)
@click.option("--size", default="720x480", show_default=True)
@click.option("--only", multiple=True, help="Names of networks; the other rows are kept.")
@click.option("--print", "print_only", is_flag=True, help="Convert nothing.")
def command(record: Path, size: str, only: tuple[str, ...], *, print_only: bool) -> None:
    """Convert every network and write the record."""
    rows: dict[str, Any] = {}
    if record.exists():
        rows = {row["network"]: row for row in json.loads(record.read_text())["rows"]}
    for spec in all_specs():
        if print_only or (only and spec.name not in only):
            continue
        click.echo(name_of(spec), err=True)
        with tempfile.TemporaryDirectory(prefix="edgesr-") as folder:
            rows[name_of(spec)] = _row(spec, size, Path(folder))
        ordered = [rows[n] for n in map(name_of, all_specs()) if n in rows]
        with atomic_outputs([record], overwrite=True) as (path,):
            path.write_text(json.dumps({"rows": ordered}, indent=1) + "\n")
    click.echo(table(list(rows.values())))


if __name__ == "__main__":
    command()
