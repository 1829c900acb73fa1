"""A float32 graph to integers: equalised, calibrated, rounded."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray

from converters.int8.equalise import equalise
from converters.int8.graph import IntegerGraph
from converters.int8.grids import Grid, choose, noise_gains, observe
from converters.int8.rounding import IntegerWeights, round_weights

Float32Array = NDArray[np.float32]

_FEW = 4
EQUALISE, LEAST_ERROR, COMPENSATE = "equalise", "least_error_ranges", "compensated_rounding"
#: Everything that is done beyond plain quantisation, in order.
STEPS = (EQUALISE, LEAST_ERROR, COMPENSATE)


@dataclass(frozen=True)
class Quantised:
    """A network in integers.

    Attributes:
        graph: Its operators, equalised.
        grids: Of the input and every operator's output.
        weights: Number of a convolution's output -> its weights.
    """

    graph: IntegerGraph
    grids: Mapping[int, Grid]
    weights: Mapping[int, IntegerWeights] = field(repr=False)


def quantise(
    graph: IntegerGraph, images_nhwc: Sequence[Float32Array], steps: Sequence[str] = STEPS
) -> Quantised:
    """Quantise a network.

    Args:
        graph: The network.
        images_nhwc: Calibration images of one size, each 1 x H x W x 3 in [0, 1].
        steps: What to do; fewer show what each is for.

    Raises:
        ConversionError: A tensor's range collapses on the images.
    """
    images = [torch.from_numpy(i.transpose(0, 3, 1, 2).astype(np.float64)) for i in images_nhwc]
    with torch.no_grad():
        seen = observe(graph, images)
        if EQUALISE in steps:
            lowest = {tensor: found.lowest for tensor, found in seen.items()}
            highest = {tensor: found.highest for tensor, found in seen.items()}
            graph = equalise(graph, lowest, highest, noise_gains(graph, images[:_FEW]))
            seen = observe(graph, images)
        grids = choose(graph, seen, least_error=LEAST_ERROR in steps)
        weights = round_weights(graph, grids, images, compensate=COMPENSATE in steps)
    return Quantised(graph, grids, weights)
