"""PCKh: numbers worked out by hand, and the published definition written as loops.

The definition is that of mpii.py of the official HRNet code.
"""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hrpose.evaluate.pck import GROUPS, area, correct, curve, pckh, relative_errors

THRESHOLDS = np.arange(51) * 0.01
QUICK = settings(max_examples=40, deadline=None, derandomize=True)
HEAD, NECK, PELVIS, THORAX = 9, 8, 6, 7
SIDES = {"Shoulder": (13, 12), "Elbow": (14, 11), "Wrist": (15, 10), "Hip": (3, 2), "Knee": (4, 1)}
SIDES |= {"Ankle": (5, 0)}


def test_worked_out_by_hand() -> None:
    """Three people with heads of 10, 20 and 40 px; every error is 6 px unless said."""
    truth = np.zeros((3, 16, 2))
    predicted = truth + np.array([6.0, 0.0])  # 0.6, 0.3 and 0.15 heads
    visible = np.ones((3, 16), bool)
    visible[1:, 10] = False  # right wrist: the first only, wrong
    predicted[0, HEAD] = [3, 4]  # 0.5 heads: on the border, right
    predicted[:, [PELVIS, THORAX]] = 999  # counts nowhere
    found = pckh(predicted, truth, np.array([10.0, 20, 40]), visible)
    two_of_three = 200 / 3
    assert found["Head"] == pytest.approx(100)
    assert found["Ankle"] == found["Shoulder"] == pytest.approx(two_of_three)
    assert found["Wrist"] == pytest.approx((two_of_three + 0) / 2)
    # 14 joints of 3 people less 2 labels; all of the first person's are wrong but the head
    assert found["Mean"] == pytest.approx(100 * (14 * 3 - 2 - 13) / (14 * 3 - 2))
    assert list(found) == [*GROUPS, "Mean"]


def test_unlabelled_groups_are_left_out_and_pairs_may_be_half() -> None:
    visible = np.zeros((2, 16), bool)
    visible[:, [5, NECK]] = True  # left ankle and upper neck
    predicted = np.zeros((2, 16, 2))
    predicted[0, 5] = 100
    found = pckh(predicted, np.zeros((2, 16, 2)), np.full(2, 10.0), visible)
    assert found == {"Ankle": pytest.approx(50), "Mean": pytest.approx(75)}


def test_a_head_of_no_size_makes_all_wrong() -> None:
    found = pckh(*np.zeros((2, 2, 16, 2)), np.array([0.0, 10]), np.ones((2, 16), bool))
    assert set(found.values()) == {50.0}


def test_wrong_arguments() -> None:
    points, heads, seen = np.zeros((2, 16, 2)), np.ones(2), np.ones((2, 16), bool)
    with pytest.raises(ValueError, match="labelled"):
        pckh(points, points, heads, np.zeros((2, 16), bool))
    with pytest.raises(ValueError, match=r"\(2, 17, 2\)"):
        pckh(np.zeros((2, 17, 2)), points, heads, seen)
    with pytest.raises(ValueError, match="expected"):
        pckh(points, points, heads, seen[:1])
    with pytest.raises(ValueError, match="at least 0"):
        pckh(points, points, -heads, seen)
    with pytest.raises(ValueError, match="at least 0"):
        relative_errors(points, points, np.array([1, np.nan]))


def published(
    predicted: np.ndarray, truth: np.ndarray, heads: np.ndarray, visible: np.ndarray, limit: float
) -> dict[str, float]:
    """The definition as loops: percent per joint, and a mean weighted by labels, 6 and 7 masked."""
    right, count = [0] * 16, [0] * 16
    for n in range(len(heads)):
        for k in range(16):
            dx, dy = predicted[n, k] - truth[n, k]
            if visible[n, k]:
                count[k] += 1
                right[k] += (dx * dx + dy * dy) ** 0.5 / heads[n] <= limit
    share = [100 * r / c for r, c in zip(right, count, strict=True)]
    weights = [0 if k in (PELVIS, THORAX) else c for k, c in enumerate(count)]
    mean = sum(s * w for s, w in zip(share, weights, strict=True)) / sum(weights)
    groups = {name: 0.5 * (share[a] + share[b]) for name, (a, b) in SIDES.items()}
    return {"Head": share[HEAD], **groups, "Mean": mean}


def random_people(seed: int, people: int) -> tuple[np.ndarray, ...]:
    random = np.random.default_rng(seed)
    truth = random.uniform(0, 500, (people, 16, 2))
    heads = random.uniform(5, 80, people)
    predicted = truth + random.normal(0, 0.4, truth.shape) * heads[:, None, None]
    visible = random.random((people, 16)) < 0.8
    visible[0] = True  # so that the definition, which divides by counts, is defined
    return predicted, truth, heads, visible


@QUICK
@given(st.integers(0, 10**6), st.integers(1, 12), st.floats(0, 1))
def test_equals_the_published_definition(seed: int, people: int, limit: float) -> None:
    data = random_people(seed, people)
    assert pckh(*data, limit) == pytest.approx(published(*data, limit))


@QUICK
@given(st.integers(0, 10**6), st.integers(1, 12))
def test_curve_is_the_mean_at_each_threshold(seed: int, people: int) -> None:
    predicted, truth, heads, visible = data = random_people(seed, people)
    errors, counted = relative_errors(predicted, truth, heads), [*range(6), *range(8, 16)]
    values = curve(errors[:, counted], visible[:, counted], THRESHOLDS)
    assert (np.diff(values) >= 0).all()
    for i in (0, 10, 11, 50):
        assert values[i] == pytest.approx(pckh(*data, float(THRESHOLDS[i]))["Mean"])
    fine = np.interp(np.arange(25_000) / 500, range(51), values)
    assert area(values) == pytest.approx(fine.mean(), abs=0.01)


@QUICK
@given(st.integers(0, 10**6), st.floats(-300, 300), st.floats(0.1, 10))
def test_shift_and_scale_change_nothing(seed: int, shift: float, scale: float) -> None:
    predicted, truth, heads, visible = random_people(seed, 5)
    want = pckh(predicted, truth, heads, visible, 0.4)
    assert pckh(predicted + shift, truth + shift, heads, visible, 0.4) == pytest.approx(want)
    got = pckh(predicted * scale, truth * scale, heads * scale, visible, 0.4)
    assert got == pytest.approx(want)


def test_nothing_labelled_is_zero() -> None:
    none = np.zeros((2, 16), bool)
    assert correct(np.zeros((2, 16)), none, 0.5).tolist() == [0] * 16
    assert curve(np.zeros((2, 16)), none, THRESHOLDS).tolist() == [0] * 51
