"""How far two outputs are apart, and how far they may be."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from converters.manifest import InputParity
from converters.probes import Probe
from edgesr.bounds import Bounds
from edgesr.runtime import Backend

Float32Array = NDArray[np.float32]
Float64Array = NDArray[np.float64]


@dataclass(frozen=True)
class Gate(Bounds):
    """What a file must reach. NaN and infinity never pass.

    The largest difference is bounded on every input. The PSNR is bounded over all inputs together
    and on every input that is not periodic: where a few values repeat everywhere, the PSNR of that
    input alone is the luck of a few roundings and no average.

    Attributes:
        max_abs_to_cpu: Largest allowed absolute difference to the same file on the CPU.
    """

    max_abs_to_cpu: float | None = None

    def __str__(self) -> str:
        bounds = [super().__str__()] if super().__str__() else []
        if self.max_abs_to_cpu is not None:
            bounds.append(f"max abs to the CPU <= {self.max_abs_to_cpu:g}")
        return ", ".join([*bounds, "finite"])

    def failures(self, inputs: Sequence[InputParity]) -> list[str]:
        """Why the measurements fail the gate; empty when they pass."""
        found = [reason for parity in inputs if (reason := self._failure(parity)) is not None]
        if self.is_low(together := pooled_psnr(inputs)):
            found.append(f"all inputs together: PSNR {together:.2f} dB, allowed {self.psnr_db:g}")
        return found

    def _failure(self, parity: InputParity) -> str | None:
        if not parity.finite:
            return f"{parity.input}: NaN or infinity"
        if self.is_far(parity.max_abs):
            return f"{parity.input}: max abs {parity.max_abs:.3g}, allowed {self.max_abs:g}"
        apart, most = parity.max_abs_to_cpu, self.max_abs_to_cpu
        if most is not None and apart is not None and not apart <= most:
            return f"{parity.input}: max abs to the CPU {apart:.3g}, allowed {most:g}"
        if not parity.periodic and self.is_low(parity.psnr_db):
            return f"{parity.input}: PSNR {parity.psnr_db:.2f} dB, allowed {self.psnr_db:g}"
        return None


def pooled_psnr(inputs: Sequence[InputParity]) -> float | None:
    """PSNR of the mean square difference over all inputs, which are of one size."""
    squares = [0.0 if p.psnr_db is None else 10 ** (-p.psnr_db / 10) for p in inputs]
    return _psnr(1.0, float(np.mean(squares)))


#: Precision of the stored weights -> what a file must reach on each backend.
GATES: dict[str, dict[Backend, Gate]] = {
    "fp32": {
        Backend.CPU: Gate(max_abs=1e-4),
        Backend.CPU_FP16: Gate(psnr_db=55.0),
        Backend.GPU: Gate(max_abs=1e-4, max_abs_to_cpu=1e-4),
        Backend.GPU_FP16: Gate(psnr_db=55.0),
    },
    "fp16": {
        Backend.CPU: Gate(max_abs=1e-2, psnr_db=60.0),
        Backend.CPU_FP16: Gate(psnr_db=55.0),
        Backend.GPU: Gate(max_abs=1e-2, psnr_db=60.0, max_abs_to_cpu=1e-4),
        Backend.GPU_FP16: Gate(psnr_db=55.0),
    },
}

#: Precision of the stored weights -> the backends that every conversion is run on.
DEFAULT_BACKENDS: dict[str, tuple[Backend, ...]] = {
    "fp32": (Backend.CPU,),
    "fp16": (Backend.CPU, Backend.CPU_FP16),
}


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
    probe: Probe,
    got: Float32Array,
    wanted: Float32Array,
    base: Float32Array,
    on_cpu: Float32Array | None = None,
) -> InputParity:
    """Measure how far two outputs are apart, in float64: float32 ends at 3e38, and so may outputs.

    Where a value is not finite every difference counts as infinite.

    Args:
        probe: The input.
        got: The file's output, NHWC.
        wanted: PyTorch's output, NHWC.
        base: Bicubic upscale of the input, NHWC.
        on_cpu: The same file's output on the CPU, NHWC, where `got` is a GPU's.
    """
    difference = _difference(got, wanted)
    largest = float(difference.max())
    mse = float(np.mean(np.square(difference)))
    return InputParity(
        input=probe.name,
        contrast=probe.contrast,
        periodic=probe.is_periodic,
        max_abs=largest,
        max_grey_levels=largest * 255,
        p99_9=_quantile(difference, 0.999),
        psnr_db=_psnr(1.0, mse),
        residual_psnr_db=_psnr(_residual_range(wanted, base), mse),
        max_abs_to_cpu=None if on_cpu is None else float(_difference(got, on_cpu).max()),
        finite=bool(np.isfinite(got).all()),
    )


def _difference(first: Float32Array, second: Float32Array) -> Float64Array:
    """Absolute differences; all infinite where a value is not finite."""
    if not (np.isfinite(first).all() and np.isfinite(second).all()):
        return np.full(first.shape, np.inf)
    apart = np.subtract(first, second, dtype=np.float64)
    return np.abs(apart, out=apart)


def _residual_range(wanted: Float32Array, base: Float32Array) -> float:
    """From the lowest to the highest of what the network adds; infinite where it is not finite."""
    if not np.isfinite(wanted).all():
        return math.inf
    return float(np.ptp(np.subtract(wanted, base, dtype=np.float64)))


def _quantile(values: Float64Array, share: float) -> float:
    """The smallest value that at least `share` of all values do not exceed."""
    index = math.ceil(share * values.size) - 1
    return float(np.partition(values.reshape(-1), index)[index])


def _psnr(peak: float, mse: float) -> float | None:
    """PSNR in dB; None where it is not defined: nothing differs, or there is no signal."""
    if not math.isfinite(mse):
        return -math.inf
    return None if mse == 0.0 or peak == 0.0 else 10 * math.log10(peak**2 / mse)
