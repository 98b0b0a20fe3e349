"""The clock of one video stream: where its 0:00 lies, how long it is, which part a span takes."""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction

import av
from av.container import InputContainer
from av.video.stream import VideoStream

from hrpose.options import Span

_RATE_LIMITS, _DEFAULT_RATE = (1, 240), Fraction(25)
_ROUNDING = Fraction(1, 500_000)  # two of the microseconds in which containers state their start


@dataclass(frozen=True, slots=True)
class Clock:
    """What a stream's header says about time; seconds, exact.

    Attributes:
        origin: Time, as in the file, that a player shows as 0:00: that of the first packet of
            sound or picture.
        time_base: Of one tick.
        rate: Average frames per second; 25 where the file says nothing between 1 and 240.
        begin: Time, as in the file, of the first frame by the header; ``origin`` if unknown.
        length: Declared length of the pictures, or of the file, or None.
        frames: Declared number of frames, or None.
    """

    origin: Fraction
    time_base: Fraction
    rate: Fraction
    begin: Fraction
    length: Fraction | None
    frames: int | None

    @classmethod
    def of(cls, container: InputContainer, stream: VideoStream) -> Clock:
        rate = _plausible_rate(stream)
        base = stream.time_base or 1 / rate
        origin = _origin(container)
        length = None
        if stream.duration is not None:
            length = stream.duration * base
        elif container.duration is not None:
            length = Fraction(container.duration, av.time_base)
        begin = origin if stream.start_time is None else stream.start_time * base
        return cls(origin, base, rate, begin, length, stream.frames or None)

    def shown(self, tick: int) -> float:
        """The time a player shows at a tick, correctly rounded: 0.04 is 0.04."""
        return self.shown_at(tick * self.time_base)

    def shown_at(self, time: Fraction) -> float:
        """The time a player shows at a time of the file."""
        return float(time - self.origin)

    def tick(self, shown: float) -> int:
        """The last tick that a player shows at this time or before."""
        return math.floor((Fraction(shown) + self.origin) / self.time_base)

    def length_of(self, span: Span) -> float | None:
        """Seconds that a span takes; None where neither the span nor the header says."""
        last = span.end
        first = float(self.begin - self.origin)
        if self.length is not None:
            declared = first + float(self.length)
            last = declared if last is None else min(last, declared)
        if last is None:
            seconds = None
        elif span.start is None and span.end is None:
            seconds = float(self.length) if self.length is not None else None
        else:
            seconds = max(0.0, last - max(span.start or 0.0, first))
        if span.max_frames is None:
            return seconds
        most = float(span.max_frames * span.every / self.rate)
        return most if seconds is None else min(seconds, most)

    def frames_of(self, span: Span) -> int | None:
        """About how many frames a span hands out, for a progress bar; None if nothing says."""
        count: float | None = self.frames
        part = self.length_of(Span(span.start, span.end))
        if part is not None and (count is None or (span.start, span.end) != (None, None)):
            full = float(self.length or 0)
            count = self.frames * part / full if self.frames and full else part * self.rate
            count = max(1, round(count))
        if count is None:
            return span.max_frames
        count = math.ceil(count / span.every)
        return count if span.max_frames is None else min(count, span.max_frames)


def _origin(container: InputContainer) -> Fraction:
    if container.start_time is None:
        return Fraction(0)
    stated = Fraction(container.start_time, av.time_base)
    # Stated in whole microseconds; the stream it was taken from knows it exactly.
    for stream in (*container.streams.video, *container.streams.audio):
        if stream.start_time is not None and stream.time_base is not None:
            exact = stream.start_time * stream.time_base
            if abs(exact - stated) < _ROUNDING:
                return exact
    return stated


def _plausible_rate(stream: VideoStream) -> Fraction:
    low, high = _RATE_LIMITS
    for rate in (stream.average_rate, stream.guessed_rate, stream.base_rate):
        if rate is not None and low <= rate <= high:
            return rate
    return _DEFAULT_RATE
