"""Colour changes, cut pictures, pasted people: what each does alone; pixels stay pixels."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from hrpose.train.augment import Patch, Window, colour, draw_patches, draw_window, paste
from hrpose.train.settings import Colour
from hrpose.types import Size

OFF = {"brightness": 0, "contrast": 0, "saturation": 0, "tint": 0, "grey": 0, "erase": 0}
LUMA = torch.tensor([0.299, 0.587, 0.114]).view(3, 1, 1)


def crops(low: float = 80, high: float = 150) -> Tensor:
    return low + (high - low) * torch.rand(40, 3, 24, 18)


def varied(pixels: Tensor, **strength: float) -> Tensor:
    return colour(pixels, Colour(**{**OFF, **strength}), np.random.default_rng(0))


def test_nothing_is_nothing() -> None:
    pixels = crops()
    torch.testing.assert_close(varied(pixels), pixels)
    assert varied(pixels[:0]).shape == (0, 3, 24, 18)


def test_brightness_is_one_factor_per_crop() -> None:
    pixels = crops()
    factor = (varied(pixels, brightness=0.3) / pixels).flatten(1)
    torch.testing.assert_close(factor, factor[:, :1].expand_as(factor))
    assert 0.7 <= factor.min() < 0.8
    assert 1.2 < factor.max() <= 1.3


def test_tint_is_one_factor_per_channel() -> None:
    pixels = crops()
    factor = (varied(pixels, tint=0.08) / pixels).flatten(2)
    torch.testing.assert_close(factor, factor[..., :1].expand_as(factor))
    assert 0.92 <= factor.min() < factor.max() <= 1.08
    assert factor[:, :, 0].std(dim=1).min() > 0


def test_contrast_keeps_the_mean_and_scales_around_it() -> None:
    pixels = crops()
    changed = varied(pixels, contrast=0.3)
    mean = (pixels * LUMA).sum(1, keepdim=True).mean(dim=(2, 3), keepdim=True)
    torch.testing.assert_close((changed * LUMA).sum(1).mean(dim=(1, 2)), mean.flatten())
    factor = ((changed - mean) / (pixels - mean)).flatten(1).median(dim=1).values
    assert 0.7 <= factor.min() < 0.8
    assert 1.2 < factor.max() <= 1.3


def test_saturation_and_grey_keep_the_luma() -> None:
    pixels = crops()
    luma = (pixels * LUMA).sum(1)
    torch.testing.assert_close((varied(pixels, saturation=0.4) * LUMA).sum(1), luma)
    grey = varied(pixels, grey=1)
    torch.testing.assert_close(grey, luma[:, None].expand_as(grey))
    share = (varied(pixels, grey=0.5).std(dim=1).amax(dim=(1, 2)) < 1e-3).float().mean()
    assert 0.2 < share < 0.8


def test_erasing_fills_one_rectangle_with_one_colour() -> None:
    pixels = crops()
    erased = varied(pixels, erase=1)
    for before, after in zip(pixels, erased, strict=True):
        rows, columns = torch.where((before != after).any(0))
        top, left = int(rows.min()), int(columns.min())
        bottom, right = int(rows.max()) + 1, int(columns.max()) + 1
        assert bottom - top <= 24 // 3
        assert right - left <= 18 // 3
        inside = after[:, top:bottom, left:right].flatten(1)
        assert torch.equal(inside, inside[:, :1].expand_as(inside))
    untouched = (varied(pixels, erase=0.5) == pixels).flatten(1).all(dim=1).float().mean()
    assert 0.2 < untouched < 0.8


@pytest.mark.parametrize("size", [(1, 1), (2, 5), (24, 18)], ids=str)
def test_all_at_once_stays_within_pixels_and_repeats(size: tuple[int, int]) -> None:
    pixels = torch.rand(8, 3, *size) * 255
    first, second = (colour(pixels, Colour(), np.random.default_rng(5)) for _ in range(2))
    assert torch.equal(first, second)
    assert 0 <= first.min() <= first.max() <= 255
    assert first.dtype == torch.float32
    assert not torch.equal(first, colour(pixels, Colour(), np.random.default_rng(6)))


SIZE = Size(48, 64)


def drawn(share: float, *, batch: int = 60, seed: int = 0) -> tuple[Tensor, Tensor, list[Patch]]:
    """Keypoints in crop pixels, which are labelled, and the patches."""
    random = np.random.default_rng(seed)
    xy = torch.from_numpy(random.random((batch, 17, 2)) * np.array(SIZE)).float()
    labelled = torch.from_numpy(random.random((batch, 17)) < 0.7)
    return xy, labelled, draw_patches(xy, labelled, SIZE, share, random)


def test_patches_leave_the_middle_and_half_of_the_keypoints() -> None:
    xy, labelled, patches = drawn(1.0)
    hidden = torch.zeros(60, 17, dtype=torch.bool)
    middle = torch.tensor(SIZE) / 2
    for patch in patches:
        assert patch.donor != patch.crop
        assert patch.opacity(middle) <= 0.5
        hidden[patch.crop] |= (patch.opacity(xy[patch.crop]) > 0.5) & labelled[patch.crop]
    assert (hidden.sum(1) * 2 <= labelled.sum(1)).all()
    assert hidden.sum() > 20  # and yet something is hidden
    assert len({patch.donor for patch in patches}) > 30


def test_the_share_of_crops_that_get_patches() -> None:
    covered = {patch.crop for patch in drawn(0.5)[2]}
    assert 12 < len(covered) < 40
    assert drawn(0.5)[2] == drawn(0.5)[2]
    assert drawn(1.0, batch=1)[2] == []
    assert drawn(0.0)[2] == []


def test_pasting_covers_the_patch_and_nothing_else() -> None:
    patch = Patch(crop=1, donor=0, scale=0.5, centre=(20.0, 30.0), reach=(8.0, 10.0))
    pixels = torch.full((2, 3, 64, 48), 10.0)
    done = paste(pixels, [patch], torch.full((1, 3, 64, 48), 200.0))
    assert done[0].unique().tolist() == [10]
    assert done[1, :, 30, 20].tolist() == [200] * 3
    assert done[1, 0, 30, 13] > 150 > done[1, 0, 30, 11] == 10
    assert done[1, 0, 20, 12] == 10  # a corner of the oblong is round
    assert 10 <= done.min() <= done.max() <= 200


def test_a_patch_shows_the_donors_middle_at_its_centre() -> None:
    patch = Patch(crop=0, donor=1, scale=0.4, centre=(30.0, 11.0), reach=(4.0, 4.0))
    linear, shift = patch.crop_from_donor(SIZE).split([2, 1], dim=1)
    middle = torch.tensor(SIZE).double()[:, None] / 2
    assert (linear @ middle + shift).flatten().tolist() == pytest.approx([30, 11])
    assert linear.tolist() == [[0.4, 0], [0, 0.4]]


PICTURE = Size(200, 100)
PERSON = torch.tensor([50.0, 20, 90, 95])


def person(count: int) -> Tensor:
    """(count, 2) keypoints all over the person, none on its border."""
    low, high = PERSON[:2] + 1, PERSON[2:] - 1
    return low + (high - low) * torch.rand(count, 2, generator=torch.Generator().manual_seed(2))


def windows(xy: Tensor, labelled: Tensor, box: Tensor = PERSON) -> list[Window]:
    random = np.random.default_rng(1)
    return [draw_window(PICTURE, box, xy, labelled, random) for _ in range(400)]


def test_a_cut_leaves_part_of_the_person_and_three_keypoints() -> None:
    xy, labelled = person(17), torch.ones(17, dtype=torch.bool)
    moved = {"left": 0, "top": 0, "right": 0, "bottom": 0}
    drawn = windows(xy, labelled)
    for window in drawn:
        assert (window.holds(xy) & labelled).sum() >= 3
        shares = {
            "left": (90 - window.left) / 40,
            "top": (95 - window.top) / 75,
            "right": (window.right - 50) / 40,
            "bottom": (window.bottom - 20) / 75,
        }
        whole = Window(0, 0, *PICTURE)
        for side in moved:
            if getattr(window, side) != getattr(whole, side):
                moved[side] += 1
                assert 0.33 < shares[side] < 0.92
    assert len({w.bottom for w in drawn}) > 20
    assert moved["bottom"] > 150
    assert min(moved.values()) > 20
    assert 400 < sum(moved.values()) < 600  # one side as a rule, two in some


def test_nobody_is_cut_of_whom_too_little_is_labelled() -> None:
    xy = person(17)
    few = torch.arange(17) < 2
    assert set(windows(xy, few)) == {Window(0, 0, *PICTURE)}
    assert set(windows(xy, torch.zeros(17, dtype=torch.bool))) == {Window(0, 0, *PICTURE)}


@pytest.mark.parametrize(
    "box",
    [
        [0.0, 0, 200, 100],
        [10, 10, 10.4, 10.4],
        [-20, -20, -1, -1],
        [150, 50, 400, 300],
        [10, 10, 10, 10],
    ],
)
def test_any_box_leaves_a_part_of_the_picture(box: list[float]) -> None:
    for window in windows(person(17), torch.ones(17, dtype=torch.bool), torch.tensor(box)):
        assert 0 <= window.left < window.right <= PICTURE.width
        assert 0 <= window.top < window.bottom <= PICTURE.height
