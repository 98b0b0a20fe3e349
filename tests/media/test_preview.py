"""The preview: what it shows, keys, pace, and that it never opens where it cannot."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import pytest

from hrpose.errors import UsageError
from hrpose.media import preview as module
from hrpose.media.preview import Preview, require_display

REPO = Path(__file__).resolve().parents[2]
PICTURE = np.random.default_rng(0).integers(0, 256, (120, 200, 3), dtype=np.uint8)


class Desk:
    """Stands in for OpenCV's windows and for the clock, which only they move."""

    def __init__(self, *, cost: float = 0.0, keys: Sequence[str] = ()) -> None:
        self.now, self.cost, self.keys = 100.0, cost, list(keys)
        self.shown: list[np.ndarray] = []
        self.times: list[float] = []
        self.open = self.closed_by_user = False
        self.size = (0, 0)

    def clock(self) -> float:
        return self.now

    def namedWindow(self, title: str, flags: int) -> None:
        assert not self.open
        self.open = True

    def resizeWindow(self, title: str, width: int, height: int) -> None:
        self.size = width, height

    def imshow(self, title: str, picture: np.ndarray) -> None:
        assert self.open
        self.shown.append(picture)
        self.times.append(self.now)
        self.now += self.cost

    def waitKey(self, delay: int) -> int:
        assert delay > 0, "0 waits for ever"
        key = self.keys.pop(0) if self.keys else ""
        self.now += delay / 1000 if not key else 0
        return ord(key) if key else -1

    def getWindowProperty(self, title: str, name: int) -> float:
        if not self.open:
            raise cv2.error("no such window")
        return 0.0 if self.closed_by_user else 1.0

    def destroyWindow(self, title: str) -> None:
        assert self.open
        self.open = False


def preview(desk: Desk, **settings: object) -> Preview:
    return Preview(gui=desk, clock=desk.clock, **settings)  # type: ignore[arg-type]


def test_it_shows_the_picture_in_opencvs_order_and_its_rate() -> None:
    desk = Desk()
    before = PICTURE.copy()
    with preview(desk) as window:
        for _ in range(30):
            assert window.show(PICTURE, 0.0)
            desk.now += 0.1
    assert np.array_equal(PICTURE, before)
    first, last = desk.shown[0], desk.shown[-1]
    assert np.array_equal(first, PICTURE[..., ::-1])  # no rate yet
    changed = (last != PICTURE[..., ::-1]).any(axis=2)
    assert changed[-12:, :40].mean() > 0.9
    assert not changed[:80].any()
    assert not desk.open


@pytest.mark.parametrize(("step", "rate"), [(0.04, "25.0"), (0.5, "2.0"), (2.0, "0.5")])
def test_the_rate_is_that_of_the_last_second(
    step: float, rate: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    written: list[str] = []
    monkeypatch.setattr(module, "_write", lambda picture, text: written.append(text))
    desk = Desk()
    window = preview(desk)
    for pause in [0.2] * 10 + [step] * 40:
        window.show(PICTURE)
        desk.now += pause - 0.001  # what looking at keys takes
    assert written[-1] == f"{rate} fps"


@pytest.mark.parametrize("key", ["q", "Q", "\x1b"])
def test_keys_end_it(key: str) -> None:
    desk = Desk(keys=["", "x", key])
    window = preview(desk)
    answers = []
    for _ in range(5):
        answers.append(window.show(PICTURE))
        desk.now += 1
    assert answers == [True, True, False, False, False]
    assert len(desk.shown) == 3
    window.close()
    assert not desk.open
    assert not window.show(PICTURE)


def test_closing_the_window_ends_it() -> None:
    desk = Desk()
    window = preview(desk)
    assert window.show(PICTURE)
    desk.closed_by_user = True
    desk.now += 1
    assert not window.show(PICTURE)
    window.close()


def test_space_pauses_until_space() -> None:
    desk = Desk(keys=[" ", "", "", "", " "])
    window = preview(desk)
    assert window.show(PICTURE)
    assert desk.keys == []
    assert len(desk.shown) == 2  # once more, saying that it is paused


@pytest.mark.parametrize("keys", [[" ", "", "q"], [" ", "", "\x1b"]])
def test_a_pause_can_be_ended(keys: list[str]) -> None:
    assert not preview(Desk(keys=keys)).show(PICTURE)


def test_a_pause_ends_when_the_run_is_stopped() -> None:
    desk = Desk(keys=[" "])
    window = preview(desk, stopped=lambda: desk.now > 103)
    assert not window.show(PICTURE)
    assert 103 <= desk.now < 103.1


def test_a_slow_window_takes_a_third_of_the_time_and_pictures_are_left_out() -> None:
    desk = Desk(cost=0.05)
    window = preview(desk)
    for _ in range(400):  # a chain that needs 10 ms for a picture
        window.show(PICTURE)
        desk.now += 0.01
    share = 0.05 * len(desk.shown) / (desk.now - 100)
    assert 0.2 < share < 0.32
    assert len(desk.shown) < 100


def test_it_never_waits_unless_asked() -> None:
    desk = Desk()
    window = preview(desk)
    for number in range(50):
        window.show(PICTURE, number / 25)
    assert desk.now < 100.1


def test_real_time_is_never_faster_than_life() -> None:
    desk = Desk()
    window = preview(desk, real_time=True)
    for number in range(50):
        window.show(PICTURE, 7 + number / 25)
        desk.now += 0.001
    assert len(desk.shown) == 50
    np.testing.assert_allclose(np.diff(desk.times), 1 / 25, atol=0.002)


def test_real_time_does_not_hurry_after_a_delay() -> None:
    desk = Desk()
    window = preview(desk, real_time=True)
    for number in range(20):
        if number == 10:
            desk.now += 3
        window.show(PICTURE, number / 25)
    steps = np.diff(desk.times)
    assert steps[9] > 2.9
    np.testing.assert_allclose(np.delete(steps, 9), 1 / 25, atol=0.002)


@pytest.mark.parametrize(
    ("times", "longest"), [([0.0, 500.0, 500.04], 1.1), ([9.0, 9.04, 0.0, 0.04], 0.1)]
)
def test_jumps_of_timestamps_do_not_stall_it(times: list[float], longest: float) -> None:
    desk = Desk()
    window = preview(desk, real_time=True)
    for time in times:
        window.show(PICTURE, time)
    assert np.diff(desk.times).max() < longest


def test_keys_are_heeded_while_it_waits() -> None:
    desk = Desk(keys=["", *[""] * 3, "q"])
    window = preview(desk, real_time=True)
    assert window.show(PICTURE, 0.0)
    assert not window.show(PICTURE, 0.9)
    assert desk.now < 100.3


@pytest.mark.parametrize("size", [(1, 1), (3, 400), (400, 3)], ids=str)
def test_tiny_pictures(size: tuple[int, int]) -> None:
    desk = Desk()
    window = preview(desk)
    for _ in range(2):
        assert window.show(np.zeros((*size, 3), np.uint8))
        desk.now += 1


def test_large_pictures_get_a_window_that_fits() -> None:
    desk = Desk()
    preview(desk).show(np.zeros((216, 3840, 3), np.uint8))
    assert desk.size == (1280, 72)


def test_no_display_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setattr(module, "_has_windows", lambda build: True)
    for name in ("DISPLAY", "WAYLAND_DISPLAY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(module, "_try_window", lambda: pytest.fail("needs no trial"))
    with pytest.raises(UsageError, match="no display") as caught:
        Preview()
    assert "--show" in caught.value.hint


@pytest.mark.parametrize(
    ("build", "windows"),
    [
        ("  GUI:                           QT5\n    QT:     YES", True),
        ("  GUI:                           NONE\n", False),
        ("  GUI: \n    GTK+:                        YES (ver 3)\n", False),
        ("", True),
    ],
    ids=["qt", "headless", "empty", "says nothing"],
)
def test_headless_builds_are_known(build: str, windows: bool) -> None:
    assert module._has_windows(build) == windows


def test_a_headless_build_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_has_windows", lambda build: False)
    with pytest.raises(UsageError, match="no windows") as caught:
        require_display()
    assert "opencv-python-headless" in caught.value.hint


@pytest.mark.parametrize(
    ("code", "said"),
    [
        ("pass", None),
        ("import sys; sys.exit('could not connect')", "could not connect"),
        ("import os; os.abort()", "the trial ended with -6"),
        ("import time; time.sleep(9)", "the display does not answer"),
    ],
    ids=["fine", "message", "abort", "hangs"],
)
def test_the_trial(code: str, said: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_TRIAL", code)
    monkeypatch.setattr(module, "_TRIAL_SECONDS", 9.0 if said is None or "9" not in code else 0.3)
    assert module._try_window() == said


@pytest.mark.slow
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="Qt aborts on Linux")
def test_a_display_that_is_not_there_is_an_error_and_no_abort() -> None:
    code = "from hrpose.media.preview import Preview; Preview()"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=REPO, capture_output=True, text=True,
        env={**os.environ, "DISPLAY": ":97"},
    )  # fmt: skip
    assert done.returncode == 1
    assert "UsageError: no window can be opened" in done.stderr


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("xvfb-run") is None, reason="no virtual display: xvfb-run")
def test_a_real_window() -> None:
    code = """
import numpy as np
from hrpose.media.preview import Preview
with Preview() as window:
    for number in range(20):
        assert window.show(np.full((90, 160, 3), number, np.uint8), number / 25), number
    assert window._visible()
print("shown")
"""
    done = subprocess.run(
        ["xvfb-run", "-a", sys.executable, "-c", code], cwd=REPO, capture_output=True, text=True
    )
    assert done.stdout == "shown\n", done.stderr
