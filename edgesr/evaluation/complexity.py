"""Cost of a network: parameters, MACs, activations, peak memory; for any framework.

Counted as the challenge on efficient super-resolution counts (Li et al., "NTIRE 2022 Challenge on
Efficient Super-Resolution: Methods and Results", CVPRW 2022): one image; its "FLOPs" are
multiply-accumulates; its activations are the outputs of convolutions. Its counter adds one
operation for each number that passes a layer of the ReLU kind, where that layer is a module inside
the network. Published figures therefore include these operations for some networks and not for
others: the challenge's IMDN baseline has them, FMEN, whose one activation is a global variable of
its published code, has not. Both numbers are counted here.

Only the standard library.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from edgesr.common.compat import StrEnum
from edgesr.common.liveness import peak_live_size


class Kind(StrEnum):
    """Kind of an operator, for counting."""

    CONVOLUTION = "convolution"
    RECTIFIER = "rectifier"  # ReLU, LeakyReLU, PReLU, ELU, ReLU6
    OTHER = "other"


@dataclass(frozen=True)
class Layer:
    """One operator.

    Attributes:
        name: The module of the network, or the output tensor.
        op: The operator, as its framework names it.
        kind: For counting.
        shape: Of its first output, in its framework's own order of dimensions.
        parameters: Number of weights.
        macs: Multiply-accumulates.
        inputs: Activations that it reads; those that share memory share a name.
        outputs: Activations that it writes.
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
        """Number of output values."""
        return math.prod(self.shape)


@dataclass(frozen=True)
class Peak:
    """Peak live activations.

    Attributes:
        bytes: Their size.
        layer: Name of the layer at the peak; None where it is unknown.
    """

    bytes: int
    layer: str | None = None


@dataclass(frozen=True)
class Complexity:
    """Cost of one run of a network.

    Attributes:
        parameters: Number of weights.
        weight_bytes: Their size.
        macs: Multiply-accumulates of convolutions and matrix products.
        rectified: Numbers that pass a layer of the ReLU kind.
        activations: Output values of convolutions.
        convolutions: Number of convolutions.
        peak: Peak live activations.
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
        """MACs plus one operation for each number that passes a layer of the ReLU kind."""
        return self.macs + self.rectified


def count(
    layers: Sequence[Layer], *, parameters: int, weight_bytes: int, peak: Peak, rectified: int = 0
) -> Complexity:
    """Add up a network's layers.

    Args:
        layers: In the order of execution.
        parameters: Number of the network's weights.
        weight_bytes: Their size.
        peak: Peak live activations.
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
    """Peak live activations in bytes, by liveness.

    At every layer its inputs, its outputs and what is kept for later count, as FMEN's authors count
    (Du et al., "Fast and Memory-Efficient Network Towards Efficient Image Super-Resolution", CVPRW
    2022, section 3.1).

    Args:
        layers: In the order of execution.
        sizes: Bytes of every activation.
        source: The network's input.
        result: Its output, live to the end.
    """
    steps = [(layer.inputs, layer.outputs) for layer in layers]
    peak, where = peak_live_size(steps, sizes, [source], [result])
    return Peak(peak) if where is None else Peak(peak, layers[where].name)
