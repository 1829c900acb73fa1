"""Parity: a `.tflite` against the PyTorch network it was made from, before folding."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from converters.manifest import BackendParity, InputParity
from converters.probes import Probe, Reference, within_range
from edgesr.errors import ParityError
from edgesr.progress import ProgressCallback, silent
from edgesr.runtime import Backend, Runner, open_model

if TYPE_CHECKING:
    from torch import nn

Float32Array = NDArray[np.float32]


@dataclass(frozen=True)
class Gate:
    """What a file must reach. NaN and infinity never pass.

    The largest difference is bounded on every input. The PSNR is bounded over all inputs together
    and on every input that is not periodic: where a few values repeat everywhere, the PSNR of that
    input alone is the luck of a few roundings and no average.

    Attributes:
        max_abs: Largest allowed absolute difference, of values in [0, 1].
        psnr_db: Smallest allowed PSNR with peak 1.0.
    """

    max_abs: float | None = None
    psnr_db: float | None = None

    def __str__(self) -> str:
        bounds: list[str] = []
        if self.psnr_db is not None:
            bounds.append(f"PSNR >= {self.psnr_db:g} dB")
        if self.max_abs is not None:
            bounds.append(f"max abs <= {self.max_abs:g}")
        return ", ".join([*bounds, "finite"])

    def failures(self, inputs: Sequence[InputParity]) -> list[str]:
        """Why the measurements fail the gate; empty when they pass."""
        found = [reason for parity in inputs if (reason := self._failure(parity)) is not None]
        if self._is_low(together := pooled_psnr(inputs)):
            found.append(f"all inputs together: PSNR {together:.2f} dB, allowed {self.psnr_db:g}")
        return found

    def _failure(self, parity: InputParity) -> str | None:
        if not parity.finite:
            return f"{parity.input}: NaN or infinity"
        if self.max_abs is not None and not parity.max_abs <= self.max_abs:
            return f"{parity.input}: max abs {parity.max_abs:.3g}, allowed {self.max_abs:g}"
        if not parity.periodic and self._is_low(parity.psnr_db):
            return f"{parity.input}: PSNR {parity.psnr_db:.2f} dB, allowed {self.psnr_db:g}"
        return None

    def _is_low(self, psnr_db: float | None) -> bool:
        return self.psnr_db is not None and psnr_db is not None and not psnr_db >= self.psnr_db


def pooled_psnr(inputs: Sequence[InputParity]) -> float | None:
    """PSNR of the mean square difference over all inputs, which are of one size."""
    squares = [0.0 if p.psnr_db is None else 10 ** (-p.psnr_db / 10) for p in inputs]
    return _psnr(1.0, float(np.mean(squares)))


#: Precision of the stored weights -> the backends a file is run on, and what it must reach there.
GATES: dict[str, dict[Backend, Gate]] = {
    "fp32": {Backend.CPU: Gate(max_abs=1e-4)},
    "fp16": {
        Backend.CPU: Gate(max_abs=1e-2, psnr_db=60.0),
        Backend.CPU_FP16: Gate(psnr_db=55.0),
    },
}


@dataclass(frozen=True)
class ParityReport:
    """Parity of one file on every backend it was run on."""

    file: str
    backends: tuple[BackendParity, ...]

    @property
    def failures(self) -> list[str]:
        """Every gate that failed, input by input; empty when all passed."""
        return [
            f"{self.file} on {parity.backend}, {reason}"
            for parity in self.backends
            for reason in parity.failures
        ]


@dataclass(frozen=True)
class _Run:
    """A file loaded on one backend, and what was measured on it so far."""

    path: Path
    backend: Backend
    gate: Gate
    runner: Runner
    results: list[InputParity] = field(default_factory=list[InputParity])

    def record(self) -> BackendParity:
        return BackendParity(
            backend=self.backend.value,
            gate=str(self.gate),
            failures=tuple(self.gate.failures(self.results)),
            psnr_db=pooled_psnr(self.results),
            inputs=tuple(self.results),
        )


class ParityGateError(ParityError):
    """A file failed its gate.

    Attributes:
        reports: Everything that was measured, the passed gates too.
    """

    def __init__(self, reports: Sequence[ParityReport]) -> None:
        failures = [text for report in reports for text in report.failures]
        more = f" (and {len(failures) - 3} more)" if len(failures) > 3 else ""
        super().__init__(
            f"not equal to PyTorch: {'; '.join(failures[:3])}{more}; the file must not be used"
        )
        self.reports = tuple(reports)


def torch_reference(net: "nn.Module", value_range: float) -> Reference:
    """The network as a function of NHWC pictures in [0, 1].

    Args:
        net: A network in eval mode, training or plain form, NCHW in [0, value_range].
        value_range: Upper end of the network's own range.
    """
    import torch

    def run(lr_nhwc: Float32Array) -> Float32Array:
        with torch.inference_mode():
            lr_nchw = torch.from_numpy(np.ascontiguousarray(lr_nhwc.transpose(0, 3, 1, 2)))
            hr_nchw = net(lr_nchw * value_range) / value_range
        return hr_nchw.numpy().transpose(0, 2, 3, 1)

    return run


def verify(
    files: Mapping[Path, str],
    reference: Reference,
    probes: Sequence[Probe],
    *,
    threads: int | None = None,
    progress: ProgressCallback = silent,
) -> list[ParityReport]:
    """Run files on every backend that their precision is gated on, and compare with PyTorch.

    Args:
        files: Path -> precision of the stored weights, "fp16" or "fp32".
        reference: The network before folding.
        probes: The inputs, of the files' own size.
        threads: CPU threads.
        progress: Told after every input.

    Returns:
        One report per file, all gates passed.

    Raises:
        ParityGateError: A gate failed.
        ModelFileError: A file cannot be run.
    """
    runs = [
        _Run(path, backend, gate, open_model(path, backend, threads=threads))
        for path, precision in files.items()
        for backend, gate in GATES[precision].items()
    ]
    for index, probe in enumerate(probes):
        progress("verify", index, len(probes))
        fitting, wanted = within_range(probe, reference)
        base = bicubic(fitting.lr_nhwc, wanted.shape[1], wanted.shape[2])
        for run in runs:
            got = run.runner.run(fitting.lr_nhwc)
            _check_shapes(run.path, got, wanted)
            run.results.append(compare(fitting, got, wanted, base))
    progress("verify", len(probes), len(probes))
    reports = [
        ParityReport(path.name, tuple(run.record() for run in runs if run.path == path))
        for path in files
    ]
    if any(report.failures for report in reports):
        raise ParityGateError(reports)
    return reports


def _check_shapes(path: Path, got: Float32Array, wanted: Float32Array) -> None:
    if got.shape != wanted.shape:
        raise ParityError(
            f"{path} gives {list(got.shape)}, PyTorch {list(wanted.shape)}: another scale or "
            "network; name the right one with --model and --checkpoint"
        )


def bicubic(lr_nhwc: Float32Array, height: int, width: int) -> Float32Array:
    """Bicubic upscale: what is there without a network.

    Args:
        lr_nhwc: 1 x h x w x 3.
        height: Rows of the result.
        width: Columns of the result.

    Returns:
        1 x height x width x 3, not clipped.
    """
    from PIL import Image

    channels = [
        np.asarray(
            Image.fromarray(np.ascontiguousarray(lr_nhwc[0, :, :, c])).resize(
                (width, height), Image.Resampling.BICUBIC
            )
        )
        for c in range(lr_nhwc.shape[3])
    ]
    return np.stack(channels, axis=-1)[np.newaxis]


def compare(
    probe: Probe, got: Float32Array, wanted: Float32Array, base: Float32Array
) -> InputParity:
    """Measure how far two outputs are apart.

    Args:
        probe: The input.
        got: The file's output, NHWC.
        wanted: PyTorch's output, NHWC.
        base: Bicubic upscale of the input, NHWC.
    """
    finite = bool(np.isfinite(got).all())
    difference = np.abs(got - wanted) if finite else np.full_like(wanted, np.inf)
    largest = float(difference.max())
    mse = float(np.mean(np.square(difference), dtype=np.float64))
    residual = wanted - base
    return InputParity(
        input=probe.name,
        contrast=probe.contrast,
        periodic=probe.is_periodic,
        max_abs=largest,
        max_grey_levels=largest * 255,
        p99_9=_quantile(difference, 0.999),
        psnr_db=_psnr(1.0, mse),
        residual_psnr_db=_psnr(float(np.ptp(residual)), mse),
        finite=finite,
    )


def _quantile(values: Float32Array, share: float) -> float:
    """The smallest value that at least `share` of all values do not exceed."""
    index = math.ceil(share * values.size) - 1
    return float(np.partition(values.reshape(-1), index)[index])


def _psnr(peak: float, mse: float) -> float | None:
    """PSNR in dB; None where it is not defined: nothing differs, or there is no signal."""
    if mse == 0.0 or peak == 0.0:
        return None
    return 10 * float(np.log10(peak**2 / mse)) if np.isfinite(mse) else -np.inf
