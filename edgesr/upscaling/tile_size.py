"""Choose the size of tiles that costs least.

A network is opened at a size, which takes time and memory per pixel of that size once, and then
runs per tile. Large tiles repeat less at their borders, small ones open faster and need less
memory; the best are rectangles that cover the image without a rest. The terms were measured with
LiteRT 2.3.0 and XNNPACK on two kinds of x86-64 CPU, of AVX2 and of AVX-512, for IMDN_RTC and
FMEN-S, at 64x64 to 1051x2040 pixels:

- opening: 0.7 to 1.0 ns per byte that the network needs at that size (its memory is touched and
  filled with pointers, by one thread), beside some 40 ms that no size changes;
- running: about 0.4 ns per byte and 0.027 ns per multiplication, on one core; so 0.65 us a pixel
  for RTC and 5.2 for FMEN-S with two threads, where 0.62 to 0.78 and 5.1 to 5.8 were measured.

The optimum is flat: `tests/edgesr/upscaling/test_tile_size.py` holds what a term that is wrong by
half or twice loses.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Protocol

import numpy as np

from edgesr.errors import SizeError
from edgesr.tflite.resize import Work
from edgesr.upscaling.tiling import Overlap, cover_axis, next_multiple

Size = tuple[int, int]

#: What tiles may need, where the user does not say.
MOST_BYTES = 320 * 2**20

# Shorter sides than that are not worth a thought, whatever the network's reach.
_SHORTEST = 32
# Numbers of tiles along an axis that are tried: all up to about twenty, a choice of more.
_TRIED = 64


@dataclass(frozen=True)
class Costs:
    """Nanoseconds of opening and running a network.

    Attributes:
        open_fixed: Opening it at any size.
        open_byte: Opening it, per byte that it needs.
        run_fixed: One run.
        run_byte: One run on one core, per byte.
        run_mac: One run on one core, per multiplication.
    """

    open_fixed: float = 40e6
    open_byte: float = 0.75
    run_fixed: float = 0.5e6
    run_byte: float = 0.4
    run_mac: float = 0.0265


class SizeChoice(Protocol):
    """At which size to open a network for an image."""

    def choose(self, size: Size, opened: Sequence[Size], images: int = 1) -> Size:
        """The tile for so many images of that height and width."""
        ...

    def keep(self, size: Size, opened: Sequence[Size]) -> list[Size]:
        """Which of the sizes that are open, oldest first, may stay beside a new one."""
        ...


@dataclass(frozen=True)
class WholeImages:
    """The size of the image itself, up to the next multiple of what the network needs."""

    multiple: int = 1

    def choose(self, size: Size, opened: Sequence[Size], images: int = 1) -> Size:
        """The image's size."""
        height, width = (next_multiple(side, self.multiple) for side in size)
        return height, width

    def keep(self, size: Size, opened: Sequence[Size]) -> list[Size]:
        """None: the next may need their memory."""
        return []


@dataclass(frozen=True)
class FittedTiles:
    """The tile that costs least time within a limit of memory.

    Attributes:
        work: What a pixel costs the network.
        overlap: How its tiles must lie.
        threads: CPU threads that run it.
        most_bytes: What all open sizes together may need. Where even the smallest tile needs more,
            that one is taken.
        costs: Of opening and running.
    """

    work: Work
    overlap: Overlap
    threads: int
    most_bytes: int = MOST_BYTES
    costs: Costs = Costs()

    def choose(self, size: Size, opened: Sequence[Size], images: int = 1) -> Size:
        """The best of all tiles; one that is open already costs no opening."""
        rows, columns = (_axis(side, self.overlap) for side in size)
        pixels = np.outer(rows[:, 0], columns[:, 0])
        runs = np.outer(rows[:, 1], columns[:, 1])
        cost = self._running(pixels, runs) + self._opening(pixels) / images
        needed = self.work.bytes_per_pixel * pixels
        # Where nothing fits, the smallest is the best of what there is.
        cost = np.where(needed <= self.most_bytes, cost, 1e18 + needed)
        best = np.unravel_index(int(cost.argmin()), cost.shape)
        found, lowest = (int(rows[best[0], 0]), int(columns[best[1], 0])), float(cost[best])
        for tile in opened:
            again = self._running(np.array(tile[0] * tile[1]), np.array(self._count(size, tile)))
            if float(again) < lowest:
                found, lowest = tile, float(again)
        return found

    def keep(self, size: Size, opened: Sequence[Size]) -> list[Size]:
        """The latest, as far as they fit into the memory."""
        kept: list[Size] = []
        left = self.most_bytes - self._needed(size)
        for tile in reversed(opened):
            left -= self._needed(tile)
            if left < 0:
                break
            kept.insert(0, tile)
        return kept

    def cost_s(self, size: Size, tile: Size) -> float:
        """Seconds for one image by a tile that is not open yet."""
        pixels = np.array(tile[0] * tile[1])
        running = self._running(pixels, np.array(self._count(size, tile)))
        return 1e-9 * float(running + self._opening(pixels))

    def _needed(self, tile: Size) -> float:
        return self.work.bytes_per_pixel * tile[0] * tile[1]

    def _opening(self, pixels: np.ndarray) -> np.ndarray:
        return self.costs.open_fixed + self.costs.open_byte * self.work.bytes_per_pixel * pixels

    def _running(self, pixels: np.ndarray, runs: np.ndarray) -> np.ndarray:
        per_pixel = (
            self.costs.run_byte * self.work.bytes_per_pixel
            + self.costs.run_mac * self.work.macs_per_pixel
        )
        return runs * (self.costs.run_fixed + per_pixel / self.threads * pixels)

    def _count(self, size: Size, tile: Size) -> float:
        """Runs by a tile; infinite where it gives not exactly what the whole image gives."""
        runs = 1.0
        for length, side in zip(size, tile, strict=True):
            fed = next_multiple(length, self.overlap.multiple)
            if fed < side and length < 2 * self.overlap.radius:
                return np.inf  # its continuation by reflection would show
            try:
                runs *= len(cover_axis(length, side, self.overlap))
            except SizeError:
                return np.inf
        return runs


@lru_cache(maxsize=256)
def _axis(length: int, overlap: Overlap) -> np.ndarray:
    """Tiles along an axis: rows of (pixels of a tile, number of tiles)."""
    radius, multiple = overlap.radius, overlap.multiple
    fed = next_multiple(length, multiple)
    shortest = next_multiple(max(_SHORTEST, 2 * radius + multiple), multiple)
    most = max(1, -(-fed // max(1, shortest - 2 * radius)))
    found: dict[int, int] = {}
    for count in np.unique(np.geomspace(1, most, _TRIED).astype(int)).tolist():
        shared = 2 * radius * (count - 1)
        tile = min(fed, max(shortest, next_multiple(-(-(fed + shared) // count), multiple)))
        found[tile] = len(cover_axis(length, tile, overlap))
    return np.array(list(found.items()))
