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
from hrpose.errors import BadImage, UsageError
from hrpose.estimator import Estimator
from hrpose.models.hrnet import HRNetConfig
from hrpose.models.networks import PoseNet
from hrpose.options import Options
from hrpose.pipeline import Detector, Pipeline, build_estimator, load, padded_areas
from hrpose.run import header_of
from hrpose.skeleton import COCO17
from hrpose.tracker import Tracker
from hrpose.types import Codec, Detections, Frame, Poses, Size
from hrpose.zoo.load import LoadedModel
from hrpose.zoo.specs import SPECS

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


SCENE = Size(64, 48)
BODY = np.random.default_rng(0).uniform([-3, -8], [3, 8], (17, 2))  # px around the centre


def boxes_at(index: int) -> dict[int, list[float]]:
    """Two people who walk towards each other in two rows; the second comes in at frame 5."""
    places = {0: (8 + 1.5 * index, 14)} | ({1: (58 - 1.5 * index, 36)} if index >= 5 else {})
    return {i: [x - 4, y - 9, x + 4, y + 9] for i, (x, y) in places.items()}


class Finder:
    """Finds them by looking at the truth, and remembers its batches."""

    def __init__(self) -> None:
        self.batches: list[list[int]] = []

    def __call__(self, frames: Sequence[Frame]) -> list[Detections]:
        self.batches.append([f.index for f in frames])
        found = [torch.tensor([*boxes_at(f.index).values()]).view(-1, 4) for f in frames]
        return [Detections(boxes, torch.full((len(boxes),), 0.9)) for boxes in found]


class Looker:
    """Finds the keypoints of who is covered by a box, and nothing elsewhere."""

    skeleton, crop, device = COCO17, CropSpec(Size(64, 96)), torch.device("cpu")

    def __call__(self, frames: Sequence[Frame], found: Sequence[Detections]) -> list[Poses]:
        pairs = zip(frames, found, strict=True)
        return [self._look(frame, d.boxes.numpy(), d.scores.numpy()) for frame, d in pairs]

    def _look(self, frame: Frame, boxes: np.ndarray, scores: np.ndarray) -> Poses:
        points, seen = np.zeros((len(boxes), 17, 2), np.float32), np.zeros((len(boxes), 17))
        for i, box in enumerate(boxes):
            for truth in boxes_at(frame.index).values():
                if (box[:2] - 3 <= truth[:2]).all() and (box[2:] + 3 >= truth[2:]).all():
                    centre = np.add(truth[:2], truth[2:]) / 2
                    points[i], seen[i] = centre + BODY, 0.8
        return Poses(
            keypoints=points, keypoint_scores=seen.astype(np.float32), boxes=boxes,
            box_scores=scores, track_ids=np.full(len(boxes), -1, np.int64), size=frame.size,
            skeleton=COCO17, frame=frame.index, time=frame.time,
        )  # fmt: skip


def clip(count: int = 20) -> list[Frame]:
    image = torch.zeros(3, SCENE.height, SCENE.width, dtype=torch.uint8)
    return [Frame(image, index=i, time=i / 25) for i in range(count)]


def followed(every: int, frame_batch: int = 4) -> tuple[list[Poses], Finder]:
    finder = Finder()
    chain = Pipeline(finder, Looker(), frame_batch=frame_batch)  # type: ignore[arg-type]
    results = list(chain.follow(iter(clip()), Tracker(), every))
    assert [f.index for f, _ in results] == [p.frame for _, p in results] == list(range(20))
    return [poses for _, poses in results], finder


@pytest.mark.parametrize("every", [2, 4, 7])
@pytest.mark.parametrize("frame_batch", [1, 3])
def test_between_detections_poses_are_followed(every: int, frame_batch: int) -> None:
    results, finder = followed(every, frame_batch)
    keys = list(range(0, 20, every))
    assert [i for batch in finder.batches for i in batch] == keys
    assert max(map(len, finder.batches)) <= frame_batch
    found_at = next(i for i in keys if i >= 5)  # the one who comes in between
    for index, poses in enumerate(results):
        assert poses.track_ids.tolist() == ([1, 2] if index >= found_at else [1])
        truth = np.array([*boxes_at(index).values()])[: len(poses)]
        centres = (truth[:, :2] + truth[:, 2:]) / 2
        np.testing.assert_allclose(poses.keypoints, centres[:, None] + BODY, atol=1e-4)
        np.testing.assert_allclose(poses.boxes, truth, atol=2.5)


def test_following_does_not_depend_on_the_batch() -> None:
    first, _ = followed(3, 1)
    for frame_batch in (2, 7, 50):
        for one, other in zip(first, followed(3, frame_batch)[0], strict=True):
            np.testing.assert_array_equal(one.keypoints, other.keypoints)
            np.testing.assert_array_equal(one.boxes, other.boxes)
            np.testing.assert_array_equal(one.track_ids, other.track_ids)


def test_detecting_in_every_frame_is_run_and_tracker() -> None:
    results, finder = followed(1)
    chain, tracker = Pipeline(Finder(), Looker()), Tracker()  # type: ignore[arg-type]
    for got, (_, poses) in zip(results, chain.run(clip()), strict=True):
        want = tracker(poses)
        np.testing.assert_array_equal(got.keypoints, want.keypoints)
        np.testing.assert_array_equal(got.track_ids, want.track_ids)
    assert [len(batch) for batch in finder.batches] == [4] * 5


def test_followed_frames_wait_for_detections_only(monkeypatch: pytest.MonkeyPatch) -> None:
    def held(frame_batch: int) -> list[int]:
        taken, most = 0, []

        def camera() -> Iterator[Frame]:
            nonlocal taken
            for taken, given in enumerate(clip(), 1):  # noqa: B007 - read by the loop below
                yield given

        chain = Pipeline(Finder(), Looker(), frame_batch=frame_batch)  # type: ignore[arg-type]
        for done, _ in enumerate(chain.follow(camera(), Tracker(), 4)):
            most.append(taken - done)
        return most

    assert set(held(1)) == {1}
    assert max(held(3)) == 9  # three detections, and the frames between
    monkeypatch.setattr(pipeline, "BATCH_PIXELS", 5 * SCENE.width * SCENE.height)
    assert max(held(3)) == 6


def test_a_new_clip_begins_with_a_detection() -> None:
    finder = Finder()
    chain = Pipeline(finder, Looker(), frame_batch=1)  # type: ignore[arg-type]
    tracker = Tracker()
    ids = [p.track_ids.tolist() for _, p in chain.follow(clip(3) + clip(4), tracker, 5)]
    assert finder.batches == [[0], [0]]
    assert ids == [[1]] * 3 + [[2]] * 4
    with pytest.raises(ValueError, match="detect_every"):
        next(chain.follow(clip(1), tracker, 0))


def test_run_is_two_stages(estimator: Estimator) -> None:
    chain = Pipeline(one_person(), estimator, frame_batch=2)
    frames = [frame(i) for i in range(3)]
    found = list(chain.detected(frames))
    assert [[f.index for f in batch] for batch, _ in found] == [[0, 1], [2]]
    for (_, one), (_, other) in zip(chain.posed(found), chain.run(frames), strict=True):
        np.testing.assert_array_equal(one.keypoints, other.keypoints)


def test_oks_is_refused_where_there_are_no_constants(monkeypatch: pytest.MonkeyPatch) -> None:
    """Asked for by name; a model of one's own with this codec is read by DARK instead."""
    spec = SPECS["hrnet_w32_mpii_256x256.official"]
    model = LoadedModel(spec, PoseNet(TINY, 16), "")
    monkeypatch.setattr(pipeline, "load_model", lambda *_, **__: model)
    with pytest.raises(UsageError, match="mpii16 has no OKS constants"):
        build_estimator(Options(refine="oks"), torch.device("cpu"))
    _, used = build_estimator(Options(refine="dark"), torch.device("cpu"))
    assert used.refine == "dark"
    assert spec.codec is not None
    own = replace(spec, codec=replace(spec.codec, refine="oks"))
    monkeypatch.setattr(pipeline, "load_model", lambda *_, **__: replace(model, spec=own))
    assert build_estimator(Options(), torch.device("cpu"))[1].refine == "dark"


@pytest.mark.parametrize(("asked", "want"), [(None, "oks"), ("dark", "dark")])
def test_results_name_how_heatmaps_were_read(asked: str | None, want: str) -> None:
    options = Options(refine=asked, device="cpu")
    assert header_of(load(options), options).settings["refine"] == want
