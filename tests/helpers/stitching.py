"""An image through a network tile by tile, in floating point and without checks on images."""

from collections.abc import Callable

import numpy as np

from edgesr.runtime.session import Float32Array
from edgesr.tflite.shape import ModelShape
from edgesr.upscaling.tiling import Overlap, cover, fresh_share, kept_slices, read_tile


def stitch(
    image: Float32Array,
    apply: Callable[[Float32Array], Float32Array],
    shape: ModelShape,
    overlap: Overlap,
) -> Float32Array:
    """Run a network on every tile and put together what is kept.

    Args:
        image: RGB, height x width x 3.
        apply: The network, on one tile.
        shape: Sizes of the tiles.
        overlap: How they lie.
    """
    height, width = image.shape[:2]
    result = np.full((shape.scale * height, shape.scale * width, 3), -100, np.float32)
    for tile in cover(height, width, shape, overlap):
        within, whole = kept_slices(tile, shape.scale)
        share = fresh_share(tile, shape.scale)
        made = apply(read_tile(image, tile, shape))[within]
        if share is not None:
            made = result[whole] + share[..., None] * (made - result[whole])
        result[whole] = made
    return result
