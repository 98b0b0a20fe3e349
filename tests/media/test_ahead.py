from __future__ import annotations

import threading

import pytest

from hrpose.media.ahead import read_ahead


def test_order_is_kept_and_errors_come_in_their_place() -> None:
    def read(item: int) -> int:
        if item == 5:
            raise KeyError(item)
        return item * item

    found: list[int] = []
    with pytest.raises(KeyError):
        found.extend(read_ahead(range(10), read, ahead=3))
    assert found == [0, 1, 4, 9, 16]


def test_no_thread_stays_when_the_taker_leaves() -> None:
    taken = read_ahead(range(100), str, ahead=2)
    assert next(taken) == "0"
    taken.close()  # type: ignore[attr-defined]
    for thread in threading.enumerate():
        if thread.name.startswith("hrpose-reader"):
            thread.join(5)
    assert not any(t.name.startswith("hrpose-reader") for t in threading.enumerate())
