"""Media that are no local files: cameras, standard input, and, only if asked for, the network."""

from __future__ import annotations

import glob
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from urllib.parse import urlsplit

import av
from av.container import InputContainer

from hrpose.errors import BadVideo, UsageError
from hrpose.media.container import DECODE_ERRORS, FORMATS, Medium

_TIMEOUT = (10.0, 10.0)  # seconds to connect and to wait for data


@dataclass(frozen=True, slots=True)
class _Scheme:
    """What one kind of URL may use; whatever a server answers, nothing else is opened.

    Playlists (HLS, DASH) are in no list of formats: they would lead to other servers.
    """

    protocols: str
    formats: str = FORMATS
    live: bool = False


_SCHEMES = {
    "http": _Scheme("http,https,httpproxy,tls,tcp"),
    "https": _Scheme("https,httpproxy,tls,tcp"),
    "rtsp": _Scheme("tcp", formats="rtsp", live=True),
    "rtsps": _Scheme("tls,tcp", formats="rtsp", live=True),
}


def url_medium(url: str, *, allow_network: bool) -> Medium:
    """A video behind a URL. User names, passwords and queries stay out of ``Medium.name``.

    RTSP runs over TCP, where no packet is lost.

    Raises:
        UsageError: The network is not allowed, or the scheme not known.
    """
    try:
        parts = urlsplit(url)
    except ValueError as error:
        raise UsageError(f"{url}: no valid URL: {error}", hint="check the address") from error
    name = f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"
    scheme = _SCHEMES.get(parts.scheme.lower())
    if scheme is None:
        raise UsageError(
            f"{name}: no such file, and {parts.scheme} URLs are not read",
            hint=f"known: {', '.join(_SCHEMES)}; or download it first",
        )
    if not allow_network:
        raise UsageError(
            f"{name}: reading from the network is not allowed", hint="--allow-network allows it"
        )
    options = {"protocol_whitelist": scheme.protocols, "format_whitelist": scheme.formats}
    if scheme.live:
        options |= {"rtsp_transport": "tcp", "allowed_media_types": "video"}

    def connect() -> InputContainer:
        return av.open(url, container_options=options, timeout=_TIMEOUT, metadata_errors="replace")

    return Medium(
        name,
        lambda: _opened(connect, name, "check the address, and that it is a single video"),
        again=not scheme.live,
        live=scheme.live,
    )


def standard_input() -> Medium:
    """What is piped in. It cannot be searched, and an MP4 must have its index in front."""

    def read() -> InputContainer:
        if sys.stdin is not None and sys.stdin.isatty():
            raise UsageError("standard input is a terminal", hint="pipe a video in, or name a file")
        # Not the Python object: opened from one, a playlist could reach the network.
        return av.open(
            "fd:",
            container_options={"protocol_whitelist": "fd", "format_whitelist": FORMATS},
            metadata_errors="replace",
        )

    hint = "an MP4 whose index lies at its end cannot be piped; name the file, or pipe Matroska"
    name = "standard input"
    return Medium(name, lambda: _opened(read, name, hint), again=False)


def camera(number: int) -> Medium:
    """A camera of this machine: v4l2 on Linux, AVFoundation on macOS, DirectShow on Windows."""
    name = f"camera {number}"

    def start() -> InputContainer:
        device, kind = _camera_device(number)
        return av.open(device, format=kind, timeout=_TIMEOUT)

    hint = "another program may use it, or this one may lack the permission"
    return Medium(name, lambda: _opened(start, name, hint), again=False, live=True)


def _camera_device(number: int) -> tuple[str, str]:
    """The device and the input format that opens it."""
    if sys.platform == "linux":
        device = f"/dev/video{number}"
        if not os.path.exists(device):
            raise _no_camera(number, sorted(glob.glob("/dev/video*")))
        return device, "v4l2"
    if sys.platform == "darwin":
        return f"{number}:none", "avfoundation"  # the other half would be a microphone
    if sys.platform == "win32":
        # DirectShow knows names only; not in PyAV 15.
        found = [
            device.name
            for device in getattr(av, "enumerate_input_devices", lambda kind: [])("dshow")
            if "video" in device.media_types
        ]
        if number >= len(found):
            raise _no_camera(number, found)
        return f"video={found[number]}", "dshow"
    raise BadVideo(f"cameras are not read on {sys.platform}", hint="record a file first")


def _no_camera(number: int, found: list[str]) -> BadVideo:
    known = ", ".join(found) or "none"
    return BadVideo(
        f"camera {number}: there is no such camera, and no file {number}",
        hint=f"cameras found: {known}",
    )


def _opened(open_it: Callable[[], InputContainer], name: str, hint: str) -> InputContainer:
    try:
        return open_it()
    except (*DECODE_ERRORS, ValueError) as error:
        # Its text without the address: that may hold a password.
        reason = getattr(error, "strerror", None) or "no video that can be read"
        raise BadVideo(f"{name}: cannot be opened: {reason}", hint=hint) from None
