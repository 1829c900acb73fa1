"""Kinds of third-party networks: one real conversion of each, all gates and the GPU accelerator on.

    python benchmarks/network_kinds.py --json benchmarks/results/network_kinds.json
    python benchmarks/network_kinds.py --json FILE --only swin --only bsrn    # these rows again
    python benchmarks/network_kinds.py --json FILE --print                    # the record's tables

The networks are those of tests/helpers/network_kinds: architectures of the field, small, with
random weights of a fixed seed. Parity is then that of random weights; the operators are those of
the kind. The time is that of a conversion in a process that has loaded Python's modules before.
A run that was interrupted is continued.
"""

import json
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import click

from converters import pipeline
from converters.onnx_graph.third_party import read_onnx
from converters.spec import ConversionSpec
from converters.third_party_source import onnx_source
from edgesr.common.files import atomic_outputs
from edgesr.common.machine import machine
from edgesr.errors import EdgeSRError

sys.path.append(str(Path(__file__).parent.parent / "tests"))

from helpers.network_kinds.table import KINDS, Kind, onnx_of

HEIGHT, WIDTH = 48, 64
_CONVERTED = ("network", "scale", "operators", "CPU", "FP16 arithmetic", "GPU", "time")
_REFUSED = ("network", "scale", "reason", "time")


def row(name: str, kind: Kind, folder: Path) -> dict[str, Any]:
    """Convert one kind, and describe what came of it."""
    import onnx

    path = folder / f"{name.replace(' ', '-')}.onnx"
    onnx.save(onnx_of(kind, HEIGHT, WIDTH), str(path))
    spec = ConversionSpec(HEIGHT, WIDTH)
    started = time.perf_counter()
    found: dict[str, Any] = {"network": name, "scale": kind.scale, "exporter": kind.exporter}
    try:
        source = onnx_source(read_onnx(path), HEIGHT, WIDTH, value_range=kind.value_range)
        outputs = pipeline.default_outputs(source, spec, folder)
        (manifest,) = pipeline.convert(source, spec, outputs, gpu_gate=True, overwrite=True)
    except EdgeSRError as error:
        reason = str(error).replace(f"{path}", "the file")
        found |= {"converted": False, "reason": reason}
    else:
        found |= {
            "converted": True,
            "operators": manifest.operators,
            "psnr_db": {parity.backend: parity.psnr_db for parity in manifest.parity},
            "accelerator": manifest.gpu.accelerator,
        }
    seconds = round(time.perf_counter() - started, 1)
    return {**found, "seconds": seconds, "size": f"{HEIGHT}x{WIDTH}", "machine": machine()}


def tables(rows: Sequence[Mapping[str, Any]]) -> str:
    """Write the converted and the refused kinds as two tables in Markdown."""
    converted = [_converted(row) for row in rows if row["converted"]]
    refused = [_refused(row) for row in rows if not row["converted"]]
    return f"{_table(_CONVERTED, converted)}\n\n{_table(_REFUSED, refused)}"


def _table(columns: Sequence[str], cells: Sequence[Sequence[str]]) -> str:
    lines = [columns, ["---"] * len(columns), *cells]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _converted(row: Mapping[str, Any]) -> list[str]:
    count = sum(n for name, n in row["operators"].items() if name != "DEQUANTIZE")
    psnr_db = [_shown(row["psnr_db"].get(backend)) for backend in ("cpu", "cpu-fp16", "gpu")]
    return [*_named(row), str(count), *psnr_db, f"{row['seconds']:.0f} s"]


def _refused(row: Mapping[str, Any]) -> list[str]:
    # The reason for the first operator; what to do about it follows it in a message.
    reason = row["reason"].split("; remedy")[0].removeprefix("the file: ")
    return [*_named(row), reason, f"{row['seconds']:.1f} s"]


def _named(row: Mapping[str, Any]) -> list[str]:
    return [row["network"].split(" x")[0], f"x{row['scale']}"]


def _shown(psnr_db: float | None) -> str:
    return "-" if psnr_db is None else f"{psnr_db:.1f} dB"


@click.command()
@click.option("--json", "record", type=click.Path(path_type=Path), required=True)
@click.option("--only", multiple=True, help="Names of kinds to convert again.")
@click.option("--print", "print_only", is_flag=True, help="Convert nothing.")
def command(record: Path, only: tuple[str, ...], *, print_only: bool) -> None:
    """Convert every kind and write the record."""
    rows: dict[str, Any] = {}
    if record.exists():
        rows = {row["network"]: row for row in json.loads(record.read_text())["rows"]}
    for name, kind in KINDS.items():
        if print_only or (name not in only if only else name in rows):
            continue
        click.echo(name, err=True)
        with tempfile.TemporaryDirectory(prefix="edgesr-") as folder:
            rows[name] = row(name, kind, Path(folder))
        ordered = [rows[name] for name in KINDS if name in rows]
        with atomic_outputs([record], overwrite=True) as (path,):
            path.write_text(json.dumps({"rows": ordered}, indent=1) + "\n")
    click.echo(tables([rows[name] for name in KINDS if name in rows]))


if __name__ == "__main__":
    command()
