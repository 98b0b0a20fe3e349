"""Where the networks run, in which precision, and how many at a time."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

import torch

from hrpose.errors import MemoryLimitError, UsageError

Item = TypeVar("Item")
Result = TypeVar("Result")

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


def choose_device(name: str = "auto") -> torch.device:
    """Turns ``auto``, ``cpu``, ``cuda``, ``cuda:1`` or ``mps`` into a device that is there.

    ``auto`` takes CUDA, then MPS, then the CPU.

    Raises:
        UsageError: The device does not exist here, or the name means nothing.
    """
    if name == "auto":
        mps = torch.backends.mps.is_available()
        name = "cuda" if torch.cuda.is_available() else "mps" if mps else "cpu"
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise UsageError(
            f"unknown device {name!r}", hint="use auto, cpu, cuda, cuda:1 or mps"
        ) from error
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        found = torch.cuda.device_count()
        raise UsageError(
            f"no CUDA device for {name!r}: PyTorch sees {found}",
            hint="use --device cpu, or check the driver with nvidia-smi",
        )
    if device.type == "mps" and not torch.backends.mps.is_available():
        raise UsageError("no MPS device here", hint="use --device cpu")
    if device.type not in ("cpu", "cuda", "mps"):
        raise UsageError(f"device {name!r} is not supported", hint="use auto, cpu, cuda or mps")
    return device


def choose_dtype(name: str) -> torch.dtype:
    """Turns ``float32``, ``bfloat16`` or ``float16`` into a dtype.

    Raises:
        ValueError: Another name.
    """
    if name not in DTYPES:
        raise ValueError(f"dtype is {name!r}, expected one of {', '.join(DTYPES)}")
    return DTYPES[name]


class MicroBatches:
    """Runs a step over items in batches, and halves the batch when memory runs out.

    The smaller size is kept for later calls and said once on stderr.

    Args:
        size: Items per batch at first.
        what: Name of the items for the message, e.g. ``"crops"``.
    """

    def __init__(self, size: int, *, what: str) -> None:
        if size < 1:
            raise ValueError(f"batch size is {size}, expected at least 1")
        self.size = size
        self._what = what

    def run(
        self, items: Sequence[Item], step: Callable[[Sequence[Item]], Result]
    ) -> Iterator[Result]:
        """Yields ``step(batch)`` for consecutive batches of items.

        Raises:
            MemoryLimitError: Memory does not hold one item.
        """
        done = 0
        while done < len(items):
            batch = items[done : done + self.size]
            result = self._attempt(batch, step)
            if result is None:
                self._halve(len(batch))
                continue
            done += len(batch)
            yield result

    def _attempt(
        self, batch: Sequence[Item], step: Callable[[Sequence[Item]], Result]
    ) -> Result | None:
        # returns, so that the failed step's frames and their tensors are gone before the retry
        try:
            return step(batch)
        except torch.OutOfMemoryError:
            return None
        except RuntimeError as error:  # the CPU and MPS allocators raise plain RuntimeErrors
            text = str(error)
            if "can't allocate memory" in text or "out of memory" in text:
                return None
            raise

    def _halve(self, tried: int) -> None:
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
        if tried == 1:
            raise MemoryLimitError(
                f"not enough memory for one of the {self._what}",
                hint="use a smaller model, --dtype bfloat16 on a GPU, or --device cpu",
            )
        self.size = tried // 2
        sys.stderr.write(f"out of memory: going on with {self.size} {self._what} at a time\n")
