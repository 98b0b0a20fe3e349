"""Videos in, by PyAV (FFmpeg's libraries), and the name of the writer; see `video_writer`.

Never more than a few frames in memory. Reading goes on after damaged packets and counts them.
Times are those of the file, in seconds.
"""

from __future__ import annotations

import os
from collections.abc import Generator, Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Self

import av
import numpy as np
import torch
from av.container import InputContainer
from av.packet import Packet
from av.stream import Disposition
from av.video.stream import VideoStream

from hrpose.errors import BadVideo
from hrpose.media.container import DECODE_ERRORS, open_media
from hrpose.media.image import MAX_PIXELS
from hrpose.media.video_writer import VideoWriter
from hrpose.types import Frame, Size

__all__ = ["VideoReader", "VideoReport", "VideoWriter"]

_MAX_FAILED_READS = 64  # in a row; then the rest of the file is given up
_RATE_LIMITS, _DEFAULT_RATE = (1, 240), Fraction(25)


@dataclass(frozen=True, slots=True)
class VideoReport:
    """What became of a video so far; final once the reader is exhausted.

    Attributes:
        decoded: Frames handed out.
        undecodable: Packets (or stretches of the file) that gave an error.
        flagged: Frames handed out that the decoder marked as damaged.
        declared: Frames the header claims, or None. Off by a few in sound files (edit lists).
        cut_short: The frames end clearly before the declared duration.
    """

    decoded: int
    undecodable: int
    flagged: int
    declared: int | None
    cut_short: bool

    @property
    def damaged(self) -> bool:
        """Whether anything is missing or doubtful."""
        return self.undecodable > 0 or self.flagged > 0 or self.cut_short

    def __str__(self) -> str:
        """One line for people, for instance ``80 frames, 10 packets undecodable, cut short``."""
        parts = [f"{self.decoded} frames"]
        if self.undecodable:
            parts.append(f"{self.undecodable} packets undecodable")
        if self.flagged:
            parts.append(f"{self.flagged} frames doubtful")
        if self.cut_short:
            parts.append("cut short")
        return ", ".join(parts)


class VideoReader:
    """Frames of a video file in display order, upright; an iterable and a context manager.

    Opening decodes the first frame, so a file without any is refused at once. It can be iterated
    once; a second loop goes on where the first stopped. After close nothing more comes.

    Where a frame has no time of its own (raw streams) it follows the one before by ``1 / rate``.
    Times are as in the file: they need not start at 0, and start again in joined broadcasts.
    When the picture size changes on the way, later frames have the new size.

    Args:
        path: A local video file; names that look like URLs are files, too.
        max_pixels: Refuse larger frames.

    Raises:
        BadVideo: Missing, empty, no video file, without video stream or without any frame.
    """

    def __init__(self, path: str | Path, *, max_pixels: int = MAX_PIXELS) -> None:
        self._path = Path(path)
        self._source = os.fspath(path)
        self._decoded = self._undecodable = self._flagged = 0
        self._cut_short = False
        self._time: float | None = None
        self._container = open_media(self._path)
        try:
            self._stream = _video_stream(self._container, self._path)
            self._limit(max_pixels)
            self._rate = _plausible_rate(self._stream)
            self._frames = self._decode()
            first = next(self._frames, None)
            if first is None:
                raise BadVideo(f"{path}: no frame can be decoded", hint="the file may be encrypted")
        except BaseException:
            self._container.close()
            raise
        self._first: Frame | None = first
        self._size = first.size

    def _limit(self, max_pixels: int) -> None:
        context = self._stream.codec_context
        if context.width * context.height > max_pixels:
            raise BadVideo(
                f"{self._path}: frames of {context.width} x {context.height} pixels exceed the"
                f" limit of {max_pixels / 1e6:g} million",
                hint="make the video smaller first",
            )
        # The size may change on the way. Decoders compare with sides rounded up, hence the margin.
        context.options = {"max_pixels": str(2 * max_pixels + 65_536)}
        context.thread_type = "AUTO"

    @property
    def size(self) -> Size:
        """Of the first frame, upright."""
        return self._size

    @property
    def rate(self) -> Fraction:
        """Average frames per second; 25 where the file says nothing between 1 and 240."""
        return self._rate

    @property
    def time_base(self) -> Fraction:
        """Seconds per tick of the file's own clock: all times are multiples of it."""
        return self._stream.time_base or 1 / self._rate

    @property
    def duration(self) -> float | None:
        """Declared length in seconds, or None."""
        if self._stream.duration is not None and self._stream.time_base is not None:
            return float(self._stream.duration * self._stream.time_base)
        return None if self._container.duration is None else self._container.duration / av.time_base

    @property
    def frame_count(self) -> int | None:
        """Number of frames for a progress bar: declared, or estimated from the length, or None."""
        if self._stream.frames > 0:
            return self._stream.frames
        return None if self.duration is None else max(1, round(self.duration * self._rate))

    @property
    def report(self) -> VideoReport:
        """What has been decoded so far, and what was damaged."""
        return VideoReport(
            decoded=self._decoded - (self._first is not None),
            undecodable=self._undecodable,
            flagged=self._flagged,
            declared=self._stream.frames or None,
            cut_short=self._cut_short,
        )

    def __iter__(self) -> Iterator[Frame]:
        if self._first is not None:
            first, self._first = self._first, None
            yield first
        yield from self._frames

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Releases the file and the decoder; a second call does nothing."""
        self._frames.close()
        self._first = None
        self._container.close()

    def _decode(self) -> Generator[Frame, None, None]:
        for packet in self._packets():
            for decoded in self._decode_packet(packet):
                try:
                    image = _upright(decoded)
                except (*DECODE_ERRORS, ValueError):
                    self._undecodable += 1
                    continue
                self._time = self._time_of(decoded)
                self._flagged += bool(decoded.is_corrupt)
                self._decoded += 1
                yield Frame(
                    image=image, index=self._decoded - 1, time=self._time, source=self._source
                )
        self._cut_short = self._ends_early()

    def _packets(self) -> Iterator[Packet[VideoStream]]:
        """All packets of the stream, the empty one that flushes the decoder last."""
        failed = 0
        while failed < _MAX_FAILED_READS:
            try:
                for packet in self._container.demux(self._stream):
                    failed = 0
                    yield packet
                return
            except DECODE_ERRORS as error:
                # A demuxer that asks to try again (EAGAIN) has met rubbish it can skip.
                failed += 1
                self._undecodable += not isinstance(error, BlockingIOError)
        self._undecodable += 1
        yield Packet()

    def _decode_packet(self, packet: Packet[VideoStream]) -> list[av.VideoFrame]:
        flush = packet.size == 0
        try:
            return self._stream.codec_context.decode(None if flush else packet)
        except EOFError:  # flushed twice
            return []
        except DECODE_ERRORS:
            self._undecodable += 1
            return []

    def _time_of(self, decoded: av.VideoFrame) -> float:
        if decoded.pts is not None:
            return float(decoded.pts * (decoded.time_base or self.time_base))
        return 0.0 if self._time is None else self._time + float(1 / self._rate)

    def _ends_early(self) -> bool:
        """Whether the last frame ends more than two frames and 2 % before the declared end."""
        if self._time is None:
            return False
        stream = self._stream
        if stream.duration is not None and stream.time_base is not None:
            start = float((stream.start_time or 0) * stream.time_base)
        elif len(self._container.streams) == 1:
            start = 0.0  # Matroska and FLV declare the time of the end
        else:
            return False  # the length of the file may be that of the sound
        length = self.duration or 0.0
        frame = float(1 / self._rate)
        return start + length - (self._time + frame) > max(2 * frame, 0.02 * length)


def _video_stream(container: InputContainer, path: Path) -> VideoStream:
    covers = Disposition.attached_pic
    for stream in container.streams.video:
        if not stream.disposition & covers:
            if stream.codec_context is None:
                raise BadVideo(f"{path}: unknown video codec", hint="convert it to H.264 first")
            return stream
    raise BadVideo(f"{path}: no video stream", hint="the file holds sound or a cover picture only")


def _plausible_rate(stream: VideoStream) -> Fraction:
    low, high = _RATE_LIMITS
    for rate in (stream.average_rate, stream.guessed_rate, stream.base_rate):
        if rate is not None and low <= rate <= high:
            return rate
    return _DEFAULT_RATE


def _upright(decoded: av.VideoFrame) -> torch.Tensor:
    """Returns (3, H, W) uint8 RGB; swscale uses the frame's own colour matrix and range."""
    pixels = decoded.to_ndarray(format="rgb24")
    # rotation: degrees counter-clockwise that the display matrix asks for; rot90 turns that way.
    turned = np.rot90(pixels, round(decoded.rotation / 90) % 4)
    return torch.from_numpy(np.ascontiguousarray(turned.transpose(2, 0, 1)))
