"""The codec: published values, a plain loop, and points that come back where they were.

Tolerances: keypoints to 1e-3 px are float32 rounding at 2000 px with room; targets are compared
after float16 rounding because the golden file holds them so.
"""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from torch import Tensor

from hrpose import geometry, heatmap
from hrpose.crop import CropSpec, crop_people
from hrpose.skeleton import COCO17
from hrpose.types import Codec, Detections, Frame, Size

TAGS = {"256x192": (Size(192, 256), 2.0), "384x288": (Size(288, 384), 3.0)}
CROP = CropSpec(Size(192, 256))
CELLS = Size(48, 64)
QUICK = settings(max_examples=60, deadline=None, derandomize=True)


@pytest.fixture(scope="module")
def golden(shared: Path) -> dict[str, np.ndarray]:
    with np.load(shared / "data/golden/postprocess.npz") as file:
        return {name: file[name] for name in file.files if name != "image_rgb"}


def to_image(xy_cells: Tensor, boxes_xywh: np.ndarray, size: Size, codec: Codec) -> np.ndarray:
    boxes = geometry.xyxy_from_xywh(torch.from_numpy(boxes_xywh))
    centers, regions = geometry.padded_region(boxes, size.width / size.height)
    image_from_crop = geometry.invert(geometry.crop_from_image(centers, regions, size)).float()
    return geometry.apply(image_from_crop, heatmap.crop_from_cells(xy_cells, codec)).numpy()


@pytest.mark.parametrize("tag", TAGS)
def test_golden_keypoints(golden: dict[str, np.ndarray], tag: str) -> None:
    size, sigma = TAGS[tag]
    codec = Codec(sigma=sigma)
    peaks = heatmap.decode(torch.from_numpy(golden[f"{tag}_heatmaps"]), codec)
    found = to_image(peaks.xy, golden[f"{tag}_boxes_xywh"], size, codec)
    np.testing.assert_allclose(found, golden[f"{tag}_keypoints"], rtol=0, atol=1e-3)
    scores = golden[f"{tag}_scores"].reshape(peaks.scores.shape)
    np.testing.assert_allclose(peaks.scores.numpy(), scores, rtol=0, atol=1e-6)


@pytest.mark.parametrize("tag", TAGS)
def test_golden_keypoints_of_the_flip_test(golden: dict[str, np.ndarray], tag: str) -> None:
    size, sigma = TAGS[tag]
    codec = Codec(sigma=sigma)
    merged = heatmap.merge_mirrored(
        torch.from_numpy(golden[f"{tag}_heatmaps"][:4]).float(),
        torch.from_numpy(golden[f"{tag}_heatmaps_mirrored4"]).float(),
        COCO17.mirror,
        shift=codec.mirror_shift,
    )
    peaks = heatmap.decode(merged, codec)
    found = to_image(peaks.xy, golden[f"{tag}_boxes_xywh"][:4], size, codec)
    np.testing.assert_allclose(found, golden[f"{tag}_keypoints_flip4"], rtol=0, atol=1e-3)
    scores = golden[f"{tag}_scores_flip4"].reshape(peaks.scores.shape)
    np.testing.assert_allclose(peaks.scores.numpy(), scores, rtol=0, atol=1e-6)


@pytest.mark.parametrize("tag", TAGS)
def test_golden_targets(golden: dict[str, np.ndarray], tag: str) -> None:
    size, sigma = TAGS[tag]
    cells = Size(size.width // 4, size.height // 4)
    xy = torch.from_numpy(golden[f"{tag}_joints_crop"][None, :, :2])
    visible = torch.from_numpy(golden[f"{tag}_vis"][None, :, 0])
    target, weight = heatmap.encode(xy, visible, cells, Codec(sigma=sigma))
    assert (target[0].half().numpy() == golden[f"{tag}_target"]).all()
    assert weight[0].tolist() == golden[f"{tag}_target_weight"][:, 0].tolist()
    assert 0 < weight.sum() < len(COCO17)


def slow_encode(xy: tuple[float, float], size: Size, codec: Codec) -> np.ndarray:
    """One target, cell by cell."""
    centre = [(v - codec.cell_offset) / codec.stride for v in xy]
    nearest = [math.trunc(c + 0.5) for c in centre]
    mean = centre if codec.exact_target else nearest
    target = np.zeros((size.height, size.width))
    for y in range(size.height):
        for x in range(size.width):
            if max(abs(x - nearest[0]), abs(y - nearest[1])) <= 3 * codec.sigma:
                squared = (x - mean[0]) ** 2 + (y - mean[1]) ** 2
                target[y, x] = math.exp(-squared / (2 * codec.sigma**2))
    return target


@pytest.mark.parametrize(
    "codec",
    [Codec(), Codec(sigma=3), Codec(sigma=1, stride=8, cell_offset=3.5, exact_target=True)],
    ids=["official", "sigma3", "exact"],
)
def test_targets_against_a_loop(codec: Codec) -> None:
    size = Size(16, 20)
    xy = (torch.rand(60, 2) * torch.tensor([164.0, 180]) - 50) * codec.stride / 4
    target, weight = heatmap.encode(xy[None], torch.full((1, 60), 0.7), size, codec)
    assert target.dtype == weight.dtype == torch.float32
    empty = 0
    for i in range(60):
        want = slow_encode((float(xy[i, 0]), float(xy[i, 1])), size, codec)
        np.testing.assert_allclose(target[0, i].numpy(), want, rtol=0, atol=1e-5)
        # the official rule keeps the weight of a square that ends one cell before the heatmap
        empty += not want.any()
        assert weight[0, i] > 0 or not want.any()
    assert 0 < (weight == 0).sum() <= empty < 60
    assert set(weight.unique().tolist()) == {0.0, float(torch.tensor(0.7))}


def test_unlabelled_keypoints_have_no_target() -> None:
    xy = torch.full((2, 3, 2), 40.0)
    weights = torch.tensor([[1.0, 0, 0.3], [0, 0, 0]])
    target, got = heatmap.encode(xy, weights, CELLS, Codec())
    assert torch.equal(got, weights)
    assert torch.equal(target.amax(dim=(2, 3)), (weights > 0).float())
    none, _ = heatmap.encode(xy[:0], weights[:0], CELLS, Codec())
    assert none.shape == (0, 3, 64, 48)


def gaussians(xy_cells: Tensor, size: Size, sigma: float) -> Tensor:
    """(K, 2) -> (1, K, H, W) whole Gaussians."""
    x, y = torch.arange(size.width).double(), torch.arange(size.height).double()
    dx = x[None, None, :] - xy_cells[:, 0, None, None]
    dy = y[None, :, None] - xy_cells[:, 1, None, None]
    return torch.exp(-(dx**2 + dy**2) / (2 * sigma**2)).float()[None]


@pytest.mark.parametrize("sigma", [2.0, 3.0])
@pytest.mark.parametrize(
    ("refine", "bound"), [("none", 0.5), ("quarter", 0.25), ("dark", 0.1), ("oks", 0.01)]
)
def test_gaussians_come_back(refine: str, bound: float, sigma: float) -> None:
    # ten cells from the border: the smoothing of DARK sees the whole peak
    xy = 10 + torch.rand(200, 2).double() * torch.tensor([28.0, 44.0])
    codec, sigmas = Codec(refine=refine, sigma=sigma), [0.079] * 200  # of shoulders
    peaks = heatmap.decode(gaussians(xy, CELLS, sigma), codec, sigmas)
    errors = (peaks.xy[0] - xy).abs()
    assert errors.max() <= bound + 1e-5
    if refine in ("none", "quarter"):  # the bound is met, so the rule is not better than it claims
        assert errors.max() > 0.9 * bound


def test_the_expected_oks_is_that_of_its_definition() -> None:
    """Places with probabilities: best cell and score of decode are those of the plain sum."""
    size, sigma, area = Size(48, 64), 2.0, 48 * 64 / 4  # a person of a quarter of the crop
    generator = torch.Generator().manual_seed(3)
    places = 12 + torch.rand(17, 3, 2, generator=generator) * torch.tensor([24.0, 40.0])
    shares = torch.rand(17, 3, generator=generator).softmax(1) * 0.8  # a fifth: it is not there
    maps = gaussians(places.flatten(0, 1), size, sigma)[0].view(17, 3, 64, 48)
    maps = maps * shares[..., None, None]
    codec = Codec(refine="oks", sigma=sigma)
    peaks = heatmap.decode(maps.sum(1)[None], codec, COCO17.sigmas)
    y, x = torch.meshgrid(torch.arange(64.0), torch.arange(48.0), indexing="ij")
    cells = torch.stack([x, y], -1).view(-1, 1, 2)
    for k, constant in enumerate(COCO17.sigmas):
        # no narrower than the target's Gaussian and one cell of smoothing
        variance = max((2 * constant) ** 2 * area, sigma**2 + 1)
        distance = ((cells - places[k]) ** 2).sum(-1)
        oks = (torch.exp(-distance / (2 * variance)) * shares[k]).sum(-1)
        best = cells[oks.argmax(), 0]
        assert (peaks.xy[0, k] - best).abs().max() <= 0.51
        assert peaks.scores[0, k] == pytest.approx(oks.max().item(), abs=2e-3)


def test_the_expected_oks_goes_where_most_of_the_chance_is() -> None:
    """Two near places with 30 % each beat one with 40 %, where OKS is wide; not where narrow."""
    places = torch.tensor([[12.0, 20.0], [34.0, 20.0], [34.0, 25.0]])
    shares = torch.tensor([0.4, 0.3, 0.3])
    one = (gaussians(places, CELLS, 2.0)[0] * shares[:, None, None]).sum(0)
    codec = Codec(refine="oks")
    peaks = heatmap.decode(torch.stack([one, one])[None], codec, [0.025, 0.107])
    eye, hip = peaks.xy[0].tolist()
    assert eye == pytest.approx([12, 20], abs=0.05)
    assert hip == pytest.approx([34, 22.5], abs=0.05)
    assert peaks.scores[0, 0] == pytest.approx(0.4, abs=0.01)
    assert peaks.scores[0, 1] > 0.5


def test_without_constants_oks_is_dark() -> None:
    maps = gaussians(10 + torch.rand(20, 2).double() * 20, CELLS, 2.0)
    oks = heatmap.decode(maps, Codec(refine="oks"))
    dark = heatmap.decode(maps, Codec(refine="dark"))
    assert torch.equal(oks.xy, dark.xy)
    assert torch.equal(oks.scores, dark.scores)


def test_a_certain_keypoint_is_found_for_sure_and_no_surer() -> None:
    maps = gaussians(torch.tensor([[20.0, 30.0]] * 17), CELLS, 2.0)
    scores = heatmap.decode(maps, Codec(refine="oks"), COCO17.sigmas).scores
    assert scores.min() > 0.99
    assert heatmap.decode(maps * 1.2, Codec(refine="oks"), COCO17.sigmas).scores.max() == 1


@st.composite
def boxes(draw: st.DrawFn) -> list[float]:
    x, y = draw(st.floats(-3000, 5000)), draw(st.floats(-3000, 5000))
    side = st.one_of(st.just(2.0), st.floats(2, 3000))
    return [x, y, x + draw(side), y + draw(side)]


@pytest.mark.parametrize(
    ("codec", "margin"),
    [
        # two cells from the border is where the official code begins to refine
        (Codec(), 2),
        (Codec(sigma=3), 2),
        (Codec(cell_offset=1.5, exact_target=True, refine="quarter"), 2),
        # the zero border in the smoothing of DarkPose draws nearer peaks inwards, up to 0.4 cells
        (Codec(cell_offset=1.5, exact_target=True, refine="dark"), 4),
        (Codec(cell_offset=1.5, exact_target=True, refine="oks"), 4),
    ],
    ids=["official", "sigma3", "offset", "dark", "oks"],
)
@QUICK
@example([-400.0, -300.0, -100.0, -10.0], 0.5, 0.5)
@example([63.0, 47.0, 65.0, 49.0], 0.0, 1.0)
@example([4998.0, 4998.0, 5000.0, 5000.0], 1.0, 0.3)
@given(boxes(), st.floats(0, 1), st.floats(0, 1))
def test_a_point_comes_back_through_any_box(
    codec: Codec, margin: int, box: list[float], across: float, down: float
) -> None:
    """Box, Gaussian of a known image point, decode, inverse affine: within a quarter cell."""
    frame = Frame(torch.zeros(3, 48, 64, dtype=torch.uint8))
    crops = crop_people([frame], [Detections(torch.tensor([box]), torch.ones(1))], CROP)
    image_from_crop = crops.image_from_crop[0].double()
    room = torch.tensor(CELLS) - 2 * margin - 0.6
    cells = margin + torch.tensor([across, down]) * room
    xy_crop = heatmap.crop_from_cells(cells.double(), codec)
    xy_image = geometry.apply(image_from_crop, xy_crop[None])
    seen = geometry.apply(geometry.invert(image_from_crop), xy_image)
    exact = Codec(sigma=codec.sigma, cell_offset=codec.cell_offset, exact_target=True)
    target, weight = heatmap.encode(seen[None], torch.ones(1, 1), CELLS, exact)
    assert weight.item() == 1
    peaks = heatmap.decode(target, codec, [0.079])
    found = geometry.apply(crops.image_from_crop, heatmap.crop_from_cells(peaks.xy, codec))
    per_cell = image_from_crop[:, :2].det().sqrt() * codec.stride
    error = (found[0].double() - xy_image).abs().max() / per_cell
    # float32 has 5e-4 px at 5000 px, a hundredth of a cell of a box of 2 px
    assert error <= 0.25 + 0.02


def test_quarter_rule_at_the_border_is_the_official_one() -> None:
    """Neighbours decide from column 2 to W - 2 only, although column 1 has both."""
    for x, refined in ((0, False), (1, False), (2, True), (9, True), (10, True), (11, False)):
        maps = torch.zeros(1, 1, 9, 12)
        maps[0, 0, 4, x] = 1
        maps[0, 0, 4, x - 1 if x == 11 else x + 1] = 0.5
        peaks = heatmap.decode(maps, Codec())
        assert peaks.xy[0, 0].tolist() == [x + 0.25 * refined, 4]


@pytest.mark.parametrize("refine", ["none", "quarter", "dark", "oks"])
def test_empty_and_negative_maps_are_not_found(refine: str) -> None:
    maps = torch.stack([torch.zeros(8, 8), torch.full((8, 8), -1.0), torch.full((8, 8), -0.0)])
    maps[1, 5, 5] = -0.5
    peaks = heatmap.decode(maps[None], Codec(refine=refine), [0.1, 0.1, 0.1])
    assert peaks.xy.abs().max() == 0
    assert peaks.scores.tolist() == [[0, -0.5, 0]]


@pytest.mark.parametrize("refine", ["none", "quarter", "dark"])
def test_odd_maps_stay_finite_and_near_their_maximum(refine: str) -> None:
    maps = torch.randn(4, 5, 12, 9)
    maps[0, 0] = 1  # a plateau
    maps[0, 1, 0, 0] = 1e6
    maps[0, 2, -1, -1] = 1e6
    peaks = heatmap.decode(maps, Codec(refine=refine))
    top = heatmap.decode(maps, Codec(refine="none"))
    assert peaks.xy.isfinite().all()
    assert (peaks.xy - top.xy).abs().max() <= 1
    assert torch.equal(peaks.scores, maps.amax(dim=(2, 3)))


def test_no_crops_and_half_precision() -> None:
    none = heatmap.decode(torch.zeros(0, 17, 64, 48), Codec(refine="dark"))
    assert none.xy.shape == (0, 17, 2)
    maps = torch.randn(2, 3, 16, 16).bfloat16()
    peaks, want = heatmap.decode(maps, Codec()), heatmap.decode(maps.float(), Codec())
    assert peaks.xy.dtype == peaks.scores.dtype == torch.float32
    assert torch.equal(peaks.xy, want.xy)


def test_merging_the_mirrored_map_is_the_identity() -> None:
    maps = torch.rand(2, 17, 8, 6)
    mirrored = maps[:, list(COCO17.mirror)].flip(3)
    merged = heatmap.merge_mirrored(maps, mirrored, COCO17.mirror, shift=False)
    assert torch.equal(merged, maps)
    # with offset 1.5 mirroring the crop is mirroring the cells, hence no shift
    codec = Codec(cell_offset=1.5)
    cells = torch.arange(48.0)
    crop = heatmap.crop_from_cells(cells, codec)
    assert torch.equal(192 - 1 - crop, heatmap.crop_from_cells(48 - 1 - cells, codec))


def test_the_shift_moves_the_mirrored_map_one_cell_right() -> None:
    maps, of_mirrored = torch.zeros(1, 1, 2, 5), torch.rand(1, 1, 2, 5)
    merged = heatmap.merge_mirrored(maps, of_mirrored, (0,), shift=True) * 2
    back = of_mirrored.flip(3)
    assert torch.equal(merged[..., 1:], back[..., :-1])
    assert torch.equal(merged[..., 0], back[..., 0])
