"""The downloader against a real HTTP server on loopback that misbehaves in every known way."""

from __future__ import annotations

import hashlib
import http.server
import re
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from hrpose.errors import DownloadError
from hrpose.zoo import download as module
from hrpose.zoo.download import Patience, download, locked

REPO = Path(__file__).resolve().parents[2]
BODY = hashlib.shake_256(b"weights").digest(3_000_000)
SHA256 = hashlib.sha256(BODY).hexdigest()
QUICK = Patience(timeout=0.3, retries=2, pause=0.01)


class Server(http.server.ThreadingHTTPServer):
    """Serves BODY; each request takes the next of ``script``, the last one for ever."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.script: list[Callable[[Handler], None]] = [Handler.whole]
        self.ranges: list[str | None] = []
        self.conditions: list[str | None] = []
        self.sent = 0
        self.finish = threading.Event()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/weights.pth"

    def handle_error(self, request: object, client_address: object) -> None:
        pass  # clients of these tests hang up early


class Handler(http.server.BaseHTTPRequestHandler):
    server: Server

    def log_message(self, format: str, *args: object) -> None:
        pass

    def do_GET(self) -> None:
        self.server.ranges.append(self.headers["Range"])
        self.server.conditions.append(self.headers["If-Range"])
        script = self.server.script
        (script.pop(0) if len(script) > 1 else script[0])(self)

    def head(self, status: int, length: int | None, **headers: str) -> None:
        self.send_response(status)
        if length is not None:
            self.send_header("Content-Length", str(length))
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()

    def send(self, data: bytes) -> None:
        self.wfile.write(data)
        self.wfile.flush()
        self.server.sent += len(data)

    def start(self) -> int:
        match = re.fullmatch(r"bytes=(\d+)-", self.headers["Range"] or "")
        return int(match[1]) if match else 0

    def begin(self) -> bytes:
        """Sends the head of a good answer; returns the body that belongs to it."""
        start = self.start()
        rest = BODY[start:]
        if start:
            told = f"bytes {start}-{len(BODY) - 1}/{len(BODY)}"
            self.head(206, len(rest), ETag='"1"', Content_Range=told)
        else:
            self.head(200, len(rest), ETag='"1"')
        return rest

    def whole(self) -> None:
        if self.start() >= len(BODY):
            return self.head(416, 0, Content_Range=f"bytes */{len(BODY)}")
        return self.send(self.begin())

    def cut(self) -> None:
        self.send(self.begin()[:700_000])

    def stall(self) -> None:
        self.send(self.begin()[:1_000_000])
        self.server.finish.wait(10)

    def silence(self) -> None:
        self.server.finish.wait(10)

    def slow(self) -> None:
        rest = self.begin()
        for at in range(0, len(rest), 300_000):
            self.send(rest[at : at + 300_000])
            self.server.finish.wait(0.08)

    def without_ranges(self) -> None:
        self.head(200, len(BODY))
        self.send(BODY)

    def without_length(self) -> None:
        self.head(200, None)
        self.send(BODY)

    def wrong_start(self) -> None:
        rest = BODY[self.start() + 10 :]
        start = self.start() + 10
        self.head(206, len(rest), Content_Range=f"bytes {start}-{len(BODY) - 1}/{len(BODY)}")
        self.send(rest)

    def other_bytes(self) -> None:
        self.head(200, len(BODY))
        self.send(BODY[::-1])

    def web_page(self) -> None:
        self.head(200, None, Content_Type="text/html; charset=utf-8")
        self.send(b"<!doctype html><title>Log in</title>")

    def missing(self) -> None:
        self.head(404, 0)

    def busy(self) -> None:
        self.head(503, 0)

    def unsafe_redirect(self) -> None:
        self.head(302, 0, Location="http://example.org/weights.pth")

    def redirect(self) -> None:
        self.head(302, 0, Location=self.server.url + "2")


@pytest.fixture
def server() -> Iterator[Server]:
    with Server() as running:
        thread = threading.Thread(target=running.serve_forever, args=(0.01,))
        thread.start()
        yield running
        running.finish.set()
        running.shutdown()
        thread.join()


@pytest.fixture
def target(tmp_path: Path) -> Path:
    return tmp_path / "weights.pth"


def get(server: Server, target: Path, *, sha256: str = SHA256) -> None:
    download(server.url, target, sha256=sha256, patience=QUICK)


def left_over(target: Path) -> list[str]:
    return sorted(p.name for p in target.parent.iterdir() if not p.name.endswith(".lock"))


@pytest.mark.parametrize("digits", [64, 8])
def test_whole_file(server: Server, target: Path, digits: int) -> None:
    get(server, target, sha256=SHA256[:digits])
    assert target.read_bytes() == BODY
    assert left_over(target) == ["weights.pth"]


def test_present_file_is_not_fetched(server: Server, target: Path) -> None:
    target.write_bytes(b"mine")
    get(server, target)
    assert server.ranges == []
    assert target.read_bytes() == b"mine"


def test_cut_connections_cost_no_byte_twice(server: Server, target: Path) -> None:
    server.script = [*[Handler.cut] * 4, Handler.whole]  # more cuts than QUICK.retries
    get(server, target)
    assert target.read_bytes() == BODY
    assert server.sent == len(BODY)
    assert server.ranges == [None, *(f"bytes={700_000 * i}-" for i in range(1, 5))]
    assert server.conditions == [None, *['"1"'] * 4]


def test_stalled_connection_is_left_and_resumed(server: Server, target: Path) -> None:
    server.script = [Handler.stall, Handler.whole]
    get(server, target)
    assert target.read_bytes() == BODY
    assert server.ranges == [None, "bytes=1000000-"]
    assert server.sent == len(BODY)


def test_slow_but_alive_is_waited_for(server: Server, target: Path) -> None:
    server.script = [Handler.slow]
    get(server, target)
    assert target.read_bytes() == BODY
    assert len(server.ranges) == 1


def test_silence_ends(server: Server, target: Path) -> None:
    server.script = [Handler.silence]
    with pytest.raises(DownloadError, match="timed out") as caught:
        get(server, target)
    assert len(server.ranges) == 1 + QUICK.retries
    assert server.url in caught.value.hint
    assert str(target) in caught.value.hint


def test_part_of_an_earlier_run_is_used(server: Server, target: Path) -> None:
    Path(f"{target}.part").write_bytes(BODY[:2_000_000])
    get(server, target)
    assert target.read_bytes() == BODY
    assert server.sent == 1_000_000


def test_part_that_is_complete_needs_no_server(server: Server, target: Path) -> None:
    Path(f"{target}.part").write_bytes(BODY)
    get(server, target)
    assert target.read_bytes() == BODY
    assert server.ranges == []


@pytest.mark.parametrize("size", [2_000_000, 3_000_000, 3_000_001])
def test_part_of_another_version_is_dropped(server: Server, target: Path, size: int) -> None:
    Path(f"{target}.part").write_bytes(bytes(size))
    get(server, target)
    assert target.read_bytes() == BODY


def test_server_without_ranges_sends_all_again(server: Server, target: Path) -> None:
    server.script = [Handler.cut, Handler.without_ranges]
    get(server, target)
    assert target.read_bytes() == BODY


def test_lying_range_is_not_appended(server: Server, target: Path) -> None:
    server.script = [Handler.cut, Handler.wrong_start, Handler.whole]
    get(server, target)
    assert target.read_bytes() == BODY
    assert server.ranges == [None, "bytes=700000-", None]


def test_cuts_and_lies_for_ever_end(server: Server, target: Path) -> None:
    server.script = [Handler.cut, Handler.wrong_start] * 20
    with pytest.raises(DownloadError):
        get(server, target)
    assert len(server.ranges) == 1 + QUICK.retries


def test_busy_server_is_asked_again(server: Server, target: Path) -> None:
    server.script = [Handler.busy, Handler.busy, Handler.redirect, Handler.whole]
    get(server, target)
    assert target.read_bytes() == BODY


@pytest.mark.parametrize(
    ("answer", "reason", "requests"),
    [
        (Handler.missing, "404", 1),
        (Handler.busy, "503", 3),
        (Handler.web_page, "web page", 1),
        (Handler.unsafe_redirect, "unsafe", 1),
        (Handler.other_bytes, "SHA-256", 1),
    ],
    ids=["missing", "busy", "web page", "unsafe redirect", "wrong hash"],
)
def test_refusal(
    server: Server, target: Path, answer: Callable[[Handler], None], reason: str, requests: int
) -> None:
    server.script = [answer]
    with pytest.raises(DownloadError, match=reason) as caught:
        get(server, target)
    assert caught.value.exit_code == 4
    assert server.url in caught.value.hint
    assert left_over(target) == []
    assert len(server.ranges) == requests


@pytest.mark.parametrize("answer", [Handler.whole, Handler.without_length])
def test_endless_body_is_cut_off(
    server: Server,
    target: Path,
    answer: Callable[[Handler], None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "MAX_BYTES", 1_000_000)
    server.script = [answer]
    with pytest.raises(DownloadError, match="more"):
        get(server, target)
    assert left_over(target) == []


@pytest.mark.parametrize(
    "url", ["http://example.org/a", "ftp://127.0.0.1/a", "file:///etc/hostname", "weights.pth"]
)
def test_only_https(url: str, target: Path) -> None:
    with pytest.raises(DownloadError, match="https"):
        download(url, target, sha256=SHA256)
    assert not target.exists()


def test_unwritable_folder(server: Server, tmp_path: Path) -> None:
    with pytest.raises(DownloadError, match="No such file"):
        get(server, tmp_path / "nowhere" / "weights.pth")


def in_process(server: Server, target: Path) -> subprocess.Popen[str]:
    program = f"""
from pathlib import Path
from hrpose.zoo.download import download
download({server.url!r}, Path({str(target)!r}), sha256={SHA256!r})
"""
    command = [sys.executable, "-c", program]
    return subprocess.Popen(command, cwd=REPO, stderr=subprocess.PIPE, text=True)


def test_second_process_waits_and_says_so(server: Server, target: Path) -> None:
    with locked(target):
        run = in_process(server, target)
        assert run.stderr
        assert "waiting for another process" in run.stderr.readline()
        target.write_bytes(BODY)
    run.communicate(timeout=30)
    assert run.returncode == 0
    assert server.ranges == []


def test_two_processes_fetch_once(server: Server, target: Path) -> None:
    server.script = [Handler.slow]
    runs = [in_process(server, target) for _ in range(2)]
    said = [run.communicate(timeout=30)[1] for run in runs]
    assert [run.returncode for run in runs] == [0, 0], said
    assert target.read_bytes() == BODY
    assert server.sent == len(BODY)
    assert left_over(target) == ["weights.pth"]
