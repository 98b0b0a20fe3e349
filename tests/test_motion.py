"""The filter: exact in time, surer with every sighting, less sure without."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hrpose.motion import People, Tracks, boxes_of, extents_of, places, strengths

QUICK = settings(max_examples=15, deadline=None, derandomize=True)


def people(*boxes: list[float]) -> People:
    table = np.array(boxes, np.float64)
    points = np.stack([table[:, [0, 1]], table[:, [2, 3]], table[:, [2, 1]]], axis=1)
    return People(places(table), table, np.full(len(table), 0.9), points, np.ones((len(table), 3)))


def walker(frames: int, step: float, rate: float) -> Tracks:
    """Somebody 40 px wide and 100 px high who goes right by ``step`` px per frame."""
    tracks = Tracks(3)
    for frame in range(frames):
        x = step * frame
        here = people([x, 0, x + 40, 100])
        if frame:
            tracks.predict(1 / rate)
            tracks.correct(np.arange(1), here, np.arange(1), frame / rate)
        else:
            tracks.start(np.array([7]), here, np.arange(1), 0.0)
    return tracks


@given(st.floats(0.01, 3), st.integers(2, 9))
@QUICK
def test_cutting_time_into_pieces_changes_nothing(seconds: float, parts: int) -> None:
    whole, pieces = walker(5, 4, 25), walker(5, 4, 25)
    whole.predict(seconds)
    for _ in range(parts):
        pieces.predict(seconds / parts)
    np.testing.assert_allclose(pieces.place, whole.place, rtol=1e-9)
    np.testing.assert_allclose(pieces.spread, whole.spread, rtol=1e-7, atol=1e-12)


@pytest.mark.parametrize("rate", [10, 25, 60])
def test_the_speed_is_found_whatever_the_rate(rate: float) -> None:
    tracks = walker(int(2 * rate), 100 / rate, rate)
    assert tracks.speed[0, 0] == pytest.approx(100, rel=0.1)
    assert abs(tracks.speed[0, 1]) < 1e-9


def test_doubt_grows_out_of_sight_and_shrinks_with_sightings() -> None:
    once, often = walker(1, 4, 25), walker(20, 4, 25)
    for tracks in (once, often):
        tracks.predict(0.04)
    assert often.doubt < once.doubt
    doubts = []
    for _ in range(5):
        often.predict(0.2)
        doubts.append(float(often.doubt[0]))
    assert (np.diff(doubts) > 0).all()
    assert abs(often.speed[0, 0]) < 60  # of 100: it dies away


def test_start_and_drop_keep_rows_together() -> None:
    tracks = Tracks(3)
    many = people([0, 0, 10, 20], [50, 0, 60, 20], [90, 0, 99, 20])
    assert tracks.start(np.array([3, 5]), many, np.array([0, 2]), 1.0).tolist() == [0, 1]
    assert tracks.start(np.array([6]), many, np.array([1]), 1.0).tolist() == [2]
    tracks.drop(np.array([True, False, False]))
    assert tracks.keys.tolist() == [5, 6]
    np.testing.assert_allclose(boxes_of(tracks.place), many.boxes[[2, 1]], atol=1e-9)
    assert {len(values) for values in vars(tracks).values()} == {2}


def test_boxes_around_keypoints_are_as_wide_as_detected() -> None:
    tracks = Tracks(3)
    points = np.array([[[20.0, 20], [40, 60], [30, 40]]])
    box = np.array([[10.0, 14, 46, 72]])
    seen = People(places(box), box, np.ones(1), points, np.ones((1, 3)))
    rows = tracks.start(np.array([1]), seen, np.arange(1), 0.0)
    around = tracks.around(rows, points + np.array([5, 7]), np.ones((1, 3)), box)
    np.testing.assert_allclose(around, box + np.array([5, 7, 5, 7]))
    np.testing.assert_allclose(tracks.around(rows, 2 * points, np.ones((1, 3)), box)[0, 0], 40 - 20)
    np.testing.assert_array_equal(tracks.around(rows, points, np.zeros((1, 3)), box), box)


def test_extents_and_strengths_look_at_points_that_show() -> None:
    points = np.arange(8.0).reshape(1, 4, 2)
    scores = np.array([[0.9, 0.7, 0.1, 0.5]])
    extents, sides = extents_of(points, scores)
    assert (extents.tolist(), sides.tolist()) == ([[0, 1, 6, 7]], [6])
    assert strengths(scores) == pytest.approx([0.7])
    assert extents_of(points, scores / 9)[1].tolist() == [0]
    assert extents_of(points[:0], scores[:0])[0].shape == (0, 4)
    assert strengths(scores / 9).tolist() == [0]
