"""IoU, OKS and OKS-NMS: published indices and plain loops."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest

from hrpose.similarity import box_iou, oks, oks_nms, pair_iou, pair_oks, soft_oks_nms
from hrpose.skeleton import COCO17
from hrpose.types import FloatArray

SIGMAS = np.array(COCO17.sigmas, np.float32)


@pytest.mark.parametrize("threshold", [0.9, 0.5])
def test_golden_nms(shared: Path, threshold: float) -> None:
    golden = np.load(shared / "data/golden/postprocess.npz")
    kept = oks_nms(
        golden["nms_keypoints"],
        golden["nms_scores"],
        golden["nms_areas"],
        SIGMAS,
        threshold=threshold,
    )
    assert kept.tolist() == golden[f"nms_keep_{threshold}"].tolist()


def test_iou_by_hand() -> None:
    a = np.array([[0, 0, 4, 4], [10, 10, 12, 12], [5, 5, 5, 5]], np.float32)
    b = np.array([[2, 0, 6, 4], [0, 0, 4, 4], [5, 5, 5, 5], [3, 3, 1, 1]], np.float32)
    want = [[8 / 24, 1, 0, 0], [0, 0, 0, 0], [0, 0, 0, 0]]
    np.testing.assert_allclose(box_iou(a, b), want, rtol=1e-6)
    assert box_iou(a, b).dtype == np.float32
    assert box_iou(a[:0], b).shape == (0, 4)
    assert box_iou(a, b[:0]).shape == (3, 0)


def people(count: int, seed: int) -> tuple[FloatArray, FloatArray]:
    random = np.random.default_rng(seed)
    base = random.uniform(0, 200, (17, 2))
    points = base + random.normal(0, 8, (count, 17, 2))
    return points.astype(np.float32), random.uniform(5e3, 2e4, count).astype(np.float32)


def slow_oks(a: FloatArray, area_a: float, b: FloatArray, area_b: float) -> float:
    area = (area_a + area_b) / 2
    terms = [
        math.exp(-float(((p - q) ** 2).sum()) / (2 * area * (2 * s) ** 2))
        for p, q, s in zip(a.astype(float), b.astype(float), COCO17.sigmas, strict=True)
    ]
    return sum(terms) / len(terms)


def test_oks_against_a_loop() -> None:
    (a, areas_a), (b, areas_b) = people(4, 0), people(3, 0)
    got = oks(a, areas_a, b, areas_b, SIGMAS)
    want = [
        [slow_oks(p, s, q, t) for q, t in zip(b, areas_b, strict=True)]
        for p, s in zip(a, areas_a, strict=True)
    ]
    np.testing.assert_allclose(got, want, rtol=1e-5)
    assert 0.05 < got.min() < got.max() < 1 or np.isclose(got.max(), 1)
    np.testing.assert_allclose(np.diag(oks(a, areas_a, a, areas_a, SIGMAS)), 1)


def test_pairs_are_the_diagonal_of_the_matrices() -> None:
    (a, areas_a), (b, areas_b) = people(5, 7), people(5, 8)
    boxes_a, boxes_b = (np.concatenate([p.min(1), p.max(1)], axis=1) for p in (a, b))
    boxes_b[3] = boxes_a[3]
    boxes_b[4, 2:] = boxes_b[4, :2]
    iou = pair_iou(boxes_a.astype(np.float64), boxes_b.astype(np.float64))
    np.testing.assert_allclose(iou, np.diag(box_iou(boxes_a, boxes_b)), rtol=1e-5)
    areas = (areas_a + areas_b).astype(np.float64) / 2
    got = pair_oks(a, b, areas, SIGMAS, weights=np.ones((5, 17)), extra=np.zeros(5))
    np.testing.assert_allclose(got, np.diag(oks(a, areas_a, b, areas_b, SIGMAS)), rtol=1e-6)


def test_weights_and_extra_variance_of_pairs() -> None:
    a = np.zeros((1, 2, 2))
    b = np.array([[[3.0, 4.0], [1000.0, 0.0]]])
    sigmas = np.array([0.05, 0.05])  # variance 100 px^2 * 0.01 = 1 px^2
    for weights, extra, want in (
        ([1, 1], 0, math.exp(-12.5) / 2),
        ([1, 0], 0, math.exp(-12.5)),
        ([1, 3], 24, math.exp(-0.5) / 4),
        ([0, 0], 0, 0),
    ):
        got = pair_oks(
            a,
            b,
            np.array([100.0]),
            sigmas,
            weights=np.array([weights], float),
            extra=np.array([float(extra)]),
        )
        assert got == pytest.approx([want])


@pytest.mark.parametrize("threshold", [0.3, 0.6, 0.9])
def test_nms_leaves_no_alike_pair_and_drops_only_those(threshold: float) -> None:
    points, areas = people(30, 1)
    scores = np.random.default_rng(2).random(30).astype(np.float32)
    kept = oks_nms(points, scores, areas, SIGMAS, threshold=threshold)
    alike = oks(points, areas, points, areas, SIGMAS)
    assert (np.diff(scores[kept]) <= 0).all()
    assert all(alike[i, j] <= threshold for i in kept for j in kept if i != j)
    for gone in set(range(30)) - set(kept.tolist()):
        better = [i for i in kept if scores[i] >= scores[gone]]
        assert max(alike[gone, better]) > threshold
    assert 0 < len(kept) <= 30


def test_nms_of_nobody_and_of_equals() -> None:
    points, areas = people(1, 3)
    none = oks_nms(points[:0], areas[:0], areas[:0], SIGMAS)
    assert none.shape == (0,)
    assert none.dtype == np.int64
    twice = np.repeat(points, 3, axis=0)
    kept = oks_nms(twice, np.ones(3, np.float32), np.repeat(areas, 3), SIGMAS)
    assert kept.tolist() == [0]  # the first of equals


def slow_soft_nms(
    points: FloatArray, scores: FloatArray, areas: FloatArray, *, threshold: float, most: int
) -> list[int]:
    """One by one: whoever is best now, and what that does to the others."""
    worth = dict(enumerate(scores.astype(float)))
    kept: list[int] = []
    while worth and len(kept) < most:
        best = max(worth, key=lambda i: worth[i])
        del worth[best]
        kept.append(best)
        for i in worth:
            alike = slow_oks(points[best], areas[best], points[i], areas[i])
            worth[i] *= math.exp(-(alike**2) / threshold)
    return kept


@pytest.mark.parametrize("count", [0, 1, 5, 30])
@pytest.mark.parametrize("threshold", [0.3, 0.9])
def test_soft_nms_against_a_loop(count: int, threshold: float) -> None:
    points, areas = people(count, 4)
    scores = np.random.default_rng(5).random(count).astype(np.float32)
    kept = soft_oks_nms(points, scores, areas, SIGMAS, threshold=threshold)
    want = slow_soft_nms(points, scores, areas, threshold=threshold, most=20)
    assert kept.tolist() == want
    assert kept.dtype == np.int64
    assert len(kept) == min(count, 20)


def test_soft_nms_only_reorders() -> None:
    """The double of the best goes behind somebody else of a lower score, and stays."""
    points, areas = people(2, 6)
    three = np.stack([points[0], points[0], points[1] + 500])
    scores = np.array([0.9, 0.8, 0.5], np.float32)
    soft = soft_oks_nms(three, scores, areas[[0, 0, 1]], SIGMAS)
    assert soft.tolist() == [0, 2, 1]
    assert oks_nms(three, scores, areas[[0, 0, 1]], SIGMAS).tolist() == [0, 2]
    assert soft_oks_nms(three, scores, areas[[0, 0, 1]], SIGMAS, most=2).tolist() == [0, 2]
    assert scores.tolist() == pytest.approx([0.9, 0.8, 0.5])
