"""A clip through the whole line: what is written, what is kept when something fails, and memory."""

from __future__ import annotations

import errno
import gc
import threading
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from hrpose.clip import ClipTally, How, run_clip
from hrpose.errors import HrposeError, OutputError
from hrpose.formats import Header, read_native
from hrpose.media.reader import VideoReport
from hrpose.media.targets import Target
from hrpose.media.video import VideoReader
from hrpose.media.video_writer import VideoWriter
from hrpose.options import Smoothing, Style, Tracking
from hrpose.run import Output, Stop
from hrpose.skeleton import COCO17
from hrpose.types import Detections, Frame, Poses, Size

SIZE = Size(48, 32)


class Stub:
    """A pipeline without networks: one person, who walks back and forth."""

    def __init__(self, fail_at: int | None = None) -> None:
        self.frame_batch, self.skeleton, self.fail_at = 4, COCO17, fail_at
        self.device, self.threads = torch.device("cpu"), set[str]()

    def detected(self, frames: Iterator[Frame]) -> Iterator[tuple[list[Frame], list[Detections]]]:
        for frame in frames:
            self.threads.add(threading.current_thread().name)
            back_and_forth = abs(frame.index % 20 - 10)
            box = torch.tensor([[4.0, 4, 20, 28]]) + back_and_forth
            yield [frame], [Detections(boxes=box, scores=torch.ones(1))]

    def posed(
        self, found: Iterator[tuple[list[Frame], list[Detections]]]
    ) -> Iterator[tuple[Frame, Poses]]:
        for (frame,), (people,) in found:
            if frame.index == self.fail_at:
                raise HrposeError("the network gave up")
            yield frame, person(frame, people)


def person(frame: Frame, people: Detections) -> Poses:
    box = people.boxes.numpy()
    inside = np.linspace(0.2, 0.8, 17, dtype=np.float32)
    points = np.stack([box[0, 0] + 16 * inside, box[0, 1] + 24 * inside[::-1]], axis=1)
    return Poses(
        keypoints=points[None].astype(np.float32),
        keypoint_scores=np.full((1, 17), 0.9, np.float32),
        boxes=box,
        box_scores=np.ones(1, np.float32),
        track_ids=np.array([-1]),
        size=frame.size,
        skeleton=COCO17,
        frame=frame.index,
        time=frame.time,
        source=frame.source,
    )


class Frames:
    """A reader of frames made on the way."""

    rate, time_base, origin, source_note, size = Fraction(25), Fraction(1, 25), 0.0, "", SIZE

    def __init__(self, count: int) -> None:
        self.frame_count, self.duration = count, count / 25
        self.taken = 0

    @property
    def report(self) -> VideoReport:
        return VideoReport(self.taken, 0, 0, None, cut_short=False)

    def __iter__(self) -> Iterator[Frame]:
        for index in range(self.frame_count):
            self.taken += 1
            image = torch.full((3, SIZE.height, SIZE.width), index % 200, dtype=torch.uint8)
            yield Frame(image, index, index / 25, "made.mp4")


def how(style: Style | None = None, **more: Any) -> How:
    header = Header.of(COCO17, hrpose="0")
    return How(Output(header, ("native",), style or Style(), force=False), **more)


def run(folder: Path, reader: Any, *, pipeline: Any = None, **more: Any) -> ClipTally:
    target = Target(Path("made.mp4"), folder / "out.mp4", folder / "people.json")
    settings = more.pop("how", how())
    stop = more.pop("stop", Stop())
    watch = more.pop("watch", lambda poses, picture: None)
    return run_clip(pipeline or Stub(), reader, target, settings, stop=stop, watch=watch, **more)


def frames_of(path: Path) -> int:
    with VideoReader(path) as reader:
        return len(list(reader))


def test_everything_is_written_once_and_in_order(tmp_path: Path) -> None:
    counted: list[int] = []
    settings = how(Style(trails=1), tracking=Tracking(), smoothing=Smoothing(method="zero-phase"))
    tally = run(
        tmp_path, Frames(30), how=settings, watch=lambda poses, _: counted.append(poses.frame)
    )
    assert counted == list(range(30))
    assert (tally.frames, tally.people, len(tally.ids)) == (30, 30, 1)
    document = read_native((tmp_path / "people.json").read_bytes())
    assert [picture.frame for picture in document.pictures] == list(range(30))
    assert {person.track_id for picture in document.pictures for person in picture.people} == {
        *tally.ids
    }
    (record,) = document.videos
    assert (record.status, record.frames, record.people, record.ids) == ("ok", 30, 30, 1)
    assert frames_of(tmp_path / "out.mp4") == 30
    meters = {meter.name: meter for meter in tally.meters}
    assert {"read", "detect", "pose", "track", "smooth", "draw", "write"} <= set(meters)
    assert meters["write"].items == 30


@pytest.mark.parametrize(("device", "name"), [("cpu", "hrpose-smooth"), ("cuda", "hrpose-detect")])
def test_on_a_gpu_detection_overlaps_with_poses(tmp_path: Path, device: str, name: str) -> None:
    pipeline = Stub()
    pipeline.device = torch.device(device)  # named only, nothing runs there
    tally = run(tmp_path, Frames(20), pipeline=pipeline)
    assert pipeline.threads == {name}
    assert tally.frames == frames_of(tmp_path / "out.mp4") == 20


def test_a_stop_keeps_what_is_done(tmp_path: Path) -> None:
    stop = Stop()

    def watch(poses: Poses, picture: Any) -> None:
        stop.asked = poses.frame == 6

    tally = run(tmp_path, Frames(1000), stop=stop, watch=watch)
    assert tally.frames == 7
    assert len(read_native((tmp_path / "people.json").read_bytes()).pictures) == 7
    assert frames_of(tmp_path / "out.mp4") == 7


def test_a_network_that_fails_on_the_way_costs_only_the_rest(tmp_path: Path) -> None:
    with pytest.raises(HrposeError, match="gave up"):
        run(tmp_path, Frames(30), pipeline=Stub(fail_at=12))
    document = read_native((tmp_path / "people.json").read_bytes())
    assert len(document.pictures) == frames_of(tmp_path / "out.mp4") == 12
    assert (document.videos[0].status, document.videos[0].reason) == (
        "error", "the network gave up",
    )  # fmt: skip


def test_a_network_that_fails_at_once_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(HrposeError, match="gave up"):
        run(tmp_path, Frames(30), pipeline=Stub(fail_at=0))
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_under_the_video_keeps_the_people(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write, written = VideoWriter.write, 0

    def fills_up(self: VideoWriter, image: Any, time: float) -> None:
        nonlocal written
        written += 1
        if written == 9:
            raise OSError(errno.ENOSPC, "No space left on device")
        write(self, image, time)

    monkeypatch.setattr(VideoWriter, "write", fills_up)
    with pytest.raises(OutputError, match=r"out\.mp4: .*No space left") as caught:
        run(tmp_path, Frames(30))
    assert "people of 8 frames are in" in str(caught.value.hint)
    document = read_native((tmp_path / "people.json").read_bytes())
    assert len(document.pictures) == document.videos[0].frames == 8
    assert document.videos[0].status == "error"
    assert [path.name for path in tmp_path.iterdir()] == ["people.json"]


def test_pictures_can_be_watched_without_a_video(tmp_path: Path) -> None:
    stop, shown = Stop(), []

    def watch(poses: Poses, picture: Any) -> None:
        shown.append(picture)
        stop.asked = len(shown) == 5

    target = Target(Path("made.mp4"))
    tally = run_clip(Stub(), Frames(100), target, how(show=True), stop=stop, watch=watch)
    assert tally.frames == len(shown) == 5
    assert {picture.shape for picture in shown} == {(SIZE.height, SIZE.width, 3)}
    assert list(tmp_path.iterdir()) == []


def resident() -> int:
    """Bytes of memory of this process."""
    fields = Path("/proc/self/statm").read_text().split()
    return int(fields[1]) * 4096


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="reads /proc of Linux")
@pytest.mark.parametrize("count", [2_000, pytest.param(100_000, marks=pytest.mark.slow)])
def test_memory_does_not_grow_with_the_clip(tmp_path: Path, count: int) -> None:
    """The slope over the last three quarters; the long one draws, too."""
    seen: list[tuple[int, int]] = []

    def watch(poses: Poses, picture: Any) -> None:
        if poses.frame % (count // 15) == 0:
            gc.collect()
            seen.append((poses.frame, resident()))

    style = Style(overlay=()) if count < 10_000 else Style(trails=1)
    settings = how(style, tracking=Tracking(), smoothing=Smoothing(method="zero-phase", fill=0.2))
    run(tmp_path, Frames(count), how=settings, watch=watch)
    frame, memory = np.array(seen[len(seen) // 4 :]).T
    slope = np.polyfit(frame, memory, 1)[0] * 1000 / 1024
    assert slope < (200 if count < 10_000 else 20), f"{slope:.0f} KB in 1,000 frames"
