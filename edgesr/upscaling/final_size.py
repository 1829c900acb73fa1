"""The final size of results: any, whatever the network's own scale.

A network that upscales runs as often as the final size needs, and a bicubic resize with
antialiasing then reduces the result to it. A network of scale 1, as IMDN_AS is, serves every
factor: the resize brings the image to its final size before, and the network puts back what that
has lost.
"""

import math
from dataclasses import dataclass, replace

import numpy as np

from edgesr.common.progress import ProgressCallback, silent
from edgesr.errors import ImageError, SizeError
from edgesr.images.files import ImageData
from edgesr.images.imresize import imresize
from edgesr.upscaling.transparency import fill_transparent
from edgesr.upscaling.upscaler import ImageUpscaler

#: The largest factor that images are resized by.
MAX_FACTOR = 64

Size = tuple[int, int]


@dataclass(frozen=True)
class FinalSize:
    """What size results get.

    Attributes:
        factor: Rows of the result per row of the image, and columns per column; any fraction. None
            for the network's scale.
        size: Height, width of the box that the result fits into; it goes before the factor.
        crop: Whether the result fills the box instead, and what juts out is cut off on both sides.
        max_side: Results of longer sides are reduced to this; None for no such limit.
    """

    factor: float | None = None
    size: Size | None = None
    crop: bool = False
    max_side: int | None = None

    @property
    def matlab_scale(self) -> float | None:
        """The factor, where it alone decides, for MATLAB's own placing of pixels."""
        return None if self.size or self.max_side else self.factor

    @property
    def label(self) -> str:
        """Label in file names, e.g. `x2.5`, `1080x1920` or `max2048`."""
        if self.size:
            return "x".join(map(str, self.size))
        parts = [f"x{self.factor:g}"] if self.factor else []
        return "-".join([*parts, *([f"max{self.max_side}"] if self.max_side else [])])

    def resized(self, size: Size, scale: int) -> Size:
        """Height, width that an image of a network of this scale is resized to, before any cut."""
        height, width = size
        if self.size is not None:
            factor = (max if self.crop else min)(self.size[0] / height, self.size[1] / width)
            return max(1, round(factor * height)), max(1, round(factor * width))
        factor = self.factor or scale
        if self.max_side and factor * max(height, width) > self.max_side:
            factor = self.max_side / max(height, width)
            return max(1, round(factor * height)), max(1, round(factor * width))
        return math.ceil(factor * height), math.ceil(factor * width)  # as MATLAB does

    def of(self, size: Size, scale: int) -> Size:
        """Height, width of the result for an image of that height, width."""
        return self.size if self.size and self.crop else self.resized(size, scale)


def final_size(
    factor: float | None, size: Size | None, *, crop: bool = False, max_side: int | None = None
) -> FinalSize | None:
    """The final size that a user wants; None for the network's own.

    Args:
        factor: 1 to 64.
        size: Height, width of a box.
        crop: Whether the box is filled.
        max_side: 1 or more.

    Raises:
        SizeError: Two that exclude each other are given, or one is out of range.
    """
    if size is not None and (factor is not None or max_side is not None):
        other = f"a factor of {factor:g}" if factor is not None else f"a longest side of {max_side}"
        raise SizeError(f"got {other} and the size {size[0]}x{size[1]}, allowed one of them")
    if size is not None and min(size) < 1:
        raise SizeError(f"got size {size[0]}x{size[1]}, allowed 1x1 and more; height comes first")
    if crop and size is None:
        raise SizeError("got a crop and no size to crop to; name one, as 1080x1920")
    if factor is not None and not 1 <= factor <= MAX_FACTOR:
        raise SizeError(f"got a factor of {factor:g}, allowed 1 to {MAX_FACTOR}")
    if max_side is not None and max_side < 1:
        raise SizeError(f"got a longest side of {max_side}, allowed 1 and more")
    wanted = FinalSize(factor, size, crop, max_side)
    return None if wanted == FinalSize() else wanted


def check_pixels(size: Size, max_pixels: int) -> None:
    """Refuse a result that is larger than allowed.

    Raises:
        ImageError: It is.
    """
    if size[0] * size[1] > max_pixels:
        raise ImageError(
            f"the image would become {size[0]}x{size[1]} = {size[0] * size[1]} pixels, allowed "
            f"{max_pixels}; pass --max-pixels if that is meant"
        )


def resize_to(image: ImageData, scale: float | Size) -> ImageData:
    """Resize an image by MATLAB's bicubic; bit depth, kind of channels and metadata stay.

    Args:
        image: Any image.
        scale: A factor, which places the pixels too and rounds sizes up; or height and width.
    """
    if scale in (1, (image.height, image.width)):
        return image
    pixels = fill_transparent(image.pixels_hwc) if image.has_alpha else image.pixels_hwc
    if pixels.dtype == np.uint8:
        return replace(image, pixels_hwc=imresize(pixels.astype(np.uint8, copy=False), scale))
    resized = imresize(pixels.astype(np.float32), scale)
    peak = np.iinfo(pixels.dtype).max
    rounded = np.clip(np.floor(resized + np.float32(0.5)), 0, peak).astype(pixels.dtype)
    return replace(image, pixels_hwc=rounded)


def cut_to(image: ImageData, size: Size) -> ImageData:
    """Keep the middle of an image.

    Args:
        image: Any image.
        size: Height, width that are kept, neither larger than the image.
    """
    top, left = (image.height - size[0]) // 2, (image.width - size[1]) // 2
    kept = image.pixels_hwc[top : top + size[0], left : left + size[1]]
    return replace(image, pixels_hwc=np.ascontiguousarray(kept))


def upscale_to(
    final: FinalSize | None,
    image: ImageData,
    upscaler: ImageUpscaler,
    max_pixels: int,
    progress: ProgressCallback = silent,
) -> tuple[ImageData, list[ImageData]]:
    """Upscale an image to its final size.

    Args:
        final: The size; None for the network's own.
        image: Any image.
        upscaler: The network, which runs as often as needed.
        max_pixels: Larger results are refused.
        progress: Told of tiles.

    Returns:
        The result, and the images that the network saw.

    Raises:
        ImageError: The result would be too large, or cannot be right.
    """
    if final is None:
        return upscaler.upscale(image, progress), [image]
    scale, size = upscaler.scale, (image.height, image.width)
    resized, wanted = final.resized(size, scale), final.of(size, scale)
    check_pixels(resized, max_pixels)
    if scale == 1:
        image = cut_to(resize_to(image, final.matlab_scale or resized), wanted)
        return upscaler.upscale(image, progress), [image]
    result, runs = image, list[ImageData]()
    while result.height < resized[0] or result.width < resized[1]:
        runs.append(result)
        result = upscaler.upscale(result, progress)
    return cut_to(resize_to(result, resized), wanted), runs
