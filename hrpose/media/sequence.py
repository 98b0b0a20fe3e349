"""Pictures in a row as a video: one frame each, at a rate the user gives."""

from __future__ import annotations

import math
from collections.abc import Generator, Sequence
from fractions import Fraction
from pathlib import Path

from hrpose.errors import BadImage, BadVideo
from hrpose.media.ahead import read_ahead
from hrpose.media.image import read_image
from hrpose.media.reader import OpenedFrames, VideoReport, Watch
from hrpose.options import MAX_PIXELS, Span
from hrpose.types import Frame, Size

_AHEAD = 4  # pictures that wait, decoded
_WHOLE = Span()


class ImageSequence(OpenedFrames):
    """Frames of an image sequence; as :class:`~hrpose.media.video.VideoReader`.

    Picture ``i`` is shown at ``i / rate``. One that cannot be read is counted and left out; the
    times and indices of the others stay as they are.

    Args:
        paths: The pictures, in order; at least one.
        name: What to call them, also in ``Frame.source``.
        rate: Pictures per second.
        span: Which part to read.
        max_pixels: Larger pictures cannot be read.

    Raises:
        BadVideo: None of the pictures can be read, or none lies in the span.
    """

    def __init__(
        self,
        paths: Sequence[Path],
        *,
        name: str,
        rate: Fraction,
        span: Span = _WHOLE,
        max_pixels: int = MAX_PIXELS,
    ) -> None:
        if rate <= 0:
            raise ValueError(f"rate is {rate}, expected above 0")
        self._paths, self._name, self._span = tuple(paths), name, span
        self._rate, self._max_pixels = Fraction(rate), max_pixels
        self._numbers = _numbers(len(self._paths), self._rate, span)
        if not self._numbers:
            raise BadVideo(
                f"{name}: no picture in the chosen span; {len(self._paths)} pictures are"
                f" {float(len(self._paths) / self._rate):.3f} s long",
                hint="choose another --start, --end or --fps",
            )
        self._read_well = self._undecodable = 0
        self._watch = Watch(self.rate)
        self._why: BadImage | None = None
        super().__init__()
        first = self._begin(self._read())
        if first is None:
            reason = self._why.message if self._why else "empty"
            raise BadVideo(f"{name}: no picture can be read, the first: {reason}")
        self._size = first.size

    @property
    def size(self) -> Size:
        """Of the first picture that can be read, upright."""
        return self._size

    @property
    def rate(self) -> Fraction:
        """Pictures handed out per second."""
        return self._rate / self._span.every

    @property
    def time_base(self) -> Fraction:
        """Seconds from picture to picture."""
        return 1 / self._rate

    @property
    def origin(self) -> float:
        return 0.0

    @property
    def duration(self) -> float | None:
        return float(len(self._numbers) / self.rate)

    @property
    def frame_count(self) -> int | None:
        return len(self._numbers)

    @property
    def source_note(self) -> str:
        count = len(self._paths)
        return f"{count} picture{'s' * (count > 1)} at {float(self._rate):g} frames per second"

    @property
    def full_range(self) -> bool:
        return True

    @property
    def report(self) -> VideoReport:
        return VideoReport(
            decoded=self._read_well - (self._first is not None),
            undecodable=self._undecodable,
            flagged=0,
            declared=len(self._paths) if self._span == _WHOLE else None,
            cut_short=False,
            events=self._watch.events,
        )

    def _read(self) -> Generator[Frame, None, None]:
        first = self._numbers[0]
        found = read_ahead((self._paths[i] for i in self._numbers), self._picture, ahead=_AHEAD)
        for number, picture in zip(self._numbers, found, strict=True):
            if isinstance(picture, BadImage):
                self._undecodable += 1
                self._why = self._why or picture
                continue
            index, time = number - first, float(number / self._rate)
            self._watch.see(index, picture.size, time)
            self._read_well += 1
            yield Frame(image=picture.image, index=index, time=time, source=self._name)

    def _picture(self, path: Path) -> Frame | BadImage:
        try:
            return read_image(path, max_pixels=self._max_pixels)
        except BadImage as error:
            return error


def _numbers(count: int, rate: Fraction, span: Span) -> range:
    """Positions of the pictures to read."""
    first = 0 if span.start is None else _first_at(span.start, rate)
    last = count if span.end is None else min(count, _first_at(span.end, rate))
    numbers = range(first, last, span.every)
    return numbers if span.max_frames is None else numbers[: span.max_frames]


def _first_at(seconds: float, rate: Fraction) -> int:
    """The first picture at a time, to the microsecond, or after it."""
    return max(0, math.ceil((Fraction(seconds) - Fraction(1, 10**6)) * rate))
