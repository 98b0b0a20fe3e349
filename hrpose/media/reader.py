"""What every source of frames offers, and what is said about a clip once it has been read."""

from __future__ import annotations

import threading
from collections.abc import Generator, Iterator
from dataclasses import dataclass
from fractions import Fraction
from types import TracebackType
from typing import Protocol, Self

from hrpose.media.closing import Closing
from hrpose.types import Frame, Size

MAX_EVENTS = 100  # remembered for each clip; a file of nothing but jumps must not fill the memory
_GAP_SECONDS, _GAP_FRAMES = 1.0, 4  # without a frame: worth a word where it is both


@dataclass(frozen=True, slots=True)
class Event:
    """Something odd on the way that is no damage: the frames around it are right.

    Attributes:
        frame: ``Frame.index`` of the first frame after it.
        kind: ``"size"`` (the picture size changes), ``"gap"`` (a second and
            more without a frame) or ``"back"`` (the time does not grow, as in joined broadcasts).
        text: For people, one line.
    """

    frame: int
    kind: str
    text: str

    def __str__(self) -> str:
        return f"frame {self.frame}: {self.text}"


@dataclass(frozen=True, slots=True)
class VideoReport:
    """What became of a clip so far; final once the reader is exhausted.

    Attributes:
        decoded: Frames decoded within the span, those that ``Span.every`` passes over included
            (pictures of a sequence are then not read, nor counted).
        undecodable: Packets (or stretches of the file, or pictures) that gave an error.
        flagged: Decoded frames that the decoder marked as damaged (``Frame.damaged``).
        declared: Frames the header claims, or None, also where only a part is read. Off by a few
            in sound files (edit lists).
        cut_short: The frames end clearly before the declared duration.
        missing: About how many frames lie between there and the declared end.
        events: Changes of size and jumps in time, the first hundred.
    """

    decoded: int
    undecodable: int
    flagged: int
    declared: int | None
    cut_short: bool
    missing: int = 0
    events: tuple[Event, ...] = ()

    @property
    def damaged(self) -> bool:
        """Whether anything is missing or doubtful."""
        return self.undecodable > 0 or self.flagged > 0 or self.cut_short

    @property
    def expected(self) -> int:
        """Frames that an undamaged clip would have given.

        Not ``declared``: headers of sound files with edit lists count frames nobody is shown (86
        for 77 in a phone clip).
        """
        return self.decoded + self.undecodable + self.missing

    @property
    def error_rate(self) -> float:
        """Share of the expected frames that are lost, 0 to 1; for ``Reading.max_error_rate``."""
        return 1 - self.decoded / self.expected if self.expected else 0.0

    def __str__(self) -> str:
        """One line for people: ``80 of 90 frames, 10 packets undecodable``."""
        of = f" of {self.expected}" if self.expected > self.decoded else ""
        parts = [f"{self.decoded}{of} frames"]
        if self.undecodable:
            parts.append(f"{self.undecodable} packets undecodable")
        if self.flagged:
            parts.append(f"{self.flagged} frames doubtful")
        if self.cut_short:
            parts.append("cut short")
        return ", ".join(parts)


class Reader(Protocol):
    """Frames of one clip in display order, upright; can be iterated once.

    ``size`` is that of the first frame; ``rate`` the average frames per second that are handed out
    (``Span.every`` counted in); ``time_base`` the tick, in seconds, that all times are multiples
    of; ``origin`` the time, in the source's own clock as in ``Frame.time``, that a player shows as
    0:00 and that ``Span`` counts from. ``duration`` and ``frame_count`` are those of what is read,
    for a progress bar, or None. ``source_note`` is a line for people about how the source is read,
    often empty. ``full_range``: whether the video
    uses all values (0-255), as phones and screens do, rather than 16-235.
    """

    @property
    def size(self) -> Size: ...
    @property
    def rate(self) -> Fraction: ...
    @property
    def time_base(self) -> Fraction: ...
    @property
    def origin(self) -> float: ...
    @property
    def duration(self) -> float | None: ...
    @property
    def frame_count(self) -> int | None: ...
    @property
    def report(self) -> VideoReport: ...
    @property
    def source_note(self) -> str: ...
    @property
    def full_range(self) -> bool: ...
    def close(self) -> None: ...
    def __iter__(self) -> Iterator[Frame]: ...
    def __enter__(self) -> Self: ...
    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None: ...


class OpenedFrames(Closing):
    """Frames of a clip that were begun on opening, so that the first is there or is missed at once.

    One thread may read while another closes: a file closed under its reader would be a SIGSEGV.
    """

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._frames: Generator[Frame, None, None]
        self._first: Frame | None = None

    def _begin(self, frames: Generator[Frame, None, None]) -> Frame | None:
        """Reads the first frame, which comes out once more by iterating; None: there is none."""
        self._frames = frames
        self._first = next(frames, None)
        return self._first

    def __iter__(self) -> Iterator[Frame]:
        while (frame := self._next()) is not None:
            yield frame

    def _next(self) -> Frame | None:
        with self._lock:
            if self._first is not None:
                first, self._first = self._first, None
                return first
            return next(self._frames, None)

    def close(self) -> None:
        """Ends reading and lets go of the source; a second call does nothing."""
        with self._lock:
            self._frames.close()
            self._first = None
            self._release()

    def _release(self) -> None:
        """Closes the source."""


class Watch:
    """Sees every frame's size and time and remembers what is odd; ``rate`` is per second."""

    def __init__(self, rate: Fraction) -> None:
        self._gap = max(_GAP_SECONDS, float(_GAP_FRAMES / rate))
        self._events: list[Event] = []
        self._size: Size | None = None
        self._time: float | None = None

    @property
    def events(self) -> tuple[Event, ...]:
        return tuple(self._events)

    def see(self, index: int, size: Size, time: float) -> None:
        """Takes note of one frame, in display order."""
        before, was = self._size, self._time
        self._size, self._time = size, time
        if before is not None and size != before:
            text = f"the size changes from {_by(before)} to {_by(size)}"
            self._add(Event(index, "size", text))
        if was is None:
            return
        if time <= was:
            self._add(Event(index, "back", f"the time goes from {was:.3f} s to {time:.3f} s"))
        elif time - was >= self._gap:
            text = f"no frame from {was:.3f} s to {time:.3f} s"
            self._add(Event(index, "gap", text))

    def _add(self, event: Event) -> None:
        if len(self._events) < MAX_EVENTS:
            self._events.append(event)


def _by(size: Size) -> str:
    return f"{size.width} x {size.height}"
