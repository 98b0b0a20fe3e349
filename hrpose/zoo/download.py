"""Fetches one file over https: resumable, bounded, verified, and whole or not there at all.

The server is not trusted: the final name is the caller's, a range is believed only if it starts
where asked, a body only if it has the promised length, and a file only if its hash is right.
"""

from __future__ import annotations

import hashlib
import http.client
import ipaddress
import os
import re
import socket
import ssl
import sys
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from tqdm import tqdm

from hrpose import __version__
from hrpose.errors import DownloadError

if sys.platform == "win32":
    import msvcrt
else:
    import fcntl

CHUNK = 1 << 18
MAX_BYTES = 4 << 30
PASSING = frozenset({408, 425, 429, 500, 502, 503, 504})


@dataclass(frozen=True, slots=True)
class Patience:
    """When to give up.

    Attributes:
        timeout: Seconds without a byte, for connecting and for reading.
        retries: Failures in a row without a byte of progress.
        pause: Seconds before the first retry; doubles with each.
    """

    timeout: float = 30.0
    retries: int = 4
    pause: float = 0.5


class _Passing(Exception):
    """A failure that may be gone at the next try."""


@dataclass(frozen=True, slots=True)
class _Job:
    url: str
    target: Path
    sha256: str
    patience: Patience
    progress: bool

    @property
    def part(self) -> Path:
        return self.target.with_name(self.target.name + ".part")

    def failure(self, reason: str) -> DownloadError:
        return DownloadError(
            f"cannot download {self.target.name}: {reason}",
            hint=f"try again later, or get {self.url} by hand and put it at {self.target}",
        )


def download(
    url: str,
    target: Path,
    *,
    sha256: str,
    progress: bool = True,
    patience: Patience = Patience(),
) -> None:
    """Puts the file of a URL at ``target``, unless it is there.

    What has arrived stays in ``target`` + ``.part`` for the next try. Two processes may ask for
    the same target at once: one fetches, the other waits for it.

    Args:
        url: https, or http on this machine itself.
        target: The final name; its folder exists.
        sha256: All 64 hexadecimal digits or the first few of them.
        progress: Whether a bar on stderr shows the way.
        patience: When to give up.

    Raises:
        DownloadError: The file could not be had; says why, and how to get it by hand.
    """
    job = _Job(url, target, sha256, patience, progress)
    if not sha256:
        raise ValueError("sha256 is empty, expected at least the first digits")
    if not _acceptable(url):
        raise job.failure("only https addresses are fetched")
    try:
        with locked(target):
            if target.exists():  # another process was faster
                return
            _fetch(job)
    except OSError as error:
        raise job.failure(f"{error.filename or target}: {error.strerror or error}") from error


def sha256_of(path: Path) -> str:
    """The SHA-256 of a file as 64 hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def settle(part: Path, target: Path) -> None:
    """Gives a finished file its final name so that neither a crash nor a reader sees half of it."""
    with part.open("rb+") as file:
        os.fsync(file.fileno())
    part.replace(target)
    if sys.platform != "win32":
        folder = os.open(target.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


@contextmanager
def locked(target: Path) -> Iterator[None]:
    """Holds the one lock there is for a file, across processes; says so if it must wait."""
    with target.with_name(f".{target.name}.lock").open("ab") as file:
        if not _try_lock(file):
            tqdm.write(f"waiting for another process that fetches {target.name}", file=sys.stderr)
            while not _try_lock(file):
                time.sleep(0.1)
        yield  # closing the file gives the lock back, and so does the death of the process


def _try_lock(file: IO[bytes]) -> bool:
    try:
        if sys.platform == "win32":
            msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
        else:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except (BlockingIOError, PermissionError):
        return False
    return True


def _fetch(job: _Job) -> None:
    inherited = job.part.exists()
    # a part can be complete: the process may have died right before the last step
    if not (inherited and sha256_of(job.part).startswith(job.sha256)):
        _transfer(job)
    if inherited and not sha256_of(job.part).startswith(job.sha256):
        # the part may have been of another version of the file: one try from scratch
        job.part.unlink()
        _transfer(job)
    found = sha256_of(job.part)
    if not found.startswith(job.sha256):
        job.part.unlink()
        raise job.failure(f"what came has SHA-256 {found}, expected {job.sha256}")
    settle(job.part, job.target)


def _transfer(job: _Job) -> None:
    """Tries until the whole body lies in the part file."""
    failures = 0
    version = ""
    most = _size(job.part)
    with tqdm(
        desc=job.target.name,
        initial=most,
        unit="B",
        unit_scale=True,
        file=sys.stderr,
        disable=None if job.progress else True,
    ) as bar:
        while True:
            try:
                attempt = _Attempt(job, version, bar)
                with attempt.opened() as response:
                    version = attempt.version(response)
                    attempt.receive(response)
                return
            except _Passing as error:
                # more than ever before, or a server that cuts and restarts would keep us for ever
                failures = 1 if _size(job.part) > most else failures + 1
                most = max(most, _size(job.part))
                if failures > job.patience.retries:
                    raise job.failure(str(error)) from error
                time.sleep(job.patience.pause * 2 ** (failures - 1))


@dataclass(frozen=True, slots=True)
class _Attempt:
    """One request, for what is still missing."""

    job: _Job
    known_version: str
    bar: tqdm[None]

    def opened(self) -> http.client.HTTPResponse:
        have = _size(self.job.part)
        headers = {"User-Agent": f"hrpose/{__version__}", "Accept-Encoding": "identity"}
        if have:
            headers["Range"] = f"bytes={have}-"
            if self.known_version:
                headers["If-Range"] = self.known_version
        request = urllib.request.Request(self.job.url, headers=headers)
        opener = urllib.request.build_opener(_SafeRedirects)
        try:
            return opener.open(request, timeout=self.job.patience.timeout)  # type: ignore[no-any-return]
        except urllib.error.HTTPError as error:
            raise self._refused(error) from error
        except urllib.error.URLError as error:
            raise self._unreachable(error.reason) from error
        except (http.client.HTTPException, OSError) as error:
            raise _Passing(str(error) or type(error).__name__) from error

    def _refused(self, error: urllib.error.HTTPError) -> Exception:
        error.close()
        if error.code == 416:  # nothing lies behind what we have: too much of it, or another file
            self.job.part.unlink(missing_ok=True)
            return _Passing("the server does not have the rest of the file")
        text = f"the server says {error.code} {error.reason}"
        return _Passing(text) if error.code in PASSING else self.job.failure(text)

    def _unreachable(self, reason: str | BaseException) -> Exception:
        # a wrong certificate or an unknown name will not be right in a few seconds
        if isinstance(reason, ssl.SSLCertVerificationError | socket.gaierror):
            host = urllib.parse.urlsplit(self.job.url).hostname
            return self.job.failure(f"{host} cannot be reached: {reason}")
        return _Passing(str(reason))

    @staticmethod
    def version(response: http.client.HTTPResponse) -> str:
        """A validator for ``If-Range``; a weak ETag is none (RFC 9110, 13.1.5)."""
        tag = response.headers.get("ETag", "")
        strong = "" if tag.startswith("W/") else tag
        return strong or response.headers.get("Last-Modified", "")

    def receive(self, response: http.client.HTTPResponse) -> None:
        """Appends the body to the part file, or starts that anew if the server did."""
        job = self.job
        if "html" in response.headers.get("Content-Type", ""):
            raise job.failure("a web page came instead; does this network need a login?")
        have = _size(job.part)
        start, total = self._span(response)
        if start == 0 and have:  # all of it again: it changed, or the server knows no ranges
            self.bar.reset()
        elif start != have:
            job.part.unlink()
            raise _Passing(f"asked for bytes from {have}, the server sent those from {start}")
        if total > MAX_BYTES:
            raise job.failure(f"{total} bytes are more than any model has")
        self.bar.total = total or None
        with job.part.open("ab" if start else "wb") as file:
            for chunk in self._chunks(response):
                file.write(chunk)
                self.bar.update(len(chunk))
                if file.tell() > (total or MAX_BYTES):
                    job.part.unlink()
                    raise job.failure("more bytes came than promised")
        if total and _size(job.part) != total:
            raise _Passing(f"the connection broke after {_size(job.part)} of {total} bytes")

    @staticmethod
    def _span(response: http.client.HTTPResponse) -> tuple[int, int]:
        """First byte, -1 if it is not told, and size of the whole file, 0 if that is not told."""
        if response.status == 206:
            told = response.headers.get("Content-Range", "")
            match = re.fullmatch(r"bytes (\d+)-\d+/(\d+|\*)", told.strip())
            if match is None:
                return -1, 0
            return int(match[1]), 0 if match[2] == "*" else int(match[2])
        length = response.headers.get("Content-Length", "")
        return 0, int(length) if length.isdecimal() else 0

    @staticmethod
    def _chunks(response: http.client.HTTPResponse) -> Iterator[bytes]:
        while True:
            try:
                chunk = response.read1(CHUNK)  # unlike read(), loses nothing when it times out
            except (http.client.HTTPException, OSError) as error:
                raise _Passing(str(error) or type(error).__name__) from error
            if not chunk:
                return
            yield chunk


class _SafeRedirects(urllib.request.HTTPRedirectHandler):
    """Follows a redirect only to an address that would have been accepted at first."""

    def redirect_request(self, req, fp, code, msg, headers, newurl):  # type: ignore[no-untyped-def]
        if not _acceptable(newurl):
            raise urllib.error.HTTPError(newurl, code, "redirect to an unsafe address", headers, fp)
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def _acceptable(url: str) -> bool:
    parts = urllib.parse.urlsplit(url)
    return parts.scheme == "https" or (parts.scheme == "http" and _loopback(parts.hostname or ""))


def _loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0
