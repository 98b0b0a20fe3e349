"""Opening a local media file by PyAV, and nothing that a name or a playlist could lead to."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import av
from av.container import InputContainer
from av.stream import Disposition
from av.video.stream import VideoStream

from hrpose.errors import BadVideo
from hrpose.media.source import require_file

# Containers of real files only: no playlists (hls, concat), no sockets (sdp, rtsp), no devices.
FORMATS = (
    "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,avi,mpegts,mpeg,mpegvideo,m4v,h264,hevc,flv,asf,ogg,ivf,"
    "obu,mxf,dv,gif,mjpeg"
)
# OverflowError and UnicodeError: seen from PyAV on mutated files.
DECODE_ERRORS = (av.FFmpegError, OverflowError, UnicodeError)


@dataclass(frozen=True, slots=True)
class Medium:
    """Something a reader can open.

    Attributes:
        name: For messages and ``Frame.source``; no passwords.
        open: Opens it; the caller closes it. Raises BadVideo.
        again: Whether it can be opened a second time, and be searched.
        live: Whether it comes at its own pace and may never end.
        note: A line for people, or nothing.
    """

    name: str
    open: Callable[[], InputContainer]
    again: bool = True
    live: bool = False
    note: str = ""


def file_medium(path: str | Path) -> Medium:
    """A local video file; names that look like URLs are files, too."""
    return Medium(os.fspath(path), lambda: open_media(Path(path)))


def open_media(path: Path) -> InputContainer:
    """Opens a media file; the caller closes it.

    ``file:`` and the absolute path keep a name such as ``a:b.mp4`` or ``http:x`` a name. The white
    lists stop playlists inside the file from reaching the network or other files.

    Raises:
        BadVideo: Missing, empty, no regular file, or no media file of a known container format.
    """
    require_file(path, error=BadVideo)
    try:
        return av.open(
            f"file:{os.path.abspath(path)}",
            container_options={"protocol_whitelist": "file", "format_whitelist": FORMATS},
            metadata_errors="replace",
        )
    except (*DECODE_ERRORS, ValueError) as error:
        if isinstance(error, PermissionError):
            raise BadVideo(
                f"{path}: cannot be read: {error.strerror}", hint="check the permissions"
            ) from error
        raise BadVideo(
            f"{path}: not a video file that can be read",
            hint="it may be cut short, damaged, or no video at all",
        ) from error


def video_stream(container: InputContainer, name: str) -> VideoStream:
    """The first stream of moving pictures; covers of sound files are none.

    Raises:
        BadVideo: There is none, or its codec is unknown.
    """
    for stream in container.streams.video:
        if not stream.disposition & Disposition.attached_pic:
            if stream.codec_context is None:
                raise BadVideo(f"{name}: unknown video codec", hint="convert it to H.264 first")
            return stream
    raise BadVideo(f"{name}: no video stream", hint="the file holds sound or a cover picture only")
