"""Boxes, padding and similarity transforms.

An affine map is a (..., 2, 3) tensor named ``dst_from_src``; it takes column vectors (x, y, 1).
Boxes are (..., 4) xyxy. Integer = pixel centre. All functions keep dtype and device, and accept
leading batch dimensions, empty ones included.
"""

from __future__ import annotations

import torch
from torch import Tensor

from hrpose.types import Size

PADDING = 1.25  # box enlargement of the official code (coco.py, _xywh2cs)
MIN_SIDE = 1.0  # px; a box of no area still gets a crop, so that lengths are preserved


def xyxy_from_xywh(boxes: Tensor) -> Tensor:
    """(..., 4) boxes of corner and size -> corner and corner."""
    return torch.cat([boxes[..., :2], boxes[..., :2] + boxes[..., 2:]], dim=-1)


def xywh_from_xyxy(boxes: Tensor) -> Tensor:
    """(..., 4) boxes of corner and corner -> corner and size."""
    return torch.cat([boxes[..., :2], boxes[..., 2:] - boxes[..., :2]], dim=-1)


def padded_region(
    boxes: Tensor, aspect: float, *, padding: float = PADDING
) -> tuple[Tensor, Tensor]:
    """Grows boxes to the aspect of the network input and pads them.

    The short side grows, the centre stays. Matches ``_xywh2cs`` of the official code to the last
    bit, which is why the size passes through float32 in its unit of 200 px.

    Args:
        boxes: (..., 4) xyxy in image pixels.
        aspect: Width divided by height of the network input.
        padding: Factor on both sides after the aspect is reached.

    Returns:
        Centres (..., 2) and sizes (..., 2), float32 image pixels, x before y.
    """
    boxes = boxes.double()
    sides = (boxes[..., 2:] - boxes[..., :2]).clamp_min(MIN_SIDE)
    width = torch.maximum(sides[..., 0], sides[..., 1] * aspect)
    height = torch.maximum(sides[..., 1], sides[..., 0] / aspect)
    scale = (torch.stack([width, height], dim=-1) / 200).float() * padding
    return ((boxes[..., :2] + boxes[..., 2:]) / 2).float(), scale * 200


def crop_from_image(
    centers: Tensor, sizes: Tensor, crop: Size, *, rotation: Tensor | None = None
) -> Tensor:
    """Similarity that maps a region's centre to (w/2, h/2) and its width to the crop's width.

    Built from three points rounded to float32, as in ``get_affine_transform`` of the official
    code (transforms.py:57-89): the centre, a point half a width above it, and a right angle; so
    only the width sets the scale. The rounding is part of the match: on boxes of a pixel or two
    it moves the map by up to a tenth of a crop pixel, and published results include it.

    Args:
        centers: (..., 2) region centres, image pixels.
        sizes: (..., 2) region widths and heights, image pixels.
        crop: Size of the crop in pixels.
        rotation: (...,) radians; positive turns the region (and so what is seen) as the official
            code's ``rot`` does. None is no rotation.

    Returns:
        (..., 2, 3) ``crop_from_image``, float64.
    """
    half = sizes.float()[..., 0].double() / 2
    angle = torch.zeros_like(half) if rotation is None else rotation.double()
    centre = centers.float()
    above = (centre + torch.stack([half * angle.sin(), -half * angle.cos()], -1)).float()
    arm = centre - above
    corner = above + torch.stack([-arm[..., 1], arm[..., 0]], -1)
    to_centre, to_corner = (centre.double() - above, corner.double() - above)
    # linear @ [to_centre, to_corner] = [[0, -w/2], [w/2, 0]]
    determinant = to_centre[..., 0] * to_corner[..., 1] - to_centre[..., 1] * to_corner[..., 0]
    scale = (crop.width / 2 / determinant)[..., None]
    across = torch.stack([to_centre[..., 1], -to_centre[..., 0]], -1) * scale
    down = torch.stack([to_corner[..., 1], -to_corner[..., 0]], -1) * scale
    linear = torch.stack([across, down], -2)
    target = linear.new_tensor([crop.width / 2, crop.height / 2])
    shift = target - (linear @ centre.double()[..., None])[..., 0]
    return torch.cat([linear, shift[..., None]], dim=-1)


def invert(dst_from_src: Tensor) -> Tensor:
    """Inverse of (..., 2, 3) affine maps; raises nothing, a singular map gives inf."""
    a, b = dst_from_src[..., 0, 0], dst_from_src[..., 0, 1]
    c, d = dst_from_src[..., 1, 0], dst_from_src[..., 1, 1]
    inverse = torch.stack([torch.stack([d, -b], -1), torch.stack([-c, a], -1)], -2)
    inverse = inverse / (a * d - b * c)[..., None, None]
    return torch.cat([inverse, -(inverse @ dst_from_src[..., 2:])], dim=-1)


def compose(c_from_b: Tensor, b_from_a: Tensor) -> Tensor:
    """``c_from_a``: first the right map, then the left; both (..., 2, 3)."""
    linear = c_from_b[..., :2] @ b_from_a[..., :2]
    shift = c_from_b[..., :2] @ b_from_a[..., 2:] + c_from_b[..., 2:]
    return torch.cat([linear, shift], dim=-1)


def apply(dst_from_src: Tensor, xy: Tensor) -> Tensor:
    """Maps points.

    Args:
        dst_from_src: (..., 2, 3).
        xy: (..., K, 2) points in the source frame.

    Returns:
        (..., K, 2) points in the destination frame.
    """
    return xy @ dst_from_src[..., :2].transpose(-1, -2) + dst_from_src[..., 2][..., None, :]


def mirror(width: float | Tensor, *, like: Tensor) -> Tensor:
    """The map (2, 3) that mirrors a picture of the given width: x -> width - 1 - x."""
    flip = like.new_tensor([[-1.0, 0.0, 0.0], [0.0, 1.0, 0.0]])
    flip[0, 2] = width - 1
    return flip


def clip(boxes: Tensor, size: Size) -> Tensor:
    """Cuts (..., 4) xyxy boxes to the picture: 0 to width and 0 to height."""
    high = boxes.new_tensor([size.width, size.height, size.width, size.height])
    return torch.minimum(boxes.clamp_min(0), high)
