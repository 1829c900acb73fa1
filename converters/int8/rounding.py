"""Weights to int8, each rounded so that the next ones make up for its error.

Layer after layer, on the images as the integer file will see them: the float network and the
integer one run side by side, and every convolution's weights are first fitted to give the float
network's output from the integer network's input, then rounded with compensation as for FP16
(`fp16_rounding`), and last its bias takes up what is left of the mean error per channel.

Source: Frantar et al., "GPTQ: Accurate Post-Training Quantization for Generative Pre-trained
Transformers", ICLR 2023; Nagel et al. (see equalise.py) for the bias.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from converters.int8.graph import Float64Array, IntegerGraph, Op, conv, padded
from converters.int8.grids import Grid, rounded_to_grids
from converters.passes.fp16_rounding import round_compensated

#: Weights are symmetric: -128 is left out.
MOST = 127
_SAMPLES = 12_000
_DAMPING = 1e-3
# Shares of the largest weight that the grid of a channel may reach to.
_REACHES = (1.0, 0.95, 0.9, 0.85, 0.8, 0.7)


@dataclass(frozen=True)
class IntegerWeights:
    """A convolution's weights in the file.

    Attributes:
        kernel: int8, as TFLite stores it.
        scales: One per output channel.
        bias: Float64, per output channel; the file holds it in steps of input scale times scale.
    """

    kernel: NDArray[np.int8]
    scales: Float64Array
    bias: Float64Array

    def values(self, op: Op) -> Float64Array:
        """The numbers that the kernel stands for."""
        scales = self.scales if op.kind == "DEPTHWISE_CONV_2D" else self.scales[:, None, None, None]
        return self.kernel.astype(np.float64) * scales


def round_weights(
    graph: IntegerGraph,
    grids: Mapping[int, Grid],
    images_nchw: Sequence[Tensor],
    *,
    compensate: bool = True,
) -> dict[int, IntegerWeights]:
    """Round the weights of every convolution.

    Args:
        graph: The network.
        grids: Of the input and every operator's output.
        images_nchw: Calibration images of one size, each 1 x 3 x H x W, float64.
        compensate: Whether errors are compensated; otherwise each weight is rounded to nearest.

    Returns:
        Number of the operator's output -> its weights.
    """
    found: dict[int, IntegerWeights] = {}
    count = len(images_nchw)
    rng = np.random.default_rng(0)

    def see(number: int, both: Tensor) -> Tensor:
        return torch.cat([both[:count], rounded_to_grids(grids, number, both[count:])])

    def convolve(op: Op, both: Tensor) -> Tensor:
        kernel = graph.constants[op.inputs[1]]
        bias = (
            graph.constants[op.inputs[2]] if len(op.inputs) > 2 else np.zeros(_outputs(op, kernel))
        )
        exact, seen = both[:count], both[count:]
        wanted = conv(op, exact, torch.from_numpy(kernel), torch.from_numpy(bias))
        if compensate and op.kind == "CONV_2D" and kernel.shape[3] == both.shape[1]:
            rounded, scales = _compensated(op, kernel, exact, seen, rng)
        else:
            rounded, scales = _nearest(op, kernel)
        made = IntegerWeights(rounded, scales, bias)
        values = made.values(op)
        got = conv(op, seen, torch.from_numpy(values), torch.from_numpy(bias))
        if compensate:
            missing = (wanted - got).mean((0, 2, 3)).numpy()
            bias = bias + missing
            got = got + torch.from_numpy(missing)[:, None, None]
        found[op.output] = replace(made, bias=bias)
        return torch.cat([wanted, got])

    images = torch.cat(list(images_nchw))
    graph.run(torch.cat([images, images]), see, convolve=convolve)
    return found


def _outputs(op: Op, kernel: Float64Array) -> int:
    return kernel.shape[3] if op.kind == "DEPTHWISE_CONV_2D" else kernel.shape[0]


def _nearest(op: Op, kernel: Float64Array) -> tuple[NDArray[np.int8], Float64Array]:
    depthwise = op.kind == "DEPTHWISE_CONV_2D"
    axes = (0, 1, 2) if depthwise else (1, 2, 3)
    largest = np.abs(kernel).max(axis=axes, keepdims=True)
    scales = np.where(largest > 0, largest, 1.0).astype(np.float32).astype(np.float64) / MOST
    scales = scales.astype(np.float32).astype(np.float64)
    return np.rint(kernel / scales).clip(-MOST, MOST).astype(np.int8), scales.reshape(-1)


def _compensated(
    op: Op, kernel: Float64Array, exact: Tensor, seen: Tensor, rng: np.random.Generator
) -> tuple[NDArray[np.int8], Float64Array]:
    """Fit, choose scales, round one after the other."""
    height, width = kernel.shape[1:3]
    places: NDArray[np.int64] | None = None
    windows: list[Float64Array] = []
    for x in (exact, seen):
        unfolded = _windows(op, x, height, width)
        if places is None:
            places = rng.choice(unfolded.shape[1], min(_SAMPLES, unfolded.shape[1]), replace=False)
        windows.append(unfolded[:, places])
    of_exact, of_seen = windows
    matrix = kernel.transpose(0, 3, 1, 2).reshape(len(kernel), -1)
    moments = of_seen @ of_seen.T
    damped = moments + np.diag(np.diag(moments) * _DAMPING + np.trace(moments) * 1e-9 + 1e-12)
    change = np.linalg.solve(damped, (of_seen @ (of_exact - of_seen).T) @ matrix.T).T
    fitted = matrix + change
    power = np.diag(moments)
    scales = _scales(fitted, power)
    rounded = round_compensated(
        fitted, damped, lambda column: np.rint(column / scales).clip(-MOST, MOST) * scales
    )
    whole = np.rint(rounded / scales[:, None]).astype(np.int8)
    shaped = whole.reshape(len(kernel), kernel.shape[3], height, width).transpose(0, 2, 3, 1)
    return np.ascontiguousarray(shaped), scales


def _windows(op: Op, x: Tensor, height: int, width: int) -> Float64Array:
    """What each output pixel sees, as columns, less its mean, which is the bias's."""
    options = op.options
    columns = F.unfold(
        padded(x, op, height, width), (height, width),
        dilation=(options["dilation_h_factor"], options["dilation_w_factor"]),
        stride=(options["stride_h"], options["stride_w"]),
    )  # fmt: skip
    flat = columns.transpose(0, 1).reshape(columns.shape[1], -1)
    return (flat - flat.mean(1, keepdim=True)).numpy()


def _scales(matrix: Float64Array, power: Float64Array) -> Float64Array:
    """Per row the scale with the least error at the output."""
    largest = np.abs(matrix).max(axis=1)
    largest[largest == 0] = 1.0
    best, least = largest / MOST, np.full(len(matrix), np.inf)
    for reach in _REACHES:
        scales = (largest * reach / MOST)[:, None]
        error = ((np.rint(matrix / scales).clip(-MOST, MOST) * scales - matrix) ** 2) @ power
        better = error < least
        best[better], least[better] = scales[better, 0], error[better]
    return best.astype(np.float32).astype(np.float64)
