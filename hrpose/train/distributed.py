"""One training by several processes: each computes a share of every batch, as PyTorch's DDP.

``torchrun`` starts the processes and tells each its rank in the environment. Batches are those of
the whole run, whatever the number of processes: rank r of n takes samples r, r + n, r + 2n, ...
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from hrpose.errors import UsageError

Items = TypeVar("Items", bound="list[Any] | np.ndarray")


@dataclass(frozen=True, slots=True)
class Rank:
    """Which process this is.

    Attributes:
        number: From 0; process 0 writes the files and shows the progress.
        count: Number of processes.
    """

    number: int = 0
    count: int = 1

    def share(self, items: Items) -> Items:
        """Every ``count``-th item from ``number`` on."""
        return items[self.number :: self.count]  # type: ignore[return-value]


def rank() -> Rank:
    """This process' rank; 0 of 1 where nothing is distributed."""
    if dist.is_available() and dist.is_initialized():
        return Rank(dist.get_rank(), dist.get_world_size())
    return Rank()


def join(device: torch.device) -> torch.device:
    """Meets the other processes, if ``torchrun`` started this one.

    Args:
        device: Where to train; ``cuda`` without a number becomes the process' own GPU.

    Returns:
        The device of this process.

    Raises:
        UsageError: A device that processes cannot share.
    """
    if int(os.environ.get("WORLD_SIZE", "1")) == 1 or rank().count > 1:
        return device
    if device.type not in ("cpu", "cuda"):
        raise UsageError(
            f"{device.type}: cannot train in several processes", hint="use --device cuda or cpu"
        )
    if device.type == "cuda":
        if device.index is not None:
            raise UsageError(
                f"{device}: every process needs a GPU of its own", hint="use --device cuda"
            )
        device = torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")))
        torch.cuda.set_device(device)
    # figures and the wish to stop travel by gloo also beside GPUs: they are Python objects
    dist.init_process_group("cpu:gloo,cuda:nccl" if device.type == "cuda" else "gloo")
    return device


def leave() -> None:
    """Parts from the other processes; nothing where there are none."""
    if rank().count > 1:
        dist.destroy_process_group()


def wrap(network: nn.Module, device: torch.device) -> nn.Module:
    """The network as it is to be called: gradients become the mean over all processes."""
    if rank().count == 1:
        return network
    return DistributedDataParallel(network, [device] if device.type == "cuda" else None)


def mean(value: Tensor) -> Tensor:
    """The mean of a tensor over all processes, without gradient.

    A loss that divides by a sum over its batch divides by this instead; the mean of the
    gradients then is the gradient of the whole batch.
    """
    if rank().count == 1:
        return value.detach()
    value = value.detach().clone()
    dist.all_reduce(value)
    return value / rank().count


def gather(item: Any) -> list[Any]:
    """A picklable value of every process, in order of their ranks."""
    if rank().count == 1:
        return [item]
    items: list[Any] = [None] * rank().count
    dist.all_gather_object(items, item)
    return items
