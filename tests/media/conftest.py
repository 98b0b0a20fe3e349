"""Tiny clips whose right answer is known: every frame carries its number."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from hrpose.media.video import VideoReader, VideoReport
from hrpose.options import Span
from hrpose.types import Frame, Size

NONE: Mapping[str, str] = {}


class Studio:
    """Makes clips and reads them."""

    size = Size(96, 64)

    def picture(self, number: int, size: Size = size) -> NDArray[np.uint8]:
        """Four quadrants of known grey, and the number as 8 columns of black or white."""
        width, height = size
        image = np.full((height, width, 3), 60, dtype=np.uint8)
        image[: height // 2, : width // 2] = 180
        image[height // 2 :, width // 2 :] = 120
        for bit in range(8):
            image[20:44, bit * 12 : bit * 12 + 12] = 255 * (number >> bit & 1)
        return image

    def number(self, image: torch.Tensor) -> int:
        """What `picture` was called with."""
        grey = image.float().mean(dim=0)[26:38]
        means = [float(grey[:, bit * 12 + 4 : bit * 12 + 8].mean()) for bit in range(8)]
        return sum((mean > 128) << bit for bit, mean in enumerate(means))

    def film(  # noqa: PLR0913 - each has its clip
        self,
        path: Path,
        numbers: Iterable[int] = range(30),
        *,
        codec: str = "libx264",
        pixels: str = "yuv420p",
        rate: int = 25,
        size: Size = size,
        first: int = 0,
        options: Mapping[str, str] = NONE,
        container: Mapping[str, str] = NONE,
        stream: Mapping[str, Any] = NONE,
    ) -> Path:
        """Writes a clip; `first` is its first timestamp in frames."""
        with av.open(str(path), "w", container_options=dict(container)) as output:
            video = output.add_stream(codec, rate=rate, options=dict(options))
            video.width, video.height, video.pix_fmt = *size, pixels
            video.codec_context.thread_count = 1
            for name, value in stream.items():
                setattr(video.codec_context, name, value)
            if "rotation" in options:
                video.set_display_rotation(int(options["rotation"]))
            for at, number in enumerate(numbers):
                frame = av.VideoFrame.from_ndarray(self.picture(number, size), format="rgb24")
                frame.pts, frame.time_base = first + at, Fraction(1, rate)
                output.mux(video.encode(frame))
            output.mux(video.encode(None))
        return path

    def damage(self, path: Path, packet: int) -> None:
        """Overwrites one packet of a file, but for its first bytes."""
        with av.open(str(path)) as container:
            hit = [one for one in container.demux(video=0) if one.size][packet]
            start, length = hit.pos, hit.size
        assert start is not None
        data = bytearray(path.read_bytes())
        data[start + 8 : start + length] = bytes(length - 8)
        path.write_bytes(data)

    def read(self, path: Path, span: Span = Span()) -> tuple[list[Frame], VideoReport]:  # noqa: B008
        with VideoReader(path, span=span) as reader:
            return list(reader), reader.report

    def numbers(self, path: Path, span: Span = Span()) -> list[int]:  # noqa: B008
        """The numbers the frames carry; the clip must be without damage."""
        frames, report = self.read(path, span)
        assert not report.damaged, report
        return [self.number(frame.image) for frame in frames]


@pytest.fixture(scope="session")
def studio() -> Studio:
    return Studio()
