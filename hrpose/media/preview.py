"""``--show``: the drawn pictures in a window while they come.

The window lives in a process of its own, :mod:`hrpose.media.window`. It never holds up whoever
gives the pictures: where it is slower, pictures are left out.
"""

from __future__ import annotations

import os
import queue
import subprocess
import sys
import tempfile
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO, Protocol

import cv2
import numpy as np
from numpy.typing import NDArray

from hrpose.errors import UsageError
from hrpose.media.closing import Closing
from hrpose.media.window import HEADER

Picture = NDArray[np.uint8]

_WIDEST = (1280, 720)  # px; pictures are reduced to it before they go to the window
_SLICE = 0.03  # s; a run that is stopped is noticed so soon while it waits
_LONGEST = 1.0  # s; timestamps farther apart are no reason to wait longer
_SECOND = 1.0  # s; over which the rate is measured
_OPENING = 30.0  # s; a display that takes longer does not answer
_CLOSING = 2.0  # s
_INSTEAD = "or drop --show and watch the drawn video afterwards"


class Window(Protocol):
    """What shows pictures and hears keys."""

    def offer(self, picture: Picture, caption: str) -> None:
        """Shows an (H, W, 3) RGB picture, or leaves it out when busy; returns at once."""

    def event(self, seconds: float) -> str:
        """The next of space, ``q`` and ``x`` (lost), waiting so long for it; empty if none came."""

    def close(self) -> None:
        """Ends it; may be called twice."""


class Preview(Closing):
    """Shows pictures; ``q``, Esc and closing the window end it, space pauses.

    Args:
        real_time: Whether pictures wait until it is their time; for runs that write nothing.
            They are never shown faster than life then, and slower where they come slower.
        stopped: Asked while it waits or pauses; true ends that.
        window: Where to show; the default is a window of its own on the screen.
        clock: Seconds.

    Raises:
        UsageError: No window can be opened here.
    """

    def __init__(
        self,
        *,
        real_time: bool = False,
        stopped: Callable[[], bool] = lambda: False,
        window: Window | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._window = open_window() if window is None else window
        self._real_time, self._stopped, self._clock = real_time, stopped, clock
        self._ended = self._paused = False
        self._arrivals: deque[float] = deque()
        self._before: tuple[float, float] | None = None  # clock and timestamp of the last picture

    def close(self) -> None:
        """Closes the window."""
        self._ended = True
        self._window.close()

    def show(self, picture: Picture, time: float | None = None) -> bool:
        """Shows a picture, or leaves it out; waits only in a pause, and for real time.

        Args:
            picture: (H, W, 3) uint8 RGB; must not be changed afterwards.
            time: Its timestamp in seconds, or None.

        Returns:
            False from when the user has ended it.
        """
        if self._ended:
            return False
        self._count()
        if self._real_time and time is not None:
            self._await(time)
        self._heed(0.0)
        if self._paused:
            self._rest()
        if not self._ended:
            rate = self._rate()
            self._window.offer(picture, "" if rate is None else f"{rate:.1f} fps")
        return not self._ended

    def _count(self) -> None:
        now = self._clock()
        self._arrivals.append(now)
        while len(self._arrivals) > 2 and self._arrivals[0] < now - _SECOND:
            self._arrivals.popleft()

    def _rate(self) -> float | None:
        """Pictures per second that were given lately, shown or not."""
        span = self._arrivals[-1] - self._arrivals[0]
        return (len(self._arrivals) - 1) / span if span > 0 else None

    def _await(self, time: float) -> None:
        now = due = self._clock()
        if self._before is not None:
            after = time - self._before[1]
            due = max(now, self._before[0] + min(max(after, 0.0), _LONGEST))
        self._before = due, time
        while not self._ended and not self._paused and (left := due - self._clock()) > 0:
            self._heed(min(left, _SLICE))

    def _rest(self) -> None:
        while self._paused and not self._ended:
            self._heed(_SLICE)
        now = self._clock()
        self._arrivals = deque([now])
        if self._before is not None:
            self._before = now, self._before[1]

    def _heed(self, seconds: float) -> None:
        """Does what the user asks for, waiting so long for it."""
        event = self._window.event(seconds)
        while event:
            self._paused ^= event == " "
            if event == "x":  # a lost display ends nothing but a run that only shows
                self._paused = False
            self._ended |= event == "q" or (event == "x" and self._real_time)
            event = self._window.event(0.0)
        self._ended |= self._stopped()


class _WindowProcess:
    """A window in a process of its own, which a thread feeds and another one listens to."""

    def __init__(self, command: Sequence[str]) -> None:
        # a file, for a pipe that nobody reads may fill up
        self._complaints = tempfile.TemporaryFile()  # noqa: SIM115 - closed in close()
        self._child = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._complaints,
            start_new_session=True,  # Ctrl-C is for the run, which then closes the window
        )
        self._events: queue.SimpleQueue[str] = queue.SimpleQueue()
        self._mailbox: queue.SimpleQueue[tuple[Picture, str] | None] = queue.SimpleQueue()
        self._free = threading.Semaphore(1)
        self._opened = threading.Event()
        self._gone = False
        self._threads = [
            threading.Thread(target=work, name="hrpose-preview", daemon=True)
            for work in (self._listen, self._feed)
        ]
        for thread in self._threads:
            thread.start()

    def failure(self) -> str | None:
        """Waits until the window is open; returns what went wrong instead, if anything."""
        if not self._opened.wait(_OPENING):
            return "the display does not answer"
        if not self._gone:
            return None
        self._complaints.seek(0)
        lines = self._complaints.read().decode(errors="replace").split("\n")
        said = [line.strip() for line in lines if line.strip()]
        return said[0] if said else f"its process ended with {self._child.wait()}"

    def offer(self, picture: Picture, caption: str) -> None:
        if self._free.acquire(blocking=False):
            self._mailbox.put((picture, caption))

    def event(self, seconds: float) -> str:
        try:
            return self._events.get(timeout=seconds) if seconds else self._events.get_nowait()
        except queue.Empty:
            return ""

    def close(self) -> None:
        self._mailbox.put(None)
        try:
            self._child.wait(_CLOSING)
        except subprocess.TimeoutExpired:
            self._child.kill()
            self._child.wait()
        for thread in self._threads:
            thread.join(_CLOSING)
        self._complaints.close()

    def _listen(self) -> None:
        events = _pipe(self._child.stdout)
        while event := events.read(1).decode("ascii", "replace"):
            if event == ".":
                self._free.release()
            elif event == "o":
                self._opened.set()
            else:
                self._events.put(event)
        events.close()
        self._gone = True
        self._events.put("x")
        self._opened.set()

    def _feed(self) -> None:
        # where the window is gone, the listener says so
        with suppress(OSError), _pipe(self._child.stdin) as pictures:
            while (message := self._mailbox.get()) is not None:
                picture, caption = _prepared(message[0]), message[1].encode("ascii")
                height, width = picture.shape[:2]
                pictures.write(HEADER.pack(width, height, len(caption)) + caption)
                pictures.write(picture.data)
                pictures.flush()


def _pipe(pipe: IO[bytes] | None) -> IO[bytes]:
    assert pipe is not None
    return pipe


def _prepared(picture: Picture) -> Picture:
    """In OpenCV's order of colours, and not larger than the window."""
    height, width = picture.shape[:2]
    share = min(1.0, _WIDEST[0] / width, _WIDEST[1] / height)
    if share < 1:
        size = max(1, round(width * share)), max(1, round(height * share))
        picture = np.asarray(cv2.resize(picture, size, interpolation=cv2.INTER_AREA), np.uint8)
    return np.asarray(cv2.cvtColor(picture, cv2.COLOR_RGB2BGR), np.uint8)


def open_window() -> Window:
    """Opens a window on the screen.

    Raises:
        UsageError: OpenCV was built without windows, or there is no display.
    """
    if not _has_windows(cv2.getBuildInformation()):
        raise UsageError(
            "this OpenCV has no windows",
            hint="pip uninstall opencv-python-headless, then pip install --force-reinstall"
            f" opencv-python; {_INSTEAD}",
        )
    served = sys.platform in ("win32", "darwin")
    if not served and not (os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")):
        raise UsageError(
            "no display: neither DISPLAY nor WAYLAND_DISPLAY is set",
            hint=f"run it on a desktop, or with ssh -X; {_INSTEAD}",
        )
    # -P: the folder one stands in, or this one, might have a file named as a module
    program = Path(__file__).with_name("window.py")
    window = _WindowProcess([sys.executable, "-P", os.fspath(program)])
    failure = window.failure()
    if failure is not None:
        window.close()
        raise UsageError(f"no window can be opened: {failure}", hint=f"check DISPLAY; {_INSTEAD}")
    return window


def _has_windows(build: str) -> bool:
    """Whether a build of OpenCV, by what it says of itself, has a backend for windows."""
    lines = [line.partition(":")[2].strip() for line in build.splitlines() if "GUI:" in line]
    return not lines or lines[0] not in ("", "NONE")
