"""A small real super-resolution network, in numpy and as a `.tflite`, of known receptive radius.

It keeps the brightness, as trained networks do: nearest-neighbour upscaling plus random detail.
"""

import itertools
import json
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edgesr.runtime.session import Float32Array
from edgesr.tflite.facts import UNSEALED, seal
from edgesr.tflite.shape import ModelShape
from helpers.tflite_builder import TfliteBuilder, conv_options, options

_SLOPE = 0.05
_HIDDEN = 6  # 3 channels carry the image, 3 its detail
_HEED = 0.3  # how strongly a network that looks at the whole image heeds its mean


@dataclass(frozen=True)
class SmallNet:
    """Convolutions of 3x3 with zero padding and LeakyReLU, then a shuffle.

    Attributes:
        scale: Upscaling factor.
        radius: The number of convolutions behind the head, 1 or more; the receptive radius of a
            network without a head.
        detail: How strong the random part is; 0 leaves nearest-neighbour upscaling.
        halvings: Convolutions of the head; each halves the resolution, which comes back at the end.
        whole_image: Whether each channel's mean over all pixels enters every pixel.
    """

    scale: int = 2
    radius: int = 2
    detail: float = 0.05
    halvings: int = 0
    whole_image: bool = False

    @property
    def multiple(self) -> int:
        """What height and width must be multiples of."""
        return 2**self.halvings

    @property
    def reach(self) -> int:
        """The receptive radius, of the rest where it looks at the whole image."""
        return self.multiple * self.radius + 2 * (self.multiple - 1)

    def weights(self) -> list[NDArray[np.float64]]:
        """One array per convolution: rows x columns x channels in x channels out."""
        random = np.random.RandomState(7)
        hidden = self.halvings + self.radius - 1
        channels = [3, *[_HIDDEN] * hidden, 3 * (self.scale * self.multiple) ** 2]
        made: list[NDArray[np.float64]] = []
        for into, out in itertools.pairwise(channels):
            kernel = self.detail * random.standard_normal((3, 3, into, out))
            for channel in range(out if out > _HIDDEN else 3):
                kernel[1, 1, channel % 3, channel] += 1
            made.append(kernel)
        return made

    def apply(self, lr_hwc: NDArray[np.floating]) -> Float32Array:
        """Upscale a whole image of any size (that is a multiple), computed in float64."""
        values = np.asarray(lr_hwc, np.float64)
        for index, kernel in enumerate(self.weights()):
            if index:
                values = np.where(values < 0, _SLOPE * values, values)
            values = _convolve(values, kernel)
            if index < self.halvings:
                values = values[::2, ::2]
        if self.whole_image:
            values = values + _HEED * values * values.mean((0, 1))
        height, width, _ = values.shape
        shuffle = self.scale * self.multiple
        blocks = values.reshape(height, width, shuffle, shuffle, 3)
        whole = blocks.transpose(0, 2, 1, 3, 4)
        return whole.reshape(shuffle * height, shuffle * width, 3).astype(np.float32)

    def expected(self, pixels_hwc: NDArray[np.generic], shape: ModelShape) -> Float32Array:
        """What upscaling RGB pixels must give, not rounded: the whole image in one run.

        A side that is no multiple, or shorter than twice the reach, is continued by reflection, and
        cropped.
        """
        height, width = pixels_hwc.shape[:2]
        sides = zip((height, width), (shape.height, shape.width), strict=True)
        more = [
            (0, (t - s if s < min(t, 2 * self.reach) else -s % self.multiple)) for s, t in sides
        ]
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
            stride = 2 if index < self.halvings else 1
            if stride > 1:
                current = _padded(made, current, height, width, kernel.shape[2])
                height, width = height // 2, width // 2
            result = made.tensor([1, height, width, out])
            settings = conv_options(stride, padding="VALID" if stride > 1 else "SAME")
            made.operator("CONV_2D", [current, weight, bias], [result], settings)
            current = result
        if self.whole_image:
            current = _heeding_the_mean(made, current, height, width)
        shuffle = self.scale * self.multiple
        hr = made.tensor([1, shuffle * height, shuffle * width, 3], name="hr")
        made.operator(
            "DEPTH_TO_SPACE", [current], [hr], options("DepthToSpaceOptions", blockSize=shuffle)
        )
        if facts:
            made.metadata("EDGESR_FACTS", json.dumps(self.facts()).encode())
        content = made.finish([lr], [hr])
        return seal(content) if UNSEALED.encode() in content else content

    def facts(self) -> dict[str, object]:
        """What of this network edgesr's converter would write into its file."""
        facts: dict[str, object] = {"model": "small", "scale": self.scale, "precision": "fp32"}
        facts |= {"receptive_radius": self.reach, "weights_sha256": "0" * 64}
        facts |= {"weights_source": "a test", "weights_licence": "none", "content_sha256": UNSEALED}
        facts |= {"height": 1, "width": 1, "passes": [], "tool_versions": {}}
        if self.multiple > 1:
            facts["size_multiple"] = self.multiple
        if self.whole_image:
            facts["whole_image"] = True
        return facts


class NumpyRunner:
    """Runs a `SmallNet`. Like LiteRT, it gives a view of memory that the next run overwrites."""

    def __init__(self, net: SmallNet, shape: ModelShape) -> None:
        self.shape = shape
        self.runs = 0
        self._net = net
        size = (1, shape.scale * shape.height, shape.scale * shape.width, 3)
        self._output = np.empty(size, np.float32)

    def close(self) -> None:
        """Nothing is held."""

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


def _padded(made: TfliteBuilder, source: int, height: int, width: int, channels: int) -> int:
    """A pixel of zeros around: with strides, PyTorch's padding is not that of SAME."""
    amounts = made.constant(np.array([[0, 0], [1, 1], [1, 1], [0, 0]], np.int32))
    padded = made.tensor([1, height + 2, width + 2, channels])
    made.operator("PAD", [source, amounts], [padded], options("PadOptions"))
    return padded


def _heeding_the_mean(made: TfliteBuilder, source: int, height: int, width: int) -> int:
    """Each channel times one more than _HEED of its mean."""
    shape = made.graph.tensors[source].shape
    mean, weak = (made.tensor([1, 1, 1, shape[3]]) for _ in range(2))
    heeded, total = (made.tensor([1, height, width, shape[3]]) for _ in range(2))
    axes = made.constant(np.array([1, 2], np.int32))
    made.operator("MEAN", [source, axes], [mean], options("ReducerOptions", keepDims=True))
    gain = made.constant(np.array([_HEED], np.float32))
    made.operator("MUL", [mean, gain], [weak], options("MulOptions"))
    made.operator("MUL", [source, weak], [heeded], options("MulOptions"))
    made.operator("ADD", [source, heeded], [total], options("AddOptions"))
    return total
