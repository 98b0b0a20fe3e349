"""Filters for the keypoints of one person over time, on timestamps that need not be even.

n samples, K keypoints, H widths of a fit; xy in image pixels, times in seconds, heights of a person
in pixels. Missing is score or weight 0, never NaN.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from hrpose.options import Smoothing

Reals = NDArray[np.float64]
Bools = NDArray[np.bool_]

_DEFAULT = Smoothing()
_SURE, _SUREST = 0.7, 0.9  # scores from which a keypoint counts in full: one-euro; fits
# A keypoint that jumps farther than this waits for the next sample to confirm it. The hand of a
# fast punch has 5 heights per second; a left/right flip at 60 fps has 10 and more.
_SLACK, _FASTEST = 0.05, 6.0  # heights; heights per second
_DEVIATIONS, _FLOOR = 2.5, 0.02  # of an outlier from its neighbours' median: -; heights
# Added to the second and the fourth moment: fits of one or two samples stay solvable, and straight.
_LEVEL, _STRAIGHT = 1e-8, 1e-5
_NOTHING = 1e9  # variance of a fit without samples
_PATIENCE = 8.0  # squared deviations of noise by which a wider fit may differ from a narrower one


def trust(scores: Reals) -> Reals:
    """How much of a step keypoints of these scores make, 0 to 1: a whole one from 0.7 on."""
    return np.minimum(scores / _SURE, 1.0) ** 2


def precision(scores: Reals) -> Reals:
    """Inverse variances of keypoints of these scores, where that of a sure one is 1.

    From second differences of two real clips (``.bench/smoothing.py``): the deviation doubles
    from score 0.9 to 0.6.
    """
    return np.minimum(scores / _SUREST, 1.0) ** 3


def low_pass_share(step: Reals, cutoff: Reals | float) -> Reals:
    """The share of a new sample in a first-order low-pass (Casiez et al. 2012, equations 4, 5).

    Args:
        step: Seconds since the last sample; 0 gives 0.
        cutoff: Hz.
    """
    turn = 2 * np.pi * cutoff * step
    return turn / (1 + turn)


class OneEuro:
    """One-Euro filter of the K keypoints of one person; causal.

    Algorithm 1 of Casiez, Roussel and Vogel (CHI 2012) with these additions: the speed is the
    length of the two-dimensional one, in person heights per second; a sample of lower trust counts
    as one after a shorter step; one that jumps too far waits for the next to confirm it; after a
    gap a keypoint starts anew.

    Args:
        points: K.
        settings: Cutoffs, beta, and the longest gap.
    """

    def __init__(self, points: int, settings: Smoothing = _DEFAULT) -> None:
        self._settings = settings
        self._xy, self._velocity = np.zeros((points, 2)), np.zeros((points, 2))
        self._believed, self._doubted = np.zeros((points, 2)), np.full((points, 2), np.inf)
        self._seen = np.full(points, -np.inf)

    def __call__(self, time: float, xy: Reals, scores: Reals, height: float) -> Reals:
        """Filters the next sample.

        Args:
            time: Later than the one before.
            xy: (K, 2), finite.
            scores: (K,); keypoints of score 0 pass, and leave the state alone.
            height: Of the person.

        Returns:
            (K, 2).
        """
        found, gap = scores > 0, time - self._seen
        fresh = gap > self._settings.memory
        step = np.where(fresh, 1.0, gap)
        believed = found & (fresh | self._plausible(xy, scores, step, height))
        begins = (found & fresh)[:, None]
        self._xy = np.where(begins, xy, self._xy)
        self._velocity = np.where(begins, 0.0, self._velocity)
        self._update(xy, step[:, None], np.where(believed, trust(scores), 0.0)[:, None], height)
        self._seen = np.where(believed, time, self._seen)
        self._believed = np.where(believed[:, None], xy, self._believed)
        self._doubted = np.where((found & ~believed)[:, None], xy, np.inf)
        return np.where(found[:, None], self._xy, xy)

    def _update(self, xy: Reals, step: Reals, weight: Reals, height: float) -> None:
        kept = self._settings
        share = low_pass_share(step * weight, kept.derivative_cutoff)
        self._velocity = self._velocity + share * ((xy - self._xy) / step - self._velocity)
        speed = np.hypot(*self._velocity.T)[:, None] / height
        share = low_pass_share(step * weight, kept.cutoff + kept.beta * speed)
        self._xy = self._xy + share * (xy - self._xy)

    def _plausible(self, xy: Reals, scores: Reals, step: Reals, height: float) -> Bools:
        sure = np.minimum(scores / _SURE, 1.0)
        reach = height * (_SLACK + _FASTEST * step * sure)
        jump, again = xy - self._believed, xy - self._doubted
        near: Bools = (np.hypot(*jump.T) <= reach) | (np.hypot(*again.T) <= reach)
        return near


def local_fits(offsets: Reals, xy: Reals, weights: Reals, reaches: Reals) -> tuple[Reals, Reals]:
    """Values at offset 0 of parabolas fitted to the samples around, each within its own reach.

    Least squares like Savitzky and Golay's (1964), with the weights times Cleveland's tricube
    (1979). Two samples give a straight line, one gives itself.

    Args:
        offsets: (n,) seconds.
        xy: (n, K, 2).
        weights: (n, K) inverse variances of the samples, 0 = not there.
        reaches: (H,) seconds to either side.

    Returns:
        (H, K, 2) values, 0 without samples, and (H, K) their variances where a sample of weight
        1 has variance 1; 1e9 without samples.
    """
    n, points = weights.shape
    u = offsets / reaches[:, None]
    square = u * u
    hollow = np.maximum(1 - square * np.abs(u), 0.0)
    kernel = hollow * hollow * hollow
    powers = (kernel, kernel * u, kernel * square, kernel * square * u, kernel * square * square)
    rows = np.stack(powers, axis=1)  # (H, 5, n)
    moments = (rows.reshape(-1, n) @ weights).reshape(-1, 5, points)
    weighted = (weights[..., None] * xy).reshape(n, -1)
    right = (rows[:, :3].reshape(-1, n) @ weighted).reshape(-1, 3, points, 2)
    empty = moments[:, 0] < 1 / _NOTHING
    total = np.where(empty, 1.0, moments[:, 0])
    inverse = _first_row_of_inverse(moments[:, 1:] / total[:, None])
    values = (inverse[..., None] * right).sum(axis=1) / total[..., None]
    shares = rows[:, :3].transpose(0, 2, 1) @ inverse
    variances = (shares**2 * weights).sum(axis=1) / total**2
    return values, np.where(empty, _NOTHING, variances)


def _first_row_of_inverse(moments: Reals) -> Reals:
    """Of the normal equations [[1, m1, m2], [m1, m2, m3], [m2, m3, m4]]; (H, 4, K) -> (H, 3, K)."""
    m1, m2, m3, m4 = moments.swapaxes(0, 1)
    m2_, m4_ = m2 + _LEVEL, m4 + _STRAIGHT
    row = np.stack([m2_ * m4_ - m3**2, m2 * m3 - m1 * m4_, m1 * m3 - m2_ * m2], axis=1)
    determinant = row[:, 0] + m1 * row[:, 1] + m2 * row[:, 2]
    first: Reals = row / determinant[:, None]
    return first


def widest_plausible(values: Reals, variances: Reals, noise: float) -> tuple[Reals, Reals]:
    """Goes from the narrowest fit towards the widest as far as noise explains the difference.

    The idea of Lepski's method (Goldenshluger and Nemirovski 1997) without its hard choice, which
    makes keypoints hop.

    Args:
        values: (H, K, 2), narrowest first; variances: (H, K), see :func:`local_fits`.
        noise: Deviation of a sample of weight 1 in px; raising it smooths more.

    Returns:
        (K, 2) px and (K,) the variance.
    """
    value, variance = values[0], variances[0]
    gains = np.maximum(variances[:-1] - variances[1:], 1e-9)
    explained = 2 * _PATIENCE * noise**2 * gains  # 2: of x and y together
    share = np.ones_like(variance)
    for wider, wider_variance, scale in zip(values[1:], variances[1:], explained, strict=True):
        step = wider - value
        excess = (step * step).sum(axis=1) / scale
        share = share / (1 + excess * excess)
        value = value + share[:, None] * step
        variance = variance + share * (wider_variance - variance)
    return value, variance


def is_outlier(xy: Reals, found: Bools, at: int, height: float) -> Bools:
    """Whether keypoints of a sample lie far from the median of the samples around (Hampel's rule).

    Args:
        xy: (n, K, 2), the samples around and the one in question.
        found: (n, K).
        at: Which one.
        height: Of the person.

    Returns:
        (K,) bool.
    """
    off = xy - _median(xy, found[..., None])
    away = np.hypot(off[..., 0], off[..., 1])
    spread = 1.4826 * _median(away, found)  # the deviation, were they normally distributed
    far: Bools = away[at] > _DEVIATIONS * spread + _FLOOR * height
    return far


def _median(values: Reals, found: Bools) -> Reals:
    """Median over the first axis of what was found; 0 where nothing was."""
    if found.all():
        ordered = np.sort(values, axis=0)
        even: Reals = (ordered[(len(values) - 1) // 2] + ordered[len(values) // 2]) / 2
        return even
    ordered = np.sort(np.where(found, values, np.inf), axis=0)
    count = np.broadcast_to(found, values.shape).sum(axis=0, keepdims=True)
    low = np.take_along_axis(ordered, np.maximum(count - 1, 0) // 2, axis=0)
    high = np.take_along_axis(ordered, np.minimum(count // 2, len(values) - 1), axis=0)
    middle: Reals = np.where(count > 0, (low + high) / 2, 0.0)[0]
    return middle


def bridge(
    times: Reals, values: Reals, found: Bools, *, time: float, longest: float
) -> tuple[Reals, Bools, NDArray[np.int64]]:
    """Interpolates between the last sample before a time and the first after it.

    Args:
        times: (n,) ascending.
        values: (n, K, D).
        found: (n, K).
        time: When.
        longest: Gaps of more seconds are left open.

    Returns:
        (K, D) values, (K,) whether there are any, and (2, K) which samples they lie between.
    """
    earlier, later = (found & side[:, None] for side in (times < time, times > time))
    before = len(times) - 1 - earlier[::-1].argmax(axis=0)
    after = later.argmax(axis=0)
    gap = times[after] - times[before]
    closed: Bools = earlier.any(axis=0) & later.any(axis=0) & (gap <= longest)
    share = np.where(closed, (time - times[before]) / np.where(closed, gap, 1.0), 0.0)
    points = np.arange(values.shape[1])
    first, last = values[before, points], values[after, points]
    return first + share[:, None] * (last - first), closed, np.stack([before, after])
