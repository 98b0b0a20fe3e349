"""Real clips against their manifests: frames, size, turn, times, or a clean refusal."""

from __future__ import annotations

import csv
import os
import random
import resource
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
import torch

from hrpose.errors import BadVideo
from hrpose.media.clips import sources
from hrpose.media.video import VideoReader
from hrpose.options import Span
from hrpose.types import Frame

Row = dict[str, str]


def rows(folder: str) -> list[Row]:
    """The table, or nothing where there is no shared data; a test then says so."""
    shared = Path(os.environ.get("HRPOSE_SHARED") or Path(__file__).parents[3] / "shared")
    path = shared / "data/media" / folder / "MANIFEST.tsv"
    if not path.is_file():
        return []
    with path.open(encoding="utf-8") as file:
        return [{**row, "folder": folder} for row in csv.DictReader(file, delimiter="\t")]


ROWS = rows("video_odd") + rows("video_people")
LARGE = {"sample_edit_list.mp4", "edit_list_positive_shift.mp4"}  # seconds of decoding


def test_the_table_is_there(shared: Path) -> None:
    assert len(ROWS) == 51


def quadrants(image: torch.Tensor) -> list[float]:
    grey = image.float().mean(dim=0)
    height, width = grey.shape[0] // 2, grey.shape[1] // 2
    parts = (grey[:height, :width], grey[:height, width:], grey[height:, :width])
    return [float(part.mean()) for part in (*parts, grey[height:, width:])]


def check_first(reader: VideoReader, frame: Frame, row: Row) -> None:
    assert frame.size == reader.size == (int(row["width"]), int(row["height"]))
    want = [float(value) for value in row["quadrant_means"].split()]
    assert not want or np.abs(np.subtract(quadrants(frame.image), want)).max() <= 1.01
    assert frame.time == pytest.approx(float(row["first_s"]), abs=1e-3)
    if row["duration_s"]:
        assert reader.duration is not None  # that of the pictures; the table has that of the file
        shown = float(row["last_s"]) - float(row["first_s"])
        assert min(shown, float(row["duration_s"])) - 0.1 <= reader.duration
        assert reader.duration <= float(row["duration_s"]) + 0.1


def check_whole(path: Path, row: Row, *, every: int) -> None:
    """Of the pictures only the first and each ``every``-th are looked at, of the frames all."""
    with VideoReader(path, span=Span(every=every)) as reader:
        frames = list(reader)
        report = reader.report
        assert reader.rate * every == Fraction(row["fps"])
        check_first(reader, frames[0], row)
    if row["expect"] == "damaged":
        assert report.damaged
        assert int(row["frames"]) <= report.decoded <= int(row["frames_tolerant"])
        assert 0 < report.error_rate < 0.6
        return
    assert not report.damaged
    assert report.decoded == int(row["frames"])
    assert frames[-1].time == pytest.approx(float(row["last_s"]), abs=1e-3)
    sizes = [event.text for event in report.events if event.kind == "size"]
    assert len(sizes) == max(0, len(row["sizes"].split()) - 1)


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row["file"])
def test_every_clip_or_a_clean_refusal(shared: Path, row: Row) -> None:
    path = shared / "data/media" / row["folder"] / row["file"]
    (source,) = sources([str(path)])
    assert (source.path, source.inputs, source.live) == (path, (path,), False)
    if row["expect"] == "fail":
        with pytest.raises(BadVideo) as caught:
            source.open()
        assert path.name in caught.value.message
        assert caught.value.hint
    elif row["folder"] == "video_people" or row["file"] in LARGE:
        with VideoReader(path) as reader:
            check_first(reader, next(iter(reader)), row)
        with av.open(str(path)) as container:  # what there is to be decoded
            shown = [p for p in container.demux(video=0) if p.size and not p.is_discard]
        assert len(shown) == pytest.approx(int(row["frames"]), abs=9)
    else:
        check_whole(path, row, every=max(1, int(row["frames"]) - 1))


@pytest.mark.slow
@pytest.mark.parametrize("row", ROWS, ids=lambda row: row["file"])
def test_every_clip_to_its_end(shared: Path, row: Row) -> None:
    if row["expect"] != "fail":
        check_whole(shared / "data/media" / row["folder"] / row["file"], row, every=1)


def mutated(data: bytes, seed: int) -> bytes:
    """The same file with a few bytes changed, a stretch zeroed, or its end missing."""
    rng, broken = random.Random(seed), bytearray(data)
    kind = seed % 3
    if kind == 0:
        for _ in range(rng.randint(1, 40)):
            broken[rng.randrange(len(broken))] = rng.randrange(256)
    elif kind == 1:
        start = rng.randrange(len(broken))
        stretch = broken[start : start + len(broken) // 10]
        broken[start : start + len(stretch)] = bytes(len(stretch))
    else:
        del broken[rng.randrange(len(broken)) :]
    return bytes(broken)


FUZZED = (
    "видео_人物.mp4", "bear-vp9-odd-dimensions.webm", "mjpeg.avi", "resolution_change.ts",
    "sample-with-key-frame-index.flv",
)  # fmt: skip


def fuzz(shared: Path, target: Path, seeds: range) -> None:
    refused: list[BadVideo] = []
    for seed in seeds:
        name = FUZZED[seed % len(FUZZED)]
        path = target.with_suffix(Path(name).suffix)
        path.write_bytes(mutated((shared / "data/media/video_odd" / name).read_bytes(), seed))
        span = Span(0.3, 0.7) if seed % 2 else Span(max_frames=20)
        try:
            with VideoReader(path, span=span) as reader:
                frames = list(reader)
                report = reader.report
        except BadVideo as error:
            refused.append(error)
            continue
        assert 0 <= report.error_rate <= 1, seed
        assert report.decoded == len(frames) > 0, seed
        assert [frame.index for frame in frames] == list(range(len(frames))), seed
    assert all(error.hint for error in refused)
    assert len(refused) < len(seeds)


def test_broken_files_give_frames_or_a_refusal(shared: Path, tmp_path: Path) -> None:
    fuzz(shared, tmp_path / "a", range(20))


@pytest.mark.slow
def test_many_broken_files(shared: Path, tmp_path: Path) -> None:
    fuzz(shared, tmp_path / "a", range(20, 1020))
    used = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert used < 3_000_000  # KB, torch included
