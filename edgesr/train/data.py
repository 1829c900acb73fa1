"""Training data: pictures decoded once into a memory-mapped array, and random patches of them.

A batch is a function of the seed and the step alone. So a training that is resumed at a step sees
what it would have seen, and several processes take their shares of one global batch without
talking to each other.
"""

import contextlib
import fcntl
import hashlib
import os
from collections.abc import Generator, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from edgesr.errors import OutputError, PictureError, SizeError
from edgesr.files import atomic_outputs
from edgesr.progress import ProgressCallback, silent
from edgesr.runtime import available_threads
from edgesr.train.pictures import (
    Pair,
    Uint8Array,
    check_scale,
    find_pictures,
    read_rgb,
    shrink,
    validation_pairs,
)

if TYPE_CHECKING:
    import torch

__all__ = [
    "Pair",
    "PatchSampler",
    "PictureStore",
    "prepare",
    "to_network_range",
    "validation_pairs",
]

# Part of the cache's key: a new layout, or another way to make LR, must not meet old files.
_LAYOUT = "edgesr pictures 1"

_SYMMETRIES = 8  # of the square: mirrored or not in rows, in columns, and transposed or not


@dataclass(frozen=True, eq=False)
class PictureStore:
    """Decoded pictures in both resolutions, on disk, read as they are needed.

    Attributes:
        scale: How many times as large HR is as LR.
        files: Where each picture comes from.
        lr_sizes: Height and width of each LR picture, pictures x 2.
        pixels_u8: All of them, flat: of each picture HR, then LR, as height x width x 3. Read-only.
    """

    scale: int
    files: tuple[Path, ...]
    lr_sizes: NDArray[np.int64]
    pixels_u8: Uint8Array

    def __len__(self) -> int:
        return len(self.files)

    def hr(self, index: int) -> Uint8Array:
        """An HR picture, RGB, height x width x 3."""
        height, width = (self.scale * int(side) for side in self.lr_sizes[index])
        return self._view(self._starts[index], height, width)

    def lr(self, index: int) -> Uint8Array:
        """An LR picture, RGB, height x width x 3."""
        height, width = (int(side) for side in self.lr_sizes[index])
        hr_bytes = 3 * self.scale**2 * height * width
        return self._view(self._starts[index] + hr_bytes, height, width)

    @cached_property
    def _starts(self) -> list[int]:
        ends = np.cumsum(_picture_bytes(self.lr_sizes, self.scale))
        return [0, *ends.tolist()]

    def _view(self, start: int, height: int, width: int) -> Uint8Array:
        return self.pixels_u8[start : start + 3 * height * width].reshape(height, width, 3)


def prepare(
    folders: Sequence[Path], scale: int, cache: Path, *, progress: ProgressCallback = silent
) -> PictureStore:
    """Decode every picture below some folders, once: later calls find the result in the cache.

    HR is cropped to a multiple of the scale, LR made of it by MATLAB's bicubic. When a file is
    added, removed or changed (as its size and time of change tell), all are decoded anew. Of
    several processes that ask at once one decodes and the others wait for it.

    Args:
        folders: Searched with all folders below. A file that is met twice counts once.
        scale: How many times as large HR is to be as LR.
        cache: The folder for the decoded pictures, made if it is missing. It takes 3 bytes per
            pixel of HR and LR. Nothing in it is ever removed.
        progress: Told of pictures decoded.

    Raises:
        PictureError: There are no pictures, or one is unreadable, transparent or smaller than
            `scale`.
        SizeError: The scale is below 2.
        OutputError: The cache cannot be written.
    """
    check_scale(scale)
    files, key = _list_pictures(folders)
    digest = hashlib.sha256(f"{_LAYOUT}\n{scale}\n".encode() + key).hexdigest()
    path = cache / f"x{scale}-{digest[:32]}.pictures"
    with _lock(path.with_suffix(".lock")):
        store = _open(path, files, scale)
        if store is None:
            _decode_all(path, files, scale, progress)
            store = _open(path, files, scale)
    if store is None:
        raise OutputError(f"{path} changed while it was written; keep {cache} to edgesr alone")
    return store


class PatchSampler:
    """Draws batches of aligned LR and HR patches, the same ones for the same seed and step.

    Every position in every picture is equally likely, so a picture is drawn in proportion to the
    positions it has. Drawing pictures equally often would repeat the few patches of small pictures
    many times over while most of a large one is never seen. Each patch is turned and mirrored into
    one of the 8 symmetries of the square, all equally likely.

    Attributes:
        skipped: The pictures that are smaller than a patch, if these may be skipped.
    """

    def __init__(
        self,
        store: PictureStore,
        *,
        lr_patch: int,
        batch: int,
        seed: int,
        skip_small: bool = False,
    ) -> None:
        """Check the pictures' sizes.

        Args:
            store: The pictures.
            lr_patch: Height and width of an LR patch.
            batch: Patches per step, over all processes.
            seed: 0 or more.
            skip_small: Whether pictures smaller than a patch are left out instead of refused.

        Raises:
            PictureError: A picture is smaller than a patch, or all are.
            SizeError: `lr_patch` or `batch` is below 1.
        """
        if min(lr_patch, batch) < 1:
            raise SizeError(
                f"got patches of {lr_patch}x{lr_patch} and {batch} in a batch, allowed 1 and more"
            )
        self._store = store
        self._lr_patch = lr_patch
        self._batch = batch
        self._seed = seed
        room = store.lr_sizes - lr_patch + 1
        self._columns = room[:, 1]
        self._positions = np.where((room > 0).all(axis=1), room.prod(axis=1), 0)
        self._ends = np.cumsum(self._positions)
        small = np.flatnonzero(self._positions == 0).tolist()
        if small and (not skip_small or len(small) == len(store)):
            raise self._too_small(small)
        self.skipped = tuple(store.files[index] for index in small)

    def sample(
        self, step: int, rows: slice = slice(None)
    ) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
        """The batch of a step, or a share of it.

        Args:
            step: 0 or more.
            rows: Which of the batch's patches are wanted. All are drawn, only these are read.

        Returns:
            `lr_nhwc_u8` and `hr_nhwc_u8`, new arrays.
        """
        # A generator of its own for each step: no state to be saved with a checkpoint.
        random = np.random.Generator(np.random.Philox(np.random.SeedSequence([self._seed, step])))
        drawn = random.integers(self._ends[-1], size=self._batch)
        symmetries = random.integers(_SYMMETRIES, size=self._batch)[rows].tolist()
        pictures = np.searchsorted(self._ends, drawn, side="right")[rows]
        offsets = drawn[rows] - (self._ends - self._positions)[pictures]
        tops, lefts = np.divmod(offsets, self._columns[pictures])
        places = zip(pictures.tolist(), tops.tolist(), lefts.tolist(), symmetries, strict=True)
        return self._read(list(places))

    def _read(
        self, places: Sequence[tuple[int, int, int, int]]
    ) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
        """Copy the patches at (picture, top, left, symmetry)."""
        lr_side, hr_side = self._lr_patch, self._lr_patch * self._store.scale
        lr_nhwc_u8 = np.empty((len(places), lr_side, lr_side, 3), np.uint8)
        hr_nhwc_u8 = np.empty((len(places), hr_side, hr_side, 3), np.uint8)
        for row, (picture, top, left, symmetry) in enumerate(places):
            for patches, source, side, factor in (
                (lr_nhwc_u8, self._store.lr(picture), lr_side, 1),
                (hr_nhwc_u8, self._store.hr(picture), hr_side, self._store.scale),
            ):
                y, x = top * factor, left * factor
                _copy_turned(patches[row], source[y : y + side, x : x + side], symmetry)
        return lr_nhwc_u8, hr_nhwc_u8

    def _too_small(self, small: Sequence[int]) -> PictureError:
        scale, side = self._store.scale, self._lr_patch
        height, width = (scale * int(length) for length in self._store.lr_sizes[small[0]])
        return PictureError(
            f"{self._store.files[small[0]]} is smaller than a patch (got {height}x{width}, allowed "
            f"{scale * side}x{scale * side} and more; {len(small)} of {len(self._store)} pictures "
            "are too small); take it out, let small ones be skipped, or use smaller patches"
        )


def to_network_range(
    batch_nhwc_u8: Uint8Array, value_range: float, device: "torch.device | str" = "cpu"
) -> "torch.Tensor":
    """A batch as the networks take it: NCHW, float32 in [0, `value_range`].

    Args:
        batch_nhwc_u8: RGB, batch x height x width x 3.
        value_range: 1.0 or 255.0, see `ArchSpec`.
        device: Where it goes, as uint8: a quarter of the bytes.
    """
    import torch

    batch_nchw = torch.from_numpy(batch_nhwc_u8).to(device).permute(0, 3, 1, 2)
    return batch_nchw.to(torch.float32, memory_format=torch.contiguous_format) * (value_range / 255)


def _copy_turned(target_hwc: Uint8Array, patch_hwc: Uint8Array, symmetry: int) -> None:
    """Copy a square patch in one of the 8 symmetries: bit 0 rows, 1 columns, 2 transposed."""
    if symmetry & 1:
        patch_hwc = patch_hwc[::-1]
    if symmetry & 2:
        patch_hwc = patch_hwc[:, ::-1]
    if symmetry & 4:
        patch_hwc = patch_hwc.swapaxes(0, 1)
    if symmetry < 2:
        target_hwc[...] = patch_hwc  # whole rows at a time
        return
    # Copied at once, numpy's innermost loop would have the length of a pixel: four times slower.
    for channel in range(3):
        target_hwc[..., channel] = patch_hwc[..., channel]


def _picture_bytes(lr_sizes: NDArray[np.int64], scale: int) -> NDArray[np.int64]:
    """What each picture takes in the store, HR and LR."""
    return 3 * (scale**2 + 1) * lr_sizes.prod(axis=1)


def _list_pictures(folders: Sequence[Path]) -> tuple[tuple[Path, ...], bytes]:
    """Every picture once, and bytes that change when one of them does."""
    if not folders:
        raise PictureError("got no folders of training pictures, allowed one and more; name one")
    files: dict[Path, Path] = {}
    key = b""
    for folder in folders:
        key += b"folder\n"
        for path in find_pictures(folder):
            if files.setdefault(path.resolve(), path) is not path:
                continue
            try:
                status = path.stat()
            except OSError as error:
                raise PictureError(f"cannot read {path}: {error.strerror or error}") from error
            name = os.fsencode(path.relative_to(folder))
            key += b"%s\0%d %d\n" % (name, status.st_size, status.st_mtime_ns)
    return tuple(files.values()), key


def _decode_all(
    target: Path, files: Sequence[Path], scale: int, progress: ProgressCallback
) -> None:
    """Write every picture and then the LR sizes into one file, which appears when it is whole."""
    sizes: list[tuple[int, ...]] = []
    with atomic_outputs([target], overwrite=True) as (temporary,), temporary.open("wb") as file:
        progress("pictures", 0, len(files))
        for pair in _pairs(files, scale):
            file.write(pair.hr_hwc_u8.tobytes())
            file.write(pair.lr_hwc_u8.tobytes())
            sizes.append(pair.lr_hwc_u8.shape[:2])
            progress("pictures", len(sizes), len(files))
        file.write(np.array(sizes, "<i8").tobytes())


def _pairs(files: Sequence[Path], scale: int) -> Iterator[Pair]:
    """Decode on all cores, a few pictures at a time: they need not fit into memory together."""
    threads = available_threads()
    with ThreadPoolExecutor(threads) as pool:
        for start in range(0, len(files), 2 * threads):
            yield from pool.map(partial(_decode, scale), files[start : start + 2 * threads])


def _decode(scale: int, path: Path) -> Pair:
    return shrink(read_rgb(path), scale, path)


def _open(path: Path, files: tuple[Path, ...], scale: int) -> PictureStore | None:
    """The store in a file, or None if there is none or the file is not whole."""
    try:
        content = np.memmap(path, np.uint8, mode="r").view(np.ndarray)
    except (OSError, ValueError):  # ValueError: an empty file cannot be mapped
        return None
    pixel_bytes = len(content) - 16 * len(files)
    if pixel_bytes < 0:
        return None
    lr_sizes = np.frombuffer(content[pixel_bytes:].tobytes(), "<i8").reshape(-1, 2)
    # Pixels carry no mark of their own; a cut or foreign file does not add up.
    if lr_sizes.min() < 1 or _picture_bytes(lr_sizes, scale).sum() != pixel_bytes:
        return None
    return PictureStore(scale, files, lr_sizes.astype(np.int64), content[:pixel_bytes])


@contextlib.contextmanager
def _lock(path: Path) -> Generator[None]:
    """Let one process at a time in, on this machine and, where the file system can, on others."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        file = path.open("wb")
    except OSError as error:
        raise OutputError(f"cannot write {path}: {error.strerror or error}") from error
    with file:
        # Some network file systems have no locks. Then several decode, and the last one's file,
        # which is equal, stays.
        with contextlib.suppress(OSError):
            fcntl.flock(file, fcntl.LOCK_EX)
        yield
