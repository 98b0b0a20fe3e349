"""Frames to boxes: order, companions, limits, odd pictures, files."""

from __future__ import annotations

import copy
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from torchvision.models.detection import FasterRCNN, fasterrcnn_mobilenet_v3_large_320_fpn

from hrpose.detector import BoxesFromFile, PersonDetector, WholePicture
from hrpose.models.detection import DetectorConfig, person_detector
from hrpose.types import Detections, Frame

SMALL = DetectorConfig(min_size=128, max_size=192)


@pytest.fixture(scope="module")
def network() -> FasterRCNN:
    torch.manual_seed(0)
    network = person_detector(SMALL).eval()
    # scores of all sizes, so that order and threshold mean something
    torch.nn.init.normal_(network.roi_heads.box_predictor.cls_score.weight, std=1.0)
    return network


def frame(height: int, width: int, seed: int = 0, **more: Any) -> Frame:
    generator = torch.Generator().manual_seed(seed)
    # blocks, so that pictures differ at the scale that the network sees
    noise = torch.rand(1, 3, -(-height // 16), -(-width // 16), generator=generator)
    image = torch.nn.functional.interpolate(noise * 255, scale_factor=16)[0, :, :height, :width]
    return Frame(image=image.to(torch.uint8), **more)


def detector(network: FasterRCNN, **settings: Any) -> PersonDetector:
    return PersonDetector(copy.deepcopy(network), **{"score_threshold": 0.05, **settings})


def assert_same(got: Sequence[Detections], want: Sequence[Detections]) -> None:
    assert len(got) == len(want)
    for a, b in zip(got, want, strict=True):
        torch.testing.assert_close(a.scores, b.scores, rtol=0, atol=1e-4)
        torch.testing.assert_close(a.boxes, b.boxes, rtol=0, atol=0.02)


def test_equals_torchvision_s_own_forward(network: FasterRCNN) -> None:
    picture = frame(120, 160)
    with torch.inference_mode():
        plain = copy.deepcopy(network)([picture.image.float() / 255])[0]
    (found,) = detector(network, score_threshold=0)([picture])
    assert len(found) == len(plain["scores"]) > 10
    assert_same([found], [Detections(boxes=plain["boxes"], scores=plain["scores"])])


def test_companions_and_order_change_nothing(network: FasterRCNN) -> None:
    frames = [frame(120, 160, 1), frame(200, 100, 2), frame(120, 160, 3), frame(64, 64, 4)]
    one = detector(network, batch_size=1)
    alone = [one([f])[0] for f in frames]
    assert not torch.allclose(alone[0].boxes[:5], alone[2].boxes[:5], atol=0.1)
    for size in (1, 2, 8):
        assert_same(detector(network, batch_size=size)(frames), alone)
    assert_same(detector(network)(frames[::-1]), alone[::-1])


def test_no_frames(network: FasterRCNN) -> None:
    assert detector(network)([]) == []


def test_form_of_the_result(network: FasterRCNN) -> None:
    (found,) = detector(network)([frame(90, 200)])
    assert (found.boxes.dtype, found.scores.dtype) == (torch.float32, torch.float32)
    assert found.boxes.min() >= 0
    assert (found.boxes.amax(0) <= torch.tensor([200, 90, 200, 90])).all()
    assert (found.boxes[:, 2:] > found.boxes[:, :2]).all()
    assert (found.scores[:-1] >= found.scores[1:]).all()


def test_threshold_and_limit(network: FasterRCNN) -> None:
    picture = [frame(120, 160)]
    (every,) = detector(network)(picture)
    (sure,) = detector(network, score_threshold=0.6)(picture)
    (few,) = detector(network, max_people=3)(picture)
    count = int((every.scores >= 0.6).sum())
    assert 0 < count < len(every)
    assert_same([sure], [Detections(boxes=every.boxes[:count], scores=every.scores[:count])])
    assert_same([few], [Detections(boxes=every.boxes[:3], scores=every.scores[:3])])


@pytest.mark.parametrize("bad", [{"score_threshold": 1.5}, {"max_people": 0}, {"batch_size": 0}])
def test_bad_arguments(network: FasterRCNN, bad: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="expected"):
        detector(network, **bad)


def test_person_class_only_of_a_model_of_torchvision() -> None:
    model = fasterrcnn_mobilenet_v3_large_320_fpn(weights=None, weights_backbone=None)
    model.roi_heads.detections_per_img = 1000  # else the surer cars leave no room
    predictor = model.roi_heads.box_predictor.cls_score
    torch.nn.init.zeros_(predictor.weight)
    torch.nn.init.zeros_(predictor.bias)
    with torch.no_grad():
        predictor.bias[[1, 3]] = torch.tensor([6.0, 7.0])  # person and car, everywhere
    (found,) = PersonDetector(model, score_threshold=0.1)([frame(120, 160)])
    assert len(found)
    person = torch.tensor([6.0, 7.0, *[0.0] * 89]).softmax(0)[0]
    torch.testing.assert_close(found.scores, person.expand(len(found)))


def test_boxes_that_are_not_numbers_are_dropped(network: FasterRCNN) -> None:
    nan, inf = float("nan"), float("inf")
    output = {
        "boxes": torch.tensor([[1.0, 2, 30, 40], [nan, 0, 5, 5], [0, 0, inf, 5], [3, 4, 5, 60]]),
        "scores": torch.tensor([0.5, 0.9, 0.9, nan]),
        "labels": torch.tensor([1, 1, 1, 1]),
    }
    broken = copy.deepcopy(network)
    broken.roi_heads.forward = lambda *_: ([output], {})
    (found,) = PersonDetector(broken, score_threshold=0.0)([frame(128, 128)])
    assert found.boxes.tolist() == [[1, 2, 30, 40]]
    assert found.scores.tolist() == [0.5]


@pytest.mark.parametrize("shape", [(1, 60000), (60000, 1), (5, 200)], ids=str)
def test_a_sliver_has_no_people(
    network: FasterRCNN, shape: tuple[int, int], caplog: pytest.LogCaptureFixture
) -> None:
    frames = [frame(*shape, source="strip.png"), frame(64, 64)]
    strip, other = detector(network)(frames)
    assert len(strip) == 0
    assert len(other)
    assert "too narrow" in caplog.text
    assert "strip.png" in caplog.text


def test_a_panorama_first_does_not_spoil_later_pictures(network: FasterRCNN) -> None:
    picture = frame(120, 160)
    fresh = detector(network)([picture])
    used = detector(network)
    assert len(used([frame(35, 192)])) == 1  # 35 px, padded to 64
    assert_same(used([picture]), fresh)


def test_halves_the_batch_when_memory_runs_out(
    network: FasterRCNN, capsys: pytest.CaptureFixture[str]
) -> None:
    frames = [frame(64, 96, seed) for seed in range(5)]
    small = copy.deepcopy(network)
    inner, sizes = small.backbone.forward, []

    def forward(x: torch.Tensor) -> Any:
        sizes.append(len(x))
        if len(x) > 2:
            raise torch.OutOfMemoryError("too much")
        return inner(x)

    small.backbone.forward = forward
    found = PersonDetector(small, score_threshold=0.05, batch_size=5)(frames)
    assert sizes == [5, 2, 2, 1]
    assert capsys.readouterr().err.count("out of memory") == 1
    assert_same(found, detector(network)(frames))


@pytest.mark.gpu
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16], ids=str)
def test_cuda(network: FasterRCNN, dtype: torch.dtype) -> None:
    frames = [frame(120, 160, 1), frame(200, 100, 2)]
    found = detector(network, device="cuda", dtype=dtype)(frames)
    assert all(len(f) and f.boxes.device.type == "cpu" for f in found)
    assert all(f.boxes.dtype == torch.float32 for f in found)


def test_whole_picture() -> None:
    found = WholePicture()([frame(30, 50), frame(7, 9)])
    assert [f.boxes.tolist() for f in found] == [[[0, 0, 50, 30]], [[0, 0, 9, 7]]]
    assert [f.scores.tolist() for f in found] == [[1.0], [1.0]]


@pytest.fixture
def boxes_file(tmp_path: Path) -> Path:
    rows = [(139, 0.4, 1), (139, 0.9, 2), (2, 0.8, 3), ("cat.jpg", 0.7, 4)]
    path = tmp_path / "boxes.json"
    path.write_text(
        json.dumps(
            [
                {"image_id": i, "category_id": 1, "bbox": [x, 0, 10, 20], "score": score}
                for i, score, x in rows
            ]
        )
    )
    return path


def test_boxes_from_a_file(boxes_file: Path) -> None:
    found = BoxesFromFile(boxes_file)(
        [
            frame(8, 8, source="a/000000000139.jpg"),
            frame(8, 8, source="a/000000000140.jpg"),
            frame(8, 8, source="b/cat.jpg"),
            frame(8, 8, source="clip139.mp4", index=2, time=0.1),
            frame(8, 8, source="clip139.mp4", index=3, time=0.2),
        ]
    )
    assert [[box[0] for box in f.boxes.tolist()] for f in found] == [[2, 1], [], [4], [3], []]
    assert found[0].boxes[0].tolist() == [2, 0, 12, 20]


def test_boxes_from_a_file_are_limited(boxes_file: Path) -> None:
    picture = [frame(8, 8, source="139.jpg")]
    assert len(BoxesFromFile(boxes_file, score_threshold=0.5)(picture)[0]) == 1
    assert len(BoxesFromFile(boxes_file, max_people=1)(picture)[0]) == 1
    assert len(BoxesFromFile(boxes_file, score_threshold=0.95)(picture)[0]) == 0
