"""Batches on their way from the pictures to the network."""

from collections import deque
from collections.abc import Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice

import torch
from torch import Tensor

from edgesr.train.data import PatchSampler

# A GPU is fed by a few threads that copy patches while it computes. On a CPU the network takes all
# cores, and to draw beside it gains nothing.
_THREADS = 6
_AHEAD = 2 * _THREADS

Batch = tuple[Tensor, Tensor]


def batches(
    sampler: PatchSampler, steps: Iterable[int], rows: slice, value_range: float, device: str
) -> Generator[Batch]:
    """The batches of some steps, in order.

    Args:
        sampler: Where they come from.
        steps: Numbers of the steps.
        rows: This process's share of each batch.
        value_range: The network's values lie in [0, value_range].
        device: Where they go.

    Yields:
        LR and HR, N x 3 x height x width, float32, channels last.
    """
    for pair_u8 in _drawn(sampler, steps, rows, pinned=device.startswith("cuda")):
        lr_nchw, hr_nchw = (
            # Channels last as the pictures are: permuting moves nothing.
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
