"""Find a network's own value range: [0, 1] or [0, 255].

A network that upscales gives back the image that it was given where its result is made small
again. In a wrong range it sees an image 255 times too dark or too bright, and its biases do
something else to the image. Measured on eight published networks, x2 and x4: 48 to 58 dB in the
true range against 41 dB and less in the other, in each network at least 16 dB apart. How near the
result is to a bicubic upscale does not decide it: IMDN_RTC and FMEN-S are 3 and 11 dB nearer to it
in the wrong range.
"""

import math
from collections.abc import Callable, Mapping
from typing import NamedTuple

import numpy as np
from numpy.random import RandomState
from numpy.typing import NDArray

from converters.parity.test_inputs import ReferenceNetwork
from edgesr.errors import EdgeSRError
from edgesr.images.imresize import imresize
from edgesr.images.metrics import psnr_of_mse
from edgesr.images.scenes import draw_leaves

Float32Array = NDArray[np.float32]

_RANGES = (1.0, 255.0)
# Below that the result is no upscaled image in either range: the network is not trained.
_LEAST_DB = 44.0
# A network without biases is the same in every range.
_LEAST_APART_DB = 6.0
_SIDE = 96
_SEED = 2
# Pixels at each border where networks pad and bicubic repeats.
_BORDER = 6


class FoundRange(NamedTuple):
    """A network's value range.

    Attributes:
        value_range: N of [0, N].
        evidence: What speaks for it, in words; empty where nothing does.
    """

    value_range: float
    evidence: str


def find_value_range(
    reference_in: Callable[[float], ReferenceNetwork],
    scale: int,
    *,
    given: float | None,
    default: float,
    label: str,
    error: type[EdgeSRError],
    size: tuple[int, int] | None = None,
) -> FoundRange:
    """Choose the value range by what the network makes of a natural image.

    Args:
        reference_in: Makes the network, of images in [0, 1], for a range [0, N] of its own.
        scale: Upscaling factor.
        given: N as the user gave it.
        default: N where nothing can be said.
        label: The network's name in messages.
        error: The class of errors about it.
        size: Height, width of its input, where it takes only one.

    Raises:
        EdgeSRError: Of the given class: the range that was given is clearly another.
    """
    ranges = (*_RANGES, *(r for r in (given, default) if r is not None and r not in _RANGES))
    height, width = size or (_SIDE, _SIDE)
    found = {r: _consistency(reference_in(r), scale, height, width) for r in ranges}
    best = max(found, key=lambda r: found[r])
    expected = default if given is None else given
    if found[best] < _LEAST_DB or found[best] - found[expected] < _LEAST_APART_DB:
        return FoundRange(expected, _evidence(found) if found[expected] >= _LEAST_DB else "")
    if given is not None:
        raise error(
            f"{label} is not of the value range [0, {given:g}]: {_evidence(found)}; leave the "
            f"value range out, or give {best:g}"
        )
    return FoundRange(best, _evidence(found))


def _evidence(found: Mapping[float, float]) -> str:
    listed = (f"{db:.1f} dB in [0, {r:g}]" for r, db in sorted(found.items(), key=lambda i: -i[1]))
    return f"its result made small again equals the image to {', '.join(listed)}"


def _consistency(network: ReferenceNetwork, scale: int, height: int, width: int) -> float:
    """PSNR between an image and its upscaled image made small again, in dB."""
    leaves = draw_leaves(max(height, width), RandomState(_SEED))[:height, :width]
    lr_hwc = leaves.astype(np.float32) / np.float32(255)
    hr_hwc = network(lr_hwc[np.newaxis])[0]
    if not np.isfinite(hr_hwc).all():
        return -math.inf
    small = hr_hwc if scale == 1 else imresize(hr_hwc, (height, width))
    border = _BORDER if min(height, width) > 3 * _BORDER else 0
    apart = (small - lr_hwc)[border : height - border, border : width - border]
    return psnr_of_mse(float(np.mean(np.square(apart, dtype=np.float64))), 1.0)
