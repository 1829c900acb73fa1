"""Cross-layer equalisation: every channel of a tensor fills the tensor's one scale.

Why it is exact. A convolution's output channel multiplied by s > 0 and the matching input channel
of every convolution behind it divided by s leave the network's function as it is, as long as
nothing but positively homogeneous operators (LeakyReLU, ReLU), sums and concatenations lie between
them. Sums tie their operands' channels together, so all tensors of a residual stream share their
factors. Where a convolution feeds nothing but a concatenation that 1x1 convolutions read, a
constant per channel can be added to it too, and taken off again in their biases.

Why it is needed. Integer kernels know one scale per tensor: of a channel a quarter as wide as the
widest, two of eight bits are never used.

Source: Nagel et al., "Data-Free Quantization Through Weight Equalization and Bias Correction",
ICCV 2019; here with the ranges that real images give.
"""

from collections.abc import Mapping

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from converters.int8.graph import CONVOLUTIONS, Float64Array, IntegerGraph, Op
from converters.int8.grids import same_grids

NAME = "equalise"

# Factors begin below this: more would be those of channels that are nearly always zero.
_MOST = 64.0
_ROUNDS = 300
_SHARPNESS = 16


class _Ties:
    """Which channels of which tensors must be scaled alike; a union-find over both."""

    def __init__(self, graph: IntegerGraph) -> None:
        self._start: dict[int, int] = {}
        count = 1  # 0 stands for what cannot be scaled
        for tensor in (graph.source, *(op.output for op in graph.ops)):
            self._start[tensor] = count
            count += graph.channels(tensor)
        self._parents = list(range(count))
        self.count = count
        self._graph = graph

    def ids(self, tensor: int) -> NDArray[np.intp]:
        start = self._start[tensor]
        return np.array([self._find(start + c) for c in range(self._graph.channels(tensor))])

    def _find(self, index: int) -> int:
        while self._parents[index] != index:
            self._parents[index] = self._parents[self._parents[index]]
            index = self._parents[index]
        return index

    def tie(self, tensor: int, to: int, first: int = 0) -> None:
        """Tie a tensor's channels to another's, from its channel `first` on."""
        for channel in range(self._graph.channels(tensor)):
            one = self._find(self._start[tensor] + channel)
            other = self._find(self._start[to] + first + channel)
            self._parents[max(one, other)] = min(one, other)

    def pin(self, tensor: int) -> None:
        """Leave a tensor as it is."""
        for channel in range(self._graph.channels(tensor)):
            self._parents[self._find(self._start[tensor] + channel)] = 0


def _tie(graph: IntegerGraph, ties: _Ties, op: Op) -> None:
    inputs = [i for i in op.inputs if i not in graph.constants]
    constants = len(inputs) < len(op.inputs)
    if op.kind in CONVOLUTIONS:
        return
    if op.kind in ("LEAKY_RELU", "RELU") or (op.kind in ("ADD", "SUB") and not constants):
        for tensor in inputs:
            ties.tie(tensor, op.output)
    elif op.kind == "CONCATENATION" and op.options["axis"] % 4 == 3:
        first = 0
        for tensor in inputs:
            ties.tie(tensor, op.output, first)
            first += graph.channels(tensor)
    elif op.kind == "MUL" and not constants and (gate := _gate(graph, inputs)) is not None:
        ties.pin(gate)
        (other,) = (i for i in inputs if i != gate)
        ties.tie(other, op.output)
    else:
        for tensor in (*inputs, op.output):
            ties.pin(tensor)


def _gate(graph: IntegerGraph, inputs: list[int]) -> int | None:
    """The operand that a sigmoid made, of a product whose operands have the same channels."""
    if len({graph.channels(i) for i in inputs}) != 1 or len(set(inputs)) != 2:
        return None
    made = [i for i in inputs if (p := graph.producer(i)) is not None and p.kind == "LOGISTIC"]
    return made[0] if len(made) == 1 else None


def shiftable(graph: IntegerGraph) -> set[int]:
    """Convolutions' outputs that nothing reads but a concatenation before 1x1 convolutions."""
    found: set[int] = set()
    for op in graph.ops:
        readers = graph.consumers(op.output)
        if op.kind in CONVOLUTIONS and op.activation == "NONE" and len(readers) == 1:
            join = readers[0]
            pointwise = [_is_pointwise(graph, o) for o in graph.consumers(join.output)]
            once = join.inputs.count(op.output) == 1
            if join.kind == "CONCATENATION" and once and pointwise and all(pointwise):
                found.add(op.output)
    return found


def _is_pointwise(graph: IntegerGraph, op: Op) -> bool:
    """Whether it is a dense 1x1 convolution with a bias, which sees no padding."""
    return (
        op.kind == "CONV_2D"
        and len(op.inputs) > 2
        and graph.shapes[op.inputs[1]][1:] == (1, 1, graph.channels(op.inputs[0]))
    )


def equalise(
    graph: IntegerGraph,
    lowest: Mapping[int, Float64Array],
    highest: Mapping[int, Float64Array],
    gains: Mapping[int, Float64Array],
) -> IntegerGraph:
    """Scale channels so that roundings to 8 bits add as little as possible to the output.

    Args:
        graph: The network.
        lowest: Tensor -> the smallest value of each channel on real images.
        highest: Tensor -> the largest.
        gains: Tensor -> how much of a rounding's mean square in each channel the output shows.

    Returns:
        A network of the same function; shiftable channels begin at 0.
    """
    ties, shifted = _Ties(graph), shiftable(graph)
    for tensor in (graph.source, graph.result):
        ties.pin(tensor)
    for op in graph.ops:
        _tie(graph, ties, op)
    shifts = {t: -lowest[t] for t in shifted}
    spans = {
        t: (lowest[t] * _seen(graph, t), highest[t])
        if t not in shifted
        else (np.zeros_like(lowest[t]), highest[t] - lowest[t])
        for t in lowest
    }
    by_id = _least_noise(graph, ties, spans, gains)

    def factors(tensor: int) -> Float64Array:
        return by_id[ties.ids(tensor)]

    constants: dict[int, NDArray[np.float64]] = {}
    for op in graph.ops:
        if op.kind in CONVOLUTIONS:
            _scale(graph, op, factors(op.inputs[0]), factors(op.output), constants)
    scaled = graph.with_constants(constants)
    for tensor, shift in shifts.items():
        scaled = _shifted(scaled, tensor, shift * factors(tensor))
    return scaled


def _least_noise(
    graph: IntegerGraph,
    ties: _Ties,
    spans: Mapping[int, tuple[Float64Array, Float64Array]],
    gains: Mapping[int, Float64Array],
) -> Float64Array:
    """The factor of every class of tied channels.

    A group of tensors with one grid has steps as wide as its widest channel after scaling asks for.
    A step's mean square reaches the output by the channel's gain over its factor, squared.
    """
    groups = [
        (
            torch.from_numpy(np.concatenate([ties.ids(t) for t in tied])),
            *(torch.from_numpy(np.concatenate([spans[t][end] for t in tied])) for end in (0, 1)),
            torch.from_numpy(np.concatenate([gains[t] for t in tied])),
        )
        for tied in same_grids(graph)
    ]
    widths = torch.full((ties.count,), 0.0, dtype=torch.float64)
    for ids, low, high, _ in groups:
        widths.scatter_reduce_(0, ids, torch.maximum(-low, high), "amax")
    typical = widths[widths > 0].median() if (widths > 0).any() else torch.tensor(1.0)
    logs = -torch.where(widths > 0, widths, typical).clamp(min=float(typical) / _MOST).log()
    logs = (logs + typical.log()).requires_grad_()
    optimiser = torch.optim.Adam([logs], lr=0.05)
    free = torch.ones_like(logs)
    free[0] = 0.0  # what is pinned
    with torch.enable_grad():
        for _ in range(_ROUNDS):
            scale = (logs * free).exp()
            noise = torch.zeros((), dtype=torch.float64)
            for ids, low, high, gain in groups:
                at = scale[ids]
                step = _largest(at * high) + _largest(-at * low)
                noise = noise + step.square() * (gain / at.square()).sum()
            optimiser.zero_grad()
            noise.log().backward()
            optimiser.step()
    return (logs * free).detach().exp().numpy()


def _largest(values: Tensor) -> Tensor:
    """A smooth maximum of what is above zero."""
    above = values.clamp(min=1e-9)
    top = above.max().detach()
    return top * ((above / top) ** _SHARPNESS).sum() ** (1 / _SHARPNESS)


def _seen(graph: IntegerGraph, tensor: int) -> float:
    """How much of a negative value matters: little of what goes into a LeakyReLU alone."""
    readers = graph.consumers(tensor)
    if not readers or any(op.kind != "LEAKY_RELU" for op in readers):
        return 1.0
    return max(op.options["alpha"] for op in readers)


def _scale(
    graph: IntegerGraph,
    op: Op,
    into: Float64Array,
    out: Float64Array,
    constants: dict[int, NDArray[np.float64]],
) -> None:
    kernel = graph.constants[op.inputs[1]]
    if op.kind == "DEPTHWISE_CONV_2D":  # 1 x H x W x O
        into = np.repeat(into, kernel.shape[3] // len(into))
        constants[op.inputs[1]] = kernel * out / into
    else:  # O x H x W x I, of a grouped one I is a group's
        groups = len(into) // kernel.shape[3]
        into = into.reshape(groups, 1, 1, 1, -1).repeat(len(kernel) // groups, axis=1)
        into = into.reshape(len(kernel), 1, 1, -1)
        constants[op.inputs[1]] = kernel * out[:, None, None, None] / into
    if len(op.inputs) > 2:
        constants[op.inputs[2]] = graph.constants[op.inputs[2]] * out


def _shifted(graph: IntegerGraph, tensor: int, shift: Float64Array) -> IntegerGraph:
    """Add a constant to each channel of a shiftable tensor, and take it off again behind."""
    producer = graph.producer(tensor)
    join = graph.consumers(tensor)[0]
    if producer is None or len(producer.inputs) < 3:
        return graph
    readers = graph.consumers(join.output)
    bias = producer.inputs[2]
    constants = {bias: graph.constants[bias] + shift}
    first = sum(graph.channels(i) for i in join.inputs[: join.inputs.index(tensor)])
    for reader in readers:
        kernel = graph.constants[reader.inputs[1]][:, 0, 0, first : first + len(shift)]
        constants[reader.inputs[2]] = graph.constants[reader.inputs[2]] - kernel @ shift
    return graph.with_constants(constants)
