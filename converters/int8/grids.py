"""The integer grid of every tensor: a scale and a zero point, chosen on real images."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from converters.int8.graph import SAME_SCALE, Float64Array, IntegerGraph
from edgesr.errors import ConversionError

LOWEST, HIGHEST = -128, 127
_STEPS = HIGHEST - LOWEST
# Shares of the values that may lie outside of the range, at either end.
_CUT_OFF = (0.0, 1e-5, 1e-4, 3e-4, 1e-3)
_SAMPLES = 20_000
_LEAST_GAIN = 1e-12
# Roundings cancel each other over the taps of the next convolution. What is cut off does not.
_CLIPPED = 300.0
#: Below this share of the input's range a tensor is constant for all that eight bits can tell.
_LEAST_RANGE = 1e-6


@dataclass(frozen=True)
class Grid:
    """An int8 number q stands for scale * (q - zero)."""

    scale: float
    zero: int

    @classmethod
    def of_range(cls, low: float, high: float) -> "Grid":
        """The grid that spans a range; zero, which pads borders, is one of its points."""
        low, high = min(low, 0.0), max(high, 0.0)
        scale = float(np.float32((high - low) / _STEPS))
        return cls(scale, int(np.clip(np.rint(LOWEST - low / scale), LOWEST, HIGHEST)))

    @property
    def range(self) -> tuple[float, float]:
        """Smallest and largest number."""
        return self.scale * (LOWEST - self.zero), self.scale * (HIGHEST - self.zero)

    def rounded(self, values: Tensor) -> Tensor:
        """The nearest numbers of the grid."""
        low, high = self.range
        return torch.round(values.clamp(low, high) / self.scale) * self.scale


#: What images are: one step is one grey level, and black and white are the ends.
IMAGE = Grid(float(np.float32(1 / 255)), LOWEST)
#: TFLite's kernel of LOGISTIC makes this and nothing else.
LOGISTIC = Grid(1 / 256, LOWEST)


@dataclass
class Statistics:
    """What calibration saw of a tensor.

    Attributes:
        lowest: Smallest value per channel.
        highest: Largest value per channel.
        samples: Some of its values.
    """

    lowest: Float64Array
    highest: Float64Array
    samples: Float64Array


def observe(graph: IntegerGraph, images_nchw: Sequence[Tensor]) -> dict[int, Statistics]:
    """Run a network in float64 and note every tensor's values.

    Args:
        graph: The network.
        images_nchw: Calibration images, each 1 x 3 x H x W, float64 in [0, 1].
    """
    found: dict[int, Statistics] = {}
    rng = np.random.default_rng(0)
    each = max(_SAMPLES // len(images_nchw), 1)

    def see(number: int, value: Tensor) -> Tensor:
        flat = value.transpose(0, 1).reshape(value.shape[1], -1).numpy()
        low, high = flat.min(axis=1), flat.max(axis=1)
        samples = rng.choice(flat.reshape(-1), each)
        known = found.get(number)
        if known is not None:
            low, high = np.minimum(low, known.lowest), np.maximum(high, known.highest)
            samples = np.concatenate([known.samples, samples])
        found[number] = Statistics(low, high, samples)
        return value

    for image in images_nchw:
        graph.run(image, see)
    return found


def noise_gains(graph: IntegerGraph, images_nchw: Sequence[Tensor]) -> dict[int, Float64Array]:
    """How much of a rounding's mean square in each channel of each tensor the output shows.

    Args:
        graph: The network.
        images_nchw: Calibration images of one size, each 1 x 3 x H x W, float64.
    """
    kept: dict[int, Tensor] = {}

    def keep(number: int, value: Tensor) -> Tensor:
        kept[number] = value if value.requires_grad else value.requires_grad_()
        kept[number].retain_grad()
        return value

    random = torch.Generator().manual_seed(0)
    with torch.enable_grad():
        result = graph.run(torch.cat(list(images_nchw)).clone(), keep)
        signs = torch.randint(0, 2, result.shape, generator=random).double() * 2 - 1
        result.backward(signs)
    found: dict[int, Float64Array] = {}
    for number, value in kept.items():
        gradient = torch.zeros_like(value) if value.grad is None else value.grad
        found[number] = gradient.square().mean((0, 2, 3)).numpy() + _LEAST_GAIN
    return found


def choose(
    graph: IntegerGraph, seen: Mapping[int, Statistics], *, least_error: bool = True
) -> dict[int, Grid]:
    """Choose the grid of the input and of every operator's output.

    Args:
        graph: The network.
        seen: What calibration saw.
        least_error: Whether rare values may be cut off where that lowers the mean square error;
            otherwise the range reaches from the smallest to the largest.

    Raises:
        ConversionError: A tensor has no range to speak of on the calibration images.
    """
    grids: dict[int, Grid] = {}
    for tied in same_grids(graph):
        fixed = [g for t in tied if (g := _fixed(graph, t)) is not None]
        if fixed and len(set(fixed)) == 1:
            grids |= dict.fromkeys(tied, fixed[0])
            continue
        values = np.concatenate([seen[t].samples for t in tied])
        low = min(float(seen[t].lowest.min()) for t in tied)
        high = max(float(seen[t].highest.max()) for t in tied)
        if not (np.isfinite([low, high]).all() and high - low > _LEAST_RANGE):
            raise ConversionError(
                f"tensor {graph.names[tied[0]]} collapses: on the calibration images its values "
                f"lie between {low:.3g} and {high:.3g}; give other photographs by --images, or "
                "convert with --fp16"
            )
        grid = Grid.of_range(low, high)
        if least_error:
            grid = _least_error(values, _importance(graph, tied, values), low, high)
        grids |= dict.fromkeys(tied, grid)
    return grids


def same_grids(graph: IntegerGraph) -> list[list[int]]:
    """Groups of tensors that must share a grid."""
    groups = {t: [t] for t in (graph.source, *(op.output for op in graph.ops))}
    for op in graph.ops:
        if op.kind in SAME_SCALE:
            for tensor in (i for i in op.inputs if i not in graph.constants):
                if groups[tensor] is not groups[op.output]:
                    groups[op.output].extend(groups[tensor])
                    for member in groups[op.output]:
                        groups[member] = groups[op.output]
    return list({id(group): sorted(group) for group in groups.values()}.values())


def _fixed(graph: IntegerGraph, tensor: int) -> Grid | None:
    if tensor in (graph.source, graph.result):
        return IMAGE
    producer = graph.producer(tensor)
    return LOGISTIC if producer is not None and producer.kind == "LOGISTIC" else None


def _importance(graph: IntegerGraph, tied: Sequence[int], values: Float64Array) -> Float64Array:
    """How much of a squared error comes through what reads the tensors."""
    readers = [op for t in tied for op in graph.consumers(t) if op.output not in tied]
    slopes = [{"LEAKY_RELU": op.options.get("alpha", 0), "RELU": 0}.get(op.kind) for op in readers]
    known = [s for s in slopes if s is not None]
    if not readers or len(known) < len(readers):
        return np.ones_like(values)
    return np.where(values < 0, max(known) ** 2, 1.0)


def _least_error(values: Float64Array, importance: Float64Array, low: float, high: float) -> Grid:
    ends = np.quantile(values, _CUT_OFF), np.quantile(values, [1 - c for c in _CUT_OFF])
    lows, highs = [low, *ends[0].tolist()], [high, *ends[1].tolist()]
    if (importance < 1).any():  # what is negative counts little: most of it may be cut off
        lows += [low * share for share in (0.5, 0.35, 0.25, 0.15)]
    best, least = Grid.of_range(low, high), np.inf
    kept = torch.from_numpy(values)
    for first in lows:
        for last in highs:
            if last - first <= _LEAST_RANGE:
                continue
            grid = Grid.of_range(first, last)
            squared = importance * (grid.rounded(kept).numpy() - values) ** 2
            beyond = (values < grid.range[0]) | (values > grid.range[1])
            error = float(np.mean(squared * np.where(beyond, _CLIPPED, 1.0)))
            if error < least:
                best, least = grid, error
    return best


def rounded_to_grids(grids: Mapping[int, Grid], number: int, value: Tensor) -> Tensor:
    """The value as the integer file holds it."""
    grid = grids.get(number)
    return value if grid is None else grid.rounded(value)


def constant_grid(values: NDArray[np.float64]) -> Grid:
    """The grid of a constant operand."""
    low, high = float(values.min()), float(values.max())
    return Grid.of_range(low, high if low < high or low else 1.0)
