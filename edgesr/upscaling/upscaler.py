"""Upscale images of any size through a network of fixed input size.

Pixels go through the network as float32 in [0, 1] and are rounded once, at the end. Grey goes
through as RGB with three equal channels, and the result's channels are averaged. Alpha goes through
as a grey image of its own (not at all where it is constant). Colours under fully transparent
pixels mean nothing - often they are black - but the network would spread them into the visible
edge: they are replaced by their neighbours' before (`fill_transparent`).

Results that cannot be right are errors: `edgesr.upscaling.output_checks`.
"""

from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from edgesr.common.progress import ProgressCallback, silent
from edgesr.errors import ImageError
from edgesr.images.files import ImageData
from edgesr.runtime.session import Backend, Float32Array, ModelFile, Runner, read_model_file
from edgesr.tflite.resize import read_work
from edgesr.tflite.shape import ModelShape
from edgesr.upscaling.output_checks import (
    ANY_REMEDY,
    BrightnessCheck,
    check_values,
    remedy_for,
)
from edgesr.upscaling.tile_size import MOST_BYTES, FittedTiles, Size, SizeChoice, WholeImages
from edgesr.upscaling.tiling import (
    Overlap,
    Tile,
    cover,
    fresh_share,
    kept_slices,
    next_multiple,
    read_tile,
)
from edgesr.upscaling.transparency import fill_transparent

_T = TypeVar("_T", bound=np.generic)

# Results are rounded in blocks of this many values, which stay in a core's cache.
_BLOCK_VALUES = 1 << 18


class ImageUpscaler(Protocol):
    """Interface of `Upscaler` (tiles of one size) and `ResizingUpscaler` (of fitting sizes)."""

    @property
    def scale(self) -> int:
        """Rows of the result per row of the image."""
        ...

    def expect(self, images: int) -> None:
        """Be told how many images of each size are to come: what is opened for them must pay."""
        ...

    def count_tiles(self, image: ImageData) -> int:
        """Count the network's runs for an image."""
        ...

    def is_one_tile(self, image: ImageData) -> bool:
        """Whether the network sees all of an image at once, and nothing else."""
        ...

    def upscale(self, image: ImageData, progress: ProgressCallback = silent) -> ImageData:
        """Upscale an image with its alpha channel, profile and metadata."""
        ...

    def upscale_pixels(
        self, pixels_hwc: NDArray[_T], progress: ProgressCallback = silent
    ) -> NDArray[_T]:
        """Upscale RGB pixels alone."""
        ...

    def close(self) -> None:
        """Release the network and its processes."""
        ...


class Upscaler:
    """Upscales images through one loaded network. Not to be shared between threads."""

    def __init__(self, runner: Runner, overlap: Overlap, remedy: str = ANY_REMEDY) -> None:
        """Take a network.

        Args:
            runner: The loaded network.
            overlap: How its tiles must lie.
            remedy: Advice where a result cannot be right.
        """
        self._remedy = remedy
        self._runner = runner
        self._overlap = overlap
        shape = runner.shape
        width = shape.scale * shape.width
        self._input: Float32Array = np.empty((1, shape.height, shape.width, 3), np.float32)
        self._block: Float32Array = np.empty((max(1, _BLOCK_VALUES // (3 * width)), width, 3), "f4")

    def close(self) -> None:
        """Release the network."""
        self._runner.close()

    @property
    def shape(self) -> ModelShape:
        """The network's sizes."""
        return self._runner.shape

    @property
    def scale(self) -> int:
        """Rows of the result per row of the image."""
        return self.shape.scale

    def expect(self, images: int) -> None:
        """Nothing: its tiles have one size."""

    def count_tiles(self, image: ImageData) -> int:
        """Count the network's runs for an image.

        Raises:
            SizeError: The network's input is too small for its receptive radius.
        """
        tiles = cover(image.height, image.width, self.shape, self._overlap)
        return len(tiles) * len(_planes(image.pixels_hwc))

    def is_one_tile(self, image: ImageData) -> bool:
        """Whether the network sees all of an image at once, and nothing else.

        Up to the rows and columns that complete a multiple, where it needs one.
        """
        size, shape = (image.height, image.width), self.shape
        fed = tuple(next_multiple(side, self._overlap.multiple) for side in size)
        return fed == (shape.height, shape.width)

    def upscale(self, image: ImageData, progress: ProgressCallback = silent) -> ImageData:
        """Upscale an image; bit depth, kind of channels and metadata stay.

        Args:
            image: Any size from 1x1 up.
            progress: Called after every tile, with the stage "tiles".

        Raises:
            SizeError: The network's input is too small for its receptive radius.
            ImageError: The result cannot be right, or does not fit into memory.
        """
        return replace(image, pixels_hwc=self.upscale_pixels(image.pixels_hwc, progress))

    def upscale_pixels(
        self, pixels_hwc: NDArray[_T], progress: ProgressCallback = silent
    ) -> NDArray[_T]:
        """Upscale pixels; their type and kind of channels stay.

        Args:
            pixels_hwc: Height x width x channels as in `ImageData`: uint8 or uint16 over the whole
                range, or float32 in [0, 1], which is not rounded.
            progress: Called after every tile, with the stage "tiles".

        Raises:
            SizeError: The network's input is too small for its receptive radius.
            ImageError: The result cannot be right, or does not fit into memory.
        """
        tiles = cover(pixels_hwc.shape[0], pixels_hwc.shape[1], self.shape, self._overlap)
        planes = _planes(pixels_hwc)
        result = self._allocate(pixels_hwc)
        if pixels_hwc.shape[2] in (2, 4):
            # Right where alpha is constant, else overwritten.
            result[..., -1] = pixels_hwc[0, 0, -1]
            pixels_hwc = fill_transparent(pixels_hwc)
        total, done = len(planes) * len(tiles), 0
        progress("tiles", done, total)
        for plane in planes:
            brightness = BrightnessCheck(self._remedy)
            for tile in tiles:
                self._load(read_tile(pixels_hwc[..., plane], tile, self.shape))
                brightness.add(*self._compute(tile, result[..., plane]))
                done += 1
                progress("tiles", done, total)
            brightness.judge_whole()
        return result

    def _allocate(self, pixels_hwc: NDArray[_T]) -> NDArray[_T]:
        scale, (height, width, channels) = self.shape.scale, pixels_hwc.shape
        try:
            return np.empty((scale * height, scale * width, channels), pixels_hwc.dtype)
        except MemoryError as error:
            raise ImageError(
                f"the result of {scale * height}x{scale * width} pixels does not fit into memory"
            ) from error

    def _load(self, tile_hwc: NDArray[Any]) -> None:
        """Bring a tile of 1 or 3 channels into [0, 1]."""
        peak = np.float32(_white(tile_hwc.dtype))
        if tile_hwc.shape[2] == 3:
            np.divide(tile_hwc, peak, out=self._input[0])
        else:
            for channel in range(3):
                np.divide(tile_hwc[..., 0], peak, out=self._input[0, ..., channel])

    def _compute(self, tile: Tile, result_hwc: NDArray[Any]) -> tuple[Tile, float, float]:
        """Run the network and store what is kept of the tile.

        Args:
            tile: The tile that `_load` has brought in.
            result_hwc: The whole result, of 1 or 3 channels.

        Returns:
            The tile; sums over its kept part, one value per input pixel and channel: of the input,
            of the result, with black as 0 and white as 1.
        """
        within, whole = kept_slices(tile, self.shape.scale)
        before = kept_slices(tile, 1)[0]
        # The runtime's own memory: no reference to it may be left at the next run.
        kept = self._runner.run(self._input)[0][within]
        share = fresh_share(tile, self.shape.scale)
        target = result_hwc[whole]
        peak = _white(target.dtype)
        total = 0.0
        for top in range(0, len(kept), len(self._block)):
            part = slice(top, top + len(self._block))
            rows = kept[part]
            check_values(rows, self._remedy)
            block = self._block[: len(rows), : rows.shape[1]]
            blend = None if share is None else share[part, :, None]
            total += _round(rows, target[part], block, peak, blend)
        scale_squared = self.shape.scale**2
        return tile, float(self._input[0][before].sum()), total / scale_squared


def _round(
    values: Float32Array,
    target: NDArray[Any],
    block: Float32Array,
    peak: float,
    share: Float32Array | None,
) -> float:
    """Clip to [0, 1], scale to [0, peak], blend, round to the nearest and store.

    Args:
        values: Rows x columns x 3.
        target: Rows x columns x 1 or 3; a single channel takes the mean.
        block: Scratch space, shaped as `values`.
        peak: Largest value of the target's type.
        share: Rows x columns x 1: how far to go from what is stored to these values; None where
            they replace it.

    Returns:
        The sum of all values over 3 channels, as clipped, of white 1.
    """
    np.multiply(values, np.float32(peak), out=block)
    if target.shape[2] == 1:
        mean = block[..., :1]
        mean += block[..., 1:2]
        mean += block[..., 2:3]
        mean *= np.float32(1 / 3)
        block = mean
    np.clip(block, 0, peak, out=block)
    total = float(block.sum(dtype=np.float32))
    if share is not None:
        stored = target.astype(np.float32)
        block -= stored
        block *= share
        block += stored
    if target.dtype != np.float32:
        block += np.float32(0.5)
    np.copyto(target, block, casting="unsafe")
    return total * (3 / target.shape[2]) / peak


def _planes(pixels_hwc: NDArray[Any]) -> list[slice]:
    """Groups of channels that go through the network together."""
    channels = pixels_hwc.shape[2]
    if channels not in (2, 4):
        return [slice(0, channels)]
    alpha: NDArray[np.generic] = pixels_hwc[..., -1]
    constant = bool((alpha == alpha[0, 0]).all())
    colours = slice(0, channels - 1)
    return [colours] if constant else [colours, slice(channels - 1, channels)]


def _white(dtype: np.dtype[Any]) -> float:
    """The value of white in an array of that type."""
    return 1.0 if dtype == np.float32 else float(np.iinfo(dtype).max)


#: Height, width -> the network for that size.
OpenSize = Callable[[Size], Runner]


class ResizingUpscaler:
    """Upscales images through a network that is opened at the sizes that suit them.

    Not to be shared between threads. Sizes stay open for later images, as `SizeChoice` says.
    """

    def __init__(
        self,
        open_size: OpenSize,
        scale: int,
        choice: SizeChoice,
        overlap: Overlap,
        remedy: str = ANY_REMEDY,
    ) -> None:
        """Store the loader of a network for every size.

        Args:
            open_size: Loads it for a size; errors are passed on.
            scale: Its upscaling factor.
            choice: Which size is loaded for an image.
            overlap: How tiles must lie.
            remedy: Advice where a result cannot be right.
        """
        self._open_size = open_size
        self._choice = choice
        self._overlap = overlap
        self._remedy = remedy
        self._opened: dict[Size, Upscaler] = {}  # the latest last
        self._expected = 1
        self._seen: Counter[Size] = Counter()
        self.scale = scale

    def expect(self, images: int) -> None:
        """State how many images of each size are to come."""
        self._expected = max(1, images)

    def count_tiles(self, image: ImageData) -> int:
        """Count the network's runs for an image.

        Raises:
            EdgeSRError: The network is not available for that size.
        """
        return self._for((image.height, image.width)).count_tiles(image)

    def is_one_tile(self, image: ImageData) -> bool:
        """Whether the network sees all of an image at once, and nothing else.

        Raises:
            EdgeSRError: The network is not available for that size.
        """
        return self._for((image.height, image.width)).is_one_tile(image)

    def upscale(self, image: ImageData, progress: ProgressCallback = silent) -> ImageData:
        """Upscale an image; see `Upscaler.upscale`.

        Raises:
            ImageError: The result cannot be right, or does not fit into memory.
            EdgeSRError: The network is not available for that size.
        """
        return replace(image, pixels_hwc=self.upscale_pixels(image.pixels_hwc, progress))

    def upscale_pixels(
        self, pixels_hwc: NDArray[_T], progress: ProgressCallback = silent
    ) -> NDArray[_T]:
        """Upscale by tiles of one size; see `Upscaler.upscale_pixels`.

        Raises:
            ImageError: The result cannot be right, or does not fit into memory.
            EdgeSRError: The network is not available for that size.
        """
        height, width = pixels_hwc.shape[:2]
        self._seen[height, width] += 1
        return self._for((height, width)).upscale_pixels(pixels_hwc, progress)

    def close(self) -> None:
        """Release the network and its processes."""
        for upscaler in self._opened.values():
            upscaler.close()
        self._opened.clear()

    def _for(self, image_size: Size) -> Upscaler:
        """The network at the size for an image."""
        # Of a size that came often more are expected.
        images = max(self._expected, self._seen[image_size])
        size = self._choice.choose(image_size, list(self._opened), images)
        if size not in self._opened:
            kept = self._choice.keep(size, list(self._opened))
            for old in self._opened.keys() - set(kept):
                self._opened.pop(old).close()
            self._opened[size] = Upscaler(self._open_size(size), self._overlap, self._remedy)
        self._opened[size] = self._opened.pop(size)
        return self._opened[size]


def whole_upscaler(path: Path, backend: Backend, threads: int) -> ResizingUpscaler:
    """A file that is loaded anew for each image's size, so that each is one tile.

    Args:
        path: The `.tflite`.
        backend: The backend to run it on.
        threads: CPU threads.

    Raises:
        ModelFileError: The file is unreadable, or not a super-resolution model.
    """
    return open_whole(read_model_file(path), backend, threads)


def open_whole(file: ModelFile, backend: Backend, threads: int) -> ResizingUpscaler:
    """See `whole_upscaler`."""
    multiple = file.facts.size_multiple if file.facts else 1
    choice, overlap = WholeImages(multiple), Overlap(0, multiple)
    return _resizing(file, backend, threads, choice, overlap)


def open_fitted(
    file: ModelFile, backend: Backend, threads: int, overlap: Overlap, most_bytes: int = MOST_BYTES
) -> ResizingUpscaler:
    """A file that is loaded at the sizes of tiles that cost least.

    Args:
        file: The file.
        backend: The backend to run it on.
        threads: CPU threads.
        overlap: How its tiles must lie, whatever their size.
        most_bytes: What the open sizes may need.

    Raises:
        ModelFileError: An operator of it fits its own size only.
    """
    choice = FittedTiles(read_work(file.content, str(file.path)), overlap, threads, most_bytes)
    return _resizing(file, backend, threads, choice, overlap)


def _resizing(
    file: ModelFile, backend: Backend, threads: int, choice: SizeChoice, overlap: Overlap
) -> ResizingUpscaler:
    def open_size(size: Size) -> Runner:
        return file.open(backend, threads=threads, size=size)

    remedy = remedy_for(backend, file.facts)
    return ResizingUpscaler(open_size, file.shape.scale, choice, overlap, remedy)
