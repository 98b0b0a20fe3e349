"""Training canvases: boxes follow pixels, doubtful ones are ignored, runs can be resumed."""

from __future__ import annotations

from itertools import islice
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from hrpose.errors import InputError
from hrpose.media.store import Pictures
from hrpose.models.detection import IGNORE, PERSON, DetectorConfig, person_detector
from hrpose.train.augment import Colour
from hrpose.train.detection import (
    DetectionAugmentation,
    DetectionBatch,
    DetectionTask,
    move_boxes,
    split_canvas,
)
from hrpose.train.shards import Labels
from hrpose.types import Size

PLAIN = Colour(brightness=0, contrast=0, saturation=0, tint=0, grey=0, erase=0)
CANVAS = Size(96, 64)


def labels(
    size: Size, boxes: list[tuple[float, ...]], ignore: list[bool], name: str = "p.png"
) -> Labels:
    people = len(boxes)
    return Labels(
        name=name,
        shard="",
        size=size,
        boxes=torch.tensor(boxes, dtype=torch.float32).view(-1, 4),
        ignore=torch.tensor(ignore, dtype=torch.bool),
        keypoints=torch.zeros(people, 17, 2),
        weights=torch.zeros(people, 17),
        areas=torch.ones(people),
    )


@pytest.fixture
def data(tmp_path: Path) -> tuple[list[Labels], Pictures]:
    """Grey pictures; people are white, ignore regions red."""
    listed = []
    for i, size in enumerate((Size(90, 60), Size(50, 80), Size(300, 200), Size(40, 40))):
        w, h = size
        boxes = [(0.1 * w, 0.2 * h, 0.4 * w, 0.9 * h), (0.6 * w, 0.1 * h, 0.9 * w, 0.5 * h)]
        pixels = np.full((h, w, 3), 60, np.uint8)
        for (x0, y0, x1, y1), value in zip(boxes, ((255, 255, 255), (255, 60, 60)), strict=True):
            pixels[round(y0) : round(y1), round(x0) : round(x1)] = value
        Image.fromarray(pixels).save(tmp_path / f"{i}.png")
        whole = [tuple(map(round, box)) for box in boxes]
        listed.append(labels(size, whole, [False, True], f"{i}.png"))
    return listed, Pictures([tmp_path])


def task(data: tuple[list[Labels], Pictures], **changes: object) -> DetectionTask:
    how = DetectionAugmentation(colour=PLAIN, **changes)  # type: ignore[arg-type]
    network = torch.nn.Identity()
    return DetectionTask(network, *data, canvas=CANVAS, augmentation=how, batch_size=4)


def extent(mask: torch.Tensor) -> torch.Tensor:
    """xyxy of the set pixels, from edge to edge."""
    rows, columns = torch.where(mask.any(1))[0], torch.where(mask.any(0))[0]
    corners = [columns[0], rows[0], columns[-1] + 1, rows[-1] + 1]
    return torch.tensor([float(c) for c in corners])


def test_boxes_follow_the_pixels(data: tuple[list[Labels], Pictures]) -> None:
    checked = {PERSON: 0, IGNORE: 0}
    # whole pictures, 12 batches: enlarged, shrunk below half, stretched and mirrored
    for batch in islice(task(data, tiles=(1,), zoom=(0.4, 0.65)).batches(), 12):
        for pixels, boxes, kinds in zip(batch.pixels, batch.boxes, batch.labels, strict=True):
            for kind, mask in (
                (PERSON, pixels[1] > 0.62),
                (IGNORE, (pixels[0] > 0.62) & (pixels[1] < 0.4)),
            ):
                if kinds.tolist().count(kind) == 1:
                    error = (extent(mask) - boxes[kinds == kind][0]).abs().max()
                    assert error < 1.0
                    checked[kind] += 1
    assert min(checked.values()) > 30


def test_mosaic_holds_people_of_all_tiles(data: tuple[list[Labels], Pictures]) -> None:
    (batch,) = islice(task(data, tiles=(4,), zoom=(0.9, 1.0)).batches(), 1)
    assert batch.pixels.shape == (4, 3, 64, 96)
    assert batch.pixels.min() >= 0
    assert batch.pixels.max() <= 1
    assert all(len(boxes) > 4 for boxes in batch.boxes)
    for boxes, kinds in zip(batch.boxes, batch.labels, strict=True):
        assert boxes.min() >= 0
        assert (boxes.amax(0) <= torch.tensor([96, 64, 96, 64])).all()
        assert (boxes[:, 2:] > boxes[:, :2]).all()
        assert set(kinds.tolist()) <= {PERSON, IGNORE}


@pytest.mark.parametrize("count", [1, 2, 3, 9])
def test_tiles_cover_the_canvas_once(count: int) -> None:
    covered = np.zeros((64, 96), int)
    tiles = split_canvas(CANVAS, count, np.random.default_rng(count), least=0.35)
    for tile in tiles:
        width, height = tile.size
        covered[tile.top : tile.top + height, tile.left : tile.left + width] += 1
    assert len(tiles) == count
    assert (covered == 1).all()


@pytest.mark.parametrize(
    ("box", "ignore", "want"),
    [
        pytest.param((10, 10, 30, 60), False, [(20, 20, 60, 100, PERSON)], id="cut, 80 % left"),
        pytest.param((10, 40, 30, 90), False, [(20, 80, 60, 100, IGNORE)], id="20 % left"),
        pytest.param((10, 10, 12.5, 40), False, [(20, 20, 25, 80, IGNORE)], id="5 px wide"),
        pytest.param((10, 10, 30, 40), True, [(20, 20, 60, 80, IGNORE)], id="region"),
        pytest.param((60, 10, 80, 40), False, [], id="outside"),
    ],
)
def test_what_becomes_of_a_box(
    box: tuple[float, ...], ignore: bool, want: list[tuple[float, ...]]
) -> None:
    picture = labels(Size(100, 100), [box], [ignore])
    double = torch.tensor([[2.0, 0, 0], [0, 2, 0]], dtype=torch.float64)
    boxes, kinds = move_boxes(picture, double, Size(100, 100), DetectionAugmentation())
    assert [(*b, k) for b, k in zip(boxes.tolist(), kinds.tolist(), strict=True)] == want


def test_mirrored_box_has_its_corners_in_order() -> None:
    picture = labels(Size(100, 100), [(10, 10, 30, 60)], [False])
    mirror = torch.tensor([[-1.0, 0, 100], [0, 1, 0]], dtype=torch.float64)
    boxes, _ = move_boxes(picture, mirror, Size(100, 100), DetectionAugmentation())
    assert boxes.tolist() == [[70, 10, 90, 60]]


def test_a_resumed_run_sees_the_same_batches(data: tuple[list[Labels], Pictures]) -> None:
    def same(a: DetectionBatch, b: DetectionBatch) -> bool:
        pairs = [(a.pixels, b.pixels), *zip(a.boxes, b.boxes), *zip(a.labels, b.labels)]  # noqa: B905
        return all(torch.equal(x, y) for x, y in pairs)

    run = list(islice(task(data).batches(), 6))
    resumed = list(islice(task(data).batches(4), 2))
    assert all(map(same, run[4:], resumed))
    assert not same(run[0], run[1])


def test_large_pictures_are_shown_more_often(data: tuple[list[Labels], Pictures]) -> None:
    assert len(task(data)) == 5  # 300 x 200 px twice
    assert len(task(data, repeat=1)) == 4


def test_loss_is_that_of_the_network(data: tuple[list[Labels], Pictures]) -> None:
    network = person_detector(DetectorConfig()).train()
    it = task(data)
    loss, figures = it.loss(network, next(it.batches()))
    assert set(figures) == {"classifier", "box_reg", "objectness", "rpn_box_reg"}
    assert loss.item() == pytest.approx(sum(figures.values()), rel=1e-5)
    loss.backward()
    assert network.rpn.head.cls_logits.weight.grad.abs().max() > 0


def test_refuses_data_without_people_and_odd_canvases(data: tuple[list[Labels], Pictures]) -> None:
    listed, pictures = data
    crowd = [labels(Size(50, 50), [(0, 0, 9, 9)], [True]), labels(Size(50, 50), [], [])]
    with pytest.raises(InputError, match="no labelled person"):
        DetectionTask(torch.nn.Identity(), crowd, pictures)
    with pytest.raises(ValueError, match="multiples of 32"):
        DetectionTask(torch.nn.Identity(), listed, pictures, canvas=Size(100, 96))
