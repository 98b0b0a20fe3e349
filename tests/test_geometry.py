"""Boxes and affine maps: the published values, and the laws they obey."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from hrpose import geometry
from hrpose.types import Size

QUICK = settings(max_examples=60, deadline=None, derandomize=True)
TAGS = {"256x192": Size(192, 256), "384x288": Size(288, 384)}

sides = st.floats(2, 3000)
places = st.floats(-3000, 5000)


@st.composite
def boxes(draw: st.DrawFn) -> torch.Tensor:
    x, y = draw(places), draw(places)
    return torch.tensor([x, y, x + draw(sides), y + draw(sides)], dtype=torch.float64)


@st.composite
def maps(draw: st.DrawFn) -> torch.Tensor:
    """Similarities, some with a reflection, that scale by 0.01 to 100."""
    scale, angle = 10 ** draw(st.floats(-2, 2)), draw(st.floats(-math.pi, math.pi))
    cos, sin = scale * math.cos(angle), scale * math.sin(angle)
    side = draw(st.sampled_from([-1, 1]))
    shift = draw(places), draw(places)
    rows = [[cos * side, -sin, shift[0]], [sin * side, cos, shift[1]]]
    return torch.tensor(rows, dtype=torch.float64)


@pytest.mark.parametrize("tag", TAGS)
def test_golden_region_and_affine(shared: Path, tag: str) -> None:
    golden = np.load(shared / "data/golden/postprocess.npz")
    size = TAGS[tag]
    found = geometry.xyxy_from_xywh(torch.from_numpy(golden[f"{tag}_boxes_xywh"]))
    centers, regions = geometry.padded_region(found, size.width / size.height)
    np.testing.assert_allclose(centers.numpy(), golden[f"{tag}_center"], rtol=0, atol=1e-4)
    np.testing.assert_allclose(regions.numpy() / 200, golden[f"{tag}_scale"], rtol=0, atol=1e-4)
    affine = geometry.crop_from_image(centers, regions, size)
    np.testing.assert_allclose(affine.numpy(), golden[f"{tag}_affine"], rtol=0, atol=1e-4)


@QUICK
@given(boxes())
def test_boxes_there_and_back(box: torch.Tensor) -> None:
    back = geometry.xyxy_from_xywh(geometry.xywh_from_xyxy(box))
    torch.testing.assert_close(back, box)


@QUICK
@given(boxes(), st.floats(0.5, 2), st.floats(1, 2))
def test_region_holds_the_padded_box(box: torch.Tensor, aspect: float, padding: float) -> None:
    center, region = geometry.padded_region(box, aspect, padding=padding)
    torch.testing.assert_close(center.double(), (box[:2] + box[2:]) / 2, rtol=1e-6, atol=1e-6)
    assert float(region[0] / region[1]) == pytest.approx(aspect, rel=1e-5)
    grown = region.double() / (padding * (box[2:] - box[:2]))
    assert float(grown.min()) == pytest.approx(1, rel=1e-5)  # one side stays, the other grows


@pytest.mark.parametrize("box", [[5.0, 7, 5, 7], [5, 7, 4, 2], [5, 7, 5.5, 7.5]], ids=str)
def test_a_box_of_no_area_still_has_a_region(box: list[float]) -> None:
    _, region = geometry.padded_region(torch.tensor(box), 0.75)
    assert float(region.min()) == pytest.approx(geometry.MIN_SIDE * geometry.PADDING)


@QUICK
@given(boxes(), st.floats(-math.pi, math.pi))
def test_crop_map_is_a_similarity_around_the_centre(box: torch.Tensor, angle: float) -> None:
    size = Size(192, 256)
    center, region = geometry.padded_region(box, 0.75)
    turned = geometry.crop_from_image(center, region, size, rotation=torch.tensor(angle))
    middle = geometry.apply(turned, center.double()[None])[0]
    torch.testing.assert_close(middle, torch.tensor([96.0, 128.0]).double(), rtol=0, atol=1e-6)
    gram = turned[:, :2] @ turned[:, :2].T
    scale = (192 / region[0].double()) ** 2
    # two points a hundredth of a pixel apart at 5000 px keep three digits in float32
    torch.testing.assert_close(gram / scale, torch.eye(2).double(), rtol=0, atol=2e-2)
    assert turned[:, :2].det() > 0


def test_positive_rotation_turns_the_picture_counterclockwise() -> None:
    # the official `rot`: the region turns clockwise on the screen, so what is seen turns back
    center, region = torch.tensor([100.0, 100.0]), torch.tensor([96.0, 128.0])
    quarter = torch.tensor(math.pi / 2)
    turned = geometry.crop_from_image(center, region, Size(96, 128), rotation=quarter)
    right_of_centre = geometry.apply(turned, torch.tensor([[110.0, 100.0]]).double())[0]
    torch.testing.assert_close(right_of_centre, torch.tensor([48.0, 54.0]).double())


@QUICK
@given(boxes(), st.floats(-math.pi, math.pi))
def test_crop_map_after_its_inverse_is_identity(box: torch.Tensor, angle: float) -> None:
    center, region = geometry.padded_region(box, 0.75)
    there = geometry.crop_from_image(center, region, Size(192, 256), rotation=torch.tensor(angle))
    xy = torch.tensor([[0.0, 0.0], [191.0, 255.0], [-40.0, 300.0]]).double()
    back = geometry.apply(there, geometry.apply(geometry.invert(there), xy))
    torch.testing.assert_close(back, xy, rtol=0, atol=1e-6)


@QUICK
@given(maps(), maps())
def test_inverse_and_composition(first: torch.Tensor, second: torch.Tensor) -> None:
    xy = torch.tensor([[0.0, 0.0], [3.0, -8.0], [100.0, 50.0]]).double()
    both = geometry.compose(second, first)
    apart = geometry.apply(second, geometry.apply(first, xy))
    torch.testing.assert_close(geometry.apply(both, xy), apart, rtol=1e-9, atol=1e-6)
    neutral = geometry.compose(geometry.invert(first), first)
    torch.testing.assert_close(neutral, torch.eye(2, 3).double(), rtol=0, atol=1e-6)


def test_maps_in_batches() -> None:
    many = torch.randn(5, 2, 3).double()
    xy = torch.randn(5, 4, 2).double()
    one_by_one = torch.stack([geometry.apply(m, p) for m, p in zip(many, xy, strict=True)])
    torch.testing.assert_close(geometry.apply(many, xy), one_by_one)
    inverses = torch.stack([geometry.invert(m) for m in many])
    torch.testing.assert_close(geometry.invert(many), inverses)
    pairs = torch.stack([geometry.compose(m, i) for m, i in zip(many, inverses, strict=True)])
    torch.testing.assert_close(geometry.compose(many, inverses), pairs)


def test_no_boxes() -> None:
    none = torch.zeros(0, 4)
    centers, regions = geometry.padded_region(none, 0.75)
    there = geometry.crop_from_image(centers, regions, Size(192, 256))
    assert there.shape == geometry.invert(there).shape == (0, 2, 3)
    assert geometry.apply(there, torch.zeros(0, 17, 2).double()).shape == (0, 17, 2)
    assert geometry.xywh_from_xyxy(none).shape == geometry.clip(none, Size(1, 1)).shape == (0, 4)


def test_mirror_swaps_first_and_last_column_and_undoes_itself() -> None:
    flip = geometry.mirror(64, like=torch.zeros(1).double())
    xy = torch.tensor([[0.0, 5.0], [63.0, 7.0], [31.5, 0.0]]).double()
    mirrored = geometry.apply(flip, xy)
    assert mirrored.tolist() == [[63.0, 5.0], [0.0, 7.0], [31.5, 0.0]]
    torch.testing.assert_close(geometry.apply(flip, mirrored), xy)


def test_clip() -> None:
    found = torch.tensor([[-5.0, 3, 70, 60], [10, 20, 30, 40], [-9, -9, -1, -1]])
    want = [[0, 3, 64, 48], [10, 20, 30, 40], [0, 0, 0, 0]]
    assert geometry.clip(found, Size(64, 48)).tolist() == want
