"""The preview: keys, pace, and that it never waits for its window nor opens one in vain."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import cv2
import numpy as np
import pytest

from hrpose.errors import UsageError
from hrpose.media import preview as module
from hrpose.media.preview import Preview, open_window

REPO = Path(__file__).resolve().parents[2]
PICTURE = np.random.default_rng(0).integers(0, 256, (120, 200, 3), dtype=np.uint8)


class Desk:
    """Stands in for the window and for the clock, which only it moves."""

    def __init__(self, *, events: Sequence[str] = (), clock: float = 100.0) -> None:
        self.now, self.events = clock, list(events)
        self.times: list[float] = []
        self.captions: list[str] = []
        self.closed = 0

    def clock(self) -> float:
        return self.now

    def offer(self, picture: np.ndarray, caption: str) -> None:
        self.times.append(self.now)
        self.captions.append(caption)

    def event(self, seconds: float) -> str:
        event = self.events.pop(0) if self.events else ""
        self.now += 0 if event else seconds
        return event

    def close(self) -> None:
        self.closed += 1


def preview(desk: Desk, **settings: object) -> Preview:
    return Preview(window=desk, clock=desk.clock, **settings)  # type: ignore[arg-type]


def test_pictures_go_to_the_window_which_is_closed_in_the_end() -> None:
    desk = Desk()
    with preview(desk) as window:
        assert all(window.show(PICTURE, number / 25) for number in range(50))
    assert len(desk.times) == 50
    assert desk.now == 100  # it never waits
    assert desk.closed == 1
    assert not window.show(PICTURE)


@pytest.mark.parametrize(("step", "rate"), [(0.04, "25.0"), (0.5, "2.0"), (2.0, "0.5")])
def test_the_rate_is_that_of_the_last_second(step: float, rate: str) -> None:
    desk = Desk()
    window = preview(desk)
    for pause in [0.2] * 10 + [step] * 40:
        window.show(PICTURE)
        desk.now += pause
    assert desk.captions[0] == ""
    assert desk.captions[-1] == f"{rate} fps"


def test_ending_keeps_ended() -> None:
    desk = Desk(events=["", "", "q"])
    window = preview(desk)
    assert [window.show(PICTURE) for _ in range(5)] == [True, True, False, False, False]
    assert len(desk.times) == 2


def test_space_pauses_until_space() -> None:
    desk = Desk(events=[" ", "", "", "", " "])
    window = preview(desk)
    assert window.show(PICTURE)
    assert desk.events == []
    assert 0 < desk.now - 100 < 0.2
    assert len(desk.times) == 1


def test_a_pause_can_be_ended() -> None:
    assert not preview(Desk(events=[" ", "", "q"])).show(PICTURE)


def test_a_pause_ends_when_the_run_is_stopped() -> None:
    desk = Desk(events=[" "])
    window = preview(desk, stopped=lambda: desk.now > 103)
    assert not window.show(PICTURE)
    assert 103 <= desk.now < 103.1


@pytest.mark.parametrize("events", [["x"], [" ", "", "x"]], ids=["showing", "paused"])
def test_a_lost_display_does_not_end_a_run_that_writes(events: list[str]) -> None:
    assert preview(Desk(events=events)).show(PICTURE, 0.0)
    assert not preview(Desk(events=events), real_time=True).show(PICTURE, 0.0)


def test_real_time_is_never_faster_than_life() -> None:
    desk = Desk()
    window = preview(desk, real_time=True)
    for number in range(50):
        window.show(PICTURE, 7 + number / 25)
        desk.now += 0.001
    assert len(desk.times) == 50
    np.testing.assert_allclose(np.diff(desk.times), 1 / 25, atol=0.002)


def test_real_time_does_not_hurry_after_a_delay() -> None:
    desk = Desk()
    window = preview(desk, real_time=True)
    for number in range(20):
        desk.now += 3 if number == 10 else 0
        window.show(PICTURE, number / 25)
    steps = np.diff(desk.times)
    assert steps[9] > 2.9
    np.testing.assert_allclose(np.delete(steps, 9), 1 / 25, atol=0.002)


def test_real_time_goes_on_after_a_pause() -> None:
    desk = Desk()
    window = preview(desk, real_time=True)
    for number in range(20):
        if number == 10:
            desk.events = [" ", *[""] * 50, " "]
        window.show(PICTURE, number / 25)
    steps = np.diff(desk.times)
    assert steps[9] == pytest.approx(50 * 0.03, abs=0.1)
    np.testing.assert_allclose(np.delete(steps, 9), 1 / 25, atol=0.002)


@pytest.mark.parametrize(
    ("times", "longest"), [([0.0, 500.0, 500.04], 1.1), ([9.0, 9.04, 0.0, 0.04], 0.1)]
)
def test_jumps_of_timestamps_do_not_stall_it(times: list[float], longest: float) -> None:
    desk = Desk()
    window = preview(desk, real_time=True)
    for at in times:
        window.show(PICTURE, at)
    assert np.diff(desk.times).max() < longest


def test_keys_are_heeded_while_it_waits() -> None:
    desk = Desk(events=["", "", "", "", "q"])
    window = preview(desk, real_time=True)
    assert window.show(PICTURE, 0.0)
    assert not window.show(PICTURE, 0.9)
    assert desk.now < 100.3


# A window without a screen: says what it gets, in the names of files, and does as it is told.
CHILD = """
import os, sys, struct, time
say = lambda event: os.write(1, event)
say(b"o")
folder, delay, last = sys.argv[1], float(sys.argv[2]), sys.argv[3].encode()
for number in range(10 ** 6):
    head = sys.stdin.buffer.read(12)
    if len(head) < 12:
        open(os.path.join(folder, "end"), "w").close()
        break
    width, height, letters = struct.unpack("<III", head)
    body = sys.stdin.buffer.read(letters + 3 * width * height)
    with open(os.path.join(folder, f"{number}.{width}x{height}"), "wb") as file:
        file.write(body)
    time.sleep(delay)
    say(b"." if number < 2 else last)
"""
Opened = Callable[..., "module._WindowProcess"]


@pytest.fixture
def opened(tmp_path: Path) -> Iterator[Opened]:
    windows = []

    def open_one(
        code: str = CHILD, *, delay: float = 0.0, last: str = "."
    ) -> module._WindowProcess:
        command = [sys.executable, "-S", "-c", code, str(tmp_path), str(delay), last]
        windows.append(module._WindowProcess(command))
        return windows[-1]

    yield open_one
    for window in windows:
        window.close()


def until(ready: Callable[[], object]) -> None:
    end = time.monotonic() + 20
    while not ready():
        assert time.monotonic() < end
        time.sleep(0.005)


def test_the_window_gets_opencvs_order_and_the_caption(opened: Opened, tmp_path: Path) -> None:
    window = opened()
    assert window.failure() is None
    window.offer(PICTURE, "25.0 fps")
    window.close()
    window.close()
    assert (tmp_path / "end").exists()
    body = (tmp_path / "0.200x120").read_bytes()
    assert body == b"25.0 fps" + PICTURE[..., ::-1].tobytes()


def test_large_pictures_are_reduced_to_the_window() -> None:
    assert module._prepared(np.zeros((216, 3840, 3), np.uint8)).shape == (72, 1280, 3)
    assert module._prepared(np.zeros((5000, 2, 3), np.uint8)).shape == (720, 1, 3)


def test_a_slow_window_leaves_pictures_out(opened: Opened, tmp_path: Path) -> None:
    window = opened(delay=0.1)
    assert window.failure() is None
    start = time.monotonic()
    for _ in range(300):
        window.offer(PICTURE, "")
    assert time.monotonic() - start < 0.1 * 100  # 300 shown ones take 30 s
    window.close()
    assert len(list(tmp_path.glob("*.200x120"))) < 100


@pytest.mark.parametrize("event", ["q", " "])
def test_events_of_the_window(event: str, opened: Opened, tmp_path: Path) -> None:
    window = opened(last=event)
    assert window.failure() is None
    heard: list[str] = []

    def offered() -> list[str]:
        window.offer(PICTURE, "")
        heard.extend(filter(None, [window.event(0.01)]))
        return heard

    until(offered)
    assert heard == [event]
    assert window.event(0.0) == ""


def test_a_window_that_dies_is_lost(opened: Opened) -> None:
    window = opened("import os; os.write(1, b'o'); os.read(0, 1)")
    assert window.failure() is None
    for _ in range(5):
        window.offer(PICTURE, "")
    assert window.event(20) == "x"
    window.offer(PICTURE, "")


@pytest.mark.parametrize(
    ("code", "said"),
    [
        ("import sys; sys.exit('\\ncould not connect\\nand more')", "could not connect"),
        ("import os; os.abort()", "its process ended with -6"),
        ("import time; time.sleep(20)", "the display does not answer"),
    ],
    ids=["message", "abort", "hangs"],
)
def test_a_window_that_does_not_open(
    code: str, said: str, opened: Opened, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_CLOSING", 0.1)
    monkeypatch.setattr(module, "_OPENING", 0.3 if "sleep" in code else 20.0)
    window = opened(code)
    assert window.failure() == said
    window.close()


def test_no_display_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setattr(module, "_has_windows", lambda build: True)
    monkeypatch.setattr(module, "_WindowProcess", lambda *_: pytest.fail("opened in vain"))
    for name in ("DISPLAY", "WAYLAND_DISPLAY"):
        monkeypatch.delenv(name, raising=False)
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
        open_window()
    assert "opencv-python-headless" in caught.value.hint


with_windows = pytest.mark.skipif(
    not (sys.platform.startswith("linux") and module._has_windows(cv2.getBuildInformation())),
    reason="needs Linux and an OpenCV with windows",
)


@with_windows
def test_a_display_that_is_not_there_is_an_error_and_no_abort(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("DISPLAY", ":97")
    with pytest.raises(UsageError, match=r"no window can be opened: .*display"):
        Preview()


@with_windows
@pytest.mark.slow
@pytest.mark.skipif(shutil.which("xvfb-run") is None, reason="no virtual display: xvfb-run")
def test_a_real_window() -> None:
    code = """
import av  # with which Qt hangs in one process
import time
import numpy as np
from hrpose.media.preview import Preview
with Preview() as preview:
    window, answers = preview._window, []
    release = window._free.release
    window._free.release = lambda: (answers.append(1), release())
    for number in range(1000):
        assert preview.show(np.full((90, 160, 3), number % 256, np.uint8), number / 25), number
        if len(answers) > 3:
            break
        time.sleep(0.02)
print("shown", len(answers) > 3, window._child.poll())
"""
    done = subprocess.run(
        ["xvfb-run", "-a", sys.executable, "-c", code], cwd=REPO, capture_output=True, text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"}, timeout=120,
    )  # fmt: skip
    assert done.stdout == "shown True 0\n", done.stderr
