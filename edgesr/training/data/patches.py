"""Training data: random patches of decoded images.

A batch is a function of the seed and the step alone. So a training that is resumed at a step sees
what it would have seen, and several processes take their shares of one global batch without
talking to each other.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from edgesr.errors import ImageError, SizeError
from edgesr.images.datasets import Uint8Array
from edgesr.training.data.store import ImageStore
from edgesr.training.recipe import Draw

if TYPE_CHECKING:
    import torch

_SYMMETRIES = 8  # of the square: mirrored or not in rows, in columns, and transposed or not


class PatchPlaces(NamedTuple):
    """Where patches are, one entry each.

    Attributes:
        images: Their numbers in the store.
        tops: First rows in LR.
        lefts: First columns in LR.
        symmetries: Of the square: bit 0 mirrors rows, 1 columns, 2 transposes before that.
    """

    images: NDArray[np.int64]
    tops: NDArray[np.int64]
    lefts: NDArray[np.int64]
    symmetries: NDArray[np.int64]


class PatchSampler:
    """Draws batches of aligned LR and HR patches, the same ones for the same seed and step.

    By `Draw` "positions" every position in every image is equally likely, so an image is drawn
    in proportion to the positions it has: no patch is seen much more often than any other. By
    "images" every image is equally likely, so that a few large ones do not decide what is
    learnt. Each patch is turned and mirrored into one of the 8 symmetries of the square, all
    equally likely.

    Attributes:
        lr_patch: Height and width of an LR patch.
        skipped: The images that are smaller than a patch, if these may be skipped.
    """

    def __init__(
        self,
        store: ImageStore,
        *,
        lr_patch: int,
        batch: int,
        seed: int,
        draw: Draw = "positions",
        skip_small: bool = False,
    ) -> None:
        """Check the images' sizes.

        Args:
            store: The images.
            lr_patch: Height and width of an LR patch.
            batch: Patches per step, over all processes.
            seed: 0 or more.
            draw: What is equally likely.
            skip_small: Whether images smaller than a patch are left out instead of refused.

        Raises:
            ImageError: An image is smaller than a patch, or all are.
            SizeError: `lr_patch` or `batch` is below 1.
        """
        if min(lr_patch, batch) < 1:
            raise SizeError(
                f"got patches of {lr_patch}x{lr_patch} and {batch} in a batch, allowed 1 and more"
            )
        self._store = store
        self.lr_patch = lr_patch
        self._batch = batch
        self._seed = seed
        room = store.lr_sizes - lr_patch + 1
        self._columns = room[:, 1]
        self._positions = np.where((room > 0).all(axis=1), room.prod(axis=1), 0)
        self._ends = np.cumsum(self._positions)
        self._drawable = np.flatnonzero(self._positions) if draw == "images" else None
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
        places = self.places(step, rows)
        return self._read(list(zip(*(column.tolist() for column in places), strict=True)))

    def places(self, step: int, rows: slice = slice(None)) -> PatchPlaces:
        """Where the patches of a step are; arguments as for `sample`."""
        # A generator of its own for each step: no state to be saved with a checkpoint.
        random = np.random.Generator(np.random.Philox(np.random.SeedSequence([self._seed, step])))
        images, offsets = (drawn[rows] for drawn in self._drawn(random))
        symmetries = random.integers(_SYMMETRIES, size=self._batch)[rows]
        tops, lefts = np.divmod(offsets, self._columns[images])
        return PatchPlaces(images, tops, lefts, symmetries)

    def _drawn(self, random: np.random.Generator) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Of each patch of a batch the image, and the number of its position there."""
        if self._drawable is None:
            drawn = random.integers(self._ends[-1], size=self._batch)
            images = np.searchsorted(self._ends, drawn, side="right")
            return images, drawn - (self._ends - self._positions)[images]
        images = self._drawable[random.integers(len(self._drawable), size=self._batch)]
        return images, random.integers(self._positions[images])

    def _read(
        self, places: Sequence[tuple[int, int, int, int]]
    ) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
        """Copy the patches at (image, top, left, symmetry)."""
        lr_side, hr_side = self.lr_patch, self.lr_patch * self._store.scale
        lr_nhwc_u8 = np.empty((len(places), lr_side, lr_side, 3), np.uint8)
        hr_nhwc_u8 = np.empty((len(places), hr_side, hr_side, 3), np.uint8)
        for row, (image, top, left, symmetry) in enumerate(places):
            for patches, source, side, factor in (
                (lr_nhwc_u8, self._store.lr(image), lr_side, 1),
                (hr_nhwc_u8, self._store.hr(image), hr_side, self._store.scale),
            ):
                y, x = top * factor, left * factor
                _copy_turned(patches[row], source[y : y + side, x : x + side], symmetry)
        return lr_nhwc_u8, hr_nhwc_u8

    def _too_small(self, small: Sequence[int]) -> ImageError:
        scale, side = self._store.scale, self.lr_patch
        height, width = (scale * int(length) for length in self._store.lr_sizes[small[0]])
        return ImageError(
            f"{self._store.files[small[0]]} is smaller than a patch (got {height}x{width}, allowed "
            f"{scale * side}x{scale * side} and more; {len(small)} of {len(self._store)} images "
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
