"""The network on loopback, a pipe, and a camera that is not there."""

from __future__ import annotations

import os
import socket
import struct
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from fractions import Fraction
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import av
import pytest

from hrpose.errors import BadVideo, UsageError
from hrpose.media import feed
from hrpose.media.clips import sources
from hrpose.options import Span

INDEX_FIRST = {"movflags": "faststart"}


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *args: object) -> None:
        pass


@contextmanager
def web(folder: Path) -> Iterator[str]:
    """An HTTP server of a folder; it knows no ranges, so nothing can be searched."""
    handler = partial(Quiet, directory=str(folder))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


@pytest.mark.parametrize("suffix", ["mkv", "mp4", "ts"])
def test_http(tmp_path: Path, studio: Any, suffix: str) -> None:
    container = INDEX_FIRST if suffix == "mp4" else {}
    studio.film(tmp_path / f"a.{suffix}", range(40), options={"g": "8"}, container=container)
    with web(tmp_path) as address:
        (source,) = sources([f"{address}/a.{suffix}?key=secret"], allow_network=True)
        for span, want in ((Span(), range(40)), (Span(0.8, 1.2), range(20, 30))):
            with source.open(span) as reader:
                frames = list(reader)
            assert [studio.number(frame.image) for frame in frames] == list(want)
            assert frames[0].source == f"{address}/a.{suffix}"


def test_http_errors_keep_secrets(tmp_path: Path) -> None:
    (tmp_path / "page.html").write_text("<p>no video</p>")
    (tmp_path / "list.m3u8").write_text("#EXTM3U\n#EXTINF:1,\na.ts\n#EXT-X-ENDLIST\n")
    with web(tmp_path) as address:
        for name in ("nowhere.mp4", "page.html", "list.m3u8"):
            url = address.replace("//", "//me:secret@") + f"/{name}?key=secret"
            with pytest.raises(BadVideo, match=f"{name}: cannot be opened") as caught:
                sources([url], allow_network=True)[0].open()
            assert "secret" not in f"{caught.value} {caught.value.hint} {caught.value.__cause__}"


def encoded(studio: Any, count: int) -> list[list[bytes]]:
    """The NAL units of each of `count` pictures."""
    encoder = av.CodecContext.create("libx264", "w")
    encoder.width, encoder.height, encoder.pix_fmt = *studio.size, "yuv420p"
    encoder.time_base = Fraction(1, 25)
    encoder.options = {"tune": "zerolatency", "x264-params": "repeat-headers=1:keyint=5"}
    pictures = []
    for number in range(count):
        frame = av.VideoFrame.from_ndarray(studio.picture(number), format="rgb24")
        frame.pts = number
        for packet in encoder.encode(frame):
            units = bytes(packet).replace(b"\0\0\0\1", b"\0\0\1").split(b"\0\0\1")
            pictures.append([unit for unit in units if unit])
    return pictures


SDP = (
    "v=0\r\no=- 0 0 IN IP4 127.0.0.1\r\ns=x\r\nt=0 0\r\nm=video 0 RTP/AVP 96\r\n"
    "a=rtpmap:96 H264/90000\r\na=fmtp:96 packetization-mode=1\r\na=control:track\r\n"
)
ANSWERS = {
    "DESCRIBE": (f"Content-Type: application/sdp\r\nContent-Length: {len(SDP)}\r\n", SDP),
    "SETUP": ("Transport: RTP/AVP/TCP;unicast;interleaved=0-1\r\nSession: 1\r\n", ""),
    "PLAY": ("Session: 1\r\n", ""),
}


def rtsp(server: socket.socket, pictures: list[list[bytes]]) -> None:
    """Serves one client: RTSP (RFC 2326) with H.264 in RTP (RFC 6184) interleaved in TCP."""
    connection, _ = server.accept()
    with connection, connection.makefile("rwb") as stream:
        while head := list(iter(lambda: stream.readline().decode().strip(), "")):
            method = head[0].split()[0]
            counter = next(line for line in head if line.startswith("CSeq"))
            extra, body = ANSWERS.get(method, ("", ""))
            stream.write(f"RTSP/1.0 200 OK\r\n{counter}\r\n{extra}\r\n{body}".encode())
            stream.flush()
            if method != "PLAY":
                continue
            sequence = 0
            for number, units in enumerate(pictures):
                for unit in units:
                    last = 0x80 * (unit is units[-1])
                    head_of = struct.pack(">BBHII", 0x80, 96 | last, sequence, number * 3600, 1)
                    packet = head_of + unit
                    stream.write(b"$\0" + struct.pack(">H", len(packet)) + packet)
                    sequence += 1
            stream.flush()
            return


def test_rtsp(studio: Any) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        thread = threading.Thread(target=rtsp, args=(server, encoded(studio, 12)), daemon=True)
        thread.start()
        port = server.getsockname()[1]
        (source,) = sources([f"rtsp://me:secret@127.0.0.1:{port}/cam"], allow_network=True)
        assert source.live
        with source.open() as reader:
            assert (reader.size, reader.frame_count) == (studio.size, None)
            frames = list(reader)
            assert not reader.report.cut_short
        thread.join()
    assert [studio.number(frame.image) for frame in frames] == list(range(12))
    assert frames[-1].source == f"rtsp://127.0.0.1:{port}/cam"


@contextmanager
def piped(data: bytes) -> Iterator[None]:
    """Standard input, also that of C code, is a pipe with this in it."""
    end, start = os.pipe()
    before = os.dup(0)
    os.dup2(end, 0)
    os.close(end)

    def fill() -> None:
        with os.fdopen(start, "wb") as pipe:
            try:
                pipe.write(data)
            except BrokenPipeError:
                return

    thread = threading.Thread(target=fill, daemon=True)
    thread.start()
    try:
        yield
    finally:
        os.dup2(before, 0)
        os.close(before)
        thread.join()


@pytest.mark.parametrize(("suffix", "container"), [("mkv", {}), ("ts", {}), ("mp4", INDEX_FIRST)])
def test_standard_input(tmp_path: Path, studio: Any, suffix: str, container: Any) -> None:
    path = studio.film(tmp_path / f"a.{suffix}", range(30), container=container, options={"g": "8"})
    for span, want in ((Span(), range(30)), (Span(0.8, 1.0), range(20, 25))):
        with piped(path.read_bytes()), sources(["-"])[0].open(span) as reader:
            frames = list(reader)
            assert [studio.number(frame.image) for frame in frames] == list(want)
            assert frames[0].source == "standard input"


def test_standard_input_that_cannot_be_read(tmp_path: Path, studio: Any) -> None:
    # Longer than what is looked at before the index is needed.
    last = studio.film(tmp_path / "a.mp4", range(150), codec="mjpeg", pixels="yuvj420p")
    for data in (b"", b"text", last.read_bytes(), b"#EXTM3U\nfile:a\n"):
        with piped(data), pytest.raises(BadVideo, match="standard input") as caught:
            sources(["-"])[0].open()
        assert caught.value.hint


def test_a_terminal_is_no_input(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.stdin, "isatty", lambda: True, raising=False)
    with pytest.raises(UsageError, match="terminal"):
        sources(["-"])[0].open()


def test_a_camera_that_is_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(BadVideo, match="camera 98: ") as caught:
        sources(["98"])[0].open()
    assert caught.value.hint
    monkeypatch.setattr(sys, "platform", "plan9")
    with pytest.raises(BadVideo, match="not read on plan9"):
        sources(["0"])[0].open()


@pytest.mark.parametrize(
    ("platform", "device"),
    [("darwin", ("1:none", "avfoundation")), ("win32", ("video=B", "dshow"))],
)
def test_devices_of_other_systems(
    monkeypatch: pytest.MonkeyPatch, platform: str, device: tuple[str, str]
) -> None:
    listed = [av.DeviceInfo(name, "", False, ["video"]) for name in ("A", "B")]
    monkeypatch.setattr(av, "enumerate_input_devices", lambda kind: listed, raising=False)
    monkeypatch.setattr(sys, "platform", platform)
    assert feed._camera_device(1) == device
