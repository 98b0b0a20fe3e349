"""PCK, the percentage of correct keypoints: pure functions of points, labels and sizes.

A keypoint is correct when its distance from the truth is at most a share, the threshold, of a size
of its person: of the head for PCKh (Andriluka et al. 2014). N people, K keypoints.

PCKh is as the official HRNet code has it (mpii.py): pelvis and thorax do not count; the mean is
over all labelled joints, so that a joint labelled more often weighs more; upper neck counts there
and in no group.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from hrpose.skeleton import MPII16

DoubleArray = NDArray[np.float64]
BoolArray = NDArray[np.bool_]
Points = NDArray[np.floating]

GROUPS = {
    "Head": ("head_top",),
    "Shoulder": ("left_shoulder", "right_shoulder"),
    "Elbow": ("left_elbow", "right_elbow"),
    "Wrist": ("left_wrist", "right_wrist"),
    "Hip": ("left_hip", "right_hip"),
    "Knee": ("left_knee", "right_knee"),
    "Ankle": ("left_ankle", "right_ankle"),
}
NOT_COUNTED = ("pelvis", "thorax")
COUNTED = np.array([name not in NOT_COUNTED for name in MPII16.keypoints])


def relative_errors(predicted: Points, truth: Points, sizes: Points) -> DoubleArray:
    """Distances of predictions from the truth in units of their person's size.

    Args:
        predicted: (N, K, 2) px.
        truth: (N, K, 2) px, in the same frame of reference.
        sizes: (N,) px, at least 0; all predictions are infinitely far where it is 0.

    Returns:
        (N, K) float64.

    Raises:
        ValueError: The shapes do not fit, or a size is negative or not a number.
    """
    people = len(sizes)
    if predicted.shape != truth.shape or truth.shape[::2] != (people, 2) or truth.ndim != 3:
        raise ValueError(
            f"predicted {predicted.shape}, truth {truth.shape} and sizes {sizes.shape},"
            " expected (N, K, 2) twice and (N,)"
        )
    if sizes.ndim != 1 or not (sizes >= 0).all():
        raise ValueError("sizes are not N numbers of at least 0")
    distances = np.linalg.norm(predicted.astype(np.float64) - truth, axis=2)
    errors: DoubleArray = np.full(distances.shape, np.inf)
    np.divide(distances, sizes[:, None], out=errors, where=sizes[:, None] > 0)
    return errors


def correct(errors: DoubleArray, labelled: BoolArray, threshold: float) -> DoubleArray:
    """Percent of correct keypoints, per keypoint of the set.

    Args:
        errors: (N, K), see :func:`relative_errors`.
        labelled: (N, K); the others do not count.
        threshold: At most this far is correct; raising it finds more correct.

    Returns:
        (K,) percent; 0 where nobody has the keypoint labelled.
    """
    hits = ((errors <= threshold) & labelled).sum(axis=0)
    percent: DoubleArray = 100 * hits / np.maximum(labelled.sum(axis=0), 1)
    return percent


def curve(errors: DoubleArray, labelled: BoolArray, thresholds: Points) -> DoubleArray:
    """Percent of all labelled keypoints that are correct, at (T,) thresholds."""
    seen = np.sort(errors[labelled])
    return 100 * np.searchsorted(seen, thresholds, side="right") / max(len(seen), 1)


def area(values: DoubleArray) -> float:
    """Area under (T,) values at evenly spaced places, as a share of the places' range.

    The trapezoid rule, as in MPII's evaluation; T is at least 2. In the values' unit.

    >>> area(np.array([0.0, 50.0, 100.0]))
    50.0
    """
    return float((values[1:] + values[:-1]).mean() / 2)


def pckh(
    predicted: Points,
    truth: Points,
    head_sizes: Points,
    visible: BoolArray,
    threshold: float = 0.5,
) -> dict[str, float]:
    """PCKh of groups of joints and their mean, percent.

    Args:
        predicted: (N, 16, 2) px, joints of ``mpii16``.
        truth: (N, 16, 2) px, in the same frame of reference.
        head_sizes: (N,) px, 0.6 times the head box's diagonal.
        visible: (N, 16) bool, joints that are labelled.
        threshold: Share of the head size; raising it finds more correct.

    Returns:
        Head, Shoulder, Elbow, Wrist, Hip, Knee, Ankle and Mean. A pair is the mean of its sides,
        as published, or of the side that is labelled; a group that is not labelled is left out.

    Raises:
        ValueError: The shapes do not fit, or no joint that counts is labelled.
    """
    shape = (len(head_sizes), len(MPII16))
    if visible.shape != shape or truth.shape[:2] != shape:
        raise ValueError(
            f"truth has shape {truth.shape} and visible {visible.shape} for {len(head_sizes)}"
            " heads, expected (N, 16, 2) and (N, 16)"
        )
    return by_group(relative_errors(predicted, truth, head_sizes), visible, threshold)


def by_group(errors: DoubleArray, visible: BoolArray, threshold: float) -> dict[str, float]:
    """As :func:`pckh`, of (N, 16) errors in units of the head size."""
    percent, count = correct(errors, visible, threshold), visible.sum(axis=0)
    if not count[COUNTED].any():
        raise ValueError("no joint that counts is labelled")
    groups = {}
    for group, names in GROUPS.items():
        sides = [i for i in map(MPII16.keypoints.index, names) if count[i]]
        if sides:
            groups[group] = float(percent[sides].mean())
    return {**groups, "Mean": float(np.average(percent[COUNTED], weights=count[COUNTED]))}
