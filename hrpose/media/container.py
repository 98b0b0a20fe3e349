"""Opening a local media file by PyAV, and nothing that a name or a playlist could lead to."""

from __future__ import annotations

import os
from pathlib import Path

import av
from av.container import InputContainer

from hrpose.errors import BadVideo
from hrpose.media.source import require_file

# Containers of real files only: no playlists (hls, concat), no sockets (sdp, rtsp), no devices.
_FORMATS = (
    "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,avi,mpegts,mpeg,mpegvideo,m4v,h264,hevc,flv,asf,ogg,ivf,"
    "obu,mxf,dv,gif,mjpeg"
)
# OverflowError and UnicodeError: seen from PyAV on mutated files.
DECODE_ERRORS = (av.FFmpegError, OverflowError, UnicodeError)


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
            container_options={"protocol_whitelist": "file", "format_whitelist": _FORMATS},
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
