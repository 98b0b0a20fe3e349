"""Detections to poses: whoever else is there, however the batch is cut, the person stays.

1e-3 px: convolutions of other batch sizes may sum in another order, which moves heatmaps by 1e-7
and keypoints, read from the maximum and its neighbours, not at all; the tolerance covers the
inverse affine in float32 at 1000 px.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hrpose import geometry, heatmap
from hrpose.crop import CropSpec, crop_people
from hrpose.errors import HrposeError, MemoryLimitError
from hrpose.estimator import Estimator
from hrpose.models.hrnet import HRNetConfig
from hrpose.models.networks import PoseNet
from hrpose.skeleton import COCO17
from hrpose.types import Codec, Detections, Frame, Poses, Size

TINY = HRNetConfig(width=4, stem=8, planes=4, bottlenecks=1, modules=(1, 1, 1), blocks=1)
CROP = CropSpec(Size(64, 96))
CODEC = Codec(cell_offset=1.5, mirror_shift=False)
TOLERANCE = 1e-3


def pose_net() -> PoseNet:
    torch.manual_seed(1)
    return PoseNet(TINY, 17).eval()


def estimator(network: nn.Module | None = None, **settings: object) -> Estimator:
    values = {"crop": CROP, "codec": CODEC, "skeleton": COCO17, **settings}
    return Estimator(network or pose_net(), **values)  # type: ignore[arg-type]


def frame(width: int, height: int, seed: int) -> Frame:
    generator = torch.Generator().manual_seed(seed)
    noise = torch.rand(1, 3, height // 8 + 1, width // 8 + 1, generator=generator)
    image = F.interpolate(noise * 255, scale_factor=8)[0, :, :height, :width].to(torch.uint8)
    return Frame(image, index=seed, time=seed / 25, source=f"{seed}.jpg")


def people(frame: Frame, count: int, seed: int = 0) -> Detections:
    generator = torch.Generator().manual_seed(100 * frame.index + seed)
    size = torch.tensor(frame.size)
    middle = torch.rand(count, 2, generator=generator) * size
    half = (0.1 + 0.3 * torch.rand(count, 2, generator=generator)) * size
    scores = torch.rand(count, generator=generator)
    return Detections(torch.cat([middle - half, middle + half], dim=1), scores)


FRAMES = [frame(200, 150, 1), frame(90, 160, 2), frame(320, 64, 3), frame(200, 150, 4)]
PEOPLE = [people(f, n) for f, n in zip(FRAMES, (5, 0, 37, 1), strict=True)]


def assert_same(got: Poses, want: Poses) -> None:
    np.testing.assert_allclose(got.keypoints, want.keypoints, rtol=0, atol=TOLERANCE)
    np.testing.assert_allclose(got.keypoint_scores, want.keypoint_scores, rtol=0, atol=1e-5)
    np.testing.assert_array_equal(got.boxes, want.boxes)


@pytest.fixture(scope="module")
def alone() -> list[Poses]:
    """Every person of every frame by himself."""
    one = estimator()
    found = []
    for picture, boxes in zip(FRAMES, PEOPLE, strict=True):
        singles = (Detections(boxes.boxes[[i]], boxes.scores[[i]]) for i in range(len(boxes)))
        parts = [one([picture], [single])[0] for single in singles]
        found.append(joined(parts, picture))
    return found


def joined(parts: Sequence[Poses], picture: Frame) -> Poses:
    def stack(name: str, *shape: int) -> np.ndarray:
        none = np.zeros((0, *shape), np.float32)
        return np.concatenate([none, *(getattr(p, name) for p in parts)])

    return Poses(
        keypoints=stack("keypoints", 17, 2),
        keypoint_scores=stack("keypoint_scores", 17),
        boxes=stack("boxes", 4),
        box_scores=stack("box_scores"),
        track_ids=np.full(len(parts), -1),
        size=picture.size,
        skeleton=COCO17,
    )


@pytest.mark.parametrize("batch_size", [1, 3, 32])
def test_companions_and_crop_batches_change_nothing(alone: list[Poses], batch_size: int) -> None:
    together = estimator(batch_size=batch_size)(FRAMES, PEOPLE)
    assert [len(p) for p in together] == [5, 0, 37, 1]
    for got, want in zip(together, alone, strict=True):
        assert_same(got, want)
    spread = together[2].keypoints.std(axis=0)
    assert spread.min() > 1  # different people are different


@pytest.mark.parametrize("frame_batch", [1, 2, 3])
def test_frame_batches_change_nothing(alone: list[Poses], frame_batch: int) -> None:
    run = estimator()
    parts = range(0, len(FRAMES), frame_batch)
    found = [
        poses
        for i in parts
        for poses in run(FRAMES[i : i + frame_batch], PEOPLE[i : i + frame_batch])
    ]
    for got, want in zip(found, alone, strict=True):
        assert_same(got, want)


def test_order_of_people_follows_the_detections(alone: list[Poses]) -> None:
    order = [3, 0, 4, 2, 1]
    boxes = Detections(PEOPLE[0].boxes[order], PEOPLE[0].scores[order])
    (found,) = estimator(batch_size=2)(FRAMES[:1], [boxes])
    np.testing.assert_allclose(found.keypoints, alone[0].keypoints[order], rtol=0, atol=TOLERANCE)
    np.testing.assert_array_equal(found.box_scores, boxes.scores.numpy())


def test_what_the_poses_carry() -> None:
    found = estimator()(FRAMES, PEOPLE)
    for poses, picture, boxes in zip(found, FRAMES, PEOPLE, strict=True):
        assert (poses.frame, poses.time) == (picture.index, picture.time)
        assert (poses.source, poses.size) == (picture.source, picture.size)
        assert poses.skeleton is COCO17
        assert poses.track_ids.tolist() == [-1] * len(boxes)
        np.testing.assert_array_equal(poses.boxes, boxes.boxes.numpy())
        assert poses.keypoints.dtype == poses.keypoint_scores.dtype == np.float32
        assert (poses.keypoint_scores >= 0).all()


@pytest.mark.parametrize("frames", [0, 1, 3])
def test_nobody_anywhere(frames: int) -> None:
    nobody = [Detections(torch.zeros(0, 4), torch.zeros(0))] * frames
    found = estimator()(FRAMES[:frames], nobody)
    assert [poses.keypoints.shape for poses in found] == [(0, 17, 2)] * frames


def test_lengths_must_agree() -> None:
    with pytest.raises(ValueError, match="2 frames with 1 detections"):
        estimator()(FRAMES[:2], PEOPLE[:1])


@pytest.mark.parametrize("codec", [CODEC, Codec()], ids=["no shift", "official shift"])
def test_flip_test_is_the_average_with_the_mirrored_crop(codec: Codec) -> None:
    (found,) = estimator(codec=codec, flip_test=True)(FRAMES[:1], PEOPLE[:1])
    (plain,) = estimator(codec=codec)(FRAMES[:1], PEOPLE[:1])
    assert np.abs(found.keypoints - plain.keypoints).max() > 1
    network, crops = pose_net(), crop_people(FRAMES[:1], PEOPLE[:1], CROP)
    with torch.inference_mode():
        straight, mirrored = network(crops.pixels), network(crops.pixels.flip(3))
    total = straight.clone()
    for k, twin in enumerate(COCO17.mirror):
        back = mirrored[:, twin].flip(2)
        if codec.mirror_shift:
            back = torch.cat([back[..., :1], back[..., :-1]], dim=2)
        total[:, k] += back
    peaks = heatmap.decode(total / 2, codec)
    want = geometry.apply(crops.image_from_crop, heatmap.crop_from_cells(peaks.xy, codec))
    np.testing.assert_allclose(found.keypoints, want.numpy(), rtol=0, atol=TOLERANCE)


def test_the_expected_oks_is_that_of_the_skeleton() -> None:
    codec = replace(CODEC, refine="oks")
    (found,) = estimator(codec=codec)(FRAMES[:1], PEOPLE[:1])
    crops = crop_people(FRAMES[:1], PEOPLE[:1], CROP)
    with torch.inference_mode():
        peaks = heatmap.decode(pose_net()(crops.pixels), codec, COCO17.sigmas)
    want = geometry.apply(crops.image_from_crop, heatmap.crop_from_cells(peaks.xy, codec))
    # random weights give flat maps, whose vertex feels the rounding of folded batch norms
    np.testing.assert_allclose(found.keypoints, want.numpy(), rtol=0, atol=10 * TOLERANCE)
    scores = peaks.scores.clamp_min(0).numpy()
    np.testing.assert_allclose(found.keypoint_scores, scores, rtol=0, atol=1e-5)
    (dark,) = estimator(codec=replace(CODEC, refine="dark"))(FRAMES[:1], PEOPLE[:1])
    assert np.abs(found.keypoints - dark.keypoints).max() > 1


@pytest.mark.parametrize("flip_test", [False, True])
def test_heatmaps_come_along_and_change_nothing(flip_test: bool) -> None:
    settings = {"batch_size": 16, "flip_test": flip_test}
    plain = estimator(**settings)(FRAMES, PEOPLE)
    kept = estimator(keep_heatmaps=True, **settings)(FRAMES, PEOPLE)
    for without, poses in zip(plain, kept, strict=True):
        assert without.heatmaps is None
        assert poses.heatmaps is not None
        assert poses.heatmaps.values.shape == (len(poses), 17, 24, 16)
        assert poses.heatmaps.values.dtype == np.float16
        np.testing.assert_array_equal(poses.keypoints, without.keypoints)
        np.testing.assert_array_equal(poses.keypoint_scores, without.keypoint_scores)
        peaks = poses.heatmaps.values.max(axis=(2, 3)).clip(0).astype(np.float32)
        np.testing.assert_allclose(peaks, poses.keypoint_scores, rtol=1e-3, atol=1e-6)


@pytest.mark.parametrize("codec", [CODEC, Codec()], ids=["with offset", "official"])
def test_heatmaps_lie_where_the_keypoints_are(codec: Codec) -> None:
    plain = replace(codec, refine="none")  # keypoints in the middle of cells
    (poses,) = estimator(codec=plain, keep_heatmaps=True)(FRAMES[:1], PEOPLE[:1])
    maps = poses.heatmaps
    assert maps is not None
    for person in range(len(poses)):
        flat = maps.values[person].astype(np.float32).reshape(17, -1)
        x, y = flat.argmax(axis=1) % 16, flat.argmax(axis=1) // 16
        cells = np.stack([x, y, np.ones(17)])
        highest = np.sort(flat, axis=1)[:, -2:]
        sure = (highest[:, 0] < highest[:, 1]) & (highest[:, 1] > 0)  # float16 makes ties
        assert sure.any()
        got = (maps.image_from_cells[person] @ cells).T
        np.testing.assert_allclose(got[sure], poses.keypoints[person][sure], atol=TOLERANCE)


@pytest.mark.parametrize("frames", [0, 1])
def test_heatmaps_of_nobody(frames: int) -> None:
    nobody = [Detections(torch.zeros(0, 4), torch.zeros(0))] * frames
    found = estimator(keep_heatmaps=True)(FRAMES[:frames], nobody)
    assert [poses.heatmaps.values.shape for poses in found if poses.heatmaps is not None] == [
        (0, 17, 24, 16)
    ] * frames


class Brightness(nn.Module):
    """Every heatmap is the smoothed green of the crop: finds a green spot."""

    def forward(self, x: Tensor) -> Tensor:
        cells = F.avg_pool2d(x[:, 1:2] + 3, 4)
        kernel = torch.exp(-((torch.arange(-3.0, 4.0)) ** 2) / 4)
        smooth = F.conv2d(cells, (kernel[:, None] * kernel)[None, None], padding=3)
        return smooth.expand(-1, 17, -1, -1)


@pytest.mark.parametrize("flip_test", [False, True])
@pytest.mark.parametrize(
    "box",
    [(40.0, 30, 160, 190), (-60, -40, 130, 150), (90, 80, 300, 400), (100, 60, 104, 170)],
    ids=["inside", "over the corner", "over the other", "thin"],
)
def test_keypoints_lie_on_the_pixels_that_the_network_sees(
    box: tuple[float, ...], flip_test: bool
) -> None:
    spot = 104.0, 101.5
    y, x = torch.meshgrid(torch.arange(200.0), torch.arange(220.0), indexing="ij")
    glow = torch.exp(-((x - spot[0]) ** 2 + (y - spot[1]) ** 2) / (2 * 5.0**2))
    image = torch.zeros(3, 200, 220, dtype=torch.uint8)
    image[1] = (255 * glow).to(torch.uint8)
    finder = estimator(Brightness(), flip_test=flip_test)
    detections = Detections(torch.tensor([box]), torch.ones(1))
    (found,) = finder([Frame(image)], [detections])
    per_cell = geometry.padded_region(detections.boxes, CROP.aspect)[1][0, 0] / 64 * 4
    error = np.abs(found.keypoints[0] - np.array(spot)).max() / float(per_cell)
    assert error <= 0.3  # a quarter cell, and the spot's rounding to grey levels


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_values_that_are_not_numbers_are_an_error(value: float) -> None:
    network = pose_net()
    assert network.final_layer.bias is not None
    network.final_layer.bias.data[3] = value
    with pytest.raises(HrposeError, match="not numbers") as caught:
        estimator(network)(FRAMES, PEOPLE)
    assert "float32" in caught.value.hint


def with_memory_for(crops: int) -> tuple[nn.Module, list[int]]:
    class Limited(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inside, self.tried = pose_net(), list[int]()

        def forward(self, x: Tensor) -> Tensor:
            self.tried.append(len(x))
            if len(x) > crops:
                raise torch.OutOfMemoryError("CUDA out of memory")
            output: Tensor = self.inside(x)
            return output

    limited = Limited()
    return limited, limited.tried


def test_out_of_memory_makes_the_batch_smaller(
    alone: list[Poses], capsys: pytest.CaptureFixture[str]
) -> None:
    network, tried = with_memory_for(9)
    run = estimator(network, batch_size=16)
    for got, want in zip(run(FRAMES, PEOPLE), alone, strict=True):
        assert_same(got, want)
    run(FRAMES, PEOPLE)
    assert tried == [16, *[8] * 5, 3, *[8] * 5, 3]
    assert capsys.readouterr().err.count("out of memory: going on with 8 crops") == 1


def test_no_memory_for_one_crop() -> None:
    network, _ = with_memory_for(0)
    with pytest.raises(MemoryLimitError):
        estimator(network, batch_size=2)(FRAMES, PEOPLE)


def test_half_precision_stays_near(alone: list[Poses]) -> None:
    (found, *_) = estimator(dtype=torch.bfloat16)(FRAMES, PEOPLE)
    assert found.keypoints.dtype == np.float32
    # a random network has flat maps, so a maximum may jump: the median is what must hold
    assert np.median(np.abs(found.keypoints - alone[0].keypoints)) < 5
