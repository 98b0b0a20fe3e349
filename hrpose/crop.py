"""Frames and boxes to network inputs: one batched affine resample on the device.

The resample gathers its four bilinear taps from one flat buffer that holds all frames, so frames
of any sizes share one call, nothing loops over people, and frames stay uint8. Training
augments through the same call with other transforms.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from hrpose import geometry
from hrpose.types import Crops, Detections, Frame, Size

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)
_CACHED = 1 << 17  # crop pixels at a time on a CPU; some 40 bytes each lie in its cache


@dataclass(frozen=True, slots=True)
class CropSpec:
    """What a network wants to see.

    Attributes:
        size: Width and height of the network input in pixels.
        padding: Enlargement of the box after it has the input's aspect.
        mean: Mean of red, green and blue, 0 to 1.
        std: Standard deviation of red, green and blue, 0 to 1.
        bgr: Whether the channels are fed in the order blue, green, red while mean and std stay
            in theirs; the official SimpleBaseline weights were trained so.
    """

    size: Size
    padding: float = geometry.PADDING
    mean: tuple[float, float, float] = IMAGENET_MEAN
    std: tuple[float, float, float] = IMAGENET_STD
    bgr: bool = False

    @property
    def aspect(self) -> float:
        return self.size.width / self.size.height


def crop_transforms(boxes: Tensor, spec: CropSpec) -> Tensor:
    """(B, 4) xyxy boxes in image pixels -> (B, 2, 3) ``crop_from_image``, float64."""
    centers, sizes = geometry.padded_region(boxes, spec.aspect, padding=spec.padding)
    return geometry.crop_from_image(centers, sizes, spec.size)


def crop_people(
    frames: Sequence[Frame],
    detections: Sequence[Detections],
    spec: CropSpec,
    *,
    people: slice = slice(None),
    device: torch.device | str = "cpu",
    dtype: torch.dtype = torch.float32,
) -> Crops:
    """Cuts detected people out of a batch of frames.

    Args:
        frames: Frames of any sizes.
        detections: One per frame.
        spec: What the network wants.
        people: Which of all people, counted through frames and then people; the default is all.
        device: Where the crops are made and stay.
        dtype: Of the normalised pixels.

    Returns:
        B crops in order of frames, then of people.
    """
    counts = torch.tensor([len(d) for d in detections], dtype=torch.int64)
    frame = torch.repeat_interleave(torch.arange(len(frames)), counts)
    first = counts.cumsum(0) - counts
    person = torch.arange(len(frame)) - first[frame]
    boxes = torch.cat([torch.zeros(0, 4), *(d.boxes.float().cpu() for d in detections)])
    frame, person, boxes = frame[people], person[people], boxes[people]
    image_from_crop = geometry.invert(crop_transforms(boxes, spec))
    used, which = frame.unique(return_inverse=True)
    images = [frames[i].image for i in used.tolist()]
    pixels = resample(images, which, image_from_crop, spec.size, device=device)
    return Crops(
        pixels=normalise(pixels, spec).to(dtype),
        image_from_crop=image_from_crop.float().to(device),
        frame=frame,
        person=person,
    )


def normalise(pixels: Tensor, spec: CropSpec) -> Tensor:
    """(B, 3, h, w) RGB 0 to 255 -> the network's input, float32."""
    if spec.bgr:
        pixels = pixels.flip(1)
    mean = pixels.new_tensor(spec.mean).view(3, 1, 1) * 255
    std = pixels.new_tensor(spec.std).view(3, 1, 1) * 255
    return torch.sub(pixels, mean).div_(std)


def resample(
    images: Sequence[Tensor],
    which: Tensor,
    image_from_crop: Tensor,
    size: Size,
    *,
    device: torch.device | str = "cpu",
) -> Tensor:
    """Bilinear affine resample of many regions of many images; black outside.

    Maps coordinates as OpenCV's ``warpAffine`` (INTER_LINEAR, constant border 0) does: integer
    is a pixel centre, a tap outside the image counts as 0.

    Args:
        images: (3, H, W) uint8, sizes may differ.
        which: (B,) int64 index of each crop's image.
        image_from_crop: (B, 2, 3) maps from crop pixels to image pixels.
        size: Width and height of the crops.
        device: Where it runs and where the result lies.

    Returns:
        (B, 3, h, w) float32, 0 to 255.
    """
    if len(which) == 0:
        return torch.zeros(0, 3, size.height, size.width, device=device)
    packed = _pack(images, device)
    which, maps = which.to(device), image_from_crop.float().to(device)
    pixels = torch.empty(len(which), 3, size.height, size.width, device=device)
    # on a CPU in blocks that stay in its cache: twice as fast, same bits
    on_cpu = pixels.device.type == "cpu"
    block = max(1, _CACHED // (size.width * size.height)) if on_cpu else len(which)
    for crops in zip(which.split(block), maps.split(block), pixels.split(block), strict=True):
        _resample(packed, *crops)
    return pixels


def _resample(packed: _Packed, which: Tensor, image_from_crop: Tensor, out: Tensor) -> None:
    """Fills ``out`` (B, 3, h, w)."""
    device, (height, width) = out.device, out.shape[2:]
    maps = image_from_crop[..., None, None]
    column = torch.arange(width, device=device, dtype=torch.float32)
    row = torch.arange(height, device=device, dtype=torch.float32)[:, None]
    x, y = (maps[:, i, 0] * column + maps[:, i, 1] * row + maps[:, i, 2] for i in (0, 1))
    # a point a whole pixel outside reads only the border, wherever it is
    x = torch.minimum(x.clamp_min_(-1), packed.limit[which, 0, None, None])
    y = torch.minimum(y.clamp_min_(-1), packed.limit[which, 1, None, None])
    left, top = x.floor(), y.floor()
    wx, wy = x.sub_(left)[:, None], y.sub_(top)[:, None]
    step = packed.stride[which].view(-1, 1, 1)
    origin = packed.start[which].view(-1, 1, 1)
    index = top.to(step.dtype).mul_(step).add_(left.to(step.dtype)).add_(origin)
    upper = _take(packed.pixels, index).lerp_(_take(packed.pixels, index + 1), wx)
    index = index.add_(step)
    lower = _take(packed.pixels, index).lerp_(_take(packed.pixels, index + 1), wx)
    torch.lerp(upper, lower, wy, out=out)


@dataclass(frozen=True, slots=True, eq=False)
class _Packed:
    """Images in one flat buffer of four bytes a pixel.

    Attributes:
        pixels: (P,) int32.
        start: Offset of each image's pixel (0, 0), int64.
        stride: Offset from row to row of each image, int64.
        limit: (images, 2) float32, the greatest x and y that still need telling apart.
    """

    pixels: Tensor
    start: Tensor
    stride: Tensor
    limit: Tensor


def _pack(images: Sequence[Tensor], device: torch.device | str) -> _Packed:
    """All images in one buffer, each with a black border.

    One gather then fetches a whole pixel, and the border (1 px before, 2 px behind) makes masks
    unnecessary.
    """
    shapes = [(image.shape[1], image.shape[2]) for image in images]
    offsets = [0]
    for height, width in shapes:
        offsets.append(offsets[-1] + (height + 3) * (width + 3))
    buffer = torch.zeros(offsets[-1], 4, dtype=torch.uint8, device=device)
    for image, (height, width), offset in zip(images, shapes, offsets[:-1], strict=True):
        area = buffer[offset : offset + (height + 3) * (width + 3)].view(height + 3, width + 3, 4)
        area[1 : height + 1, 1 : width + 1, :3] = image.to(device).permute(1, 2, 0)
    start = torch.tensor([o + w + 4 for o, (_, w) in zip(offsets[:-1], shapes, strict=True)])
    stride = torch.tensor([w + 3 for _, w in shapes])
    limit = torch.tensor([(w, h) for h, w in shapes], dtype=torch.float32)
    pixels = buffer.view(torch.int32).view(-1)
    return _Packed(pixels, start.to(device), stride.to(device), limit.to(device))


def _take(buffer: Tensor, index: Tensor) -> Tensor:
    """Pixels (B, 3, h, w) float32 at flat positions (B, h, w)."""
    pixels = torch.index_select(buffer, 0, index.view(-1)).view(torch.uint8)
    planes = pixels.view(*index.shape, 4)[..., :3].permute(0, 3, 1, 2)
    return torch.empty(planes.shape, device=planes.device).copy_(planes)
