"""Videos out, by PyAV: MP4, MOV, Matroska and WebM, with the sound of another file copied.

What is written is playable up to about the last second even if the process is killed, and gets its
final name only when it is complete. Memory does not grow with length, save by the index of MP4 and
MOV, which lists every frame and is written last: about 80 bytes each, 9 MB an hour.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Self

import av
import numpy as np
from av.container import OutputContainer
from av.video.reformatter import ColorRange, Colorspace, VideoReformatter
from av.video.stream import VideoStream
from numpy.typing import NDArray

from hrpose.errors import OutputError
from hrpose.media.codecs import Recipe, recipe
from hrpose.media.container import open_media
from hrpose.media.output import atomic_output
from hrpose.media.sound import SoundCopy, Window
from hrpose.options import Encoding
from hrpose.types import Size

_MIN_TICKS_PER_SECOND = 90_000
_BT709 = 1  # value of colour space, primaries and transfer in FFmpeg's enums
# Marks of a file that are true of a drawn one, too. The place of filming is not passed on.
_MARKS = {
    *("album", "artist", "author", "comment", "copyright"),
    *("creation_time", "date", "description", "genre", "title"),
}
_DEFAULT = Encoding()


@dataclass(frozen=True, slots=True)
class Original:
    """What a written video is made from, and takes over from it besides the pictures.

    Attributes:
        path: The file whose sound, title, date and the like are copied, or None. It is never
            overwritten, under whatever name. Subtitles, chapters, covers and data tracks are not
            copied, nor the place of filming.
        window: Where the part that is read starts and ends, in seconds of the file's clock; None
            where it is not cut. With a start, the first picture is shown at 0 and the sound begins
            with it; the sound stops at the end.
        full_range: Whether the pictures come from full-range video (0-255 rather than 16-235);
            the written one then is, too.
    """

    path: Path | None = None
    window: Window = (None, None)
    full_range: bool = False


_NOTHING = Original()


class VideoWriter:
    """Writes a video; a context manager. The file appears on clean exit.

    The suffix of the path chooses the container (see ``media.codecs``). Colours are 8-bit yuv420p,
    BT.709. Frames keep their times to half a tick of ``time_base``, which is 1 ms in Matroska and
    WebM. A time that does not grow is moved: to the next tick, or, after a jump back of more than a
    frame, to one frame later (``moved`` counts them); times below 0 shift everything. Odd sizes are
    padded to even by repeating the last column or row, so coordinates stay. A picture of another
    size is scaled to the first one's.

    Args:
        path: Final name.
        size: Of the pictures.
        rate: Nominal frames per second; guides the encoder and ends the last frame.
        encoding: Codec, quality, and whether sound is copied.
        original: Where the pictures come from; its sound is copied packet by packet, to where it
            was in time.
        force: Replace an existing file.
        long: MP4 and MOV stay in fragments, as they are written anyway, instead of getting one
            index at the end, for which 90 bytes a frame are kept in memory. Players know both,
            some editing programs only the plain kind.

    Raises:
        UsageError: The name is not that of a video, or codec, container and quality do not fit.
        OutputError: There is no such encoder; or, on entering or from any call, the file cannot be
            written or encoded.
        BadVideo: On entering: ``original.path`` cannot be opened.
    """

    def __init__(
        self,
        path: Path,
        *,
        size: Size,
        rate: Fraction,
        encoding: Encoding = _DEFAULT,
        original: Original = _NOTHING,
        force: bool = False,
        long: bool = False,
    ) -> None:
        if min(size) < 1:
            raise ValueError(f"size is {size}, expected at least 1 x 1")
        if not 0 < rate <= 1000:
            raise ValueError(f"rate is {rate}, expected above 0 and at most 1000")
        self._path, self._size, self._rate = Path(path), Size(*size), Fraction(rate)
        self._recipe = recipe(self._path, encoding)
        self._original, self._with_sound, self._force = original, encoding.audio, force
        self._long = long
        self.time_base = self._recipe.container.time_base or _time_base(self._rate)
        self.moved = 0
        self.dropped_audio: list[str] = []
        self._sound: SoundCopy | None = None
        self._frames = 0
        self._last: int | None = None
        self._offset, self._shift = Fraction(0), 0

    def __enter__(self) -> Self:
        source_path = self._original.path
        inputs = [] if source_path is None else [source_path]
        with ExitStack() as stack:
            temporary = stack.enter_context(
                atomic_output(self._path, force=self._force, inputs=inputs)
            )
            # Before `_finish`, so closed after it: reading on from a closed file is a SIGSEGV.
            source = None if source_path is None else stack.enter_context(open_media(source_path))
            with self._reported():
                self._container = _create(temporary, self._recipe, self.time_base, self._long)
                stack.push(self._finish)
                self._stream = self._add_pictures()
                if source is not None:
                    self._container.metadata.update(_marks(source.metadata))
                if source is not None and self._with_sound:
                    self._sound = SoundCopy(
                        source,
                        self._container,
                        kind=self._recipe.container,
                        window=self._original.window,
                    )
                    self.dropped_audio = self._sound.dropped
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
            time: When it is shown, in seconds of the original's clock.
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
                dst_color_range=self._range,
            )
            frame.pts, frame.time_base = self._tick(time), self.time_base
            frame.duration = self._frame_ticks
            self._container.mux(self._stream.encode(frame))
            self._frames += 1
            if self._sound is not None:
                self._sound.copy(until=float(frame.pts * self.time_base))

    def end_sound(self) -> None:
        """Leaves out the sound behind the last picture, for a video that stops early."""
        self._sound = None

    @property
    def _frame_ticks(self) -> int:
        return max(1, round(1 / (self._rate * self.time_base)))

    @property
    def _range(self) -> ColorRange:
        return ColorRange.JPEG if self._original.full_range else ColorRange.MPEG

    def _fit(self, image: NDArray[np.uint8]) -> NDArray[np.uint8]:
        width, height = self._size
        if image.shape[:2] != (height, width):
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(image), format="rgb24")
            image = frame.reformat(width=width, height=height).to_ndarray().astype(np.uint8)
        if width % 2 or height % 2:
            image = np.pad(image, ((0, height % 2), (0, width % 2), (0, 0)), mode="edge")
        return np.ascontiguousarray(image)

    def _tick(self, time: float) -> int:
        if self._last is None:
            self._begin(time)
        tick = round((Fraction(time) + self._offset) / self.time_base)
        if self._last is not None and tick + self._shift <= self._last:
            self.moved += 1
            if tick + self._shift < self._last - self._frame_ticks:
                self._shift = self._last + self._frame_ticks - tick
            else:
                tick = self._last + 1 - self._shift
        self._last = tick + self._shift
        return self._last

    def _begin(self, time: float) -> None:
        if time < 0 or self._original.window[0] is not None:
            self._offset = -Fraction(time)
        if self._sound is not None:
            self._sound.start(time, self._offset)

    def _add_pictures(self) -> VideoStream:
        encoder, (width, height) = self._recipe.encoder, self._size
        for name, value in encoder.environment.items():
            os.environ.setdefault(name, value)
        stream = self._container.add_stream(encoder.name, rate=self._rate)
        assert isinstance(stream, VideoStream)
        stream.width, stream.height = width + width % 2, height + height % 2
        stream.pix_fmt = "yuv420p"
        stream.options = {**encoder.options, "crf": str(self._recipe.quality)}
        context = stream.codec_context
        if encoder.tag and self._recipe.container.time_base is None:
            context.codec_tag = encoder.tag
        context.time_base = stream.time_base = self.time_base
        # Two thirds of a second between key frames: players search by them, and MP4 loses so much
        # when the process is killed, besides what waits in the encoder.
        context.gop_size = min(60, max(8, round(self._rate * 2 / 3)))
        context.colorspace = context.color_primaries = context.color_trc = _BT709
        context.color_range = self._range
        return stream

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
                self._mux_rest()
                if self._sound is not None:
                    self._sound.copy(until=math.inf)
            finally:
                self._container.close()

    def _mux_rest(self) -> None:
        for packet in self._stream.encode(None):
            if self._frames < 3:
                # x265 leaves it uninitialised; so few frames come in the order they are shown.
                packet.dts = packet.pts
            self._container.mux(packet)

    @contextmanager
    def _reported(self) -> Iterator[None]:
        try:
            yield
        except av.FFmpegError as error:
            if isinstance(error, OSError):  # disk full and the like; output.py words them
                raise
            raise OutputError(
                f"{self._path}: video of {self._size.width} x {self._size.height} pixels cannot be"
                f" encoded by {self._recipe.encoder.name}: {error.strerror or error}",
                hint="try another size or codec, or leave out the sound",
            ) from error


def _marks(metadata: dict[str, str]) -> dict[str, str]:
    return {name: text for name, text in metadata.items() if name.lower() in _MARKS}


def _create(path: Path, how: Recipe, time_base: Fraction, long: bool) -> OutputContainer:
    """Opens a container whose finished part is playable at any moment."""
    options = {
        **how.container.options,
        "flush_packets": "1",
        # Pictures wait for the sound, in memory, for so many microseconds (FFmpeg: ten seconds).
        "max_interleave_delta": "500000",
    }
    if "movflags" in options:
        if long:
            options["movflags"] = options["movflags"].replace("hybrid_fragmented", "frag_keyframe")
        options["movie_timescale"] = str(time_base.denominator)  # edit lists round to it; else 1 ms
    url = f"file:{os.path.abspath(path)}"
    return av.open(url, "w", format=how.container.format, container_options=options)


def _time_base(rate: Fraction) -> Fraction:
    """A clock of at least 90,000 ticks a second in which a steady ``rate`` is exact."""
    numerator = rate.numerator if rate.numerator <= 1_000_000 else _MIN_TICKS_PER_SECOND
    return Fraction(1, numerator * math.ceil(_MIN_TICKS_PER_SECOND / numerator))
