"""The mathematics of smoothing, each piece against numbers that were got in another way."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from hrpose.filters import OneEuro, bridge, is_outlier, local_fits, low_pass_share, widest_plausible
from hrpose.options import Smoothing


def share(cutoff: float, step: float) -> float:
    """Equation 5 of Casiez et al.: 1 / (1 + tau / Te), tau = 1 / (2 pi cutoff)."""
    return 1 / (1 + 1 / (2 * math.pi * cutoff) / step)


def test_the_share_of_a_sample_is_that_of_the_paper() -> None:
    got = low_pass_share(np.array([0.0, 0.02, 0.5]), 3.0)
    assert got == pytest.approx([0, share(3, 0.02), share(3, 0.5)])


def test_one_euro_is_the_paper_s_algorithm() -> None:
    """Algorithm 1 written out for one coordinate: x in px of a person 50 px tall, uneven times."""
    settings = Smoothing("one-euro", cutoff=1.5, beta=4, derivative_cutoff=0.8)
    times, xs, height = [1.0, 1.05, 1.07, 1.17], [10.0, 12.0, 11.0, 15.0], 50.0
    value, speed, want = xs[0], 0.0, [xs[0]]
    for i in range(1, 4):
        step = times[i] - times[i - 1]
        speed += share(0.8, step) * ((xs[i] - value) / step - speed)
        value += share(1.5 + 4 * abs(speed) / height, step) * (xs[i] - value)
        want.append(value)
    assert want == pytest.approx([10, 10.804653, 10.846287, 13.575026], abs=1e-6)
    one_euro = OneEuro(2, settings)
    xy = np.zeros((2, 2))
    for time, x, value in zip(times, xs, want, strict=True):
        xy[0, 0] = xy[1, 1] = x
        got = one_euro(time, xy, np.ones(2), height)
        np.testing.assert_allclose(got, [[value, 0], [0, value]], rtol=1e-12)


def test_one_euro_turns_with_the_picture() -> None:
    random = np.random.default_rng(0)
    turn = np.array([[0.6, -0.8], [0.8, 0.6]])
    straight, turned = OneEuro(5), OneEuro(5)
    for i in range(10):
        xy, scores = random.normal(0, 9, (5, 2)), random.random(5)
        a = straight(i / 30, xy, scores, 80.0)
        np.testing.assert_allclose(turned(i / 30, xy @ turn, scores, 80.0), a @ turn, atol=1e-9)


def polyfit_value(offsets: np.ndarray, y: np.ndarray, w: np.ndarray, reach: float) -> float:
    kernel = np.clip(1 - np.abs(offsets / reach) ** 3, 0, None) ** 3 * w
    return float(np.polyfit(offsets, y, 2, w=np.sqrt(kernel))[2])


def test_local_fits_are_weighted_least_squares() -> None:
    random = np.random.default_rng(0)
    offsets = np.sort(random.uniform(-0.4, 0.4, 20))
    xy, weights = random.normal(0, 5, (20, 3, 2)), random.uniform(0.1, 1, (20, 3))
    values, variances = local_fits(offsets, xy, weights, np.array([0.25, 0.4]))
    for h, reach in enumerate((0.25, 0.4)):
        for k in range(3):
            want = [polyfit_value(offsets, xy[:, k, d], weights[:, k], reach) for d in (0, 1)]
            assert values[h, k] == pytest.approx(want, abs=5e-3)
    noise = random.normal(0, 1, (20, 3, 2, 4000)) / np.sqrt(weights)[..., None, None]
    many, _ = local_fits(offsets, noise.reshape(20, 3, -1)[..., :2], weights, np.array([0.4]))
    assert many.shape == (1, 3, 2)
    spread = np.stack(
        [local_fits(offsets, noise[..., i], weights, np.array([0.4]))[0][0] for i in range(400)]
    )
    np.testing.assert_allclose(spread.var(axis=(0, 2)), variances[1], rtol=0.25)


@pytest.mark.parametrize(
    ("offsets", "y", "want"),
    [([0.0], [3.0], 3), ([-0.1, 0.1], [1.0, 5.0], 3), ([-0.2, -0.1], [1.0, 2.0], 3),
     ([0.3], [4.0], 4), ([-0.1, 0.0, 0.1], [0.0, 7.0, 0.0], 7)],
    ids=["itself", "between", "ahead", "alone", "parabola"],
)  # fmt: skip
def test_few_samples(offsets: list[float], y: list[float], want: float) -> None:
    xy = np.array(y)[:, None, None] * np.ones(2)
    weights = np.ones((len(y), 1))
    values, _ = local_fits(np.array(offsets), xy, weights, np.array([0.4]))
    assert values[0, 0] == pytest.approx([want, want], abs=0.1)


def test_no_samples() -> None:
    offsets, xy = np.array([-0.1, 0.0]), np.full((2, 1, 2), 9.0)
    values, variances = local_fits(offsets, xy, np.zeros((2, 1)), np.array([0.2, 0.4]))
    assert (values.tolist(), variances.tolist()) == ([[[0, 0]], [[0, 0]]], [[1e9], [1e9]])
    value, _ = widest_plausible(values, variances, 1.0)
    assert value.tolist() == [[0, 0]]


def test_the_wide_fit_counts_where_it_agrees() -> None:
    values = np.array([[[10.0, 0], [10, 0]], [[10.1, 0], [14, 0]]])  # noise is 0.3 px
    variances = np.array([[0.8, 0.8], [0.2, 0.2]])
    value, variance = widest_plausible(values, variances, 0.3)
    assert value[0, 0] == pytest.approx(10.1, abs=0.01)
    assert value[1, 0] == pytest.approx(10, abs=0.05)
    assert variance == pytest.approx([0.2, 0.8], abs=0.01)


def test_outliers() -> None:
    xy = np.random.default_rng(0).normal(0, 0.3, (9, 3, 2))
    xy[4, 0] += 20
    xy[:, 1] += np.arange(9)[:, None] * 6  # motion is none
    found = np.ones((9, 3), bool)
    assert is_outlier(xy, found, 4, 100.0).tolist() == [True, False, False]
    found[[2, 3]] = False
    xy[[2, 3]] = 0
    assert is_outlier(xy, found, 4, 100.0).tolist() == [True, False, False]
    assert not is_outlier(xy, np.zeros((9, 3), bool), 4, 1e9).any()


@given(st.lists(st.integers(0, 1), min_size=2, max_size=8), st.integers(0, 7), st.floats(0.1, 1.0))
@hypothesis_settings(max_examples=60, deadline=None)
def test_bridges_lie_between_their_ends(known: list[int], at: int, longest: float) -> None:
    n = len(known)
    at %= n
    times, found = np.arange(n) / 5, np.array(known, bool)[:, None]
    values = (np.arange(n) ** 2.0)[:, None, None]
    got, closed, ends = bridge(times, values, found, time=at / 5, longest=longest)
    before = [i for i in range(at) if known[i]]
    after = [i for i in range(at + 1, n) if known[i]]
    want = bool(before and after) and times[after[0]] - times[before[-1]] <= longest
    assert closed.tolist() == [want]
    if want:
        a, b = before[-1], after[0]
        assert ends[:, 0].tolist() == [a, b]
        assert got[0, 0] == pytest.approx(a**2 + (at - a) / (b - a) * (b**2 - a**2))
