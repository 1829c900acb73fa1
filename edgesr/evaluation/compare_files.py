"""Compare image files: PSNR and SSIM of two images, or of two folders of images."""

import os
from pathlib import Path

from edgesr.errors import EdgeSRError, ImageError, SizeError
from edgesr.images.datasets import find_images, read_rgb
from edgesr.images.metrics import Scores, compare


def compare_files(a: Path, b: Path, shave: int) -> dict[str, Scores]:
    """Compare two images, or the images of the same names in two folders.

    Args:
        a: An image or a folder.
        b: The same kind.
        shave: Pixels left out along each edge.

    Returns:
        Image's name -> its scores.

    Raises:
        ImageError: One is a folder and the other is not, the folders hold images of other names,
            or an image cannot be read.
        SizeError: Two images differ in size, or are too small.
    """
    return {name: _compare(one, other, shave) for name, one, other in _pairs(a, b)}


def _pairs(a: Path, b: Path) -> list[tuple[str, Path, Path]]:
    """Name, image of A and image of B of every pair."""
    are_folders = [os.path.isdir(path) for path in (a, b)]  # never an error
    if are_folders[0] != are_folders[1]:
        folder, file = (a, b) if are_folders[0] else (b, a)
        raise ImageError(
            f"got the folder {folder} and the file {file}, allowed two images or two folders"
        )
    if not are_folders[0]:
        return [(a.name, a, b)]
    found = [find_images(folder) for folder in (a, b)]
    by_name = [_by_stem(files) for files in found]
    for folder, names, others in ((a, *by_name), (b, *reversed(by_name))):
        if missing := sorted(others.keys() - names.keys()):
            raise ImageError(
                f"{folder} holds no image named {', '.join(missing[:5])} ({len(missing)} of "
                f"{len(others)} missing), allowed equal names in both folders; add or take out"
            )
    return [(name, file, by_name[1][name]) for name, file in by_name[0].items()]


def _by_stem(files: list[Path]) -> dict[str, Path]:
    """Name without suffix -> file."""
    by_stem: dict[str, Path] = {}
    for file in files:
        if file.stem in by_stem:
            raise ImageError(f"{file.parent} holds {file.stem} twice; take one out")
        by_stem[file.stem] = file
    return by_stem


def _compare(one: Path, other: Path, shave: int) -> Scores:
    images = read_rgb(one), read_rgb(other)
    try:
        return compare(*images, shave)
    except EdgeSRError as error:
        raise SizeError(f"{one} and {other}: {error}") from error
