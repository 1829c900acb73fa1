"""Differences between two outputs, and the bounds on them."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from converters.manifest import InputParity
from converters.parity.test_inputs import InputImage
from edgesr.images.metrics import Bounds, psnr_of_mse
from edgesr.runtime.session import Backend

Float32Array = NDArray[np.float32]
Float64Array = NDArray[np.float64]


# One step of FP16 in steps of FP32; the most that was measured is 2^11.5.
_FP16_TO_FP32 = 2.0**13
# Two runtimes that both compute in FP32; the most that was measured is 2^1.1.
_FP32_TO_FP32 = 2.0**3


@dataclass(frozen=True)
class Gate(Bounds):
    """Bounds on the parity of a file. NaN and infinity never pass.

    The largest difference is bounded on every input. The PSNR is bounded over the natural images
    together and on every input that is not periodic: where a few values repeat everywhere, the PSNR
    of that input alone depends on a few roundings and is no average.

    A synthetic input may ask for more than arithmetic can give: on a checkerboard some networks
    multiply every rounding by a thousand. There a bound is missed only where the difference is
    also too large for the rounding, as measured in FP32 (`rounding_of`). For natural images there
    is no such exception.

    Attributes:
        max_abs_to_cpu: Largest allowed absolute difference from the same file on the CPU.
        rounding: How much larger than by rounding in FP32 a difference may be.
    """

    max_abs_to_cpu: float | None = None
    rounding: float = _FP16_TO_FP32

    def __str__(self) -> str:
        bounds = [super().__str__()] if super().__str__() else []
        if self.max_abs_to_cpu is not None:
            bounds.append(f"max abs to the CPU <= {self.max_abs_to_cpu:g}")
        return ", ".join([*bounds, "finite"])

    def failures(self, inputs: Sequence[InputParity]) -> list[str]:
        """List the bounds that the measurements miss; empty when they pass."""
        found = [reason for parity in inputs if (reason := self.failure(parity)) is not None]
        natural = [parity for parity in inputs if parity.natural]
        what = "all natural images" if natural else "all inputs"
        if self.is_low(together := pooled_psnr(natural or inputs)):
            found.append(f"{what} together: PSNR {together:.2f} dB, allowed {self.psnr_db:g}")
        return found

    def failure(self, parity: InputParity) -> str | None:
        """The first bound that an input misses; None where it misses none."""
        if not parity.finite:
            return f"{parity.input}: NaN or infinity"
        rounding = self.rounding * (parity.fp32_max or 0.0)
        if self.is_far(parity.max_abs) and not parity.max_abs <= rounding:
            return f"{parity.input}: max abs {parity.max_abs:.3g}, allowed {self.max_abs:g}"
        apart, most = parity.max_abs_to_cpu, self.max_abs_to_cpu
        if most is not None and apart is not None and not apart <= max(most, rounding):
            return f"{parity.input}: max abs to the CPU {apart:.3g}, allowed {most:g}"
        rms = 10 ** (-(parity.psnr_db or 0.0) / 20)
        excused = rms <= self.rounding * (parity.fp32_rms or 0.0)
        if not parity.periodic and self.is_low(parity.psnr_db) and not excused:
            return f"{parity.input}: PSNR {parity.psnr_db:.2f} dB, allowed {self.psnr_db:g}"
        return None


def pooled_psnr(inputs: Sequence[InputParity]) -> float | None:
    """PSNR by the mean square difference of all inputs; each counts alike, whatever its size."""
    squares = [0.0 if p.psnr_db is None else 10 ** (-p.psnr_db / 10) for p in inputs]
    return _psnr(1.0, float(np.mean(squares)))


#: Precision of the stored weights -> the gate on each backend.
GATES: dict[str, dict[Backend, Gate]] = {
    "fp32": {
        Backend.CPU: Gate(max_abs=1e-4, rounding=_FP32_TO_FP32),
        Backend.CPU_FP16: Gate(psnr_db=55.0),
        Backend.GPU: Gate(max_abs=1e-4, max_abs_to_cpu=1e-4, rounding=_FP32_TO_FP32),
        Backend.GPU_FP16: Gate(psnr_db=55.0),
    },
    "fp16": {
        Backend.CPU: Gate(max_abs=1e-2, psnr_db=60.0),
        Backend.CPU_FP16: Gate(psnr_db=55.0),
        Backend.GPU: Gate(max_abs=1e-2, psnr_db=60.0, max_abs_to_cpu=1e-4),
        Backend.GPU_FP16: Gate(psnr_db=55.0),
    },
}

#: Precision of the stored weights -> the backends of every parity run.
DEFAULT_BACKENDS: dict[str, tuple[Backend, ...]] = {
    "fp32": (Backend.CPU,),
    "fp16": (Backend.CPU, Backend.CPU_FP16),
}


def bicubic(lr_nhwc: Float32Array, height: int, width: int) -> Float32Array:
    """Upscale by bicubic interpolation, the baseline without a network.

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
    image: InputImage,
    got: Float32Array,
    wanted: Float32Array,
    base: Float32Array,
    on_cpu: Float32Array | None = None,
) -> InputParity:
    """Measure the difference between two outputs.

    Differences are taken in float64, as outputs may reach float32's end (3e38). Where a value is
    not finite every difference counts as infinite.

    Args:
        image: The input.
        got: The file's output, NHWC.
        wanted: The reference output, NHWC.
        base: Bicubic upscale of the input, NHWC.
        on_cpu: The same file's output on the CPU, NHWC, where `got` comes from a GPU.
    """
    difference = _difference(got, wanted)
    largest = float(difference.max())
    mse = float(np.mean(np.square(difference)))
    return InputParity(
        input=image.name,
        contrast=image.contrast,
        periodic=image.is_periodic,
        natural=image.is_natural,
        size=image.size,
        max_abs=largest,
        max_grey_levels=largest * 255,
        p99_9=_quantile(difference, 0.999),
        psnr_db=_psnr(1.0, mse),
        residual_psnr_db=_psnr(_residual_range(wanted, base), mse),
        max_abs_to_cpu=None if on_cpu is None else float(_difference(got, on_cpu).max()),
        finite=bool(np.isfinite(got).all()),
    )


def with_rounding(parity: InputParity, rounding: Float32Array) -> InputParity:
    """A measurement that knows how much rounding in FP32 changes its reference.

    Args:
        parity: The measurement.
        rounding: What `rounding_of` gives.
    """
    largest = float(np.abs(rounding).max())
    rms = math.sqrt(float(np.mean(np.square(rounding, dtype=np.float64))))
    if not math.isfinite(largest):
        return parity
    return parity.model_copy(update={"fp32_rms": rms, "fp32_max": largest})


def _difference(first: Float32Array, second: Float32Array) -> Float64Array:
    """Absolute differences; all infinite where a value is not finite."""
    if not (np.isfinite(first).all() and np.isfinite(second).all()):
        return np.full(first.shape, np.inf)
    apart = np.subtract(first, second, dtype=np.float64)
    return np.abs(apart, out=apart)


def _residual_range(wanted: Float32Array, base: Float32Array) -> float:
    """Range of the network's residual over bicubic; infinite if not finite."""
    if not np.isfinite(wanted).all():
        return math.inf
    return float(np.ptp(np.subtract(wanted, base, dtype=np.float64)))


def _quantile(values: Float64Array, share: float) -> float:
    """The smallest value that at least `share` of all values do not exceed."""
    index = math.ceil(share * values.size) - 1
    return float(np.partition(values.reshape(-1), index)[index])


def _psnr(peak: float, mse: float) -> float | None:
    """PSNR in dB; None where nothing differs or there is no signal."""
    return None if mse == 0.0 or (peak == 0.0 and math.isfinite(mse)) else psnr_of_mse(mse, peak)
