"""Which boxes of a detector fit nobody, and that they come with nothing to find."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from hrpose.train.negatives import find_negatives
from hrpose.train.shards import Labels
from hrpose.types import Detections, Size

PERSON, CROWD = [100.0, 100, 200, 300], [300.0, 0, 400, 100]


def picture(**changes: object) -> Labels:
    labels = Labels(
        name="street/a7.png",
        shard="",
        size=Size(400, 400),
        boxes=torch.tensor([PERSON, CROWD]),
        ignore=torch.tensor([False, True]),
        keypoints=torch.zeros(2, 17, 2),
        weights=torch.zeros(2, 17),
        areas=torch.ones(2),
        id=12,
    )
    return replace(labels, **changes)  # type: ignore[arg-type]


def found(*boxes: list[float]) -> Detections:
    return Detections(torch.tensor(boxes).view(-1, 4), torch.ones(len(boxes)))


@pytest.mark.parametrize(
    ("box", "negative"),
    [
        ([0.0, 310, 90, 390], True),  # far from everybody
        ([60.0, 100, 119, 300], False),  # a third of it lies on the person
        ([60.0, 100, 109, 300], True),  # 18 % of it
        ([0.0, 0, 160, 400], False),  # a fifth of it, and more than half of the person
        ([0.0, 0, 140, 400], True),  # 14 % of it, 40 % of the person
        ([310.0, 10, 350, 60], False),  # in an ignore region
        ([20.0, 320, 20, 390], False),  # empty
    ],
)
def test_what_fits_nobody(box: list[float], negative: bool) -> None:
    kept = find_negatives([picture()], {12: found(box)})
    assert [b.tolist() for _, b in kept] == ([box] if negative else [])


@pytest.mark.parametrize("key", [12, "street/a7.png", "a7.png"])
def test_pictures_are_known_by_id_or_name(key: int | str) -> None:
    boxes = {key: found([0.0, 310, 90, 390], [0.0, 0, 60, 60])}
    labels = [picture(), picture(name="b.png", id=13)]
    assert [(p.name, b.tolist()) for p, b in find_negatives(labels, boxes)] == [
        ("street/a7.png", [0.0, 310, 90, 390]),
        ("street/a7.png", [0.0, 0, 60, 60]),
    ]
    assert len(find_negatives(labels * 3, boxes)) == 6  # as often as the mix shows the picture


def test_a_number_in_the_name_is_not_an_id() -> None:
    assert find_negatives([picture()], {7: found([0.0, 310, 90, 390])}) == []


def test_nobody_in_a_picture_without_people() -> None:
    empty = picture(
        boxes=torch.zeros(0, 4), ignore=torch.zeros(0, dtype=torch.bool),
        keypoints=torch.zeros(0, 17, 2), weights=torch.zeros(0, 17), areas=torch.zeros(0),
    )  # fmt: skip
    assert len(find_negatives([empty], {12: found([5.0, 5, 50, 60])})) == 1
    assert find_negatives([empty], {}) == []
