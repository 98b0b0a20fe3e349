"""A window with the drawn pictures while they come: ``--show``.

The window never holds up whoever gives the pictures: where it is slower, pictures are left out.
Without a display Qt would abort the whole process, so that is looked into first, in another one.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections import deque
from collections.abc import Callable
from types import TracebackType
from typing import Any, Self

import cv2
import numpy as np
from numpy.typing import NDArray

from hrpose.errors import UsageError

Picture = NDArray[np.uint8]

_TITLE = "hrpose"
_WIDEST = (1280, 720)  # px; the window begins at most so large
_SHARE = 0.3  # of the time that the window may take from the run
_SLICE = 0.03  # s; keys are looked at so often while waiting
_LONGEST = 1.0  # s; timestamps farther apart are no reason to wait longer
_SECOND = 1.0  # s; over which the rate is measured
_LETTERS = 1 / 32  # height of letters as a share of the picture's short side
_LETTER_PIXELS = 10.0  # and at least so many
_FONT, _FONT_HEIGHT = cv2.FONT_HERSHEY_SIMPLEX, 21.0  # px of a digit at scale 1
_ENDING, _PAUSING = {ord("q"), ord("Q"), 27}, {ord(" ")}
_TRIAL = "import cv2; cv2.namedWindow('hrpose'); cv2.waitKey(1); cv2.destroyAllWindows()"
_TRIAL_SECONDS = 30.0


class Preview:
    """Shows pictures; ``q``, Esc and closing the window end it, space pauses.

    All calls come from one thread; macOS wants the main one. Keys are seen whenever a picture
    comes.

    Args:
        real_time: Whether pictures wait until it is their time; for runs that write nothing.
            They are never shown faster than life then, and slower where they come slower.
        stopped: Asked while it waits or pauses; true ends that.
        gui: OpenCV, or what stands in for its windows.
        clock: Seconds.

    Raises:
        UsageError: No window can be opened here.
    """

    def __init__(
        self,
        *,
        real_time: bool = False,
        stopped: Callable[[], bool] = lambda: False,
        gui: Any = cv2,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        if gui is cv2:
            require_display()
        self._real_time, self._stopped, self._gui, self._clock = real_time, stopped, gui, clock
        self._opened = self._ended = False
        self._arrivals: deque[float] = deque()
        self._before: tuple[float, float] | None = None  # clock and timestamp of the last picture
        self._free = 0.0  # when the window may take time again

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Closes the window, if it is open."""
        if self._opened and self._visible():
            self._gui.destroyWindow(_TITLE)
            self._gui.waitKey(1)
        self._opened, self._ended = False, True

    def show(self, picture: Picture, time: float | None = None) -> bool:
        """Shows a picture, or leaves it out.

        Args:
            picture: (H, W, 3) uint8 RGB; not changed.
            time: Its timestamp in seconds, or None.

        Returns:
            False from when the user has ended it.
        """
        if self._ended:
            return False
        self._count()
        if self._real_time and time is not None:
            self._await(time)
        begin = self._clock()
        if begin < self._free or self._ended:
            return not self._ended
        rate = self._rate()
        self._paint(picture, "" if rate is None else f"{rate:.1f} fps")
        if self._press(0.001) in _PAUSING:
            self._pause(picture)
        end = self._clock()
        self._free = end + (end - begin) * (1 / _SHARE - 1)
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
        while self._opened and not self._ended and (left := due - self._clock()) > 0:
            if self._press(min(left, _SLICE)) in _PAUSING:
                self._pause(None)
                return

    def _pause(self, picture: Picture | None) -> None:
        if picture is not None:
            self._paint(picture, "paused")
        while not self._ended and self._press(_SLICE) not in _PAUSING:
            pass
        self._arrivals.clear()
        self._arrivals.append(self._clock())
        if self._before is not None:
            self._before = self._clock(), self._before[1]

    def _press(self, seconds: float) -> int:
        """Lets the window work; returns the key that came, and heeds those that end it."""
        key = int(self._gui.waitKey(max(1, round(1000 * seconds)))) & 0xFF
        self._ended |= key in _ENDING or self._stopped() or not self._visible()
        return key

    def _visible(self) -> bool:
        try:
            return bool(self._gui.getWindowProperty(_TITLE, cv2.WND_PROP_VISIBLE) >= 1)
        except cv2.error:  # some backends know a closed window no longer
            return False

    def _paint(self, picture: Picture, caption: str) -> None:
        height, width = picture.shape[:2]
        if not self._opened:
            flags = cv2.WINDOW_NORMAL | cv2.WINDOW_KEEPRATIO | cv2.WINDOW_GUI_NORMAL
            self._gui.namedWindow(_TITLE, flags)
            share = min(1.0, _WIDEST[0] / width, _WIDEST[1] / height)
            self._gui.resizeWindow(
                _TITLE, max(1, round(width * share)), max(1, round(height * share))
            )
            self._opened = True
        shown = cv2.cvtColor(picture, cv2.COLOR_RGB2BGR)
        if caption:
            _write(np.asarray(shown, dtype=np.uint8), caption)
        self._gui.imshow(_TITLE, shown)


def _write(picture: Picture, text: str) -> None:
    """White letters on a darkened lower left corner, in place."""
    tall = max(_LETTER_PIXELS, _LETTERS * min(picture.shape[:2]))
    scale, pen, pad = tall / _FONT_HEIGHT, max(1, round(tall / 11)), round(0.6 * tall)
    (width, height), below = cv2.getTextSize(text, _FONT, scale, pen)
    top = max(picture.shape[0] - height - below - 2 * pad, 0)
    corner = picture[top:, : width + 2 * pad]
    corner //= 3
    at = (pad, picture.shape[0] - below - pad)
    cv2.putText(picture, text, at, _FONT, scale, (255, 255, 255), pen, cv2.LINE_AA)


def require_display() -> None:
    """Makes sure that a window can be opened.

    Raises:
        UsageError: OpenCV was built without windows, or there is no display.
    """
    shown = "drop --show; the drawn video can be watched afterwards"
    if not _has_windows(cv2.getBuildInformation()):
        raise UsageError(
            "this OpenCV has no windows",
            hint="pip uninstall opencv-python-headless, then pip install --force-reinstall"
            f" opencv-python; or {shown}",
        )
    served = sys.platform in ("win32", "darwin")
    if not served and not (os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")):
        raise UsageError(
            "no display: neither DISPLAY nor WAYLAND_DISPLAY is set",
            hint=f"run it on a desktop, or with ssh -X; or {shown}",
        )
    failure = _try_window()
    if failure is not None:
        raise UsageError(f"no window can be opened: {failure}", hint=f"check DISPLAY; or {shown}")


def _has_windows(build: str) -> bool:
    """Whether a build of OpenCV, by what it says of itself, has a backend for windows."""
    lines = [line.partition(":")[2].strip() for line in build.splitlines() if "GUI:" in line]
    return not lines or lines[0] not in ("", "NONE")


def _try_window() -> str | None:
    """Opens a window in a process of its own; returns what went wrong, if anything did."""
    # -P: the folder one stands in might have a file named cv2.py
    command = [sys.executable, "-P", "-c", _TRIAL]
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, errors="replace", timeout=_TRIAL_SECONDS
        )
    except subprocess.TimeoutExpired:
        return "the display does not answer"
    if done.returncode == 0:
        return None
    lines = [line.strip() for line in done.stderr.splitlines() if line.strip()]
    return lines[0] if lines else f"the trial ended with {done.returncode}"
