"""How alike two people are: IoU of boxes, OKS of keypoints, and the suppression built on them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from hrpose.types import FloatArray, IntArray

DoubleArray = NDArray[np.float64]


def box_iou(a: FloatArray, b: FloatArray) -> FloatArray:
    """Intersection over union of every box of ``a`` (N, 4) with every box of ``b`` (M, 4), xyxy.

    Returns:
        (N, M) float32; 0 where both boxes are empty.
    """
    low = np.maximum(a[:, None, :2], b[None, :, :2])
    high = np.minimum(a[:, None, 2:], b[None, :, 2:])
    overlap = np.prod(np.clip(high - low, 0, None), axis=2)
    area_a = np.prod(np.clip(a[:, 2:] - a[:, :2], 0, None), axis=1)
    area_b = np.prod(np.clip(b[:, 2:] - b[:, :2], 0, None), axis=1)
    union = area_a[:, None] + area_b[None] - overlap
    empty = np.zeros_like(overlap)
    iou: FloatArray = np.divide(overlap, union, out=empty, where=union > 0).astype(np.float32)
    return iou


def oks(
    a: FloatArray, areas_a: FloatArray, b: FloatArray, areas_b: FloatArray, sigmas: FloatArray
) -> NDArray[np.float64]:
    """Object keypoint similarity of every pose of ``a`` with every pose of ``b``.

    Matches ``oks_iou`` of the official code: all keypoints count, the variance is ``(2 sigma)^2``
    and the area is the mean of the two (nms.py:75-101).

    Args:
        a: (N, K, 2) keypoints, px.
        areas_a: (N,) px^2.
        b: (M, K, 2) keypoints, px.
        areas_b: (M,) px^2.
        sigmas: (K,) of the skeleton.

    Returns:
        (N, M) float64, 0 to 1.
    """
    squared = ((a[:, None].astype(np.float64) - b[None]) ** 2).sum(axis=3)
    area = (areas_a[:, None].astype(np.float64) + areas_b[None]) / 2 + np.spacing(1)
    variance = (2 * sigmas.astype(np.float64)) ** 2
    alike: NDArray[np.float64] = np.exp(-squared / variance / area[..., None] / 2).mean(axis=2)
    return alike


def pair_iou(a: DoubleArray, b: DoubleArray) -> DoubleArray:
    """(P,) IoU of P pairs of boxes, (P, 4) xyxy each; 0 where both are empty."""
    sides = np.minimum(a[:, 2:], b[:, 2:]) - np.maximum(a[:, :2], b[:, :2])
    overlap = np.maximum(sides[:, 0], 0) * np.maximum(sides[:, 1], 0)
    union = _areas(a) + _areas(b) - overlap
    iou: DoubleArray = np.divide(overlap, union, out=np.zeros_like(overlap), where=union > 0)
    return iou


def _areas(boxes: DoubleArray) -> DoubleArray:
    areas: DoubleArray = np.maximum(boxes[:, 2] - boxes[:, 0], 0)
    return areas * np.maximum(boxes[:, 3] - boxes[:, 1], 0)


def pair_oks(
    a: DoubleArray,
    b: DoubleArray,
    areas: DoubleArray,
    sigmas: DoubleArray,
    *,
    weights: DoubleArray,
    extra: DoubleArray,
) -> DoubleArray:
    """OKS of P pairs of poses whose keypoints count by weight and may lie further off than labels.

    With weights of 1 and no extra variance as :func:`oks`.

    Args:
        a: (P, K, 2) keypoints, px.
        b: (P, K, 2) keypoints, px.
        areas: (P,) px^2.
        sigmas: (K,) of the skeleton.
        weights: (P, K), at least 0.
        extra: (P,) px^2, variance that is added to that of the labels.

    Returns:
        (P,) 0 to 1; 0 where all weights are.
    """
    off = a - b
    squared = off[..., 0] ** 2 + off[..., 1] ** 2
    variance = (2 * sigmas) ** 2 * areas[:, None] + extra[:, None] + np.spacing(1)
    terms = weights * np.exp(-squared / variance / 2)
    total = weights.sum(axis=1)
    alike: DoubleArray = np.divide(
        terms.sum(axis=1), total, out=np.zeros_like(total), where=total > 0
    )
    return alike


def oks_nms(
    keypoints: FloatArray,
    scores: FloatArray,
    areas: FloatArray,
    sigmas: FloatArray,
    *,
    threshold: float = 0.9,
) -> IntArray:
    """Greedy suppression of poses that repeat a better one.

    Args:
        keypoints: (N, K, 2) px.
        scores: (N,) pose scores.
        areas: (N,) px^2; the official code takes the padded box.
        sigmas: (K,) of the skeleton.
        threshold: A pose goes when its OKS with a kept one is above. Raising it keeps more.

    Returns:
        (M,) kept indices, best first.
    """
    order = np.argsort(-scores, kind="stable")
    keep = []
    while len(order):
        best, rest = order[0], order[1:]
        keep.append(best)
        alike = oks(keypoints[[best]], areas[[best]], keypoints[rest], areas[rest], sigmas)[0]
        order = rest[alike <= threshold]
    return np.array(keep, dtype=np.int64)


def soft_oks_nms(
    keypoints: FloatArray,
    scores: FloatArray,
    areas: FloatArray,
    sigmas: FloatArray,
    *,
    threshold: float = 0.9,
    most: int = 20,
) -> IntArray:
    """Soft suppression: whoever resembles a taken pose waits longer, nobody goes for it.

    Matches ``soft_oks_nms`` of the official code (nms.py:138-177): the best is taken, the scores of
    the rest are multiplied by ``exp(-OKS^2 / threshold)``, and so on. Only the order comes out of
    it: the lowered scores are not given back, none is too low, and what drops people is the cap.

    Args:
        keypoints: (N, K, 2) px.
        scores: (N,) pose scores.
        areas: (N,) px^2; the official code takes the padded box.
        sigmas: (K,) of the skeleton.
        threshold: Raising it makes likeness count less.
        most: Poses that are kept.

    Returns:
        (M,) kept indices in the order they were taken, M the lesser of N and ``most``.
    """
    left = np.argsort(-scores, kind="stable")
    worth = scores[left].astype(np.float64)
    keep: list[int] = []
    while len(left) and len(keep) < most:
        best, left = left[0], left[1:]
        keep.append(int(best))
        alike = oks(keypoints[[best]], areas[[best]], keypoints[left], areas[left], sigmas)[0]
        worth = worth[1:] * np.exp(-(alike**2) / threshold)
        order = np.argsort(-worth, kind="stable")
        left, worth = left[order], worth[order]
    return np.array(keep, dtype=np.int64)
