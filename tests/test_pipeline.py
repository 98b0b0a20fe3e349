"""The chain: order, laziness, inputs, and duplicate poses."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from hrpose import geometry, pipeline
from hrpose.crop import CropSpec
from hrpose.errors import BadImage
from hrpose.estimator import Estimator
from hrpose.models.hrnet import HRNetConfig
from hrpose.models.networks import PoseNet
from hrpose.pipeline import Detector, Pipeline, padded_areas
from hrpose.skeleton import COCO17
from hrpose.types import Codec, Detections, Frame, Poses, Size

TINY = HRNetConfig(width=4, stem=8, planes=4, bottlenecks=1, modules=(1, 1, 1), blocks=1)


@pytest.fixture(scope="module")
def estimator() -> Estimator:
    torch.manual_seed(1)
    return Estimator(PoseNet(TINY, 17), crop=CropSpec(Size(64, 96)), codec=Codec(), skeleton=COCO17)


def frame(index: int, size: Size = Size(80, 60)) -> Frame:  # noqa: B008 - a tuple
    generator = torch.Generator().manual_seed(index)
    shape = (3, size.height, size.width)
    return Frame(torch.randint(0, 256, shape, generator=generator).to(torch.uint8), index=index)


class Boxes:
    """A detector that finds the same people everywhere, and remembers its batches."""

    def __init__(self, boxes: Sequence[Sequence[float]], scores: Sequence[float]) -> None:
        self._boxes, self._scores = torch.tensor(boxes).view(-1, 4), torch.tensor(scores)
        self.batches: list[list[int]] = []

    def __call__(self, frames: Sequence[Frame]) -> list[Detections]:
        self.batches.append([f.index for f in frames])
        return [Detections(self._boxes.clone(), self._scores.clone()) for _ in frames]


def one_person() -> Boxes:
    return Boxes([[10.0, 5, 50, 55]], [0.9])


@pytest.mark.parametrize("frame_batch", [1, 2, 4, 9])
def test_frames_come_out_in_order_with_their_own_poses(
    estimator: Estimator, frame_batch: int
) -> None:
    sizes = [Size(80, 60), Size(60, 80), Size(80, 60), Size(40, 40), Size(99, 70), Size(80, 60)]
    frames = [frame(i, size) for i, size in enumerate(sizes)]
    detector = one_person()
    run = Pipeline(detector, estimator, frame_batch=frame_batch)
    results = list(run.run(iter(frames)))
    assert [f for f, _ in results] == frames
    for given, poses in results:
        assert (poses.frame, poses.size) == (given.index, given.size)
        np.testing.assert_allclose(poses.keypoints, run(given).keypoints, rtol=0, atol=1e-3)
    whole = [list(range(6))[i : i + frame_batch] for i in range(0, 6, frame_batch)]
    assert detector.batches[: len(whole)] == whole


@pytest.mark.parametrize("frame_batch", [1, 3])
def test_frames_are_taken_as_needed(estimator: Estimator, frame_batch: int) -> None:
    """A camera never ends, and a batch comes out as soon as it is full."""
    taken = 0

    def camera() -> Iterator[Frame]:
        nonlocal taken
        while True:
            taken += 1
            yield frame(taken)

    results = Pipeline(one_person(), estimator, frame_batch=frame_batch).run(camera())
    assert taken == 0
    for wanted in range(1, 8):
        next(results)
        assert taken == -(-wanted // frame_batch) * frame_batch
    assert isinstance(results, Iterator)


def test_large_frames_make_small_batches(
    estimator: Estimator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pipeline, "BATCH_PIXELS", 10_000)
    sizes = [Size(80, 60), Size(80, 60), Size(80, 60), Size(200, 100), Size(10, 10), Size(10, 10)]
    detector = one_person()
    run = Pipeline(detector, estimator, frame_batch=4)
    results = list(run.run(frame(i, size) for i, size in enumerate(sizes)))
    assert [f.index for f, _ in results] == list(range(6))
    assert detector.batches == [[0, 1], [2], [3], [4, 5]]


def test_no_frames_and_nobody(estimator: Estimator) -> None:
    detector = one_person()
    assert list(Pipeline(detector, estimator).run([])) == []
    assert detector.batches == []
    poses = Pipeline(Boxes([], []), estimator)(frame(0))
    assert len(poses) == 0
    assert poses.keypoints.shape == (0, 17, 2)


def test_an_error_of_the_source_comes_through(estimator: Estimator) -> None:
    def broken() -> Iterator[Frame]:
        yield frame(0)
        yield frame(1)
        raise BadImage("2.jpg: cut short")

    results = Pipeline(one_person(), estimator, frame_batch=2).run(broken())
    assert [next(results)[0].index, next(results)[0].index] == [0, 1]
    with pytest.raises(BadImage):
        next(results)


TWINS = [[10.0, 5, 50, 55], [30, 10, 70, 58], [10, 5, 50, 55]]


@pytest.mark.parametrize(
    ("scores", "kept"),
    [([0.9, 0.8, 0.3], [0, 1]), ([0.2, 0.8, 0.3], [1, 2]), ([0.3, 0.8, 0.2], [0, 1])],
    ids=str,
)
def test_the_better_of_two_equal_poses_stays(
    estimator: Estimator, scores: list[float], kept: list[int]
) -> None:
    poses = Pipeline(Boxes(TWINS, scores), estimator, oks_threshold=0.9)(frame(0))
    every = Pipeline(Boxes(TWINS, scores), estimator, oks_threshold=1)(frame(0))
    assert len(every) == 3
    assert poses.box_scores.tolist() == every.box_scores[kept].tolist()
    np.testing.assert_allclose(poses.keypoints, every.keypoints[kept], rtol=0, atol=1e-3)


def test_path_array_and_frame_are_the_same_picture(estimator: Estimator, tmp_path: Path) -> None:
    given = frame(7)
    array = np.ascontiguousarray(given.image.permute(1, 2, 0).numpy())
    Image.fromarray(array).save(tmp_path / "picture.png")
    run = Pipeline(one_person(), estimator)
    want = run(given)
    frozen = array.copy()
    frozen.flags.writeable = False
    reversed_rows = array[::-1].copy()[::-1]
    for picture in (
        array,
        frozen,
        reversed_rows,
        np.asfortranarray(array),
        tmp_path / "picture.png",
        str(tmp_path / "picture.png"),
    ):
        poses = run(picture)
        np.testing.assert_array_equal(poses.keypoints, want.keypoints)
        assert poses.size == want.size
    assert run(str(tmp_path / "picture.png")).source == str(tmp_path / "picture.png")


@pytest.mark.parametrize(
    "array",
    [
        np.zeros((60, 80), np.uint8),
        np.zeros((60, 80, 4), np.uint8),
        np.zeros((3, 60, 80), np.uint8),
        np.zeros((60, 80, 3), np.float32),
    ],
    ids=["grey", "alpha", "planes", "float"],
)
def test_other_arrays_are_refused(estimator: Estimator, array: np.ndarray) -> None:
    with pytest.raises(ValueError, match=r"expected \(H, W, 3\) uint8 RGB"):
        Pipeline(one_person(), estimator)(array)


def test_a_batch_has_at_least_one_frame(estimator: Estimator) -> None:
    with pytest.raises(ValueError, match="at least 1"):
        Pipeline(one_person(), estimator, frame_batch=0)


def test_a_function_is_a_detector(estimator: Estimator) -> None:
    detector: Detector = lambda frames: one_person()(frames)  # noqa: E731 - a callable is enough
    assert len(Pipeline(detector, estimator)(frame(0))) == 1


def test_take_and_areas(estimator: Estimator) -> None:
    poses: Poses = Pipeline(Boxes(TWINS, [0.9, 0.8, 0.3]), estimator, oks_threshold=1)(frame(3))
    chosen = poses.take(np.array([2, 0]))
    np.testing.assert_array_equal(chosen.keypoints, poses.keypoints[[2, 0]])
    np.testing.assert_array_equal(chosen.boxes, poses.boxes[[2, 0]])
    assert chosen.box_scores.tolist() == pytest.approx([0.3, 0.9])
    assert (chosen.frame, chosen.size, len(poses.take(np.arange(0)))) == (3, poses.size, 0)
    _, regions = geometry.padded_region(torch.from_numpy(poses.boxes), 0.75)
    np.testing.assert_allclose(padded_areas(poses, 0.75), regions.prod(dim=1).numpy(), rtol=1e-6)
    assert padded_areas(poses, 0.75)[0] == pytest.approx((40 * 1.25) * (40 / 0.75 * 1.25), rel=1e-5)


def test_unsure_poses_are_dropped_only_when_asked(
    estimator: Estimator, monkeypatch: pytest.MonkeyPatch
) -> None:
    def certain(frames: Sequence[Frame], found: Sequence[Detections]) -> list[Poses]:
        (poses,) = Estimator.__call__(estimator, frames, found)
        sure = np.array([0.3, 0.9, 0.6], np.float32)
        return [replace(poses, keypoint_scores=np.repeat(sure[:, None], 17, axis=1))]

    boxes = Boxes(TWINS, [1.0, 1.0, 1.0])
    every = Pipeline(boxes, estimator, oks_threshold=1)
    some = Pipeline(boxes, estimator, oks_threshold=1, pose_threshold=0.5)
    for chain in (every, some):
        monkeypatch.setattr(chain, "_estimator", certain)
    assert every(frame(0)).scores.tolist() == pytest.approx([0.3, 0.9, 0.6])
    assert some(frame(0)).scores.tolist() == pytest.approx([0.9, 0.6])
