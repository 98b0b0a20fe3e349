"""Crops: published pixels, OpenCV's warp, and people in any frames.

Two grey levels: OpenCV up to 4.11 rounds positions to 1/32 px, which moves a value by up to 1/64 of
the step between neighbours on each axis. At the picture's edge, where a step may be all of 255,
that is 8 levels.
"""

from __future__ import annotations

import math
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from torch import Tensor

from hrpose import geometry
from hrpose.crop import CropSpec, crop_people, crop_transforms, normalise, resample
from hrpose.types import Detections, Frame, Size

SIZE = Size(24, 32)
QUICK = settings(max_examples=60, deadline=None, derandomize=True)


def picture(width: int, height: int, seed: int = 0) -> Tensor:
    """Smooth noise from black to white."""
    coarse = np.random.default_rng(seed).integers(0, 256, (height // 8 + 2, width // 8 + 2, 3))
    fine = cv2.resize(coarse.astype(np.uint8), (width, height), interpolation=cv2.INTER_CUBIC)
    return torch.from_numpy(fine).permute(2, 0, 1).contiguous()


PICTURES = [picture(70, 50, 1), picture(31, 90, 2), picture(1, 1, 3), picture(200, 3, 4)]


@pytest.mark.parametrize(
    ("tag", "size"), [("256x192", Size(192, 256)), ("384x288", Size(288, 384))]
)
def test_golden_crops(shared: Path, tag: str, size: Size) -> None:
    golden = np.load(shared / "data/golden/postprocess.npz")
    frame = Frame(torch.from_numpy(golden["image_rgb"]).permute(2, 0, 1))
    boxes = geometry.xyxy_from_xywh(torch.from_numpy(golden[f"{tag}_boxes_xywh"])[:6]).float()
    spec = CropSpec(size, mean=(0, 0, 0), std=(1 / 255, 1 / 255, 1 / 255))
    crops = crop_people([frame], [Detections(boxes, torch.ones(6))], spec)
    want = golden[f"{tag}_crops_rgb6"].transpose(0, 3, 1, 2).astype(float)
    difference = np.abs(crops.pixels.numpy() - want)
    assert (difference <= 2).mean() >= 0.999
    assert want.std() > 20  # they show something


def warp(image: Tensor, image_from_crop: Tensor) -> np.ndarray:
    pixels = np.ascontiguousarray(image.permute(1, 2, 0).numpy())
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    return cv2.warpAffine(pixels, image_from_crop.double().numpy(), SIZE, flags=flags)


@st.composite
def regions(draw: st.DrawFn) -> tuple[int, Tensor]:
    """A picture, and a map that turns, scales, mirrors and may miss the picture altogether."""
    which = draw(st.integers(0, len(PICTURES) - 1))
    _, height, width = PICTURES[which].shape
    # at most 2 px a step, as an affine resample has no antialiasing and neither has OpenCV's
    scale, angle = draw(st.floats(0.05, 2)), draw(st.floats(-math.pi, math.pi))
    side = draw(st.sampled_from([-1, 1]))
    share = st.one_of(st.floats(-0.3, 1.3), st.sampled_from([-500.0, 500.0]))
    middle = draw(share) * width, draw(share) * height
    return which, affine(middle, scale, angle, side)


def affine(middle: tuple[float, float], scale: float, angle: float, side: int) -> Tensor:
    linear = scale * torch.tensor(
        [[side * math.cos(angle), -math.sin(angle)], [side * math.sin(angle), math.cos(angle)]]
    )
    shift = torch.tensor(middle) - linear @ torch.tensor([SIZE.width / 2, SIZE.height / 2])
    return torch.cat([linear, shift[:, None]], dim=1)


@QUICK
@example([(2, affine((0, 0), 0.1, 0.4, 1)), (0, affine((0, 0), 1, 0, 1))])
@example([(0, affine((1e9, -1e9), 1, 0, 1)), (3, affine((100, 1), 1, 0.3, -1))])
@given(st.lists(regions(), min_size=1, max_size=5))
def test_resample_is_opencv_s_warp(chosen: list[tuple[int, Tensor]]) -> None:
    """Many regions of pictures of different sizes in one call."""
    which = torch.tensor([i for i, _ in chosen])
    maps = torch.stack([m for _, m in chosen])
    got = resample(PICTURES, which, maps, SIZE)
    assert got.shape == (len(chosen), 3, SIZE.height, SIZE.width)
    for crop, (index, image_from_crop) in zip(got, chosen, strict=True):
        want = warp(PICTURES[index], image_from_crop).astype(float)
        within = warp(torch.full_like(PICTURES[index], 255), image_from_crop) == 255
        difference = np.abs(crop.permute(1, 2, 0).numpy() - want)
        assert difference[within].max(initial=0) <= 2
        assert difference.max() <= 9


def test_identity_and_whole_shifts_are_exact() -> None:
    image = picture(SIZE.width, SIZE.height)
    here = torch.eye(2, 3)[None]
    assert torch.equal(resample([image], torch.tensor([0]), here, SIZE)[0], image.float())
    here[0, :, 2] = torch.tensor([5.0, -3.0])
    shifted = resample([image], torch.tensor([0]), here, SIZE)[0]
    assert torch.equal(shifted[:, 3:, :-5], image[:, :-3, 5:].float())
    assert shifted[:, :3].max() == shifted[:, :, -5:].max() == 0


def test_far_outside_is_black_and_neighbours_do_not_leak() -> None:
    white = torch.full((3, 40, 40), 255, dtype=torch.uint8)
    maps = torch.stack([affine((x, 20), 1, 0, 1) for x in (-200.0, 240.0, 20.0, 1e30)])
    got = resample([white, white, white], torch.tensor([1, 1, 1, 0]), maps, SIZE)
    assert got.amax(dim=(1, 2, 3)).tolist() == [0, 0, 255, 0]


def test_no_regions() -> None:
    none = torch.zeros(0, dtype=torch.int64)
    assert resample(PICTURES, none, torch.zeros(0, 2, 3), SIZE).shape == (0, 3, 32, 24)
    assert resample([], none, torch.zeros(0, 2, 3), SIZE).shape == (0, 3, 32, 24)


FRAMES = [Frame(picture(70, 50, 5)), Frame(picture(30, 80, 6)), Frame(picture(64, 64, 7))]
BOXES = [
    torch.tensor([[5.0, 5, 40, 45], [-20, -10, 30, 30], [68, 48, 70, 50]]),
    torch.zeros(0, 4),
    torch.tensor([[10.0, 0, 60, 64], [0, 0, 64, 64]]),
]
PEOPLE = [Detections(boxes, torch.ones(len(boxes))) for boxes in BOXES]
SPEC = CropSpec(Size(48, 64))


def test_crops_of_several_frames() -> None:
    crops = crop_people(FRAMES, PEOPLE, SPEC)
    assert crops.frame.tolist() == [0, 0, 0, 2, 2]
    assert crops.person.tolist() == [0, 1, 2, 0, 1]
    assert crops.pixels.shape == (5, 3, 64, 48)
    for i, (frame, person) in enumerate(zip(crops.frame, crops.person, strict=True)):
        one = Detections(BOXES[frame][person][None], torch.ones(1))
        alone = crop_people([FRAMES[frame]], [one], SPEC)
        assert torch.equal(alone.pixels[0], crops.pixels[i])
        assert torch.equal(alone.image_from_crop[0], crops.image_from_crop[i])
        want = geometry.invert(crop_transforms(one.boxes, SPEC))[0]
        torch.testing.assert_close(crops.image_from_crop[i].double(), want, rtol=1e-6, atol=1e-4)


@pytest.mark.parametrize("people", [slice(0, 2), slice(2, 4), slice(4, 9), slice(3, 3)], ids=str)
def test_a_slice_of_the_people(people: slice) -> None:
    every, some = (
        crop_people(FRAMES, PEOPLE, SPEC),
        crop_people(FRAMES, PEOPLE, SPEC, people=people),
    )
    assert torch.equal(some.pixels, every.pixels[people])
    assert torch.equal(some.frame, every.frame[people])
    assert torch.equal(some.person, every.person[people])


@pytest.mark.parametrize("frames", [0, 1, 3])
def test_nobody_in_any_frame(frames: int) -> None:
    nobody = [Detections(torch.zeros(0, 4), torch.zeros(0))] * frames
    crops = crop_people(FRAMES[:frames], nobody, SPEC)
    assert len(crops) == 0
    assert crops.pixels.shape == (0, 3, 64, 48)


def test_normalise() -> None:
    pixels = torch.tensor([255.0, 127.5, 0.0]).view(1, 3, 1, 1)
    spec = CropSpec(SIZE, mean=(0.5, 0.25, 0.0), std=(0.5, 0.25, 1.0))
    assert normalise(pixels, spec).flatten().tolist() == [1, 1, 0]
    swapped = CropSpec(SIZE, mean=(0.5, 0.25, 0.0), std=(0.5, 0.25, 1.0), bgr=True)
    # the channels change places, mean and std do not
    assert normalise(pixels, swapped).flatten().tolist() == [-1, 1, 1]
    assert CropSpec(Size(192, 256)).aspect == 0.75
    half = crop_people(FRAMES[:1], PEOPLE[:1], SPEC, dtype=torch.bfloat16)
    assert half.pixels.dtype == torch.bfloat16
    assert half.image_from_crop.dtype == torch.float32
