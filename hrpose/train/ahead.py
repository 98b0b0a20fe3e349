"""Batches made in a thread of their own while the device computes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch

from hrpose.stages import Line

_DEPTH = 3  # batches that wait for the device


@contextmanager
def ahead(batches: Iterator[Any], device: torch.device) -> Iterator[Iterator[Any]]:
    """Makes batches while the device computes; its errors come out where they are taken.

    On the CPU there is nothing to wait for: a thread beside the network's only takes its cores
    from it (2 cores, 192 x 256: 2.0 steps a second with the thread, 2.6 without).
    """
    if device.type == "cpu":
        yield batches
        return
    with Line() as line:
        yield line.thread("batches", batches, ahead=_DEPTH)
