"""One training on several processes, as `torchrun` starts them; alone, everything is a no-op.

Each process computes its share of a batch's rows, and torch's DistributedDataParallel averages the
gradients. Only the first process validates and writes.
"""

import contextlib
import os
from collections.abc import Generator
from dataclasses import dataclass
from typing import Any, TypeVar

import torch
from torch import Tensor, distributed, nn

from edgesr.errors import EdgeSRError

_T = TypeVar("_T")


class ProcessGroupError(EdgeSRError):
    """The processes of a training do not fit together."""


@dataclass(frozen=True)
class Processes:
    """The processes that train together, seen from one of them.

    Attributes:
        rank: This one's number, from 0.
        count: How many there are.
        local_rank: This one's number on its machine, which is that of its GPU.
    """

    rank: int = 0
    count: int = 1
    local_rank: int = 0

    @property
    def first(self) -> bool:
        """Whether this is the process that writes."""
        return self.rank == 0

    def rows(self, batch: int) -> slice:
        """This process's rows of a batch; the shares differ by one row at most.

        Raises:
            ProcessGroupError: There are fewer rows than processes.
        """
        if batch < self.count:
            raise ProcessGroupError(
                f"got {self.count} processes for a batch of {batch}, allowed {batch} or fewer; "
                "start fewer"
            )
        return slice(self.rank * batch // self.count, (self.rank + 1) * batch // self.count)

    def wrapped(self, net: nn.Module) -> nn.Module:
        """The network as it is to be called in training: its gradients become everybody's mean."""
        if self.count == 1:
            return net
        return nn.parallel.DistributedDataParallel(net)

    def total(self, own: Tensor) -> Tensor:
        """The sum over all processes."""
        if self.count > 1:
            own = own.clone()
            distributed.all_reduce(own)
        return own

    def gathered(self, own: _T) -> list[_T]:
        """Everybody's values, in the order of ranks."""
        if self.count == 1:
            return [own]
        values: list[Any] = [None] * self.count
        distributed.all_gather_object(values, own)
        return values

    def from_first(self, own: _T) -> _T:
        """The first process's value."""
        if self.count == 1:
            return own
        holder: list[Any] = [own]
        distributed.broadcast_object_list(holder, src=0)
        return holder[0]

    def wait(self) -> None:
        """Go on when all have come here."""
        if self.count > 1:
            distributed.barrier()


@contextlib.contextmanager
def processes(device_type: str) -> Generator[Processes]:
    """Join the processes that `torchrun` has started; without it, there is this one.

    Args:
        device_type: "cuda" joins by NCCL, "cpu" by gloo.

    Raises:
        ProcessGroupError: The others cannot be reached.
    """
    count = int(os.environ.get("WORLD_SIZE", "1"))
    if count == 1:
        yield Processes()
        return
    rank, local = int(os.environ["RANK"]), int(os.environ.get("LOCAL_RANK", "0"))
    if device_type == "cuda":
        torch.cuda.set_device(local)
    try:
        distributed.init_process_group("nccl" if device_type == "cuda" else "gloo")
    except (RuntimeError, ValueError) as error:
        reason = str(error).strip().splitlines()[0]
        raise ProcessGroupError(
            f"process {rank} of {count} cannot reach the others: {reason}; start all by torchrun"
        ) from error
    try:
        yield Processes(rank, count, local)
    finally:
        distributed.destroy_process_group()
