"""A video to a drawn video and JSON: times, sound, turning, damage, interruption."""

from __future__ import annotations

import errno
import io
import json
import os
import re
import signal
import sys
import time
from collections.abc import Callable, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import jsonschema
import numpy as np
import pytest

import hrpose.clip
from hrpose.cli.main import run
from hrpose.clip import How
from hrpose.formats import schema
from hrpose.media.video import VideoReader, VideoWriter
from hrpose.options import Tracking
from hrpose.types import Frame, Size

Captured = pytest.CaptureFixture[str]
pytestmark = pytest.mark.usefixtures("here")

TIMES = [0.0, 0.04, 0.08, 0.2, 0.24, 0.5, 0.54, 0.58, 0.62, 0.66]  # uneven, as of a phone
SIZE = Size(64, 48)


@pytest.fixture
def clip(here: Path) -> Path:
    path = Path("clip.mov.mp4")
    picture = np.random.default_rng(0).integers(0, 256, (SIZE.height, SIZE.width, 3), np.uint8)
    with VideoWriter(path, size=SIZE, rate=Fraction(25)) as writer:
        for i, time in enumerate(TIMES):
            writer.write(np.roll(picture, i, axis=1), time)
    return path


def document(path: str) -> Any:
    content = json.loads(Path(path).read_bytes())
    jsonschema.validate(content, schema())
    return content


def made() -> list[str]:
    return sorted(path.name for path in Path().iterdir() if path.name != "clip.mov.mp4")


def frames(path: str | Path) -> list[Frame]:
    with VideoReader(path) as reader:
        found = list(reader)
        assert not reader.report.damaged
        return found


def sound(path: str | Path) -> list[tuple[float, bytes]]:
    with av.open(os.fspath(path)) as container:
        return [
            (float(packet.pts * packet.time_base), bytes(packet))
            for packet in container.demux(audio=0)
            if packet.size and packet.pts is not None and packet.time_base is not None
        ]


def signal_at_frame(index: int, number: int) -> Callable[[Sequence[Frame]], object]:
    def before(batch: Sequence[Frame]) -> None:
        if any(frame.index == index for frame in batch):
            os.kill(os.getpid(), number)
            time.sleep(0.05)  # the main thread handles it

    return before


def test_default_name_times_and_size(tiny_pipeline: Any, clip: Path, capsys: Captured) -> None:
    assert run(["video", str(clip)]) == 0
    out, err = capsys.readouterr()
    assert out == "clip.mov.mp4: 10 frames, 2.0 people in each -> clip.mov.pose.mp4\n"
    assert err.startswith("note: using ")
    assert re.search(r"\nnote: clip\.mov\.mp4: .* frames/s; each stage by itself: .*write", err)
    assert err.count("\n") == 2
    drawn = frames("clip.mov.pose.mp4")
    assert [frame.time for frame in drawn] == pytest.approx(TIMES, abs=1e-5)
    assert {frame.size for frame in drawn} == {SIZE}
    with av.open("clip.mov.pose.mp4") as container:
        stream = container.streams.video[0]
        assert (stream.codec_context.name, stream.codec_context.pix_fmt) == ("h264", "yuv420p")


def test_out_and_json(tiny_pipeline: Any, clip: Path, capsys: Captured) -> None:
    words = ["--out", "out.mp4", "--json", "people.json", "-q"]
    assert run(["video", str(clip), *words]) == 0
    out, err = capsys.readouterr()
    assert out == "clip.mov.mp4: 10 frames, 2.0 people in each -> out.mp4, people.json\n"
    assert err == ""
    pictures = document("people.json")["pictures"]
    assert [picture["frame"] for picture in pictures] == list(range(10))
    assert [picture["time"] for picture in pictures] == pytest.approx(TIMES, abs=1e-5)
    assert {picture["source"] for picture in pictures} == {"clip.mov.mp4"}
    assert all(len(picture["people"]) == 2 for picture in pictures)
    assert made() == ["out.mp4", "people.json"]


def test_json_alone(tiny_pipeline: Any, clip: Path) -> None:
    assert run(["video", str(clip), "--no-draw", "--json", "people.json"]) == 0
    assert made() == ["people.json"]
    assert len(document("people.json")["pictures"]) == 10


def test_coco_takes_the_frame_number(tiny_pipeline: Any, clip: Path) -> None:
    words = ["--no-draw", "--json", "people.json", "--format", "coco"]
    assert run(["video", str(clip), *words]) == 0
    rows = json.loads(Path("people.json").read_bytes())
    assert [row["image_id"] for row in rows] == [i for i in range(10) for _ in range(2)]


def test_boxes_by_frame_number(tiny_pipeline: Any, clip: Path) -> None:
    row = {"image_id": 3, "category_id": 1, "bbox": [5, 6, 10, 20], "score": 0.75}
    Path("boxes.json").write_text(json.dumps([row]))
    words = ["--no-draw", "--json", "people.json", "--boxes", "boxes.json"]
    assert run(["video", str(clip), *words]) == 0
    people = [picture["people"] for picture in document("people.json")["pictures"]]
    assert [len(found) for found in people] == [0, 0, 0, 1, 0, 0, 0, 0, 0, 0]
    assert people[3][0]["box"] == [5, 6, 15, 26]


def test_side_by_side_is_twice_as_wide(tiny_pipeline: Any, clip: Path) -> None:
    assert run(["video", str(clip), "--out", "out.mp4", "--side-by-side"]) == 0
    assert frames("out.mp4")[0].size == (2 * SIZE.width, SIZE.height)


def test_turned_video(tiny_pipeline: Any, shared: Path) -> None:
    path = shared / "data" / "media" / "video_odd" / "video_90.mov"
    assert run(["video", str(path), "--out", "out.mp4", "--json", "people.json"]) == 0
    assert {(p["width"], p["height"]) for p in document("people.json")["pictures"]} == {(320, 568)}
    before, after = frames(path), frames("out.mp4")
    assert [f.size for f in after] == [f.size for f in before]
    difference = after[0].image.float() - before[0].image.float()
    assert difference.abs().mean() < 20  # the drawing, not a turned picture


def test_sound_is_copied(tiny_pipeline: Any, shared: Path) -> None:
    path = shared / "data" / "media" / "video_odd" / "h264_aac.mp4"
    assert run(["video", str(path), "--out", "out.mp4", "--frame-batch", "8"]) == 0
    before, after = sound(path), sound("out.mp4")
    assert [data for _, data in after] == [data for _, data in before]
    assert [time for time, _ in after] == pytest.approx([time for time, _ in before], abs=1e-3)


@pytest.mark.parametrize("name", ["truncated_index_first.mp4", "truncated.webm"])
def test_damage(name: str, tiny_pipeline: Any, shared: Path, capsys: Captured) -> None:
    path = shared / "data" / "media" / "video_odd" / name
    assert run(["video", str(path), "--out", "out.mp4", "--json", "people.json", "-q"]) == 3
    out, err = capsys.readouterr()
    count = len(document("people.json")["pictures"])
    assert f"{name}: {count} frames" in out
    error, hint = err.splitlines()
    assert error.startswith(f"error: {path}: video is damaged: {count} of ")
    assert hint.startswith("hint: what could be read is in out.mp4 and people.json")
    assert len(frames("out.mp4")) == count


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["nowhere.mp4"], 3, "nowhere.mp4: no such file"),
        (["text.mp4"], 3, "text.mp4: not a video file"),
        (["empty"], 3, "empty: neither videos nor pictures"),
        (["{clip}", "--no-draw"], 2, "--no-draw without --json"),
        (["{clip}", "--no-draw", "--json", "a.json", "--out", "b.mp4"], 2, "exclude each other"),
        (["{clip}", "--out", "out.avi"], 2, "out.avi: "),
        (["{clip}", "--out", "a.mp4", "--json", "./a.mp4"], 2, "--out and --json are one file"),
        (["{clip}", "--out", "missing/out.mp4"], 5, "folder missing does not exist"),
        (["{clip}", "--out", "old.mp4"], 5, "old.mp4: already exists"),
        (["{clip}", "--json", "old.mp4"], 5, "old.mp4: already exists"),
        (["{clip}", "--out", "{clip}", "--force"], 5, "output is the input file"),
        (["{clip}", "--json", "{clip}", "--force"], 5, "output is the input file"),
        (["{clip}", "--max-pixels", "3000"], 3, "exceed the limit"),
    ],
)
def test_failures(
    words: list[str], code: int, said: str, tiny_pipeline: Any, clip: Path, capsys: Captured
) -> None:
    Path("text.mp4").write_text("this is no video")
    Path("old.mp4").write_text("precious")
    Path("empty").mkdir()
    before = clip.read_bytes()
    assert run(["video", *(word.format(clip=clip) for word in words)]) == code
    out, err = capsys.readouterr()
    assert (out, tiny_pipeline.options) == ("", None)
    error, hint = err.splitlines()
    assert error.startswith("error: ")
    assert said in error
    assert hint.startswith("hint: ")
    assert made() == ["empty", "old.mp4", "text.mp4"]
    assert (clip.read_bytes(), Path("old.mp4").read_text()) == (before, "precious")


def test_force(tiny_pipeline: Any, clip: Path) -> None:
    Path("out.mp4").write_text("old")
    assert run(["video", str(clip), "--out", "out.mp4", "--force"]) == 0
    assert len(frames("out.mp4")) == 10


@pytest.mark.parametrize("name", ["-dash and spaces.mp4", "видео_人物_👤.mp4", "http:x.mp4"])
def test_names(name: str, tiny_pipeline: Any, clip: Path, capsys: Captured) -> None:
    clip.rename(name)
    assert run(["video", "--json", "people.json", "--", name]) == 0
    drawn = name.replace(".mp4", ".pose.mp4")
    assert capsys.readouterr().out.startswith(f"{name}: 10 frames")
    assert len(frames(Path(drawn))) == 10
    assert document("people.json")["pictures"][0]["source"] == name


@pytest.mark.parametrize(
    ("number", "code", "said"),
    [(signal.SIGINT, 130, "interrupted"), (signal.SIGTERM, 143, "terminated")],
)
def test_a_signal_keeps_what_is_done(
    number: int, code: int, said: str, tiny_pipeline: Any, clip: Path,
    capfd: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    tiny_pipeline.before = signal_at_frame(4, number)
    words = ["--out", "out.mp4", "--json", "people.json", "--frame-batch", "1"]
    assert run(["video", str(clip), *words]) == code
    out, err = capfd.readouterr()
    kept = len(document("people.json")["pictures"])
    assert 1 <= kept <= 6  # what is between the stages is not waited for
    assert f"{kept} frames, 2.0 people in each -> out.mp4, people.json" in out
    assert err.splitlines()[-2:] == [
        f"note: stopped; the results end after {kept} frames", f"error: {said}",
    ]  # fmt: skip
    assert [frame.time for frame in frames("out.mp4")] == pytest.approx(TIMES[:kept], abs=1e-5)
    assert made() == ["out.mp4", "people.json"]


def test_a_second_signal_keeps_nothing(
    tiny_pipeline: Any, clip: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tiny_pipeline.before = signal_at_frame(4, signal.SIGINT)
    write, told = os.write, []

    def again(file: int, text: bytes) -> int:
        if text.startswith(b"\nstopping"):  # by then the first has been heard, and nothing is done
            told.append(text)
            signal.raise_signal(signal.SIGINT)
        return write(file, text)

    monkeypatch.setattr(os, "write", again)
    words = ["--out", "out.mp4", "--json", "people.json", "--frame-batch", "1"]
    assert run(["video", str(clip), *words]) == 130
    assert len(told) == 1
    assert made() == []


def test_the_sound_ends_with_the_pictures(tiny_pipeline: Any, shared: Path) -> None:
    path = shared / "data" / "media" / "video_odd" / "h264_aac.mp4"
    tiny_pipeline.before = signal_at_frame(8, signal.SIGINT)
    assert run(["video", str(path), "--out", "out.mp4", "--frame-batch", "1"]) == 130
    last = frames("out.mp4")[-1].time
    assert last is not None
    assert 0 <= last < 0.4
    assert last - 0.1 < max(time for time, _ in sound("out.mp4")) < last + 0.1


def test_the_sound_of_some_frames(tiny_pipeline: Any, shared: Path) -> None:
    path = shared / "data" / "media" / "video_odd" / "h264_aac.mp4"
    assert run(["video", str(path), "--out", "out.mp4", "--max-frames", "6"]) == 0
    last = frames("out.mp4")[-1].time
    assert last is not None
    assert last - 0.1 < max(time for time, _ in sound("out.mp4")) < last + 0.1


class Terminal(io.StringIO):
    encoding = "utf-8"

    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize("quiet", [False, True])
def test_progress(
    quiet: bool, tiny_pipeline: Any, clip: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stderr = Terminal()
    monkeypatch.setattr(sys, "stderr", stderr)
    assert run(["video", str(clip), *["-q"] * quiet]) == 0
    shown = stderr.getvalue()
    assert ("10/10 [" in shown) is not quiet
    assert ("frames/s" in shown) is not quiet


def other(clip: Path, name: str) -> Path:
    path = Path(name)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(clip.read_bytes())
    return path


def test_several_clips_go_into_folders(tiny_pipeline: Any, clip: Path, capsys: Captured) -> None:
    more = [other(clip, "a/one.mp4"), other(clip, "b/one.mp4")]
    Path("broken.mp4").write_text("no video")
    words = ["--out", "drawn", "--json", "found", "--format", "native", "--format", "csv", "-q"]
    assert run(["video", str(clip), *map(str, more), "broken.mp4", *words]) == 3
    out, err = capsys.readouterr()
    assert len(out.splitlines()) == 3
    assert err.startswith("error: broken.mp4: not a video file")
    names = ["clip.mov.pose", "one-2.pose", "one.pose"]
    assert sorted(p.name for p in Path("drawn").iterdir()) == [f"{name}.mp4" for name in names]
    assert sorted(p.name for p in Path("found").iterdir()) == sorted(
        f"{name}{end}" for name in names for end in (".json", ".csv")
    )
    assert document("found/one-2.pose.json")["pictures"][0]["source"] == "b/one.mp4"


def test_several_clips_into_a_file_are_refused(
    tiny_pipeline: Any, clip: Path, capsys: Captured
) -> None:
    second = other(clip, "second.mp4")
    Path("old.json").write_text("{}")
    assert run(["video", str(clip), str(second), "--json", "old.json"]) == 2
    assert "old.json is a file, and there are 2 clips" in capsys.readouterr().err


def test_ids_and_smoothing(tiny_pipeline: Any, clip: Path, capsys: Captured) -> None:
    words = ["--json", "people.json", "--smooth-method", "one-euro", "--fill-gaps", "0.2"]
    assert run(["video", str(clip), *words]) == 0
    assert re.search(r"2\.0 people in each, \d+ ids -> clip", capsys.readouterr().out)
    found = document("people.json")
    people = [person for picture in found["pictures"] for person in picture["people"]]
    assert all("track_id" in person for person in people)
    assert all(len(person["measured"]) == 17 for person in people)
    assert found["settings"]["smoothing.method"] == "one-euro"
    assert found["settings"]["tracking.memory"] == Tracking().memory
    (record,) = found["videos"]
    assert (record["status"], record["frames"], record["people"]) == ("ok", 10, 20)


def test_files_are_smoothed_without_delay(tiny_pipeline: Any, clip: Path) -> None:
    assert run(["video", "--smooth", str(clip), "--json", "people.json"]) == 0
    assert document("people.json")["settings"]["smoothing.method"] == "zero-phase"


def test_the_detector_can_rest(tiny_pipeline: Any, clip: Path) -> None:
    words = ["--no-draw", "--json", "people.json", "--detect-every", "5", "--pose-threshold", "0"]
    assert run(["video", str(clip), *words]) == 0
    assert len(tiny_pipeline.seen) == 2
    assert len(document("people.json")["pictures"]) == 10


def test_a_part_of_a_clip(tiny_pipeline: Any, clip: Path) -> None:
    words = ["--json", "people.json", "--start", "0:00.1", "--end", "0.6", "--every", "2"]
    assert run(["video", str(clip), *words]) == 0
    times = [picture["time"] for picture in document("people.json")["pictures"]]
    inside = [time for time in TIMES if 0.1 <= time < 0.6]
    assert times == pytest.approx(inside[::2], abs=1e-5)
    drawn = [frame.time for frame in frames("clip.mov.pose.mp4")]
    assert drawn == pytest.approx([time - times[0] for time in times], abs=1e-4)


def test_a_little_damage_is_a_warning(tiny_pipeline: Any, shared: Path, capsys: Captured) -> None:
    path = shared / "data/media/video_odd/truncated.webm"
    words = ["--no-draw", "--json", "people.json", "-q", "--max-error-rate", "0.9"]
    assert run(["video", str(path), *words]) == 0
    assert capsys.readouterr().err.startswith(f"warning: {path}: video is damaged")
    (record,) = document("people.json")["videos"]
    assert record["status"] == "degraded"
    assert record["cut_short"] is True
    assert 0.4 < record["error_rate"] < 0.6


def test_pictures_of_a_sequence(
    tiny_pipeline: Any, here: Path, make_picture: Callable[..., Path]
) -> None:
    for number in (1, 2, 10):
        make_picture(f"shots/f{number}.png")
    words = ["--fps", "10", "--json", "people.json", "--out", "out.mkv"]
    assert run(["video", "shots/f%d.png", *words]) == 0
    assert [p["frame"] for p in document("people.json")["pictures"]] == [0, 1, 2]
    assert [p["time"] for p in document("people.json")["pictures"]] == pytest.approx([0, 0.1, 0.2])
    assert len(frames("out.mkv")) == 3


class Window:
    """A preview that shows nothing."""

    def __init__(self, *, real_time: bool, stopped: Callable[[], bool]) -> None:
        self.real_time = real_time

    def __enter__(self) -> Window:
        return self

    def __exit__(self, *of: object) -> None:
        pass

    def show(self, picture: Any, time: float | None) -> bool:
        return time is None or time < 0.2


@pytest.mark.parametrize(
    ("words", "method", "files"),
    [
        ([], "one-euro", []),
        (["--smooth-method", "none"], "none", []),
        (["--out", "out.mp4"], "none", ["out.mp4"]),
        (["--json", "people.json", "--smooth"], "zero-phase", ["people.json"]),
    ],
    ids=["alone", "asked for none", "beside a video", "beside results, asked for"],
)
def test_a_preview_alone_is_smoothed(
    words: list[str], method: str, files: list[str], tiny_pipeline: Any, clip: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    seen: list[How] = []
    run_clip = hrpose.clip.run_clip

    def spied(pipeline: Any, reader: Any, target: Any, how: How, **more: Any) -> Any:
        seen.append(how)
        return run_clip(pipeline, reader, target, how, **more)

    monkeypatch.setattr("hrpose.media.preview.Preview", Window)
    monkeypatch.setattr("hrpose.clip.run_clip", spied)
    assert run(["video", str(clip), "--show", *words]) == 0  # the window is closed at 0.2 s
    assert [how.smoothing.method for how in seen] == [method]
    assert made() == files
    if "people.json" in files:
        assert 4 <= len(document("people.json")["pictures"]) <= 10


def test_a_full_disk_keeps_the_people(
    tiny_pipeline: Any, clip: Path, monkeypatch: pytest.MonkeyPatch, capsys: Captured
) -> None:
    def full(self: VideoWriter, image: Any, time: float) -> None:
        if time > 0.1:
            raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(VideoWriter, "write", full)
    assert run(["video", str(clip), "--out", "out.mp4", "--json", "people.json"]) == 5
    assert "people of 3 frames are in people.json" in capsys.readouterr().err
    found = document("people.json")
    assert len(found["pictures"]) == found["videos"][0]["frames"] == 3
    assert found["videos"][0]["status"] == "error"
    assert made() == ["people.json"]
