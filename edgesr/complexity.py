"""What a network costs, counted over a description of its graph that knows no framework.

Counted as the challenge on efficient super-resolution counts (Li et al., "NTIRE 2022 Challenge on
Efficient Super-Resolution: Methods and Results", CVPRW 2022): one picture; what it calls FLOPs are
multiply-accumulates; its activations are the outputs of convolutions. Its counter adds one
operation for each number that passes a layer of the ReLU kind, where that layer is a module inside
the network. Published figures therefore hold these operations for some networks and not for
others: the challenge's IMDN baseline has them, FMEN, whose one activation is a global variable of
its published code, has not. Both numbers are given here.

Only the standard library.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from edgesr.liveness import most_alive


class Kind(StrEnum):
    """What an operator counts as."""

    CONVOLUTION = "convolution"
    RECTIFIER = "rectifier"  # ReLU, LeakyReLU, PReLU, ELU, ReLU6
    OTHER = "other"


@dataclass(frozen=True)
class Layer:
    """One operator.

    Attributes:
        name: What it is called: the part of the network, or the tensor that it makes.
        op: The operator, in the words of its framework.
        kind: What it counts as.
        shape: Of its first output, in its framework's own order of dimensions.
        parameters: Numbers that it holds.
        macs: Multiply-accumulates.
        inputs: Activations that it reads; one that shares its memory with another has its name.
        outputs: Activations that it makes.
    """

    name: str
    op: str
    kind: Kind
    shape: tuple[int, ...]
    parameters: int = 0
    macs: int = 0
    inputs: tuple[str, ...] = ()
    outputs: tuple[str, ...] = ()

    @property
    def elements(self) -> int:
        """Numbers that it makes."""
        return math.prod(self.shape)


@dataclass(frozen=True)
class Peak:
    """The most activations alive at once.

    Attributes:
        bytes: Their size.
        layer: The layer at which that is; None where nobody says.
    """

    bytes: int
    layer: str | None = None


@dataclass(frozen=True)
class Complexity:
    """What one run of a network costs.

    Attributes:
        parameters: Numbers that it holds.
        weight_bytes: What they take.
        macs: Multiply-accumulates of convolutions and matrix products.
        rectified: Numbers that pass a layer of the ReLU kind.
        activations: Numbers that convolutions make.
        convolutions: How many there are.
        peak: The most activations alive at once.
        layers: In the order of execution.
    """

    parameters: int
    weight_bytes: int
    macs: int
    rectified: int
    activations: int
    convolutions: int
    peak: Peak
    layers: tuple[Layer, ...]

    @property
    def operations(self) -> int:
        """MACs, and one operation for each number that passes a layer of the ReLU kind."""
        return self.macs + self.rectified


def count(
    layers: Sequence[Layer], *, parameters: int, weight_bytes: int, peak: Peak, rectified: int = 0
) -> Complexity:
    """Add up a network's layers.

    Args:
        layers: In the order of execution.
        parameters: Numbers that the network holds.
        weight_bytes: What they take.
        peak: The most activations alive at once.
        rectified: Numbers that pass an activation of the ReLU kind inside another operator.
    """
    convolutions = [layer for layer in layers if layer.kind is Kind.CONVOLUTION]
    rectifiers = [layer for layer in layers if layer.kind is Kind.RECTIFIER]
    return Complexity(
        parameters=parameters,
        weight_bytes=weight_bytes,
        macs=sum(layer.macs for layer in layers),
        rectified=rectified + sum(layer.elements for layer in rectifiers),
        activations=sum(layer.elements for layer in convolutions),
        convolutions=len(convolutions),
        peak=peak,
        layers=tuple(layers),
    )


def peak_activations(
    layers: Sequence[Layer], sizes: Mapping[str, int], source: str, result: str
) -> Peak:
    """The most bytes of activations alive at once, by liveness.

    At every layer its inputs, its outputs and what is kept for later count, as FMEN's authors count
    (Du et al., "Fast and Memory-Efficient Network Towards Efficient Image Super-Resolution", CVPRW
    2022, section 3.1).

    Args:
        layers: In the order of execution.
        sizes: Bytes of every activation.
        source: The network's input.
        result: Its output, which lives to the end.
    """
    steps = [(layer.inputs, layer.outputs) for layer in layers]
    most, where = most_alive(steps, sizes, [source], [result])
    return Peak(most) if where is None else Peak(most, layers[where].name)
