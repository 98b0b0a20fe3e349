"""Packets of fake containers: silence, rubbish, broken connections, and what is passed over."""

from __future__ import annotations

import errno
from collections.abc import Iterator, Sequence
from typing import Any

import av
import pytest

from hrpose.media import packets
from hrpose.media.packets import Packets, from_key_frame


def packet(pts: int | None, *, key: bool = False, size: int = 1) -> Any:
    made = av.Packet(size)
    made.pts, made.dts, made.is_keyframe = pts, pts, key
    return made


class Fake:
    """A container that gives, or raises, one thing after the other."""

    def __init__(self, *script: Any) -> None:
        self.script = list(script)

    def demux(self, stream: object) -> Iterator[Any]:
        while self.script:
            one = self.script.pop(0)
            if isinstance(one, Exception):
                raise one
            yield one


def read(*script: Any, live: bool = False) -> tuple[list[int | None], int]:
    reading = Packets(Fake(*script), None, live=live)  # type: ignore[arg-type]
    return [one.pts for one in reading], reading.unreadable


RUBBISH = av.InvalidDataError(-1, "rubbish")
AGAIN = av.BlockingIOError(errno.EAGAIN, "again")


def test_reading_goes_on_after_rubbish() -> None:
    assert read(packet(1), AGAIN, packet(2), RUBBISH, packet(3)) == ([1, 2, 3], 1)


def test_a_file_of_rubbish_ends() -> None:
    pts, unreadable = read(packet(1), *[RUBBISH] * 1000)
    assert pts == [1, None]  # the one that flushes the decoder
    assert unreadable > 60


def test_a_camera_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packets, "_PAUSE", 0)
    assert read(*[AGAIN] * 200, packet(1), live=True) == ([1], 0)


def test_a_silent_camera_and_a_lost_connection_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packets, "_PATIENCE", 0.02)
    assert read(packet(1), *[AGAIN] * 100_000, live=True) == ([1, None], 0)
    assert read(packet(1), RUBBISH, packet(2), live=True) == ([1, None], 1)


KEYS = (0, 10, 20)


def needed(start: int, times: Sequence[int | None], *, size: int = 1) -> list[int | None]:
    made = iter([packet(t, key=t in KEYS, size=size) for t in times])
    return [one.pts for one in from_key_frame(made, lambda tick: tick < start)]


@pytest.mark.parametrize(
    ("start", "times", "first"),
    [
        (0, range(30), 0),
        (9, range(30), 0),
        (11, range(30), 10),
        (29, range(30), 20),
        (99, range(30), 20),
        # leading pictures of an open group come behind its key frame
        (9, [0, 3, 6, 10, 8, 9, 11, 12], 0),
        (11, [0, 3, 6, 10, 8, 9, 11, 12], 10),
        (15, [0, 5, None, 10, 20], 0),
    ],
)
def test_what_no_frame_needs_is_passed_over(
    start: int, times: Sequence[int | None], first: int
) -> None:
    want = list(times)[list(times).index(first) :]
    assert needed(start, times) == want


def test_what_is_held_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packets, "_MAX_HELD_BYTES", 50)
    taken: list[int] = []

    def endless() -> Iterator[Any]:
        for number in range(1000):
            taken.append(number)
            yield packet(number, key=number == 0, size=10)

    first = next(from_key_frame(endless(), lambda tick: tick < 900))
    assert first.pts == 0
    assert len(taken) < 10
