"""Videos in, by PyAV (FFmpeg's libraries), and the name of the writer; see `video_writer`.

Never more than a few frames in memory. Reading goes on after damaged packets and counts them.
Times are those of the file, in seconds.
"""

from __future__ import annotations

import math
from collections.abc import Generator, Iterator
from fractions import Fraction
from itertools import chain
from pathlib import Path

import av
import numpy as np
import torch
from av.video.reformatter import ColorRange

from hrpose.errors import BadVideo
from hrpose.media.clock import Clock
from hrpose.media.container import DECODE_ERRORS, Medium, file_medium, video_stream
from hrpose.media.packets import Packets, VideoPacket, from_key_frame, is_indexed
from hrpose.media.reader import OpenedFrames, VideoReport, Watch
from hrpose.media.video_writer import VideoWriter
from hrpose.options import MAX_PIXELS, Span
from hrpose.types import Frame, Size

__all__ = ["VideoReader", "VideoReport", "VideoWriter"]

_WHOLE = Span()
_SAME_TIME = 1e-6  # seconds; nobody types more digits of a time, and no two frames are so close


class _Doubtful(Exception):
    """What comes out behind a search may differ from what a full decode gives."""


class VideoReader(OpenedFrames):
    """Frames of a video in display order, upright; an iterable and a context manager.

    Opening decodes the first frame, so a file without any is refused at once. It can be iterated
    once; a second loop goes on where the first stopped. After close nothing more comes.

    Where a frame has no time of its own (raw streams) it follows the one before by ``1 / rate``.
    Times are as in the file: they need not start at 0, and start again in joined broadcasts.
    When the picture size changes on the way, later frames have the new size.

    A span is exact: its frames are those of a full decode, pixels and times. It begins at the key
    frame before ``start``, found by the container's index, or by reading on without decoding where
    there is none to rely on. If anything is doubtful there (no key frame, no times, damage), the
    file is decoded from its beginning, and ``source_note`` says so.

    Args:
        path: A local video file (names that look like URLs are files, too), or another medium.
        span: Which part to read; its times count from ``origin``.
        max_pixels: Refuse larger frames.

    Raises:
        BadVideo: Missing, empty, no video file, without video stream or without any frame, or
            without one in the span.
    """

    def __init__(
        self, path: str | Path | Medium, *, span: Span = _WHOLE, max_pixels: int = MAX_PIXELS
    ) -> None:
        self._medium = path if isinstance(path, Medium) else file_medium(path)
        self._span, self._max_pixels = span, max_pixels
        self._start = None if span.start is None else span.start - _SAME_TIME
        self._end = math.inf if span.end is None else span.end - _SAME_TIME
        self._decoded = self._undecodable = self._flagged = self._missing = 0
        self._failed = self._full_range = False
        self._time: float | None = None
        self._note = self._medium.note
        super().__init__()
        self._open()
        self._watch = Watch(self._clock.rate)
        try:
            first = self._begin(self._read())
            if first is None:
                raise self._without_frames()
        except BaseException:
            self._container.close()
            raise
        self._size = first.size

    def _open(self) -> None:
        self._container = self._medium.open()
        try:
            self._stream = video_stream(self._container, self._medium.name)
            self._limit()
            self._clock = Clock.of(self._container, self._stream)
        except BaseException:
            self._container.close()
            raise
        self._packets = Packets(self._container, self._stream, live=self._medium.live)
        self._failed, self._undecodable, self._time = False, 0, None

    def _limit(self) -> None:
        context = self._stream.codec_context
        if context.width * context.height > self._max_pixels:
            raise BadVideo(
                f"{self._medium.name}: frames of {context.width} x {context.height} pixels exceed"
                f" the limit of {self._max_pixels / 1e6:g} million",
                hint="make the video smaller first",
            )
        # The size may change on the way. Decoders compare with sides rounded up, hence the margin.
        context.options = {"max_pixels": str(2 * self._max_pixels + 65_536)}
        context.thread_type = "SLICE" if self._medium.live else "AUTO"  # FRAME delays frames

    def _without_frames(self) -> BadVideo:
        if self._time is None:
            return BadVideo(
                f"{self._medium.name}: no frame can be decoded", hint="the file may be encrypted"
            )
        last = self._time - self.origin
        return BadVideo(
            f"{self._medium.name}: no frame in the chosen span; the last one read is at"
            f" {last:.3f} s",
            hint="choose another --start or --end",
        )

    @property
    def size(self) -> Size:
        """Of the first frame, upright."""
        return self._size

    @property
    def rate(self) -> Fraction:
        """Average frames per second that are handed out; see ``Clock.rate``."""
        return self._clock.rate / self._span.every

    @property
    def time_base(self) -> Fraction:
        """Seconds per tick of the file's own clock: all times are multiples of it."""
        return self._clock.time_base

    @property
    def origin(self) -> float:
        """Time, in the file's own clock, that a player shows as 0:00 and spans count from."""
        return float(self._clock.origin)

    @property
    def duration(self) -> float | None:
        """Declared length of what is read, in seconds, or None."""
        return self._clock.length_of(self._span)

    @property
    def frame_count(self) -> int | None:
        """Number of frames for a progress bar: declared, or estimated from the length, or None."""
        return self._clock.frames_of(self._span)

    @property
    def source_note(self) -> str:
        """How the source is read, where that is worth a line."""
        return self._note

    @property
    def full_range(self) -> bool:
        """Whether the video uses all values (0-255) rather than 16-235."""
        return self._full_range

    @property
    def report(self) -> VideoReport:
        """What has been decoded so far, and what was damaged."""
        return VideoReport(
            decoded=self._decoded - (self._first is not None),
            undecodable=self._undecodable + self._packets.unreadable,
            flagged=self._flagged,
            declared=self._clock.frames if self._span == _WHOLE else None,
            cut_short=self._missing > 0,
            missing=self._missing,
            events=self._watch.events,
        )

    def _release(self) -> None:
        self._container.close()

    def _read(self) -> Generator[Frame, None, None]:
        every, most = self._span.every, self._span.max_frames
        handed_out = 0
        for decoded, time in self._within_span():
            if not self._decoded:
                self._full_range = decoded.color_range == ColorRange.JPEG
            image = None
            if self._decoded % every == 0:
                try:
                    image = _upright(decoded)
                except (*DECODE_ERRORS, ValueError):
                    self._undecodable += 1
                    continue
            self._watch.see(self._decoded, _size_of(decoded), time)
            self._flagged += decoded.is_corrupt
            self._decoded += 1
            if image is None:
                continue
            handed_out += 1
            yield Frame(
                image=image,
                index=self._decoded - 1,
                time=time,
                source=self._medium.name,
                damaged=decoded.is_corrupt,
            )
            if handed_out == most:
                return

    def _within_span(self) -> Iterator[tuple[av.VideoFrame, float]]:
        """Frames and their times from the first one at ``start`` to the first one at ``end``."""
        inside = self._start is None
        for decoded, time in self._near_span():
            shown = self._shown(decoded, time)
            if not inside:
                if self._is_early(shown):
                    continue
                inside = True
                self._packets.unreadable = 0
            if shown >= self._end:
                return
            yield decoded, time
        self._missing = self._frames_missing()

    def _near_span(self) -> Iterator[tuple[av.VideoFrame, float]]:
        """Frames and their times from ``start`` or from earlier on."""
        begin = self._clock.shown_at(self._clock.begin)
        if self._start is None or self._start <= begin or not self._medium.again:
            yield from self._decode(iter(self._packets))
            return
        try:
            yield from self._after_search(self._start)
        except _Doubtful:
            self._container.close()
            self._open()
            self._note = "decoded from its beginning, because it cannot be searched exactly"
            yield from self._decode(iter(self._packets))

    def _after_search(self, start: float) -> Iterator[tuple[av.VideoFrame, float]]:
        packets: Iterator[VideoPacket] | None = iter(self._packets)
        if is_indexed(self._container):
            packets = self._packets.seek(self._clock.tick(start + 2 * _SAME_TIME))
        if packets is None:
            raise _Doubtful
        packets = from_key_frame(packets, lambda tick: self._is_early(self._clock.shown(tick)))
        key = next(packets)
        if key.pts is None:
            raise _Doubtful
        first, begun = True, False
        for decoded, time in self._decode(chain([key], packets)):
            if not begun:
                self._check_lead_in(decoded, key.pts, first=first)
                first, begun = False, not self._is_early(self._shown(decoded, time))
            yield decoded, time
        # Without a recovery point the decoder keeps silent, as after the keys of an intra refresh.
        if first or (self._failed and not begun):
            raise _Doubtful

    def _check_lead_in(self, decoded: av.VideoFrame, key: int, *, first: bool) -> None:
        """Before the span the decoder must give the key frame, or frames shown before it."""
        if decoded.pts is None:
            if first:
                raise _Doubtful
            return
        # Frames shown before the key frame may lean on others that were not decoded.
        damaged = decoded.is_corrupt and decoded.pts >= key
        if self._failed or damaged or (first and decoded.pts > key):
            raise _Doubtful

    def _decode(self, packets: Iterator[VideoPacket]) -> Iterator[tuple[av.VideoFrame, float]]:
        for packet in packets:
            for decoded in self._decode_packet(packet):
                self._time = self._time_of(decoded)
                yield decoded, self._time

    def _decode_packet(self, packet: VideoPacket) -> list[av.VideoFrame]:
        flush = packet.size == 0
        try:
            return self._stream.codec_context.decode(None if flush else packet)
        except EOFError:  # flushed twice
            return []
        except DECODE_ERRORS:
            self._failed = True
            self._undecodable += packet.pts is None or self._in_span(packet.pts)
            return []

    def _in_span(self, tick: int) -> bool:
        shown = self._clock.shown(tick)
        return not self._is_early(shown) and shown < self._end

    def _is_early(self, shown: float) -> bool:
        return self._start is not None and shown < self._start

    def _time_of(self, decoded: av.VideoFrame) -> float:
        if decoded.pts is not None:
            return float(decoded.pts * self.time_base)
        return 0.0 if self._time is None else self._time + float(1 / self._clock.rate)

    def _shown(self, decoded: av.VideoFrame, time: float) -> float:
        return time - self.origin if decoded.pts is None else self._clock.shown(decoded.pts)

    def _frames_missing(self) -> int:
        """How many frames the last one is before the declared end; 0 if two, or 2 %, or fewer."""
        end = self._declared_end()
        if self._time is None or end is None:
            return 0
        if self._span.end is not None:
            end = min(end, self.origin + self._span.end)
        frame = float(1 / self._clock.rate)
        left = end - (self._time + frame)
        if left <= max(2 * frame, 0.02 * float(self._clock.length or 0)):
            return 0
        return max(1, round(left / frame))

    def _declared_end(self) -> float | None:
        clock, stream = self._clock, self._stream
        if clock.length is None:
            return None
        if stream.duration is not None:
            return float((stream.start_time or 0) * clock.time_base + clock.length)
        # Matroska and FLV declare the time of the end; the file's length may be that of the sound.
        return float(clock.length) if len(self._container.streams) == 1 else None


def _size_of(decoded: av.VideoFrame) -> Size:
    upright = round(decoded.rotation / 90) % 2 == 0
    return Size(*(decoded.width, decoded.height)[:: 1 if upright else -1])


def _upright(decoded: av.VideoFrame) -> torch.Tensor:
    """Returns (3, H, W) uint8 RGB; swscale uses the frame's own colour matrix and range."""
    pixels = decoded.to_ndarray(format="rgb24")
    # rotation: degrees counter-clockwise that the display matrix asks for; rot90 turns that way.
    turned = np.rot90(pixels, round(decoded.rotation / 90) % 4)
    return torch.from_numpy(np.ascontiguousarray(turned.transpose(2, 0, 1)))
