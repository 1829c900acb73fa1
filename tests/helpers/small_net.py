"""A small real super-resolution network, in numpy and as a `.tflite`, of known receptive radius.

It keeps the brightness, as trained networks do: nearest-neighbour upscaling plus random detail.
"""

import itertools
import json
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edgesr.runtime import Float32Array, ModelShape
from helpers.tflite_builder import TfliteBuilder, conv_options, options

_SLOPE = 0.05
_HIDDEN = 6  # 3 channels carry the picture, 3 its detail


@dataclass(frozen=True)
class SmallNet:
    """Convolutions of 3x3 with zero padding and LeakyReLU, then a shuffle.

    Attributes:
        scale: Upscaling factor.
        radius: Receptive radius: the number of convolutions, 1 or more.
        detail: How strong the random part is; 0 leaves nearest-neighbour upscaling.
    """

    scale: int = 2
    radius: int = 2
    detail: float = 0.05

    def weights(self) -> list[NDArray[np.float64]]:
        """One array per convolution: rows x columns x channels in x channels out."""
        random = np.random.RandomState(7)
        channels = [3, *[_HIDDEN] * (self.radius - 1), 3 * self.scale**2]
        made: list[NDArray[np.float64]] = []
        for into, out in itertools.pairwise(channels):
            kernel = self.detail * random.standard_normal((3, 3, into, out))
            for channel in range(out if out > _HIDDEN else 3):
                kernel[1, 1, channel % 3, channel] += 1
            made.append(kernel)
        return made

    def apply(self, lr_hwc: NDArray[np.floating]) -> Float32Array:
        """Upscale a whole picture of any size, computed in float64."""
        values = np.asarray(lr_hwc, np.float64)
        for index, kernel in enumerate(self.weights()):
            if index:
                values = np.where(values < 0, _SLOPE * values, values)
            values = _convolve(values, kernel)
        height, width, _ = values.shape
        blocks = values.reshape(height, width, self.scale, self.scale, 3)
        whole = blocks.transpose(0, 2, 1, 3, 4)
        return whole.reshape(self.scale * height, self.scale * width, 3).astype(np.float32)

    def expected(self, pixels_hwc: NDArray[np.generic], shape: ModelShape) -> Float32Array:
        """What upscaling RGB pixels must give, not rounded: the whole picture in one run.

        A side shorter than twice the radius is continued by reflection, and cropped.
        """
        height, width = pixels_hwc.shape[:2]
        sides = zip((height, width), (shape.height, shape.width), strict=True)
        more = [(0, max(0, t - s) if s < 2 * self.radius else 0) for s, t in sides]
        padded = np.pad(pixels_hwc, [*more, (0, 0)], mode="reflect")
        whole = self.apply(padded / np.iinfo(padded.dtype).max)
        return whole[: self.scale * height, : self.scale * width]

    def runner(self, height: int, width: int) -> "NumpyRunner":
        """This network as a `Runner` of one fixed size."""
        return NumpyRunner(self, ModelShape(height, width, self.scale))

    def tflite(self, height: int, width: int, *, facts: bool = True) -> bytes:
        """This network as a `.tflite` of one fixed size, with or without edgesr's facts."""
        made = TfliteBuilder()
        current = lr = made.tensor([1, height, width, 3], name="lr")
        for index, kernel in enumerate(self.weights()):
            if index:
                active = made.tensor([1, height, width, _HIDDEN])
                made.operator(
                    "LEAKY_RELU", [current], [active], options("LeakyReluOptions", alpha=_SLOPE)
                )
                current = active
            out = kernel.shape[3]
            weight = made.constant(kernel.transpose(3, 0, 1, 2).astype(np.float32))
            bias = made.constant(np.zeros(out, np.float32))
            result = made.tensor([1, height, width, out])
            made.operator("CONV_2D", [current, weight, bias], [result], conv_options())
            current = result
        hr = made.tensor([1, self.scale * height, self.scale * width, 3], name="hr")
        made.operator(
            "DEPTH_TO_SPACE", [current], [hr], options("DepthToSpaceOptions", blockSize=self.scale)
        )
        if facts:
            made.metadata("EDGESR_FACTS", json.dumps({"receptive_radius": self.radius}).encode())
        return made.finish([lr], [hr])


class NumpyRunner:
    """Runs a `SmallNet`. Like LiteRT, it gives a view of memory that the next run overwrites."""

    def __init__(self, net: SmallNet, shape: ModelShape) -> None:
        self.shape = shape
        self.runs = 0
        self._net = net
        size = (1, shape.scale * shape.height, shape.scale * shape.width, 3)
        self._output = np.empty(size, np.float32)

    def run(self, lr_nhwc: Float32Array) -> Float32Array:
        """Upscale one tile."""
        assert lr_nhwc.shape == (1, self.shape.height, self.shape.width, 3)
        assert lr_nhwc.dtype == np.float32
        self.runs += 1
        self._output[0] = self._net.apply(lr_nhwc[0])
        return self._output.view()


def _convolve(values: NDArray[np.float64], kernel: NDArray[np.float64]) -> NDArray[np.float64]:
    """3x3, zero padding."""
    height, width, _ = values.shape
    padded = np.pad(values, ((1, 1), (1, 1), (0, 0)))
    taps = [
        padded[y : y + height, x : x + width] @ kernel[y, x] for y in range(3) for x in range(3)
    ]
    return np.sum(taps, axis=0)
