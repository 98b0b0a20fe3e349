"""Reading ahead in threads, in order and bounded."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

Item = TypeVar("Item")
Read = TypeVar("Read")

READERS = 4  # threads that decode pictures; more only wait for each other


def read_ahead(
    items: Iterable[Item], read: Callable[[Item], Read], *, ahead: int
) -> Iterator[Read]:
    """Yields ``read(item)`` in order; threads do it while the taker is busy with earlier ones.

    Args:
        items: What to read.
        read: Reads one of them; must be safe to run in several threads.
        ahead: Most results that wait to be taken.
    """
    pool = ThreadPoolExecutor(min(ahead, READERS), thread_name_prefix="hrpose-reader")
    waiting: deque[Future[Read]] = deque()
    try:
        for item in items:
            waiting.append(pool.submit(read, item))
            if len(waiting) > ahead:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        pool.shutdown(wait=False, cancel_futures=True)
