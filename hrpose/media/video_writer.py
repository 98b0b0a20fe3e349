"""Videos out, by PyAV: H.264 in MP4, with the sound of another file copied.

What is written is playable up to about the last second even if the process is killed, and gets its
final name only when it is complete. Memory does not grow with length.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Self

import av
import numpy as np
from av.audio.stream import AudioStream
from av.container import InputContainer, OutputContainer
from av.packet import Packet
from av.video.reformatter import ColorRange, Colorspace, VideoReformatter
from av.video.stream import VideoStream
from numpy.typing import NDArray

from hrpose.errors import OutputError
from hrpose.media.container import DECODE_ERRORS, open_media
from hrpose.media.output import atomic_output
from hrpose.types import Size

_MIN_TICKS_PER_SECOND = 90_000
_BT709 = 1  # value of colour space, primaries and transfer in FFmpeg's enums
_LIMITED_RANGE = 1


class VideoWriter:
    """Writes H.264 (yuv420p, BT.709) in MP4; a context manager. The file appears on clean exit.

    Frames keep their times to half a tick of ``time_base``. A time that does not grow is moved: to
    the next tick, or, after a jump back of more than a frame, to one frame later (``moved`` counts
    them); times below 0 shift everything. Odd sizes are padded to even by repeating the last
    column or row, so coordinates stay.

    Args:
        path: Final name.
        size: Of the pictures; one of another size is scaled to it.
        rate: Nominal frames per second; guides the encoder and ends the last frame.
        audio_from: Copy the sound of this file, packet by packet, to where it was in time.
        force: Replace an existing file.
        inputs: Files that must not be overwritten (``audio_from`` is one anyway).

    Raises:
        OutputError: On entering, or from any call: the file cannot be written or encoded.
        BadVideo: On entering: ``audio_from`` cannot be opened.
    """

    def __init__(
        self,
        path: Path,
        *,
        size: Size,
        rate: Fraction,
        audio_from: Path | None = None,
        force: bool = False,
        inputs: Sequence[Path] = (),
    ) -> None:
        if min(size) < 1:
            raise ValueError(f"size is {size}, expected at least 1 x 1")
        if not 0 < rate <= 1000:
            raise ValueError(f"rate is {rate}, expected above 0 and at most 1000")
        self._path, self._size, self._rate = Path(path), Size(*size), Fraction(rate)
        self._audio_from = None if audio_from is None else Path(audio_from)
        self._force = force
        self._inputs = [*inputs, *([audio_from] if audio_from is not None else [])]
        self.time_base = _time_base(self._rate)
        self.moved = 0
        self.dropped_audio: list[str] = []
        self._audio: _AudioCopy | None = None
        self._last: int | None = None
        self._shift = 0

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            temporary = stack.enter_context(
                atomic_output(self._path, force=self._force, inputs=self._inputs)
            )
            source = None
            if self._audio_from is not None:
                # Before `_finish`, so closed after it: reading on from a closed file is a SIGSEGV.
                source = stack.enter_context(open_media(self._audio_from))
            with self._reported():
                self._container = _create(temporary, self.time_base)
                stack.push(self._finish)
                self._stream = _add_h264(self._container, self._size, self._rate, self.time_base)
                if source is not None:
                    self._audio = _AudioCopy(source, self._container)
                    self.dropped_audio = self._audio.dropped
                # All streams are there: muxing earlier kills the process (SIGFPE).
                self._container.start_encoding()
            self._reformatter = VideoReformatter()
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stack.__exit__(kind, error, trace)

    def write(self, image: NDArray[np.uint8], time: float) -> None:
        """Appends a picture.

        Args:
            image: (H, W, 3) uint8 RGB.
            time: When it is shown, in seconds.
        """
        if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3 or 0 in image.shape:
            raise ValueError(f"image is {image.shape} {image.dtype}, expected (H, W, 3) uint8 RGB")
        if not math.isfinite(time):
            raise ValueError(f"time is {time}, expected finite seconds")
        with self._reported():
            frame = self._reformatter.reformat(
                av.VideoFrame.from_ndarray(self._fit(image), format="rgb24"),
                format="yuv420p",
                dst_colorspace=Colorspace.ITU709,
                dst_color_range=ColorRange.MPEG,
            )
            frame.pts, frame.time_base = self._tick(time), self.time_base
            frame.duration = self._frame_ticks
            self._container.mux(self._stream.encode(frame))
            if self._audio is not None:
                self._audio.copy(until=float(frame.pts * self.time_base))

    def end_sound(self) -> None:
        """Leaves out the sound behind the last picture, for a video that stops early."""
        self._audio = None

    @property
    def _frame_ticks(self) -> int:
        return max(1, round(1 / (self._rate * self.time_base)))

    def _fit(self, image: NDArray[np.uint8]) -> NDArray[np.uint8]:
        width, height = self._size
        if image.shape[:2] != (height, width):
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(image), format="rgb24")
            image = frame.reformat(width=width, height=height).to_ndarray().astype(np.uint8)
        if width % 2 or height % 2:
            image = np.pad(image, ((0, height % 2), (0, width % 2), (0, 0)), mode="edge")
        return np.ascontiguousarray(image)

    def _tick(self, time: float) -> int:
        tick = round(Fraction(time) / self.time_base)
        if self._last is None:
            self._shift = max(0, -tick)
            if self._audio is not None:
                self._audio.shift = self._shift * self.time_base
        elif tick + self._shift <= self._last:
            self.moved += 1
            if tick + self._shift < self._last - self._frame_ticks:
                self._shift = self._last + self._frame_ticks - tick
            else:
                tick = self._last + 1 - self._shift
        self._last = tick + self._shift
        return self._last

    def _finish(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if kind is not None:
            with suppress(av.FFmpegError, OSError):  # the first error is the one to report
                self._container.close()
            return
        with self._reported():
            try:
                if self._last is None:
                    raise OutputError(
                        f"{self._path}: no frames to write", hint="is the input empty?"
                    )
                self._container.mux(self._stream.encode(None))
                if self._audio is not None:
                    self._audio.copy(until=math.inf)
            finally:
                self._container.close()

    @contextmanager
    def _reported(self) -> Iterator[None]:
        try:
            yield
        except av.FFmpegError as error:
            if isinstance(error, OSError):  # disk full and the like; output.py words them
                raise
            raise OutputError(
                f"{self._path}: video of {self._size.width} x {self._size.height} pixels cannot be"
                f" encoded: {error.strerror or error}",
                hint="try another size, or leave out the sound",
            ) from error


class _AudioCopy:
    """Copies audio packets of one container to another, in step with the video."""

    def __init__(self, source: InputContainer, target: OutputContainer) -> None:
        self.shift = Fraction(0)
        self.dropped: list[str] = []
        self._target = target
        self._streams: dict[int, AudioStream] = {}
        self._last_dts: dict[int, int] = {}
        chosen: list[AudioStream] = []
        for stream in source.streams.audio:
            codec = stream.codec_context.codec.canonical_name if stream.codec_context else "unknown"
            if codec not in target.supported_codecs:
                self.dropped.append(f"MP4 cannot hold {codec} sound")
                continue
            self._streams[stream.index] = target.add_stream_from_template(stream)
            chosen.append(stream)
        self._packets = self._read(source, chosen) if chosen else iter(())
        self._waiting: Packet[AudioStream] | None = None

    def copy(self, *, until: float) -> None:
        """Writes the packets that start at or before ``until`` (seconds of output time)."""
        while (packet := self._waiting or next(self._packets, None)) is not None:
            self._waiting = packet
            assert packet.dts is not None  # _read saw to that
            if packet.dts * packet.time_base > until:
                return
            self._waiting = None
            self._write(packet)

    def _write(self, packet: Packet[AudioStream]) -> None:
        index, dts = packet.stream.index, packet.dts or 0
        if dts <= self._last_dts.get(index, -(2**62)):
            self._note("sound packets out of order left out")  # the muxer refuses them
            return
        self._last_dts[index] = dts
        packet.stream = self._streams[index]
        self._target.mux(packet)

    def _read(
        self, source: InputContainer, streams: list[AudioStream]
    ) -> Iterator[Packet[AudioStream]]:
        try:
            for packet in source.demux(*streams):
                start = packet.pts if packet.dts is None else packet.dts
                if packet.size == 0 or start is None:
                    continue
                moved = round(self.shift / packet.time_base)
                packet.dts = start + moved
                packet.pts = None if packet.pts is None else packet.pts + moved
                yield packet
        except DECODE_ERRORS:
            self._note("sound is damaged; copied up to there")

    def _note(self, text: str) -> None:
        if text not in self.dropped:
            self.dropped.append(text)


def _create(path: Path, time_base: Fraction) -> OutputContainer:
    """Opens an MP4 whose finished part is playable at any moment, and which ends as a plain one."""
    # hybrid_fragmented came with FFmpeg 7.1. delay_moov: without it no edit list is written, and
    # all times move by the encoder's delay. movie_timescale: edit lists round to it (else 1 ms).
    hybrid = av.library_versions["libavformat"] >= (61, 7, 100)
    kind = "hybrid_fragmented" if hybrid else "frag_keyframe"
    options = {
        "movflags": f"{kind}+delay_moov",
        "flush_packets": "1",
        "movie_timescale": str(time_base.denominator),
    }
    url = f"file:{os.path.abspath(path)}"
    return av.open(url, "w", format="mp4", container_options=options)


def _add_h264(
    target: OutputContainer, size: Size, rate: Fraction, time_base: Fraction
) -> VideoStream:
    stream = target.add_stream("libx264", rate=rate)
    stream.width, stream.height = size.width + size.width % 2, size.height + size.height % 2
    stream.pix_fmt = "yuv420p"
    stream.options = {"preset": "veryfast", "crf": "20"}
    context = stream.codec_context
    context.time_base = stream.time_base = time_base
    # A second between key frames: that much is lost at most when the process is killed.
    context.gop_size = min(60, max(12, round(rate)))
    context.colorspace = context.color_primaries = context.color_trc = _BT709
    context.color_range = _LIMITED_RANGE
    return stream


def _time_base(rate: Fraction) -> Fraction:
    """A clock of at least 90,000 ticks a second in which a steady ``rate`` is exact."""
    numerator = rate.numerator if rate.numerator <= 1_000_000 else _MIN_TICKS_PER_SECOND
    return Fraction(1, numerator * math.ceil(_MIN_TICKS_PER_SECOND / numerator))
