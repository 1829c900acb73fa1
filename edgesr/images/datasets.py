"""Images for training and validation, and their LR images.

Images are found in folders and read as 8-bit RGB.

A pair is an HR image and the LR image that MATLAB's bicubic makes of it: LR pixel (y, x) covers
HR rows scale * y to scale * (y + 1) and the columns alike.
"""

import itertools
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edgesr.errors import ImageError, SizeError
from edgesr.images.files import IMAGE_SUFFIXES, read_image
from edgesr.images.imresize import imresize

Uint8Array = NDArray[np.uint8]

# A bound against nonsense in a header. The user's own training images may be panoramas.
_MAX_PIXELS = 2**30


@dataclass(frozen=True, eq=False)
class Pair:
    """An image in both resolutions.

    Attributes:
        name: The file's name without suffix.
        lr_hwc_u8: RGB, height x width x 3.
        hr_hwc_u8: RGB, `scale` times as high and as wide.
    """

    name: str
    lr_hwc_u8: Uint8Array
    hr_hwc_u8: Uint8Array


def check_scale(scale: int) -> None:
    """Check that a factor is 2 or more.

    Raises:
        SizeError: It is below 2.
    """
    if scale < 2:
        raise SizeError(f"got scale {scale}, allowed 2 and more; name the network's scale")


def find_images(
    folder: Path, *, recursive: bool = False, suffixes: Sequence[str] = IMAGE_SUFFIXES
) -> list[Path]:
    """List the images of a folder by suffix, in the order of their names.

    Hidden files are left out: some systems put one that is no image beside every image.

    Args:
        folder: The folder.
        recursive: Whether the folders below it are searched too.
        suffixes: Of the files to list, in small letters.

    Raises:
        ImageError: There is no such folder, it cannot be read, or it holds no image.
    """
    if not os.path.isdir(folder):
        raise ImageError(f"{folder} is not a folder; name a folder of images")
    try:
        found = sorted(
            path
            for path in (folder.rglob("*") if recursive else folder.iterdir())
            if path.suffix.lower() in suffixes
            and not path.name.startswith(".")
            and not os.path.isdir(path)
        )
    except OSError as error:
        raise ImageError(f"cannot read folder {folder}: {error.strerror or error}") from error
    if not found:
        raise ImageError(
            f"{folder} holds no images, allowed {', '.join(suffixes)}; name another folder"
        )
    return found


def read_rgb(path: Path) -> Uint8Array:
    """Read an image, upright, as 8-bit RGB of height x width x 3.

    Grey becomes three equal channels, 16 bits are rounded to 8. An ICC profile is ignored: the
    network learns from the numbers.

    Raises:
        ImageError: The file is missing, unreadable, damaged, animated or transparent.
    """
    pixels = read_image(path, max_pixels=_MAX_PIXELS).pixels_hwc
    if pixels.dtype == np.uint16:
        pixels = (pixels.astype(np.uint32) + 128) // 257
    if pixels.shape[2] in (2, 4):
        if pixels[..., -1].min() < 255:
            raise ImageError(f"{path} is transparent, allowed opaque images; flatten it")
        pixels = pixels[..., :-1]
    if pixels.shape[2] == 1:
        pixels = np.repeat(pixels, 3, axis=2)
    return np.require(pixels, np.uint8, ["C", "W"])  # Pillow's own are not writeable


def shrink(hr_hwc_u8: Uint8Array, scale: int, path: Path) -> Pair:
    """Crop an image to a multiple of `scale` from the top left, and make its LR image.

    Args:
        hr_hwc_u8: RGB, height x width x 3.
        scale: The upscaling factor to be learned.
        path: Where the image comes from.

    Raises:
        ImageError: It is smaller than `scale`.
    """
    height, width = (side - side % scale for side in hr_hwc_u8.shape[:2])
    if not height or not width:
        raise ImageError(
            f"{path} is too small: got {hr_hwc_u8.shape[0]}x{hr_hwc_u8.shape[1]} pixels, allowed "
            f"{scale}x{scale} and more; take it out"
        )
    hr_hwc_u8 = hr_hwc_u8[:height, :width]
    return Pair(path.stem, imresize(hr_hwc_u8, 1 / scale), hr_hwc_u8)


def validation_pairs(folder: Path, scale: int) -> list[Pair]:
    """Read a set of images to measure on, in the order of their names.

    Args:
        folder: Holds the folders HR and LR with images of the same names, or HR images, of
            which the LR ones are then made. Folders below are not searched.
        scale: How many times as large HR is as LR.

    Raises:
        ImageError: There are no images, one is unreadable, or HR and LR do not match.
        SizeError: The scale is below 2.
    """
    check_scale(scale)
    parts = [folder / "HR", folder / "LR"]
    if not any(part.is_dir() for part in parts):
        return [shrink(read_rgb(path), scale, path) for path in _images_to_measure(folder, scale)]
    hr_files, lr_files = (find_images(part) for part in parts)
    _check_names(folder, hr_files, lr_files)
    return [
        _read_pair(hr_file, lr_file, scale)
        for hr_file, lr_file in zip(hr_files, lr_files, strict=True)
    ]


def _images_to_measure(folder: Path, scale: int) -> list[Path]:
    """The HR images of a folder, with a hint for who named the folder above."""
    inner = folder / f"x{scale}"
    if inner.is_dir():
        raise ImageError(f"{folder} holds images for several scales; name {inner}")
    return find_images(folder)


def _check_names(folder: Path, hr_files: Sequence[Path], lr_files: Sequence[Path]) -> None:
    hr_names, lr_names = ([file.stem for file in files] for files in (hr_files, lr_files))
    for part, names in (("HR", hr_names), ("LR", lr_names)):
        twice = next((a for a, b in itertools.pairwise(names) if a == b), None)
        if twice is not None:
            raise ImageError(f"{folder / part} holds {twice} twice; take one out")
    for part, lone in (
        ("LR", set(hr_names) - set(lr_names)),
        ("HR", set(lr_names) - set(hr_names)),
    ):
        if lone:
            raise ImageError(
                f"{folder / part} holds no image named {min(lone)} (got {len(hr_files)} in HR "
                f"and {len(lr_files)} in LR, {len(lone)} missing here), allowed equal names in "
                "both; add or take out"
            )


def _read_pair(hr_file: Path, lr_file: Path, scale: int) -> Pair:
    pair = Pair(hr_file.stem, read_rgb(lr_file), read_rgb(hr_file))
    (height, width), (hr_height, hr_width) = pair.lr_hwc_u8.shape[:2], pair.hr_hwc_u8.shape[:2]
    if (hr_height, hr_width) != (scale * height, scale * width):
        raise ImageError(
            f"{hr_file}: got {hr_height}x{hr_width} pixels for {height}x{width} in LR, allowed "
            f"{scale * height}x{scale * width} at scale {scale}; crop it or name another scale"
        )
    return pair


def pairs_in(data: Path, scale: int) -> list[Pair]:
    """The images in both resolutions.

    Args:
        data: HR and LR folders, HR alone, images alone (LR is then made of them), or folders
            `x2`, `x3`, ... of such.
        scale: How many times as large HR is as LR.

    Raises:
        ImageError: There is no such folder, an image is unreadable, or HR and LR do not match.
        SizeError: The scale is 1.
    """
    if not os.path.isdir(data):
        raise ImageError(f"--data {data} is not a folder; name a folder of images")
    folder = data / f"x{scale}" if (data / f"x{scale}").is_dir() else data
    only_hr = (folder / "HR").is_dir() and not (folder / "LR").is_dir()
    return validation_pairs(folder / "HR" if only_hr else folder, scale)
