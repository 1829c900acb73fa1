"""Training images, decoded once into a memory-mapped array."""

import contextlib
import hashlib
import os
from collections.abc import Generator, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path

import numpy as np
from filelock import FileLock
from numpy.typing import NDArray

from edgesr.common.files import atomic_outputs
from edgesr.common.progress import ProgressCallback, silent
from edgesr.errors import ImageError, OutputError
from edgesr.images.datasets import Pair, Uint8Array, check_scale, find_images, read_rgb, shrink
from edgesr.images.imresize import imresize
from edgesr.runtime.session import available_threads

# Part of the cache's key: a new layout, or another way to make LR, must not meet old files.
_LAYOUT = "edgesr images 1"


@dataclass(frozen=True, eq=False)
class ImageStore:
    """Decoded images in both resolutions, on disk, read as they are needed.

    Attributes:
        scale: How many times as large HR is as LR.
        files: Where each image comes from; a reduced one from the same as its original.
        lr_sizes: Height and width of each LR image, images x 2.
        pixels_u8: All of them, flat: of each image HR, then LR, as height x width x 3. Read-only.
        sizes_of_each: In how many sizes each image is there: itself, directly behind it its
            reductions.
    """

    scale: int
    files: tuple[Path, ...]
    lr_sizes: NDArray[np.int64]
    pixels_u8: Uint8Array
    sizes_of_each: int = 1

    def __len__(self) -> int:
        return len(self.files)

    def hr(self, index: int) -> Uint8Array:
        """An HR image, RGB, height x width x 3."""
        height, width = (self.scale * int(side) for side in self.lr_sizes[index])
        return self._view(self._starts[index], height, width)

    def lr(self, index: int) -> Uint8Array:
        """An LR image, RGB, height x width x 3."""
        height, width = (int(side) for side in self.lr_sizes[index])
        hr_bytes = 3 * self.scale**2 * height * width
        return self._view(self._starts[index] + hr_bytes, height, width)

    def starts(self) -> tuple[list[int], list[int]]:
        """Where in `pixels_u8` each LR image begins, and each HR image."""
        hr_bytes = 3 * self.scale**2 * self.lr_sizes.prod(axis=1)
        hr_starts = self._starts[:-1]
        return [
            start + int(size) for start, size in zip(hr_starts, hr_bytes, strict=True)
        ], hr_starts

    @cached_property
    def _starts(self) -> list[int]:
        ends = np.cumsum(_image_bytes(self.lr_sizes, self.scale))
        return [0, *ends.tolist()]

    def _view(self, start: int, height: int, width: int) -> Uint8Array:
        return self.pixels_u8[start : start + 3 * height * width].reshape(height, width, 3)


def prepare(
    folders: Sequence[Path],
    scale: int,
    cache: Path,
    *,
    reductions: Sequence[float] = (),
    progress: ProgressCallback = silent,
) -> ImageStore:
    """Decode every image below some folders, once: later calls find the result in the cache.

    HR is cropped to a multiple of the scale, LR made of it by MATLAB's bicubic. When a file is
    added, removed or changed (as its size and time of change tell), all are decoded anew. Of
    several processes that ask at once one decodes and the others wait for it.

    Args:
        folders: Searched with all folders below. A file that is met twice counts once.
        scale: How many times as large HR is to be as LR.
        cache: The folder for the decoded images, made if it is missing. It takes 3 bytes per
            pixel of HR and LR. Nothing in it is ever removed.
        reductions: Factors below 1. By each of them every image is also reduced, as MATLAB does,
            to an HR image of its own.
        progress: Told of images decoded.

    Raises:
        ImageError: There are no images, or one is unreadable, transparent or, itself or
            reduced, smaller than `scale`.
        SizeError: The scale is below 2.
        OutputError: The cache cannot be written.
    """
    check_scale(scale)
    files, key = _list_images(folders)
    sizes = " ".join(map(str, (scale, *reductions)))
    digest = hashlib.sha256(f"{_LAYOUT}\n{sizes}\n".encode() + key).hexdigest()
    path = cache / f"x{scale}-{digest[:32]}.images"
    with _lock(path.with_suffix(".lock")):
        store = _open(path, files, scale, 1 + len(reductions))
        if store is None:
            _decode_all(path, files, scale, reductions, progress)
            store = _open(path, files, scale, 1 + len(reductions))
    if store is None:
        raise OutputError(f"{path} changed while it was written; keep {cache} to edgesr alone")
    return store


def open_pixels(path: Path) -> Uint8Array:
    """Map a file of pixels into memory, flat and read-only."""
    return np.memmap(path, np.uint8, mode="r").view(np.ndarray)


def _image_bytes(lr_sizes: NDArray[np.int64], scale: int) -> NDArray[np.int64]:
    """What each image takes in the store, HR and LR."""
    return 3 * (scale**2 + 1) * lr_sizes.prod(axis=1)


def _list_images(folders: Sequence[Path]) -> tuple[tuple[Path, ...], bytes]:
    """Every image once, and bytes that change when one of them does."""
    if not folders:
        raise ImageError("got no folders of training images, allowed one and more; name one")
    files: dict[Path, Path] = {}
    key = b""
    for folder in folders:
        key += b"folder\n"
        for path in find_images(folder, recursive=True):
            if files.setdefault(path.resolve(), path) is not path:
                continue
            try:
                status = path.stat()
            except OSError as error:
                raise ImageError(f"cannot read {path}: {error.strerror or error}") from error
            name = os.fsencode(path.relative_to(folder))
            key += b"%s\0%d %d\n" % (name, status.st_size, status.st_mtime_ns)
    return tuple(files.values()), key


def _decode_all(
    target: Path,
    files: Sequence[Path],
    scale: int,
    reductions: Sequence[float],
    progress: ProgressCallback,
) -> None:
    """Write every image and then the LR sizes into one file, which appears when it is whole."""
    lr_sizes: list[tuple[int, ...]] = []
    with atomic_outputs([target], overwrite=True) as (temporary,), temporary.open("wb") as file:
        progress("images", 0, len(files))
        for done, pairs in enumerate(_decoded(files, scale, reductions), 1):
            for pair in pairs:
                file.write(pair.hr_hwc_u8.tobytes())
                file.write(pair.lr_hwc_u8.tobytes())
                lr_sizes.append(pair.lr_hwc_u8.shape[:2])
            progress("images", done, len(files))
        file.write(np.array(lr_sizes, "<i8").tobytes())


def _decoded(
    files: Sequence[Path], scale: int, reductions: Sequence[float]
) -> Iterator[list[Pair]]:
    """Decode on all cores, a few images at a time: they need not fit into memory together."""
    threads = available_threads()
    with ThreadPoolExecutor(threads) as pool:
        for start in range(0, len(files), 2 * threads):
            yield from pool.map(
                partial(_decode, scale, reductions), files[start : start + 2 * threads]
            )


def _decode(scale: int, reductions: Sequence[float], path: Path) -> list[Pair]:
    """An image in all its sizes."""
    hr_hwc_u8 = read_rgb(path)
    pairs = [shrink(hr_hwc_u8, scale, path)]
    for factor in reductions:
        try:
            pairs.append(shrink(imresize(hr_hwc_u8, factor), scale, path))
        except ImageError as error:
            raise ImageError(f"{error}, or reduce by less than to {factor:g}") from error
    return pairs


def _open(path: Path, files: tuple[Path, ...], scale: int, sizes_of_each: int) -> ImageStore | None:
    """The store in a file, or None if there is none or the file is not whole."""
    try:
        content = open_pixels(path)
    except (OSError, ValueError):  # ValueError: an empty file cannot be mapped
        return None
    of_each = tuple(file for file in files for _ in range(sizes_of_each))
    pixel_bytes = len(content) - 16 * len(of_each)
    if pixel_bytes < 0:
        return None
    lr_sizes = np.frombuffer(content[pixel_bytes:].tobytes(), "<i8").reshape(-1, 2).astype(np.int64)
    # Pixels carry no mark of their own; a cut or foreign file does not add up.
    if lr_sizes.min() < 1 or _image_bytes(lr_sizes, scale).sum() != pixel_bytes:
        return None
    return ImageStore(scale, of_each, lr_sizes, content[:pixel_bytes], sizes_of_each)


@contextlib.contextmanager
def _lock(path: Path) -> Generator[None]:
    """Let one process at a time in, on this machine and, where the file system can, on others."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    except OSError as error:
        raise OutputError(f"cannot write {path}: {error.strerror or error}") from error
    lock = FileLock(path)
    # Some network file systems have no locks. Then several decode, and the last one's file, which
    # is equal, stays.
    with contextlib.suppress(OSError):
        lock.acquire()
    try:
        yield
    finally:
        lock.release()
