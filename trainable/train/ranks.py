"""The processes that share a training: each takes its rows of every batch, and all make the same steps.

`Training` holds one of these. `Alone` does nothing; `Group` speaks through torch.distributed.
"""

import warnings
from contextlib import AbstractContextManager, nullcontext
from datetime import timedelta
from threading import Event
from typing import Any, Final, Protocol

import torch
import torch.distributed as dist
from torch.nn.parallel import DistributedDataParallel

# Of what the host waits for: an evaluation, a checkpoint on a slow disk. Whoever started the processes sees a dead one.
HOST_TIMEOUT: Final = timedelta(days=30)
STEP_TIMEOUT: Final = timedelta(minutes=30)  # of a gradient on CUDA: all ranks are within two steps then


class Ranks(Protocol):
    """One of the processes of a training. What waits for all of them is called by all, in the same order.

    Attributes:
        rank: number of this one; 0 judges, reports and writes.
        count: how many there are.
    """

    rank: int
    count: int

    def joined(self, model: torch.nn.Module) -> torch.nn.Module:
        """Returns a module that computes the same; a backward pass then leaves the mean gradients of all ranks."""
        ...

    def apart(self) -> AbstractContextManager[None]:
        """Returns what a forward and a backward pass are made in whose gradients wait for those of a later one."""
        ...

    def mean(self, sums: torch.Tensor) -> torch.Tensor:
        """Returns the mean over all ranks; waits for them."""
        ...

    def any(self, flag: bool) -> bool:
        """Tells whether any rank says so; waits for them as long as it takes."""
        ...

    def stopping(self, stop: Event) -> bool:
        """Tells whether to stop before the next step, all ranks before the same one; to be asked before each."""
        ...


class Alone:
    """The only process of its training; see `Ranks`."""

    rank, count = 0, 1

    def joined(self, model: torch.nn.Module) -> torch.nn.Module:
        """See `Ranks`."""
        return model

    def apart(self) -> AbstractContextManager[None]:
        """See `Ranks`."""
        return nullcontext()

    def mean(self, sums: torch.Tensor) -> torch.Tensor:
        """See `Ranks`."""
        return sums

    def any(self, flag: bool) -> bool:
        """See `Ranks`."""
        return flag

    def stopping(self, stop: Event) -> bool:
        """See `Ranks`."""
        return stop.is_set()


class Group:
    """One of the processes of the default group of torch.distributed, which is there; see `Ranks`.

    Flags go through gloo from host to host, also on CUDA: nothing waits for the device. The flag to stop is sent before
    a step and read before the next one. So it costs no wait, and a stop comes one step later than alone.

    Args:
        device: where the training runs; gradients go through NCCL on CUDA.
    """

    def __init__(self, device: torch.device) -> None:
        self.rank, self.count = dist.get_rank(), dist.get_world_size()
        self._hosts: Any = dist.new_group(backend="gloo", timeout=HOST_TIMEOUT)
        cuda = device.type == "cuda"
        self._devices: Any = dist.new_group(backend="nccl", timeout=STEP_TIMEOUT) if cuda else self._hosts
        self._asked: tuple[torch.Tensor, Any] | None = None

    def joined(self, model: torch.nn.Module) -> torch.nn.Module:
        """See `Ranks`. Gradients travel while the backward pass goes on."""
        with warnings.catch_warnings(category=FutureWarning, action="ignore"):  # of a new name, which torch 2.9 lacks
            self._joined = DistributedDataParallel(
                model, process_group=self._devices, broadcast_buffers=False, gradient_as_bucket_view=True
            )
        return self._joined

    def apart(self) -> AbstractContextManager[None]:
        """See `Ranks`."""
        return self._joined.no_sync()

    def mean(self, sums: torch.Tensor) -> torch.Tensor:
        """See `Ranks`."""
        found = sums.to("cpu", torch.float64)
        dist.all_reduce(found, group=self._hosts)
        return (found / self.count).to(sums)

    def any(self, flag: bool) -> bool:
        """See `Ranks`."""
        told, work = self._tell(flag)
        work.wait()
        return bool(told)

    def stopping(self, stop: Event) -> bool:
        """See `Ranks`."""
        if self._asked is not None:
            told, work = self._asked
            work.wait()
            if told:
                return True  # and again, if asked again
        self._asked = self._tell(stop.is_set())
        return False

    def _tell(self, flag: bool) -> tuple[torch.Tensor, Any]:
        told = torch.tensor(int(flag), dtype=torch.int32)
        return told, dist.all_reduce(told, dist.ReduceOp.MAX, group=self._hosts, async_op=True)
