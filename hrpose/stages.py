"""Stages that overlap: each in a thread of its own, a bounded queue behind it, its time measured.

A stage is any iterator that takes from the one before. While one decodes, the next computes and
the last encodes: OpenCV, FFmpeg and torch work without the interpreter's lock. How far a stage
runs ahead is bounded, so memory is, too.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Generator, Iterable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from time import perf_counter
from typing import Generic, Self, TypeVar

from hrpose.errors import HrposeError

Item = TypeVar("Item")

_PATIENCE = 10.0  # seconds for threads to end; a forward or a packet takes less


@dataclass(slots=True)
class Meter:
    """What a stage has done.

    Attributes:
        name: Of the stage.
        items: Given out so far.
        seconds: Spent on them, without waiting for other stages.
    """

    name: str
    items: int = 0
    seconds: float = 0.0


class Line:
    """A line of stages; a context manager. Leaving it stops all threads that it has started.

    ::

        with Line() as line:
            frames = line.thread("decode", reader, ahead=4)
            people = line.here("detect", detect(frames))
            for picture in line.thread("draw", map(draw, people)):
                ...

    A stage that fails ends the line: its error comes out at the end of the line, where the items
    are taken, with a note that names the stage; the threads before it stop at their next item.
    """

    def __init__(self) -> None:
        self.meters: list[Meter] = []
        self._channels: list[_Channel[object]] = []
        self._threads: list[threading.Thread] = []

    def thread(self, name: str, items: Iterable[Item], *, ahead: int = 1) -> Iterator[Item]:
        """Iterates in a thread of its own.

        Args:
            name: For the meter, and for the note of an error.
            items: Only that thread takes from them, and closes them if they are a generator.
            ahead: Most items that wait to be taken.

        Returns:
            The items, in order.
        """
        channel: _Channel[Item] = _Channel(ahead)
        measured = self._measured(name, items)

        def work() -> None:
            try:
                for item in measured:
                    channel.put(item)
                channel.end(None)
            except _Closed:
                pass
            except BaseException as error:  # noqa: BLE001 - handed to the taker, raised there
                channel.end(error)
            finally:
                measured.close()

        worker = threading.Thread(target=work, name=f"hrpose-{name}", daemon=True)
        self._channels.append(channel)  # type: ignore[arg-type]
        self._threads.append(worker)
        worker.start()
        return iter(channel)

    def here(self, name: str, items: Iterable[Item]) -> Iterator[Item]:
        """Only measures: the work is done in the thread that takes the items."""
        return self._measured(name, items)

    def _measured(self, name: str, items: Iterable[Item]) -> Generator[Item, None, None]:
        meter = Meter(name)
        self.meters.append(meter)
        return _measured(meter, items)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        for channel in self._channels:
            channel.close()
        for worker in self._threads:
            worker.join(_PATIENCE)


class _Others(threading.local):
    """Seconds this thread has spent on other stages: waiting for them, or doing their work."""

    seconds = 0.0


_others = _Others()


def _measured(meter: Meter, items: Iterable[Item]) -> Generator[Item, None, None]:
    waiting = iter(items)
    with ExitStack() as stack:
        if isinstance(waiting, Generator):
            stack.callback(waiting.close)
        while True:
            start, before = perf_counter(), _others.seconds
            try:
                item = next(waiting)
            except StopIteration:
                return
            except Exception as error:
                if not isinstance(error, HrposeError | _Closed) and not hasattr(error, "__notes__"):
                    error.add_note(f"in the stage {meter.name!r}")
                raise
            finally:
                whole = perf_counter() - start
                meter.seconds += whole - (_others.seconds - before)
                _others.seconds = before + whole
            meter.items += 1
            yield item


class _Closed(Exception):
    """The line was left."""


class _Channel(Generic[Item]):
    """A bounded queue with an end; an iterator over what is put in."""

    def __init__(self, most: int) -> None:
        if most < 1:
            raise ValueError(f"a stage is {most} items ahead, expected at least 1")
        self._most = most
        self._items: deque[Item] = deque()
        self._changed = threading.Condition()
        self._ended = self._closed = False
        self._error: BaseException | None = None

    def put(self, item: Item) -> None:
        with self._changed:
            self._changed.wait_for(lambda: len(self._items) < self._most or self._closed)
            if self._closed:
                raise _Closed
            self._items.append(item)
            self._changed.notify_all()

    def end(self, error: BaseException | None) -> None:
        with self._changed:
            self._ended, self._error = True, error
            self._changed.notify_all()

    def close(self) -> None:
        with self._changed:
            self._closed = True
            self._items.clear()
            self._changed.notify_all()

    def __iter__(self) -> Iterator[Item]:
        return self

    def __next__(self) -> Item:
        start = perf_counter()
        try:
            with self._changed:
                self._changed.wait_for(lambda: self._items or self._ended or self._closed)
                if self._closed:
                    raise _Closed
                if not self._items:
                    error, self._error = self._error, None
                    raise StopIteration if error is None else error
                item = self._items.popleft()
                self._changed.notify_all()
                return item
        finally:
            _others.seconds += perf_counter() - start
