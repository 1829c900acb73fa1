"""Colours under fully transparent pixels, replaced by their neighbours'."""

from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from edgesr.runtime.session import Float32Array

_T = TypeVar("_T", bound=np.generic)


def fill_transparent(pixels_hwc: NDArray[_T]) -> NDArray[_T]:
    """Fill fully transparent pixels with their neighbours' colour.

    Each takes the mean of the visible pixels in the smallest square of a pyramid (sides 2, 4, 8...)
    that holds any ("pull-push", Gortler et al., The Lumigraph, 1996, without its blending: only the
    nearest ring of filled pixels is ever seen, by the network).

    Args:
        pixels_hwc: Grey and alpha, or RGB and alpha.

    Returns:
        The same array if nothing is to be filled, else a new one. Alpha stays.
    """
    visible = pixels_hwc[..., -1:].astype(bool)
    if visible.all() or not visible.any():
        return pixels_hwc
    colour = pixels_hwc[..., :-1].astype(np.float32)
    filled = _pull_push(colour, visible.astype(np.float32))
    if pixels_hwc.dtype != np.float32:
        filled = np.rint(filled)
    return np.concatenate((filled.astype(pixels_hwc.dtype), pixels_hwc[..., -1:]), axis=2)


def _pull_push(colour_hwc: Float32Array, weight_hw1: Float32Array) -> Float32Array:
    """Fill colours of weight 0 from the next coarser level."""
    if weight_hw1.all():
        return colour_hwc
    height, width = weight_hw1.shape[:2]
    weight = _halve(weight_hw1)
    colour = np.divide(_halve(colour_hwc * weight_hw1), weight.clip(1), dtype=np.float32)
    coarse = _pull_push(colour, weight.clip(0, 1))
    near = coarse.repeat(2, axis=0).repeat(2, axis=1)[:height, :width]
    return np.where(weight_hw1 > 0, colour_hwc, near)


def _halve(values_hwc: Float32Array) -> Float32Array:
    """Sums of squares of 2x2; a missing row or column counts as 0."""
    height, width = values_hwc.shape[:2]
    even: Float32Array = np.pad(values_hwc, ((0, height % 2), (0, width % 2), (0, 0)))
    return even[::2, ::2] + even[1::2, ::2] + even[::2, 1::2] + even[1::2, 1::2]
