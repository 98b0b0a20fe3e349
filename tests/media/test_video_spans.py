"""A part of a clip is exactly that part of the whole, however it is found."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch

from hrpose.errors import BadVideo
from hrpose.media.video import VideoReader
from hrpose.options import Span
from hrpose.types import Frame

# Short groups of pictures, so that 60 frames have several.
GOP = {"g": "12", "bf": "3"}
OPEN = {"x264-params": "keyint=12:min-keyint=12:open-gop=1:bframes=3:b-adapt=0:scenecut=0"}
CLIPS: dict[str, tuple[str, dict[str, Any]]] = {
    "mp4": ("mp4", {"options": GOP}),
    "mp4 fragmented": ("mp4", {"options": GOP, "container": {"movflags": "frag_keyframe"}}),
    "mp4 from 5 s": ("mp4", {"options": GOP, "first": 125}),
    "mp4 cut by its edit list": ("mp4", {"options": GOP, "first": -5}),
    "mp4 open": ("mp4", {"options": OPEN}),
    "mp4 intra refresh": ("mp4", {"options": {"g": "12", "x264-params": "intra-refresh=1"}}),
    "mkv": ("mkv", {"options": GOP}),
    "mkv open": ("mkv", {"options": OPEN}),
    "mkv without index": ("mkv", {"options": GOP, "container": {"live": "1"}}),
    "ts": ("ts", {"options": GOP}),
    "ts open": ("ts", {"options": OPEN}),
    "ts intra refresh": ("ts", {"options": {"g": "12", "x264-params": "intra-refresh=1"}}),
    "flv": ("flv", {"options": GOP}),
    "avi with B-frames": ("avi", {"options": GOP}),
    "raw": ("h264", {"options": GOP}),
    "hevc open": (
        "mp4",
        {
            "codec": "libx265",
            "options": {"x265-params": "keyint=12:min-keyint=12:open-gop=1:log-level=none"},
        },
    ),
    "mpeg2 open": ("mpg", {"codec": "mpeg2video", "options": {"g": "12", "bf": "2"}}),
    "mpeg2 in ts": ("ts", {"codec": "mpeg2video", "options": {"g": "12", "bf": "2"}}),
    "vp9": ("webm", {"codec": "libvpx-vp9", "options": {"g": "12", "lag-in-frames": "16"}}),
    "mjpeg": ("avi", {"codec": "mjpeg", "pixels": "yuvj420p"}),
    "mpeg4": ("avi", {"codec": "mpeg4", "options": {"g": "12", "bf": "2"}}),
}


def same(part: Sequence[Frame], whole: Sequence[Frame]) -> bool:
    return len(part) == len(whole) and all(
        a.time == b.time and torch.equal(a.image, b.image) for a, b in zip(part, whole, strict=True)
    )


def expected(frames: Sequence[Frame], origin: float, span: Span) -> list[Frame]:
    """The part of a full decode, up to a microsecond: from `start` up to the first at `end`."""
    shown = [(frame.time or 0) - origin + 1e-6 for frame in frames]
    first = next((i for i, t in enumerate(shown) if t >= (span.start or 0)), len(frames))
    end = span.end or float("inf")
    last = next((i for i in range(first, len(frames)) if shown[i] >= end), len(frames))
    return list(frames[first : last : span.every])[: span.max_frames]


def check(path: Path, frames: Sequence[Frame], origin: float, span: Span) -> str:
    """Reads a span; returns how it was found."""
    want = expected(frames, origin, span)
    if not want:
        with pytest.raises(BadVideo, match="no frame in the chosen span"):
            VideoReader(path, span=span)
        return ""
    with VideoReader(path, span=span) as reader:
        got = list(reader)
        assert same(got, want), (span, [f.time for f in got], [f.time for f in want])
        assert [frame.index for frame in got] == [i * span.every for i in range(len(got))]
        assert reader.size == want[0].size
        return reader.source_note


@pytest.mark.parametrize("name", CLIPS)
def test_a_span_is_that_part_of_the_whole(tmp_path: Path, studio: Any, name: str) -> None:
    suffix, settings = CLIPS[name]
    path = studio.film(tmp_path / f"a.{suffix}", range(60), **settings)
    with VideoReader(path) as reader:
        whole, origin = list(reader), reader.origin
    first = max(0, -settings.get("first", 0))
    assert [studio.number(frame.image) for frame in whole] == list(range(first, 60))
    shown = [(frame.time or 0) - origin for frame in whole]
    notes = {
        check(path, whole, origin, span)
        for span in (
            Span(shown[24], shown[30]),
            Span(shown[24] - 0.01, None),
            Span(shown[35], shown[35] + 0.1),
            Span(shown[47] + 0.001, None, every=3, max_frames=3),
            Span(shown[-1], None),
            Span(shown[-1] + 1, None),
            Span(0.0, shown[1]),
            Span(None, shown[13]),
        )
    }
    # What carries no times of its own cannot be searched; the rest can, or this tests nothing.
    assert (notes == {""}) is (name not in UNSEARCHABLE), notes


UNSEARCHABLE = {"raw", "mp4 intra refresh", "ts intra refresh"}
SMALL = {
    "bt601_full_range.mp4", "gap.mp4", "iibbibb_editlist_videoonly.mp4", "resolution_change.ts",
    "sample_edit_list_only_preroll_sync_sample.mp4", "sample-with-key-frame-index.flv",
    "test_non_zero_start.mp4", "truncated_index_first.mp4",
}  # fmt: skip
# After damage the decoder invents pixels, of what the memory held: seen to differ in 1 of 25 runs.
INVENTED = {"corrupt_bytes.mp4", "corrupted.mp4"}


def check_file(path: Path) -> None:
    with VideoReader(path) as reader:
        whole, origin = list(reader), reader.origin
    last = max(frame.time or 0 for frame in whole) - origin
    third = (whole[len(whole) // 3].time or 0) - origin
    for span in (Span(third, None), Span(0.5 * last, 0.5 * last + 0.2), Span(None, 0.3 * last + 1)):
        check(path, whole, origin, span)


@pytest.mark.parametrize("name", sorted(SMALL))
def test_spans_of_real_clips(shared: Path, name: str) -> None:
    check_file(shared / "data/media/video_odd" / name)


@pytest.mark.slow
@pytest.mark.parametrize("folder", ["video_odd", "video_people"])
def test_spans_of_all_real_clips(shared: Path, folder: str) -> None:
    place = shared / "data/media" / folder
    with (place / "MANIFEST.tsv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file, delimiter="\t"))
    for row in rows:
        if row["expect"] != "fail" and row["file"] not in INVENTED:
            check_file(place / row["file"])


def test_the_length_and_the_number_of_frames_are_those_of_the_span(
    tmp_path: Path, studio: Any
) -> None:
    path = studio.film(tmp_path / "a.mp4", range(50), first=125)
    for span, count, seconds in (
        (Span(), 50, 2.0),
        (Span(0.5), 38, 1.5),
        (Span(0.5, 1.0), 12, 0.5),
        (Span(None, 1.0), 25, 1.0),
        (Span(None, 9.0), 50, 2.0),
        (Span(every=3), 17, 2.0),
        (Span(max_frames=5), 5, 0.2),
        (Span(1.0, every=4, max_frames=100), 7, 1.0),
    ):
        with VideoReader(path, span=span) as reader:
            assert reader.duration == pytest.approx(seconds)
            assert reader.frame_count == pytest.approx(count, abs=1), span
            assert len(list(reader)) == pytest.approx(count, abs=1), span
            assert reader.rate * span.every == 25
            assert reader.report.error_rate == 0
            assert reader.origin == 5.0


def test_damage_outside_the_span_is_not_told(tmp_path: Path, studio: Any) -> None:
    path = studio.film(tmp_path / "a.avi", range(40), codec="mjpeg", pixels="yuvj420p")
    studio.damage(path, 20)
    for span, lost in ((Span(), 1), (Span(None, 0.5), 0), (Span(1.0), 0), (Span(0.6, 1.0), 1)):
        _, report = studio.read(path, span)
        assert report.undecodable == lost, span


def test_a_span_behind_the_end_says_where_the_end_is(tmp_path: Path, studio: Any) -> None:
    path = studio.film(tmp_path / "a.mp4", range(10))
    with pytest.raises(BadVideo, match=r"a\.mp4: no frame in the chosen span.*0\.360 s") as caught:
        VideoReader(path, span=Span(3.0))
    assert "--start" in caught.value.hint
