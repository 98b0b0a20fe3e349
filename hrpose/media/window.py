"""The process that owns the window of :mod:`hrpose.media.preview`; run as a file, not imported.

A process of its own, with OpenCV and nothing else: PyAV brings a libxcb with which Qt hangs for
ever (PyAV issue 1050, opencv issue 29195), Qt aborts where it finds no display, and macOS wants
windows in the main thread. Pictures come on standard input; what happened goes to standard output,
a byte each: ``o`` open, ``.`` shown, space, ``q`` ended.
"""

from __future__ import annotations

import os
import queue
import struct
import sys
import threading
from typing import BinaryIO

import cv2
import numpy as np
from numpy.typing import NDArray

Picture = NDArray[np.uint8]
Message = tuple[Picture, str]
Inbox = queue.SimpleQueue[Message | None]

HEADER = struct.Struct("<III")  # width, height, bytes of the caption; then caption and BGR pixels
_TITLE = "hrpose"
_FIRST = (640, 360)  # px; of the window before there is a picture
_LETTERS = 1 / 28  # height of letters as a share of the picture's short side
_LETTER_PIXELS = 10.0  # and at least so many
_FONT, _FONT_HEIGHT = cv2.FONT_HERSHEY_SIMPLEX, 21.0  # px of a digit at scale 1
_ENDING, _PAUSING = {ord("q"), ord("Q"), 27}, ord(" ")
_TICK = 8  # ms; so often it looks for keys and pictures


def read(stream: BinaryIO) -> Message | None:
    """The next message of a stream; None at its end."""
    head = stream.read(HEADER.size)
    if len(head) < HEADER.size:
        return None
    width, height, letters = HEADER.unpack(head)
    body = stream.read(letters + 3 * width * height)
    if len(body) < letters + 3 * width * height:
        return None
    pixels = np.frombuffer(body, np.uint8, offset=letters).reshape(height, width, 3)
    return pixels, body[:letters].decode("ascii")


def inbox(stream: BinaryIO) -> Inbox:
    """Reads messages in a thread; None when there are no more."""
    messages: Inbox = queue.SimpleQueue()

    def work() -> None:
        while (message := read(stream)) is not None:
            messages.put(message)
        messages.put(None)

    threading.Thread(target=work, daemon=True).start()
    return messages


def captioned(picture: Picture, text: str) -> Picture:
    """A copy with white letters on a darkened lower left corner."""
    picture = picture.copy()
    if not text:
        return picture
    tall = max(_LETTER_PIXELS, _LETTERS * min(picture.shape[:2]))
    scale, pen, pad = tall / _FONT_HEIGHT, max(1, round(tall / 11)), round(0.6 * tall)
    (width, height), below = cv2.getTextSize(text, _FONT, scale, pen)
    top = max(picture.shape[0] - height - below - 2 * pad, 0)
    picture[top:, : width + 2 * pad] //= 3
    at = (pad, picture.shape[0] - below - pad)
    cv2.putText(picture, text, at, _FONT, scale, (255, 255, 255), pen, cv2.LINE_AA)
    return picture


def run(messages: Inbox) -> None:
    """Shows what comes, until its end or until somebody ends it."""
    cv2.namedWindow(_TITLE, cv2.WINDOW_NORMAL | cv2.WINDOW_KEEPRATIO | cv2.WINDOW_GUI_NORMAL)
    cv2.resizeWindow(_TITLE, *_FIRST)
    cv2.waitKey(1)
    _say("o")
    last, paused = None, False
    while True:
        if not messages.empty():
            message = messages.get()
            if message is None:
                return
            if last is None:
                cv2.resizeWindow(_TITLE, message[0].shape[1], message[0].shape[0])
            last = message[0]
            if not paused:
                cv2.imshow(_TITLE, captioned(*message))
            _say(".")  # the next one may be made while this one is painted
        key = cv2.waitKey(_TICK) & 0xFF
        if key in _ENDING or cv2.getWindowProperty(_TITLE, cv2.WND_PROP_VISIBLE) < 1:
            _say("q")
            return
        if key == _PAUSING and last is not None:
            paused = not paused
            _say(" ")
            if paused:
                cv2.imshow(_TITLE, captioned(last, "paused"))


def _say(event: str) -> None:
    os.write(1, event.encode("ascii"))


if __name__ == "__main__":
    run(inbox(sys.stdin.buffer))
