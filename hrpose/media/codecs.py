"""What goes into which container, and how each video codec is run: three tables, and a look-up.

CPU milliseconds for a frame of 1080p with these settings, colour conversion included (60 frames of
one clip, PyAV 18.1, one Xeon core): h264 48, h265 79, vp9 37, av1 36.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path

import av

from hrpose.errors import OutputError, UsageError
from hrpose.options import Encoding


@dataclass(frozen=True, slots=True)
class Encoder:
    """How a video codec is run.

    Attributes:
        name: Of FFmpeg's encoder.
        quality: Constant rate factor when none is asked for.
        worst: The largest constant rate factor; the least is 0.
        options: Of the encoder.
        tag: What MP4 and MOV call the codec, where FFmpeg's own choice is played by fewer players.
        environment: Variables that quieten a library which prints to standard error by itself.
    """

    name: str
    quality: int
    worst: int
    options: Mapping[str, str]
    tag: str = ""
    environment: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Container:
    """What a kind of file holds.

    Attributes:
        name: For people.
        format: FFmpeg's muxer.
        codecs: Video codecs it can hold, the default first.
        no_sound: Audio codecs which the muxer says it can hold, and refuses later.
        time_base: Its fixed clock, in seconds per tick, or None: any.
        options: Of the muxer.
    """

    name: str
    format: str
    codecs: tuple[str, ...]
    no_sound: frozenset[str] = frozenset()
    time_base: Fraction | None = None
    options: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Recipe:
    """How one file is encoded.

    Attributes:
        container: What kind of file it is.
        encoder: Of its pictures.
        quality: Constant rate factor.
    """

    container: Container
    encoder: Encoder
    quality: int


ENCODERS = {
    "h264": Encoder("libx264", quality=20, worst=51, options={"preset": "veryfast"}),
    "h265": Encoder(
        "libx265", quality=24, worst=51, tag="hvc1",  # Apple's players want this tag
        options={"preset": "superfast", "x265-params": "log-level=error:open-gop=0"},
    ),
    "vp9": Encoder(
        "libvpx-vp9", quality=30, worst=63,
        # "good" at cpu-used 5 takes five times as long for 13 % smaller files of equal PSNR. No
        # look-ahead: it would be lost when the process is killed.
        options={"deadline": "realtime", "cpu-used": "6", "row-mt": "1", "lag-in-frames": "0"},
    ),
    "av1": Encoder(
        "libsvtav1", quality=30, worst=63,
        # Eight frames that refer to each other, not 16 or 32: those wait inside the encoder.
        options={"preset": "10", "svtav1-params": "hierarchical-levels=3:lookahead=0"},
        environment={"SVT_LOG": "1"},  # errors
    ),
}  # fmt: skip

# Of a killed process everything but about the last second is playable:
# - MP4, MOV: fragments from key frame to key frame; closing makes an ordinary file of them
#   (hybrid_fragmented, since FFmpeg 7.1). Not `frag_duration`: with it, frames of an uneven clock
#   get wrong times or are lost. delay_moov: without it no edit list is written, and all times move
#   by the encoder's delay.
# - Matroska, WebM: clusters of half a second (FFmpeg: five).
# On top comes what waits inside the encoder.
_HYBRID = av.library_versions["libavformat"] >= (61, 7, 100)
_FRAGMENTS = {
    "movflags": f"{'hybrid_fragmented' if _HYBRID else 'frag_keyframe'}+delay_moov",
}
_CLUSTERS = {"cluster_time_limit": "500"}
_MILLISECOND = Fraction(1, 1000)  # FFmpeg's Matroska muxer has no other clock

_MP4 = Container("MP4", "mp4", ("h264", "h265", "vp9", "av1"), options=_FRAGMENTS)
CONTAINERS = {
    ".mp4": _MP4,
    ".m4v": _MP4,
    ".mov": Container(
        "MOV", "mov", ("h264", "h265"), options=_FRAGMENTS,
        no_sound=frozenset({"flac", "opus", "truehd", "vorbis"}),
    ),
    ".mkv": Container(
        "Matroska", "matroska", ("h264", "h265", "vp9", "av1"),
        time_base=_MILLISECOND, options=_CLUSTERS,
    ),
    ".webm": Container(
        "WebM", "webm", ("vp9", "av1"), time_base=_MILLISECOND, options=_CLUSTERS
    ),
}  # fmt: skip


def recipe(path: Path, encoding: Encoding) -> Recipe:
    """How a file of that name is encoded.

    Raises:
        UsageError: No video has that suffix, the container cannot hold the codec, or the codec
            has no such quality.
        OutputError: PyAV's FFmpeg lacks the encoder.
    """
    container = CONTAINERS.get(path.suffix.lower())
    if container is None:
        raise UsageError(
            f"{path}: no known kind of video file", hint=f"name it {_listed(CONTAINERS, 'or')}"
        )
    codec = encoding.codec or container.codecs[0]
    if codec not in container.codecs:
        fitting = [suffix for suffix, other in CONTAINERS.items() if codec in other.codecs]
        raise UsageError(
            f"{path}: {container.name} cannot hold {codec}",
            hint=f"it holds {_listed(container.codecs, 'and')};"
            f" {codec} goes into {_listed(fitting, 'and')}",
        )
    encoder = ENCODERS[codec]
    quality = encoder.quality if encoding.quality is None else encoding.quality
    if not 0 <= quality <= encoder.worst:
        raise UsageError(
            f"quality of {codec} is 0-{encoder.worst}, not {quality}",
            hint=f"lower is better and larger; without the option it is {encoder.quality}",
        )
    _require(encoder, path, codec)
    return Recipe(container, encoder, quality)


def _listed(names: Iterable[str], last: str) -> str:
    *first, final = names
    return f"{', '.join(first)} {last} {final}" if first else final


def _require(encoder: Encoder, path: Path, codec: str) -> None:
    try:
        av.Codec(encoder.name, "w")
    except ValueError as error:  # UnknownCodecError
        raise OutputError(
            f"{path}: PyAV {av.__version__} is built without {encoder.name}, which writes {codec}",
            hint="take another codec, or install PyAV from its wheel",
        ) from error
