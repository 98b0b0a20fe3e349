"""Stages in threads: order, bounds, overlap, errors and times."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

import pytest

from hrpose.errors import BadVideo
from hrpose.stages import Line


def slow(items: Iterator[int], seconds: float) -> Iterator[int]:
    for item in items:
        time.sleep(seconds)
        yield item


def stage_threads() -> list[str]:
    return [t.name for t in threading.enumerate() if t.name.startswith("hrpose-")]


def test_all_items_come_in_order() -> None:
    with Line() as line:
        items: Iterator[int] = line.thread("a", range(500), ahead=3)
        items = line.here("b", (2 * i for i in items))
        assert list(line.thread("c", items)) == list(range(0, 1000, 2))
    assert [(m.name, m.items) for m in line.meters] == [("a", 500), ("b", 500), ("c", 500)]
    assert not stage_threads()


@pytest.mark.parametrize("ahead", [1, 5])
def test_a_stage_runs_ahead_so_far_and_no_farther(ahead: int) -> None:
    made = 0

    def count() -> Iterator[int]:
        nonlocal made
        while True:
            made += 1
            yield made

    with Line() as line:
        items = line.thread("count", count(), ahead=ahead)
        for taken in range(1, 20):
            assert next(items) == taken
            time.sleep(0.002)
            assert made <= taken + ahead + 1  # one is in its hands


def test_stages_overlap_and_their_times_are_their_own() -> None:
    start = time.perf_counter()
    with Line() as line:
        items = line.thread("first", slow(iter(range(10)), 0.01))
        items = line.here("second", slow(items, 0.01))
        done = list(slow(line.thread("third", items), 0.01))
    whole = time.perf_counter() - start
    assert done == list(range(10))
    first, second, third = (meter.seconds for meter in line.meters)
    assert first >= 0.1
    assert second >= 0.1
    assert third < 0.05
    assert whole < 0.8 * (first + second + 0.1)


def test_work_in_one_thread_is_not_counted_twice() -> None:
    with Line() as line:
        inner = line.here("inner", slow(iter(range(5)), 0.01))
        list(line.here("outer", slow(inner, 0.002)))
    inner_meter, outer_meter = line.meters
    assert inner_meter.seconds >= 0.05
    assert 0.01 <= outer_meter.seconds < 0.05


def failing(items: Iterator[int], error: Exception) -> Iterator[int]:
    for item in items:
        if item == 3:
            raise error
        yield item


def test_an_error_names_its_stage_and_stops_the_others() -> None:
    closed = threading.Event()

    def endless() -> Iterator[int]:
        try:
            yield from iter(int, 1)
        finally:
            closed.set()

    def third_fails(items: Iterator[int]) -> Iterator[int]:
        for count, item in enumerate(items):
            if count == 3:
                raise ZeroDivisionError("nought")
            yield item

    start = time.perf_counter()
    with pytest.raises(ZeroDivisionError, match="nought") as caught, Line() as line:  # noqa: PT012
        items = line.thread("read", endless())
        items = line.thread("think", third_fails(items))
        for _ in line.thread("write", items):
            pass
    assert caught.value.__notes__ == ["in the stage 'think'"]
    assert closed.wait(1)
    assert time.perf_counter() - start < 1
    assert not stage_threads()


def test_what_is_done_before_an_error_still_comes() -> None:
    got = []
    with pytest.raises(BadVideo, match=r"a\.mp4") as caught, Line() as line:  # noqa: PT012
        items = line.thread("read", failing(iter(range(9)), BadVideo("a.mp4: bad")), ahead=9)
        for item in line.thread("write", items):
            got.append(item)
    assert got == [0, 1, 2]
    assert not hasattr(caught.value, "__notes__")  # it says by itself what is wrong


def test_leaving_early_ends_the_threads() -> None:
    with Line() as line:
        items = line.thread("write", line.thread("read", iter(int, 1)))
        assert next(items) == 0
        assert sorted(stage_threads()) == ["hrpose-read", "hrpose-write"]
    assert not stage_threads()


def test_a_stage_is_at_least_one_item_ahead() -> None:
    with Line() as line, pytest.raises(ValueError, match="at least 1"):
        line.thread("read", range(3), ahead=0)
