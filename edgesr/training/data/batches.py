"""Batches of patches, cut by threads on the host or gathered in a GPU's memory.

A GPU takes a small network's step in a few milliseconds, in which threads on the host cut no large
batch from memory-mapped images. The places of the patches come from `PatchSampler` either way, so
the batches are the same to the bit.
"""

from collections import deque
from collections.abc import Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from edgesr.training.data.patches import PatchPlaces, PatchSampler
from edgesr.training.data.store import ImageStore

# A GPU that cannot hold the images is fed by a few threads that copy patches while it computes. On
# a CPU the network takes all cores, and to draw beside it gains nothing.
_THREADS = 6
_AHEAD = 2 * _THREADS

Batch = tuple[Tensor, Tensor]

# The rest of the memory is the network's.
_LARGEST_SHARE = 1 / 3


class ResidentPatches:
    """All images of a store as one array on a device.

    Args:
        store: The images.
        device: Where they are to lie.
    """

    def __init__(self, store: ImageStore, device: torch.device) -> None:
        self._scale = store.scale
        self._pixels = torch.from_numpy(np.array(store.pixels_u8)).to(device)
        self._lr_starts, self._hr_starts = (
            torch.tensor(starts, device=device) for starts in store.starts()
        )
        self._widths = torch.from_numpy(np.array(store.lr_sizes[:, 1])).to(device)

    def batch(
        self, sampler: PatchSampler, step: int, rows: slice, value_range: float
    ) -> tuple[Tensor, Tensor]:
        """The batch of a step, or a share of it, as `edgesr.training.data.batches` yields it."""
        places = sampler.places(step, rows)
        lr_nchw, hr_nchw = (
            self._cut(starts, places, factor, sampler.lr_patch).float().mul_(value_range / 255)
            for starts, factor in ((self._lr_starts, 1), (self._hr_starts, self._scale))
        )
        return lr_nchw, hr_nchw

    def _cut(self, starts: Tensor, places: PatchPlaces, factor: int, lr_patch: int) -> Tensor:
        """Patches at `factor` times the LR size: N x 3 x side x side, channels last."""
        images, tops, lefts, symmetries = (
            self._on_device(column)[:, None, None] for column in places
        )
        side = factor * lr_patch
        down = torch.arange(side, device=starts.device)[None, :, None]
        across = down.transpose(1, 2)
        transposed = (symmetries & 4) > 0
        rows = torch.where(transposed, across, down)
        columns = torch.where(transposed, down, across)
        rows = torch.where((symmetries & 1) > 0, side - 1 - rows, rows)
        columns = torch.where((symmetries & 2) > 0, side - 1 - columns, columns)
        pixels = (factor * tops + rows) * (factor * self._widths[images])
        first = starts[images] + 3 * (pixels + factor * lefts + columns)
        channels = torch.arange(3, device=starts.device)
        return self._pixels[first[..., None] + channels].permute(0, 3, 1, 2)

    def _on_device(self, column: NDArray[np.int64]) -> Tensor:
        return torch.from_numpy(column).to(self._pixels.device, non_blocking=True)


def resident(store: ImageStore, device: torch.device) -> ResidentPatches | None:
    """The store on a GPU; None on a CPU, and where it would take too much of the GPU's memory."""
    if device.type != "cuda":
        return None
    free_bytes, _ = torch.cuda.mem_get_info(device)
    if store.pixels_u8.nbytes > _LARGEST_SHARE * free_bytes:
        return None
    return ResidentPatches(store, device)


def batches(
    sampler: PatchSampler,
    steps: Iterable[int],
    rows: slice,
    value_range: float,
    device: str,
    on_device: ResidentPatches | None = None,
) -> Generator[Batch]:
    """The batches of some steps, in order.

    Args:
        sampler: Where they come from.
        steps: Numbers of the steps.
        rows: This process's share of each batch.
        value_range: The network's values lie in [0, value_range].
        device: Where they go.
        on_device: The images, if they lie there.

    Yields:
        LR and HR, N x 3 x height x width, float32, channels last.
    """
    if on_device is not None:
        yield from (on_device.batch(sampler, step, rows, value_range) for step in steps)
        return
    for pair_u8 in _drawn(sampler, steps, rows, pinned=device.startswith("cuda")):
        lr_nchw, hr_nchw = (
            # Channels last as the images are: permuting moves nothing.
            part.to(device, non_blocking=True).permute(0, 3, 1, 2).float().mul_(value_range / 255)
            for part in pair_u8
        )
        yield lr_nchw, hr_nchw


def _drawn(
    sampler: PatchSampler, steps: Iterable[int], rows: slice, *, pinned: bool
) -> Generator[Batch]:
    def draw(step: int) -> Batch:
        lr, hr = (torch.from_numpy(part) for part in sampler.sample(step, rows))
        return (lr.pin_memory(), hr.pin_memory()) if pinned else (lr, hr)

    if not pinned:
        yield from map(draw, steps)
        return
    numbers = iter(steps)
    with ThreadPoolExecutor(_THREADS) as pool:
        waiting: deque[Future[Batch]] = deque(pool.submit(draw, n) for n in islice(numbers, _AHEAD))
        try:
            while waiting:
                batch = waiting.popleft().result()
                waiting.extend(pool.submit(draw, n) for n in islice(numbers, 1))
                yield batch
        finally:
            pool.shutdown(cancel_futures=True)
