"""What is said about a clip, and what all readers offer."""

from __future__ import annotations

from fractions import Fraction

import pytest

from hrpose.media.reader import MAX_EVENTS, Event, Reader, VideoReport, Watch
from hrpose.media.sequence import ImageSequence
from hrpose.media.video import VideoReader
from hrpose.options import Reading
from hrpose.types import Size


def report(decoded: int, undecodable: int = 0, flagged: int = 0, missing: int = 0) -> VideoReport:
    return VideoReport(decoded, undecodable, flagged, None, missing > 0, missing)


@pytest.mark.parametrize(
    ("found", "damaged", "rate", "text"),
    [
        (report(90), False, 0, "90 frames"),
        (report(80, undecodable=10), True, 1 / 9, "80 of 90 frames, 10 packets undecodable"),
        (report(45, missing=45), True, 0.5, "45 of 90 frames, cut short"),
        (report(90, flagged=3), True, 0, "90 frames, 3 frames doubtful"),
        (report(0), False, 0, "0 frames"),
        (report(0, undecodable=2), True, 1, "0 of 2 frames, 2 packets undecodable"),
    ],
)
def test_reports(found: VideoReport, damaged: bool, rate: float, text: str) -> None:
    assert found.damaged is damaged
    assert found.error_rate == pytest.approx(rate)
    assert str(found) == text


def test_a_header_that_counts_hidden_frames_loses_none() -> None:
    assert VideoReport(77, 0, 0, 86, cut_short=False).error_rate == 0


def test_the_bound_of_damage_is_that_of_the_design() -> None:
    assert Reading().max_error_rate == 0.05


def seen(rate: int, *times: float) -> list[tuple[int, str]]:
    watch = Watch(Fraction(rate))
    for index, time in enumerate(times):
        watch.see(index, Size(4, 4), time)
    return [(event.frame, event.kind) for event in watch.events]


@pytest.mark.parametrize(
    ("rate", "times", "events"),
    [
        (25, [0, 0.04, 0.08], []),
        (25, [0, 0.04, 1.04], [(2, "gap")]),
        (1, [0, 1, 2, 5], []),
        (1, [0, 1, 2, 6], [(3, "gap")]),
        (25, [5, 5.04, 0, 0.04], [(2, "back")]),
        (25, [0, 0], [(1, "back")]),
    ],
)
def test_jumps(rate: int, times: list[float], events: list[tuple[int, str]]) -> None:
    assert seen(rate, *times) == events


def test_not_all_of_a_thousand_events_are_kept() -> None:
    assert len(seen(25, *[0.0] * 1000)) == MAX_EVENTS
    assert str(Event(3, "size", "larger")) == "frame 3: larger"


def test_readers_offer_the_same() -> None:
    names = {name for name in dir(Reader) if not name.startswith("_")}
    assert names >= {"size", "rate", "report", "source_note", "origin", "close"}
    for kind in (VideoReader, ImageSequence):
        assert names <= set(dir(kind)), kind
