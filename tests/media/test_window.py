"""The process of the window: its messages, its keys, and what it paints."""

from __future__ import annotations

import io
import itertools
import queue
from collections.abc import Sequence

import numpy as np
import pytest

from hrpose.media import window
from hrpose.media.window import HEADER, captioned, inbox, read

PICTURE = np.random.default_rng(0).integers(0, 256, (120, 200, 3), dtype=np.uint8)


def message(picture: np.ndarray = PICTURE, caption: str = "") -> bytes:
    height, width = picture.shape[:2]
    head = HEADER.pack(width, height, len(caption))
    return head + caption.encode() + picture.tobytes()


def test_messages() -> None:
    small = PICTURE[:3, :5]
    whole = message(PICTURE, "12.5 fps") + message(small)
    stream = io.BytesIO(whole)
    first, second = read(stream), read(stream)
    assert first is not None
    assert second is not None
    assert np.array_equal(first[0], PICTURE)
    assert first[1] == "12.5 fps"
    assert np.array_equal(second[0], small)
    assert read(stream) is None
    assert read(io.BytesIO(whole[:5])) is None
    assert read(io.BytesIO(whole[:500])) is None
    came = inbox(io.BytesIO(whole))
    assert [came.get(timeout=9) is None for _ in range(3)] == [False, False, True]


def test_the_caption_stands_in_the_lower_left_corner() -> None:
    before = PICTURE.copy()
    changed = (captioned(PICTURE, "12.5 fps") != PICTURE).any(axis=2)
    assert changed[-12:, :40].mean() > 0.9
    assert not changed[:80].any()
    assert np.array_equal(captioned(PICTURE, ""), PICTURE)
    assert np.array_equal(PICTURE, before)


@pytest.mark.parametrize("size", [(1, 1), (3, 400), (400, 3)], ids=str)
def test_tiny_pictures(size: tuple[int, int]) -> None:
    assert captioned(np.zeros((*size, 3), np.uint8), "0.1 fps").shape == (*size, 3)


class Screen:
    """Stands in for OpenCV's windows."""

    def __init__(self, keys: Sequence[str], *, closed_after: int = 10**6) -> None:
        self.keys, self.left = itertools.chain(keys, itertools.repeat("")), closed_after
        self.shown: list[np.ndarray] = []
        self.said = ""

    def key(self, delay: int) -> int:
        assert delay > 0, "0 waits for ever"
        self.left -= 1
        key = next(self.keys)
        return ord(key) if key else -1

    def size(self, title: str, width: int, height: int) -> None:
        self.last_size = width, height

    def say(self, event: str) -> None:
        self.said += event


def run(
    screen: Screen, pictures: int, monkeypatch: pytest.MonkeyPatch, *, ended: bool = True
) -> None:
    monkeypatch.setattr(window, "_say", screen.say)
    for name, stand_in in {
        "namedWindow": lambda title, flags: None,
        "resizeWindow": screen.size,
        "imshow": lambda title, picture: screen.shown.append(picture),
        "waitKey": screen.key,
        "getWindowProperty": lambda title, name: float(screen.left > 0),
    }.items():
        monkeypatch.setattr(window.cv2, name, stand_in)
    messages: window.Inbox = queue.SimpleQueue()
    for _ in range(pictures):
        messages.put((PICTURE, ""))
    if ended:
        messages.put(None)
    window.run(messages)


def test_it_shows_and_answers_every_picture(monkeypatch: pytest.MonkeyPatch) -> None:
    screen = Screen([])
    run(screen, 3, monkeypatch)
    assert screen.said == "o..."
    assert len(screen.shown) == 3
    assert np.array_equal(screen.shown[0], PICTURE)
    assert screen.last_size == (200, 120)


@pytest.mark.parametrize("key", ["q", "Q", "\x1b"])
def test_keys_end_it(key: str, monkeypatch: pytest.MonkeyPatch) -> None:
    screen = Screen(["", "", "x", key])
    run(screen, 9, monkeypatch, ended=False)
    assert screen.said == "o...q"


def test_closing_it_ends_it(monkeypatch: pytest.MonkeyPatch) -> None:
    screen = Screen([], closed_after=4)
    run(screen, 2, monkeypatch, ended=False)
    assert screen.said == "o..q"


def test_space_pauses_and_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    screen = Screen(["", "", " ", "", " "])
    run(screen, 6, monkeypatch)
    assert screen.said == "o.. .. .."
    assert len(screen.shown) == 6 - 2 + 1  # two came in the pause; one more says that it is one
    assert np.array_equal(screen.shown[2], captioned(PICTURE, "paused"))


def test_a_pause_needs_a_picture(monkeypatch: pytest.MonkeyPatch) -> None:
    screen = Screen(["", " ", " ", "q"])
    run(screen, 0, monkeypatch, ended=False)
    assert screen.said == "oq"
