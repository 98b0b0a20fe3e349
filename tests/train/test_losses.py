"""Losses against loops, and a teacher's heatmaps on the student's cells."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from hrpose import heatmap
from hrpose.crop import CropSpec, normalise
from hrpose.errors import UsageError
from hrpose.train.losses import PoseLoss, Teacher, mse, ohkm
from hrpose.train.settings import Loss
from hrpose.types import Codec, Size

OURS, THEIRS = CropSpec(Size(96, 128)), CropSpec(Size(144, 192))
CODEC = Codec(sigma=2, refine="dark", cell_offset=1.5, exact_target=True)
OFFICIAL = Codec(sigma=3)


def maps() -> tuple[Tensor, Tensor, Tensor]:
    weights = torch.rand(3, 17)
    weights[0, 4:] = 0
    return torch.rand(3, 17, 6, 5), torch.rand(3, 17, 6, 5), weights


def squares(predicted: Tensor, targets: Tensor, weights: Tensor) -> list[list[float]]:
    """Half the weighted mean square of each keypoint of each person."""
    errors = (predicted - targets).double() ** 2
    return [
        [float(errors[b, k].mean() * weights[b, k]) / 2 for k in range(errors.shape[1])]
        for b in range(len(errors))
    ]


def test_mse_is_the_mean_over_labelled_keypoints() -> None:
    predicted, targets, weights = maps()
    total = sum(map(sum, squares(predicted, targets, weights)))
    want = total / float(weights.sum())
    assert float(mse(predicted, targets, weights)) == pytest.approx(want, rel=1e-5)


@pytest.mark.parametrize("keep", [1, 8, 17, 30])
def test_ohkm_is_the_mean_of_each_persons_worst(keep: int) -> None:
    predicted, targets, weights = maps()
    kept = [sorted(row)[-keep:] for row in squares(predicted, targets, weights)]
    want = sum(sum(row) / len(row) for row in kept) / 3
    assert float(ohkm(predicted, targets, weights, keep=keep)) == pytest.approx(want, rel=1e-5)


def test_ohkm_has_gradient_for_the_worst_only() -> None:
    predicted, targets, weights = maps()
    predicted.requires_grad_()
    ohkm(predicted, targets, weights, keep=3).backward()
    assert predicted.grad is not None
    touched = predicted.grad.abs().amax(dim=(2, 3)) > 0
    assert touched.sum(dim=1).tolist() == [3, 3, 3]


def test_absent_keypoints_are_drawn_to_nothing() -> None:
    predicted, targets, weights = maps()
    targets *= (weights > 0)[..., None, None]
    filled = weights.clone()
    filled[0, 4:] = 0.25
    loss = PoseLoss(Loss(absent=0.25))(predicted, targets, weights, torch.zeros(3, 3, 8, 8))
    assert float(loss) == pytest.approx(float(mse(predicted, targets, filled)), rel=1e-6)
    plain = PoseLoss()(predicted, targets, weights, torch.zeros(3, 3, 8, 8))
    assert float(plain) == pytest.approx(float(mse(predicted, targets, weights)), rel=1e-6)


class Fixed(nn.Module):
    """A network that always sees the same people, and remembers what it saw."""

    def __init__(self, heatmaps: Tensor) -> None:
        super().__init__()
        self.heatmaps = heatmaps
        self.seen = torch.empty(0)

    def forward(self, pixels: Tensor) -> Tensor:
        self.seen = pixels
        return self.heatmaps[: len(pixels)]


def points(size: Size) -> Tensor:
    """(2, 5, 2) well inside a crop."""
    middle = torch.rand(2, 5, 2, generator=torch.Generator().manual_seed(3)) * 0.6 + 0.2
    return middle * torch.tensor(size)


def targets_of(xy_crop: Tensor, crop: CropSpec, codec: Codec) -> Tensor:
    cells = Size(crop.size.width // codec.stride, crop.size.height // codec.stride)
    return heatmap.encode(xy_crop, torch.ones(xy_crop.shape[:2]), cells, codec)[0]


def test_a_teacher_of_the_same_convention_is_taken_as_it_is() -> None:
    network = Fixed(torch.rand(2, 5, 32, 24))
    teacher = Teacher(network, theirs=OURS, their_codec=CODEC, ours=OURS, our_codec=CODEC)
    pixels = torch.rand(2, 3, 128, 96)
    assert torch.equal(teacher(pixels), network.heatmaps)
    assert network.seen is pixels


@pytest.mark.parametrize(
    ("theirs", "codec"),
    [(OURS, Codec(sigma=2, exact_target=True)), (THEIRS, Codec(sigma=3, exact_target=True))],
    ids=["other offset", "larger input"],
)
def test_a_teachers_peaks_land_where_they_are_in_the_picture(
    theirs: CropSpec, codec: Codec
) -> None:
    xy_ours = points(OURS.size)
    scale = theirs.size.width / OURS.size.width
    xy_theirs = (xy_ours + 0.5) * scale - 0.5
    network = Fixed(targets_of(xy_theirs, theirs, codec))
    teacher = Teacher(network, theirs=theirs, their_codec=codec, ours=OURS, our_codec=CODEC)
    soft = teacher(torch.rand(2, 3, 128, 96))
    assert soft.shape == (2, 5, 32, 24)
    found = heatmap.decode(soft, CODEC).xy * CODEC.stride + CODEC.cell_offset
    assert (found - xy_ours).abs().max() < 0.4  # px; bilinear cells are not Gaussian
    # sigma 3 of theirs is 2 of ours, so that soft targets look like hard ones
    assert (soft - targets_of(xy_ours, OURS, CODEC)).abs().max() < 0.1


def test_a_teacher_sees_its_own_normalisation() -> None:
    theirs = CropSpec(THEIRS.size, mean=(0.5, 0.4, 0.3), std=(0.1, 0.2, 0.3), bgr=True)
    network = Fixed(torch.rand(1, 5, 48, 36))
    teacher = Teacher(network, theirs=theirs, their_codec=OFFICIAL, ours=OURS, our_codec=CODEC)
    colour = torch.tensor([200.0, 100, 30]).view(1, 3, 1, 1)
    teacher(normalise(colour.expand(1, 3, 128, 96), OURS))
    want = normalise(colour.expand(1, 3, 192, 144), theirs)
    torch.testing.assert_close(network.seen, want, atol=1e-4, rtol=1e-4)


def test_a_teacher_of_another_shape_is_refused() -> None:
    square = CropSpec(Size(128, 128))
    with pytest.raises(UsageError, match="another aspect"):
        Teacher(nn.Identity(), theirs=square, their_codec=CODEC, ours=OURS, our_codec=CODEC)


def test_labels_and_teacher_are_mixed() -> None:
    predicted, targets, weights = maps()
    network = Fixed(torch.rand(3, 17, 6, 5))
    spec = CropSpec(Size(20, 24))
    teacher = Teacher(network, theirs=spec, their_codec=CODEC, ours=spec, our_codec=CODEC)
    pixels = torch.rand(3, 3, 24, 20)
    hard = mse(predicted, targets, weights)
    soft = ((predicted - network.heatmaps) ** 2).mean() / 2  # of all keypoints, labelled or not
    for share in (0.0, 0.25, 1.0):
        mixed = PoseLoss(Loss(teacher_weight=share), teacher)(predicted, targets, weights, pixels)
        assert float(mixed) == pytest.approx(float((1 - share) * hard + share * soft), rel=1e-5)
    worst = PoseLoss(Loss("ohkm", ohkm_keep=2))(predicted, targets, weights, pixels)
    assert float(worst) == float(ohkm(predicted, targets, weights, keep=2))
    assert float(PoseLoss()(predicted, targets, weights, pixels)) == float(hard)


def test_a_teacher_gets_no_gradient() -> None:
    network = nn.Conv2d(3, 5, 4, stride=4)
    teacher = Teacher(network, theirs=OURS, their_codec=CODEC, ours=OURS, our_codec=CODEC)
    assert not teacher(torch.rand(1, 3, 128, 96)).requires_grad
