"""Pictures resized to their final size, for networks that take them so and only improve them.

A network of scale 1, as IMDN_AS is, serves every factor: a bicubic resize brings the picture to its
final size, and the network puts back what that has lost.
"""

import math
from dataclasses import dataclass, replace

import numpy as np

from edgesr.errors import PictureError, SizeError
from edgesr.images import Picture
from edgesr.imresize import imresize
from edgesr.sizes import read_size
from edgesr.upscale import fill_transparent


@dataclass(frozen=True)
class FinalSize:
    """By how much, or to which size, pictures are resized.

    Attributes:
        factor: Rows of the result per row of the picture, and columns per column; any fraction.
        size: Height, width of the result, whatever the picture's; it goes before the factor.
    """

    factor: float = 1.0
    size: tuple[int, int] | None = None

    @property
    def label(self) -> str:
        """What a file name says of it, e.g. `x2.5` or `1080x1920`."""
        return "x".join(map(str, self.size)) if self.size else f"x{self.factor:g}"

    def of(self, picture: Picture) -> tuple[int, int]:
        """Height, width that a picture gets; sizes are rounded up, as MATLAB does."""
        if self.size is not None:
            return self.size
        return math.ceil(self.factor * picture.height), math.ceil(self.factor * picture.width)


def read_final_size(factor: float | None, size: str | None) -> FinalSize | None:
    """What the user asks for; None if nothing.

    Args:
        factor: 1 or more.
        size: "HxW".

    Raises:
        SizeError: Both are given, or the size is none.
    """
    if factor is not None and size is not None:
        raise SizeError(f"got a factor of {factor:g} and the size {size}, allowed one of them")
    if size is not None:
        height, width = read_size(size, "1080x1920")
        if min(height, width) < 1:
            raise SizeError(f"got size {size}, allowed 1x1 and more; height comes first")
        return FinalSize(size=(height, width))
    return None if factor is None else FinalSize(factor)


def enlarge(picture: Picture, final: FinalSize, max_pixels: int) -> Picture:
    """Resize a picture by MATLAB's bicubic; bit depth, kind of channels and metadata stay.

    Args:
        picture: Any picture.
        final: The size it gets.
        max_pixels: Larger results are refused.

    Raises:
        PictureError: The result is larger than allowed.
    """
    height, width = final.of(picture)
    if height * width > max_pixels:
        raise PictureError(
            f"the picture would become {height}x{width} = {height * width} pixels, allowed "
            f"{max_pixels}; pass --max-pixels if that is meant"
        )
    if (height, width) == (picture.height, picture.width):
        return picture
    pixels = fill_transparent(picture.pixels_hwc) if picture.has_alpha else picture.pixels_hwc
    scale = final.factor if final.size is None else (height, width)
    if pixels.dtype == np.uint8:
        return replace(picture, pixels_hwc=imresize(pixels.astype(np.uint8, copy=False), scale))
    resized = imresize(pixels.astype(np.float32), scale)
    peak = np.iinfo(pixels.dtype).max
    rounded = np.clip(np.floor(resized + np.float32(0.5)), 0, peak).astype(pixels.dtype)
    return replace(picture, pixels_hwc=rounded)
