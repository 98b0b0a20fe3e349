"""Pose batches: labels follow the pixels through every augmentation, and the loss is what it says.

Every keypoint is a disc of a colour of its own. A target's maximum is the cell nearest the
keypoint, so the crop's pixel there lies within half a cell (3 px with the diagonal) of the disc's
middle; the discs stay larger than that in every crop.
"""

from __future__ import annotations

from dataclasses import replace
from itertools import islice, product
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

from hrpose import heatmap
from hrpose.crop import CropSpec, crop_people
from hrpose.errors import InputError
from hrpose.media.store import Pictures
from hrpose.skeleton import COCO17
from hrpose.train.negatives import Negative
from hrpose.train.pose import PoseBatch, PoseTask
from hrpose.train.settings import Colour, PoseAugmentation
from hrpose.train.shards import Labels
from hrpose.types import Codec, Detections, Frame, Size

SIZE = Size(320, 400)
SPEC = CropSpec(Size(192, 256))
NO_COLOUR = Colour(brightness=0, contrast=0, saturation=0, tint=0, grey=0, erase=0)
STILL = PoseAugmentation(
    scale=0, rotation=0, rotation_share=0, flip=0, half_body=0, shift=0, colour=NO_COLOUR
)
OURS = Codec(refine="dark", cell_offset=1.5, mirror_shift=False, exact_target=True)
COLOURS = torch.tensor(list(product((0, 128, 255), repeat=3))[1:18]).float()
MIRROR = list(COCO17.mirror)


def spots() -> Tensor:
    """(17, 2) well apart, upper body above, in no symmetric order."""
    columns, rows = torch.tensor([40.0, 120, 200, 280]), torch.tensor([40.0, 120, 200, 280, 360])
    grid = torch.stack(torch.meshgrid(rows, columns, indexing="ij"), -1).flip(-1).view(-1, 2)
    jitter = torch.rand(17, 2, generator=torch.Generator().manual_seed(0)) * 16 - 8
    return grid[:17] + jitter


def labels(name: str = "p.png", **changes: object) -> Labels:
    values = {
        "name": name,
        "shard": "",
        "size": SIZE,
        "boxes": torch.tensor([[10.0, 10, 310, 390]]),
        "ignore": torch.tensor([False]),
        "keypoints": spots()[None],
        "weights": torch.ones(1, 17),
        "areas": torch.ones(1),
    }
    return Labels(**{**values, **changes})  # type: ignore[arg-type]


@pytest.fixture
def pictures(tmp_path: Path) -> Pictures:
    y, x = torch.meshgrid(torch.arange(400.0), torch.arange(320.0), indexing="ij")
    image = torch.zeros(400, 320, 3)
    for (cx, cy), colour in zip(spots(), COLOURS, strict=True):
        image[(x - cx) ** 2 + (y - cy) ** 2 < 13**2] = colour
    Image.fromarray(image.to(torch.uint8).numpy()).save(tmp_path / "p.png")
    return Pictures([tmp_path])


def task(
    pictures: Pictures,
    how: PoseAugmentation = STILL,
    *,
    people: list[Labels] | None = None,
    codec: Codec = OURS,
    batch_size: int = 32,
    negatives: list[Negative] | None = None,
) -> PoseTask:
    return PoseTask(
        nn.Identity(),
        people or [labels()],
        pictures,
        crop=SPEC,
        codec=codec,
        skeleton=COCO17,
        augmentation=how,
        batch_size=batch_size,
        negatives=negatives or [],
    )


def peaks(batch: PoseBatch, codec: Codec) -> tuple[Tensor, Tensor]:
    """(B, 17, 2) crop pixels of the targets' maxima, and (B, 17, 3) the colours there."""
    cells = batch.targets.flatten(2).argmax(dim=2)
    width = batch.targets.shape[3]
    xy = torch.stack([cells % width, cells // width], dim=-1) * codec.stride + codec.cell_offset
    mean, std = torch.tensor(SPEC.mean) * 255, torch.tensor(SPEC.std) * 255
    pixels = batch.pixels.permute(0, 2, 3, 1) * std + mean
    at = xy.round().long()
    at = torch.minimum(at, torch.tensor(SPEC.size) - 1)
    crop = torch.arange(len(at))[:, None]
    return xy, pixels[crop, at[..., 1], at[..., 0]]


def reflected(xy_crop: Tensor, xy_image: Tensor) -> bool:
    """Whether the affine map between two sets of points turns the plane over."""
    source = torch.cat([xy_image, torch.ones(len(xy_image), 1)], dim=1)
    linear = torch.linalg.lstsq(source, xy_crop).solution[:2]
    return bool(linear.det() < 0)


FULL = PoseAugmentation(rotation_share=1, half_body=0.5, colour=NO_COLOUR)


@pytest.mark.parametrize("codec", [OURS, Codec()], ids=["exact", "official"])
@pytest.mark.parametrize("flip", [0.0, 0.5, 1.0])
def test_labels_follow_the_pixels(pictures: Pictures, codec: Codec, flip: float) -> None:
    how = PoseAugmentation(rotation_share=1, half_body=0.5, flip=flip, colour=NO_COLOUR)
    seen, mirrored = 0, 0
    for batch in islice(task(pictures, how, codec=codec).batches(), 2):
        xy, colours = peaks(batch, codec)
        for i in range(len(xy)):
            # the last cell's centre may lie outside a keypoint at the crop's far border
            rim = ((xy[i] < 4) | (xy[i] > torch.tensor(SPEC.size) - 6)).any(dim=1)
            chosen = (batch.weights[i] > 0) & ~rim
            if chosen.sum() < 4:
                continue
            own = (colours[i] - COLOURS)[chosen].abs().amax()
            swapped = (colours[i] - COLOURS[MIRROR])[chosen].abs().amax()
            turned = reflected(xy[i][chosen], spots()[MIRROR][chosen])
            turned_own = reflected(xy[i][chosen], spots()[chosen])
            # either the picture is as it was and left is left, or both are mirrored
            assert (own < 40 and not turned_own) or (swapped < 40 and turned)
            seen += int(chosen.sum())
            mirrored += bool(swapped < own)
    assert seen > 400
    assert {0.0: mirrored == 0, 1.0: mirrored > 50, 0.5: 15 < mirrored < 49}[flip]


DOT = 9  # px of the picture


@pytest.fixture
def dots(tmp_path: Path) -> tuple[Pictures, list[Labels]]:
    """One person of white dots at the keypoints, and seven grey ones who can be pasted over it."""
    y, x = torch.meshgrid(torch.arange(400.0), torch.arange(320.0), indexing="ij")
    shown = torch.stack([(x - cx) ** 2 + (y - cy) ** 2 < DOT**2 for cx, cy in spots()]).any(0)
    image = (shown * 255).to(torch.uint8)[..., None].expand(-1, -1, 3)
    Image.fromarray(image.numpy()).save(tmp_path / "dots.png")
    Image.new("RGB", SIZE, (90, 90, 90)).save(tmp_path / "grey.png")
    grey = labels("grey.png", weights=torch.full((1, 17), 0.5))  # the weight tells them apart
    return Pictures([tmp_path]), [labels("dots.png"), *[grey] * 7]


def centroid(luma: Tensor, xy: Tensor, radius: float) -> Tensor | None:
    """Middle of the bright disc of that radius at a point, or None where something covers it."""
    left, top = (xy.round().long() - 14).tolist()
    window = luma[top : top + 29, left : left + 29]
    high, low = window[13:16, 13:16].mean(), window.quantile(0.1)
    if window.shape != (29, 29) or min(left, top) < 0 or high - low < 60:
        return None
    share = ((window - low) / (high - low)).clamp(0, 1)
    if abs(float(share.sum()) / (np.pi * radius**2) - 1) > 0.05:
        return None
    grid = torch.arange(29.0)
    middle = torch.stack([(share.sum(0) * grid).sum(), (share.sum(1) * grid).sum()]) / share.sum()
    return middle + torch.tensor([left, top])


def scale_of(xy_crop: Tensor, chosen: Tensor) -> float:
    """Crop pixels per pixel of the picture; keypoints may be mirrored."""
    fits = []
    for source in (spots()[chosen], spots()[MIRROR][chosen]):
        ones = torch.ones(len(source), 1)
        plane = torch.cat([source, ones], dim=1)
        map_ = torch.linalg.lstsq(plane, xy_crop).solution
        fits.append((float((plane @ map_ - xy_crop).norm()), float(map_[:2].det().abs().sqrt())))
    return min(fits)[1]


def test_labels_follow_the_pixels_to_a_pixel_with_everything_on(
    dots: tuple[Pictures, list[Labels]],
) -> None:
    how = PoseAugmentation(
        rotation_share=1, half_body=0.5, paste=1, truncate=0.5, colour=Colour(erase=1)
    )
    mean, std = torch.tensor(SPEC.mean) * 255, torch.tensor(SPEC.std) * 255
    labelled, errors = 0, []
    for batch in islice(task(dots[0], how, people=dots[1], batch_size=8).batches(), 20):
        crop = int(batch.weights.amax(dim=1).argmax())
        luma = (batch.pixels[crop].permute(1, 2, 0) * std + mean).mean(2)
        xy = heatmap.decode(batch.targets, OURS).xy[crop] * OURS.stride + OURS.cell_offset
        near = ((xy > 15) & (xy < torch.tensor(SPEC.size) - 15)).all(1) & (batch.weights[crop] > 0)
        for point in xy[near] if near.sum() > 3 else ():
            found = centroid(luma, point, DOT * scale_of(xy[near], near))
            labelled += 1
            if found is not None:
                errors.append(float((found - point).norm()))
    assert len(errors) > max(75, labelled / 2)
    assert np.median(errors) < 0.15
    assert max(errors) < 1  # something may cover a little of a dot


def test_pasted_people_and_colours_change_no_label(pictures: Pictures) -> None:
    people = [labels(keypoints=spots()[None] + i) for i in range(4)]
    pasted = PoseAugmentation(**{**vars_of(FULL), "paste": 1, "colour": Colour()})
    (plain,) = islice(task(pictures, FULL, people=people).batches(), 1)
    (other,) = islice(task(pictures, pasted, people=people).batches(), 1)
    assert torch.equal(plain.targets, other.targets)
    assert torch.equal(plain.weights, other.weights)
    assert (plain.pixels - other.pixels).abs().amax(dim=(1, 2, 3)).min() > 0.01
    (alone,) = islice(task(pictures, pasted, people=people[:1], batch_size=1).batches(), 1)
    assert torch.isfinite(alone.pixels).all()


def test_pasted_pixels_are_those_of_the_donor(dots: tuple[Pictures, list[Labels]]) -> None:
    how = PoseAugmentation(**{**vars_of(STILL), "paste": 1})
    (batch,) = islice(task(dots[0], how, people=dots[1], batch_size=8).batches(), 1)
    (still,) = islice(task(dots[0], people=dots[1], batch_size=8).batches(), 1)
    crop = int(still.pixels.flatten(1).std(dim=1).argmax())
    mean, std = torch.tensor(SPEC.mean) * 255, torch.tensor(SPEC.std) * 255
    before, after = (b.pixels[crop].permute(1, 2, 0) * std + mean for b in (still, batch))
    # dots are white and the rest is black; only the grey people pasted there are grey
    covered = ((before - after).abs() > 3).any(2)
    assert 0.02 < covered.float().mean() < 0.7
    assert (after[covered].std(1) < 1).all()
    assert after[covered].median() == pytest.approx(90, abs=1)


def test_keypoints_outside_the_crop_have_no_weight(pictures: Pictures) -> None:
    far = spots().clone()
    # the crop begins at x = -27.5, and the second is less than a cell outside
    far[3], far[4] = torch.tensor([-400.0, 50]), torch.tensor([-30.0, 200])
    (batch,) = islice(task(pictures, people=[labels(keypoints=far[None])]).batches(), 1)
    gone = torch.zeros(17, dtype=torch.bool)
    gone[3:5] = True
    assert torch.equal(batch.weights == 0, gone.expand(32, -1))
    assert batch.targets[:, gone].abs().max() == 0
    assert batch.targets[:, ~gone].amax(dim=(2, 3)).min() > 0.8


def test_weights_of_labels_reach_the_batch_on_their_side(pictures: Pictures) -> None:
    weights = torch.linspace(0, 0.8, 17)[None]
    mirror_all = PoseAugmentation(**{**vars_of(STILL), "flip": 1})
    (still,) = islice(task(pictures, people=[labels(weights=weights)]).batches(), 1)
    (turned,) = islice(task(pictures, mirror_all, people=[labels(weights=weights)]).batches(), 1)
    torch.testing.assert_close(still.weights, weights.expand(32, -1))
    torch.testing.assert_close(turned.weights, weights[:, MIRROR].expand(32, -1))


def test_a_cut_picture_ends_at_its_new_border(pictures: Pictures, tmp_path: Path) -> None:
    Image.new("RGB", SIZE, (255, 255, 255)).save(tmp_path / "white.png")
    cut = PoseAugmentation(**{**vars_of(STILL), "truncate": 1})
    mean, std = torch.tensor(SPEC.mean) * 255, torch.tensor(SPEC.std) * 255
    (batch,) = islice(task(pictures, cut, people=[labels("white.png")]).batches(), 1)
    (seen,) = islice(task(pictures, cut).batches(), 1)
    assert torch.equal(batch.weights, seen.weights)
    gone = (batch.weights == 0).sum(1)
    assert 3 < gone.max() <= 14
    white = ((batch.pixels.permute(0, 2, 3, 1) * std + mean) > 254).all(3)
    xy, colours = peaks(seen, OURS)
    for i in range(len(xy)):
        kept = batch.weights[i] > 0
        assert (colours[i] - COLOURS)[kept].abs().amax() < 40  # all labels still on their discs
        # the picture fills the crop's inner 80 %, as its box is cut with it; the rest is black
        rows, columns = white[i].any(1).sum(), white[i].any(0).sum()
        assert max(rows / 256, columns / 192) > 0.79
        assert white[i].sum() == rows * columns
        assert not white[i].all()


def vars_of(how: PoseAugmentation) -> dict[str, object]:
    return {name: getattr(how, name) for name in how.__slots__}


def test_without_augmentation_crops_are_those_of_inference(pictures: Pictures) -> None:
    (batch,) = islice(task(pictures).batches(), 1)
    found = Detections(labels().boxes, torch.ones(1))
    crops = crop_people([Frame(pictures.read("p.png"))], [found], SPEC)
    torch.testing.assert_close(batch.pixels[:1], crops.pixels)


def measured(pictures: Pictures, **changes: float) -> tuple[Tensor, Tensor, Tensor]:
    """Of 64 crops: turn in degrees, size of the region, and its centre, by fits to the targets."""
    how = PoseAugmentation(**{**vars_of(STILL), **changes})  # type: ignore[arg-type]
    fits = []
    for batch in islice(task(pictures, how).batches(), 2):
        for points, weights in zip(peaks(batch, OURS)[0], batch.weights, strict=True):
            chosen = weights > 0
            source = torch.cat([points[chosen], torch.ones(int(chosen.sum()), 1)], dim=1)
            fits.append(torch.linalg.lstsq(source, spots()[chosen]).solution.T)
    image_from_crop = torch.stack(fits)
    linear = image_from_crop[:, :, :2]
    turn = torch.atan2(linear[:, 1, 0], linear[:, 0, 0]).rad2deg()
    centre = (image_from_crop @ torch.tensor([96.0, 128, 1])).squeeze(-1)
    return turn, linear.det().abs().sqrt() * 192 / 375, centre


def test_each_change_has_its_range_and_touches_nothing_else(pictures: Pictures) -> None:
    """Maxima sit on cells, so a fit is off by about a degree, 2 %, and 3 px of the picture."""
    middle = torch.tensor([160.0, 200])
    turn, size, centre = measured(pictures, rotation=45, rotation_share=1)
    assert turn.abs().max() < 92
    assert turn.min() < -45
    assert turn.max() > 45
    assert (size - 1).abs().max() < 0.04
    assert (centre - middle).norm(dim=1).max() < 6
    turn, _, _ = measured(pictures, rotation=45, rotation_share=0.5)
    assert 0.3 < (turn.abs() < 1.5).float().mean() < 0.7
    turn, size, centre = measured(pictures, scale=0.35)
    assert 0.62 < size.min() < 0.68
    assert 1.32 < size.max() < 1.38
    assert turn.abs().max() < 3
    assert (centre - middle).norm(dim=1).max() < 6
    turn, size, centre = measured(pictures, shift=0.04)
    farthest = (centre - middle).abs().amax(dim=0)
    assert (farthest - torch.tensor([375, 500]) * 0.04).abs().max() < 4
    assert turn.abs().max() < 3
    assert (size - 1).abs().max() < 0.04


def test_even_sizes_and_angles(pictures: Pictures) -> None:
    turn, size, _ = measured(pictures, rotation=30, rotation_share=1, scale=0.25, even=True)
    assert turn.abs().max() < 32
    assert 0.35 < (turn.abs() < 15).float().mean() < 0.65
    assert 0.72 < size.min() < 0.8
    assert 1.2 < size.max() < 1.28
    # a normal law would be clipped to these ends in a third of the crops
    assert ((size - 1).abs() > 0.22).float().mean() < 0.25


def test_half_bodies_are_centred_on_one_half(pictures: Pictures) -> None:
    halves = PoseAugmentation(**{**vars_of(STILL), "half_body": 1})
    (batch,) = islice(task(pictures, halves).batches(), 1)
    upper = list(COCO17.upper_body)
    lower = [k for k in range(17) if k not in upper]
    middles = torch.stack([(spots()[h].amin(0) + spots()[h].amax(0)) / 2 for h in (upper, lower)])
    xy, _ = peaks(batch, OURS)
    chosen = []
    for points, weights in zip(xy, batch.weights, strict=True):
        near = torch.cat([points, torch.ones(17, 1)], dim=1)[weights > 0]
        back = torch.linalg.lstsq(near, spots()[weights > 0]).solution
        centre = torch.tensor([96.0, 128, 1]) @ back
        distance = (centre - middles).norm(dim=1)
        assert distance.min() < 4  # maxima sit on cells of up to 12 px of the picture
        chosen.append(int(distance.argmin()))
    assert set(chosen) == {0, 1}
    # eight keypoints are too few to choose a half
    few = torch.ones(1, 17)
    few[0, 8:] = 0
    (same,) = islice(task(pictures, halves, people=[labels(weights=few)]).batches(), 1)
    (still,) = islice(task(pictures, people=[labels(weights=few)]).batches(), 1)
    assert torch.equal(same.pixels, still.pixels)


def test_batches_can_be_resumed_anywhere(pictures: Pictures) -> None:
    people = [labels(keypoints=spots()[None] + i) for i in range(5)]
    whole = list(islice(task(pictures, FULL, people=people, batch_size=2).batches(), 6))
    part = list(islice(task(pictures, FULL, people=people, batch_size=2).batches(4), 2))
    for got, want in zip(part, whole[4:], strict=True):
        assert torch.equal(got.pixels, want.pixels)
        assert torch.equal(got.targets, want.targets)
        assert torch.equal(got.weights, want.weights)
    assert not torch.equal(whole[0].pixels, whole[2].pixels)


def test_only_labelled_people_who_are_not_ignored_are_shown(pictures: Pictures) -> None:
    crowd = labels(ignore=torch.tensor([True]))
    unlabelled = labels(weights=torch.zeros(1, 17))
    assert len(task(pictures, people=[crowd, labels(), unlabelled, labels()])) == 2
    with pytest.raises(InputError, match="no labelled person"):
        task(pictures, people=[crowd, unlabelled])


def test_a_missing_picture_is_named(pictures: Pictures) -> None:
    with pytest.raises(InputError, match=r"lost\.png"):
        next(task(pictures, people=[labels("lost.png")]).batches())


def test_loss_against_a_loop(pictures: Pictures) -> None:
    targets, weights = torch.rand(3, 17, 6, 5), torch.rand(3, 17)
    weights[:, 4:7] = 0
    batch = PoseBatch(torch.rand(3, 17, 6, 5), targets, weights)
    loss, _ = task(pictures).loss(nn.Identity(), batch)
    errors = (batch.pixels - targets).double().numpy() ** 2
    total = sum(
        float(weights[b, k]) * errors[b, k].mean() for b in range(3) for k in range(17)
    ) / float(weights.sum())
    assert loss.item() == pytest.approx(1000 * total / 2, rel=1e-5)


def test_loss_and_pck_at_and_off_the_target(pictures: Pictures) -> None:
    one = task(pictures)
    (batch,) = islice(one.batches(), 1)
    perfect = PoseBatch(batch.targets, batch.targets, batch.weights)
    loss, figures = one.loss(nn.Identity(), perfect)
    assert (float(loss), figures["pck"]) == (0, 1)
    # a tenth of 48 cells is 4.8: four cells aside still count, six do not
    for cells, share in ((4, 1.0), (6, 0.0)):
        moved = PoseBatch(batch.targets.roll(cells, dims=2), batch.targets, batch.weights)
        assert one.loss(nn.Identity(), moved)[1]["pck"] == share
    unlabelled = PoseBatch(batch.targets + 1, batch.targets, torch.zeros_like(batch.weights))
    loss, figures = one.loss(nn.Identity(), unlabelled)
    assert (float(loss), figures["pck"]) == (0, 0)
    assert np.isfinite(float(loss))


def test_negatives_come_in_the_place_of_people(pictures: Pictures) -> None:
    how = replace(STILL, negative_share=0.25, half_body=1, truncate=1, paste=0.5)
    box = torch.tensor([100.0, 100, 140, 150])
    batches = list(islice(task(pictures, how, negatives=[(labels(), box)]).batches(), 8))
    targets = torch.cat([batch.targets for batch in batches])
    weights = torch.cat([batch.weights for batch in batches])
    empty = targets.amax(dim=(2, 3)) == 0
    negative = (empty & (weights == 1)).all(dim=1)
    assert 40 < negative.sum() < 90  # of 256
    assert (weights[~negative][empty[~negative]] == 0).all()  # cut off, so nothing is known
    only = task(pictures, replace(STILL, negative_share=1), negatives=[(labels(), box)])
    batch = next(only.batches())
    frame = Frame(pictures.read("p.png"))
    crops = crop_people([frame], [Detections(box[None], torch.ones(1))], SPEC)
    torch.testing.assert_close(batch.pixels, crops.pixels.expand(32, -1, -1, -1))
    zeros = torch.zeros_like(batch.targets)
    assert only.loss(lambda _: zeros, batch) == (0, {"pck": 0.0})  # type: ignore[arg-type]
    loss, _ = only.loss(lambda _: zeros + 0.1, batch)  # type: ignore[arg-type]
    assert float(loss) == pytest.approx(1000 * 0.1**2 / 2)


def test_negatives_change_nothing_where_there_are_none(pictures: Pictures) -> None:
    how = replace(FULL, negative_share=1)
    with_share, without = (next(task(pictures, h).batches()) for h in (how, FULL))
    assert torch.equal(with_share.pixels, without.pixels)
    assert torch.equal(with_share.targets, without.targets)
