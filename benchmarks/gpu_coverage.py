"""GPU coverage and FP16 fidelity of edgesr's files and of its peers'.

    python benchmarks/gpu_coverage.py --json benchmarks/results/gpu_coverage.json

Every file is a conversion made in this run from the same checkpoint at the same size: edgesr's, one
by onnx2tf of the exported graph as it is, one by litert-torch. The accelerator itself reports what
it accepts: the file is compiled, not run. The PSNR is that of FP16 arithmetic on the CPU against
PyTorch over all inputs of `edgesr verify` together, and over the photographs among them. A peer's
file keeps the network's own value range (FMEN-S: 0-255): it is fed and read in that range, and
compared in [0, 1].
"""

import argparse
import json
import os
import platform
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path

import numpy as np
import torch
from file_coverage import (
    Acceleration,
    Case,
    Contents,
    ConvertedFile,
    Fidelity,
    acceleration,
    contents,
    fidelity,
)
from peers import (
    LITERT_TORCH,
    convert_with_litert_torch,
    convert_with_onnx2tf,
    litert_torch_python,
)
from rich.console import Console
from rich.table import Table

from converters.gpu.audit import audit
from converters.parity.test_inputs import (
    calibration_inputs,
    parity_inputs,
    reduce_contrast,
    shared_photos,
)
from converters.parity.verify import torch_reference
from converters.pipeline import convert, default_outputs
from converters.source import checkpoint_source
from converters.spec import ConversionSpec, Precision, parse_size
from edgesr.cli.support.native_log import silence_native_log
from edgesr.errors import EdgeSRError
from edgesr.networks.reparam import fold
from edgesr.networks.spec import find_spec
from edgesr.runtime.gpu import GpuDevice, probe_device
from edgesr.weights.checkpoints import LoadedCheckpoint, load
from edgesr.weights.download import published_checkpoint

_COLUMNS = (
    "network",
    "file",
    "operators",
    "on the accelerator",
    "rank above 4",
    "Flex",
    "FP16 arithmetic, PSNR",
    "photographs only",
)
# Small inputs show cheaply how much contrast keeps the network in range.
_SMALL_SIDE = 128


@dataclass(frozen=True)
class Row:
    """One file of one network."""

    model: str
    file: str
    value_range: float
    contents: Contents
    acceleration: Acceleration
    fidelity: Fidelity

    def cells(self) -> tuple[str, ...]:
        """The row of the table."""
        return (
            self.model,
            self.file,
            str(sum(self.contents.operators.values())),
            self._accelerated(),
            str(self.contents.rank_above_4),
            str(self.contents.flex),
            self._psnr(),
            _decibels(self.fidelity.fp16_photos_psnr_db),
        )

    def _accelerated(self) -> str:
        found = self.acceleration
        if not found.loads:
            return "0 %, does not load"
        return f"{found.percent:.1f} %, {found.on_cpu} refused" if found.on_cpu else "100 %"

    def _psnr(self) -> str:
        fidelity = self.fidelity
        if fidelity.does_not_run is not None:
            return "does not run"
        broken = sum(not parity.finite for parity in fidelity.fp16_inputs)
        if broken:
            return f"not finite on {broken} of {len(fidelity.fp16_inputs)} inputs"
        return _decibels(fidelity.fp16_psnr_db)

    def record(self) -> dict[str, object]:
        """The row as JSON values."""
        inputs = [_finite_only(parity.model_dump()) for parity in self.fidelity.fp16_inputs]
        return {
            **asdict(self),
            "acceleration": {**asdict(self.acceleration), "percent": self.acceleration.percent},
            "fidelity": {**_finite_only(asdict(self.fidelity)), "fp16_inputs": inputs},
        }


def main() -> None:
    """Convert, compile for the GPU, compare with PyTorch, and report."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--models", default="rtc,fmen-s")
    parser.add_argument("--size", default="720x480", help="HEIGHTxWIDTH of every file")
    parser.add_argument("--json", type=Path, help="write the record, with its conditions")
    parser.add_argument("--markdown", action="store_true", help="print the table as Markdown")
    arguments = parser.parse_args()
    litert_torch_python()  # minutes at the first time, and pip's errors are to be seen
    silence_native_log()
    try:
        device = probe_device()
        rows = [row for m in arguments.models.split(",") for row in rows_of(m, arguments.size)]
    except EdgeSRError as error:
        sys.exit(f"error: {error}")
    if arguments.markdown:
        print(markdown(rows))
    else:
        show(rows)
    if arguments.json:
        record = {
            "conditions": conditions(arguments.size, device),
            "files": [row.record() for row in rows],
        }
        arguments.json.write_text(json.dumps(record, indent=2, allow_nan=False) + "\n")


def rows_of(model: str, size: str) -> list[Row]:
    """Convert and measure the files of one network."""
    checkpoint = load(published_checkpoint(find_spec(model)))
    spec = ConversionSpec(*parse_size(size), (Precision.FP16, Precision.FP32))
    with tempfile.TemporaryDirectory() as scratch:
        files = converted_files(checkpoint, spec, Path(scratch))
        cases = cases_of(checkpoint, spec)
        return [row_of(checkpoint.spec.name, file, cases) for file in files]


def row_of(model: str, file: ConvertedFile, cases: Sequence[Case]) -> Row:
    """Measure one file."""
    _log(f"{model}: comparing {file.name} with PyTorch")
    found = audit(file.path)
    inside = contents(file.path, found)
    return Row(
        model,
        file.name,
        file.value_range,
        inside,
        acceleration(file.path, sum(inside.operators.values())),
        fidelity(file, cases),
    )


def converted_files(
    checkpoint: LoadedCheckpoint, spec: ConversionSpec, folder: Path
) -> list[ConvertedFile]:
    """Convert to edgesr's two files and the peers' default ones, with FP32 weights."""
    _log(f"{checkpoint.spec.name}: converting with edgesr")
    source = checkpoint_source(checkpoint, spec.height, spec.width)
    outputs = default_outputs(source, spec, folder)
    convert(source, spec, outputs, images=shared_photos())
    ours = [ConvertedFile(f"edgesr, {p.value.upper()} weights", outputs[p], 1.0) for p in outputs]
    net, own_range = fold(checkpoint.net), checkpoint.spec.value_range
    onnx2tf, litert_torch = folder / "onnx2tf.tflite", folder / "litert_torch.tflite"
    _log(f"{checkpoint.spec.name}: converting with onnx2tf")
    convert_with_onnx2tf(net, spec.height, spec.width, onnx2tf)
    _log(f"{checkpoint.spec.name}: converting with litert-torch")
    weights = folder / "plain.pt"
    torch.save(net.state_dict(), weights)
    name = checkpoint.spec.name
    convert_with_litert_torch(name, weights, spec.height, spec.width, litert_torch)
    return [
        *ours,
        ConvertedFile(f"onnx2tf {version('onnx2tf')}, untouched", onnx2tf, own_range),
        ConvertedFile(LITERT_TORCH.replace("==", " "), litert_torch, own_range),
    ]


def cases_of(checkpoint: LoadedCheckpoint, spec: ConversionSpec) -> list[Case]:
    """The inputs of `edgesr verify` and the reference outputs, before folding."""
    _log(f"{checkpoint.spec.name}: running PyTorch")
    reference = torch_reference(checkpoint.net, checkpoint.spec.value_range)
    small = calibration_inputs(_SMALL_SIDE, _SMALL_SIDE, None, reference)
    contrasts = {image.name: image.contrast for image in small}
    inputs = parity_inputs(spec.height, spec.width, shared_photos(), contrasts)
    return [Case(*reduce_contrast(image, reference)) for image in inputs]


def _decibels(psnr_db: float | None) -> str:
    return "-" if psnr_db is None else f"{psnr_db:.1f} dB"


def _finite_only(record: Mapping[str, object]) -> dict[str, object]:
    """Replace infinities by null, since JSON has none."""
    return {
        key: None if isinstance(value, float) and not np.isfinite(value) else value
        for key, value in record.items()
    }


def conditions(size: str, device: GpuDevice) -> dict[str, object]:
    """Conditions of the measurements."""
    tools = ("ai-edge-litert", "onnx2tf", "tensorflow", "torch", "onnx", "numpy")
    return {
        "size": size,
        "accelerator": {
            "what": "LiteRT's GPU accelerator, compiled, not run",
            "adapter": device.adapter,
            "api": device.api,
            "software": device.software,
            "precision": device.precision,
        },
        "fp16_arithmetic": "LiteRT's CompiledModel on the CPU, XNNPACK's FORCE_FP16",
        "reference": "PyTorch, FP32, the network before folding; values compared in [0, 1]",
        "versions": {
            **{tool: version(tool) for tool in tools},
            "litert-torch": LITERT_TORCH.split("==")[1],
        },
        "machine": f"{platform.machine()}, {os.cpu_count()} CPUs",
        "python": platform.python_version(),
    }


def markdown(rows: Sequence[Row]) -> str:
    """Write the table as Markdown."""
    lines = [_COLUMNS, ("---",) * len(_COLUMNS), *(row.cells() for row in rows)]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def show(rows: Sequence[Row]) -> None:
    """Print the table."""
    table = Table(*_COLUMNS)
    for row in rows:
        table.add_row(*row.cells())
    Console().print(table)


def _log(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
