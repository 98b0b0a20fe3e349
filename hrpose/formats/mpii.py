"""MPII annotations as the HRNet repository has them: people in JSON, the truth of some in a .mat.

The JSON is a list of ``image``, ``center``, ``scale`` (the person's height in units of 200 px),
``joints`` and ``joints_vis``; hrpose also reads ``head_size``, or ``headbox`` as x1, y1, x2, y2.
The .mat (``gt_valid.mat``) holds ``pos_gt_src``, ``jnt_missing`` and ``headboxes_src``.

Both count pixels from 1, as MATLAB does. Whatever leaves this file counts from 0.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import msgspec
import numpy as np
from msgspec import Meta, Struct
from numpy.typing import NDArray

from hrpose.errors import BadAnnotation, InputError
from hrpose.formats.matlab import Value, read_matlab
from hrpose.formats.record import encodable
from hrpose.skeleton import MPII16

DoubleArray = NDArray[np.float64]
BoolArray = NDArray[np.bool_]

HEAD_SHARE = 0.6  # SC_BIAS: the head size of PCKh is this share of the head box's diagonal
MAT_JOINTS = (
    "rank", "rkne", "rhip", "lhip", "lkne", "lank", "pelv", "thor",
    "neck", "head", "rwri", "relb", "rsho", "lsho", "lelb", "lwri",
)  # fmt: skip

_LOWERED = 15  # px times scale; as published, "to avoid cropping limbs" (mpii.py:58)
_PADDING = 1.25
_UNIT = 200  # px of a scale of 1
_NO_CENTER = -1

Pixel = Annotated[float, Meta(ge=-1e6, le=1e6)]
Point = tuple[Pixel, Pixel]


class _Person(Struct, frozen=True):
    image: str
    center: Point
    scale: Annotated[float, Meta(gt=0, le=1e4)]
    joints: Annotated[list[Point], Meta(min_length=16, max_length=16)] | None = None
    joints_vis: (
        Annotated[list[Annotated[float, Meta(ge=0, le=1)]], Meta(min_length=16, max_length=16)]
        | None
    ) = None
    headbox: tuple[Pixel, Pixel, Pixel, Pixel] | None = None
    head_size: Annotated[float, Meta(gt=0, le=1e6)] | None = None


_DECODER = msgspec.json.Decoder(list[_Person])


@dataclass(frozen=True, slots=True, eq=False)
class MpiiLabels:
    """What predictions are compared with.

    Attributes:
        joints: (N, 16, 2) float64 image pixels; of no meaning where not labelled.
        labelled: (N, 16) bool.
        head_sizes: (N,) float64 px, 0.6 times the diagonal of the head box; 0 is "not known".
    """

    joints: DoubleArray
    labelled: BoolArray
    head_sizes: DoubleArray

    def __len__(self) -> int:
        return len(self.head_sizes)


@dataclass(frozen=True, slots=True, eq=False)
class MpiiPeople:
    """The people of an annotation file, in its order.

    Attributes:
        images: N file names.
        centers: (N, 2) float64 image pixels, centres of the regions that a network sees.
        sides: (N,) float64 px, widths of these regions; the published ones are square.
        labels: What the file says of joints and heads; nobody is labelled in ``test.json``.
    """

    images: tuple[str, ...]
    centers: DoubleArray
    sides: DoubleArray
    labels: MpiiLabels

    def __len__(self) -> int:
        return len(self.images)


def read_mpii(path: Path) -> MpiiPeople:
    """Reads people with their regions, joints and head sizes.

    Regions are those of the official code (mpii.py:52-65): the centre 15 px times the scale lower,
    then the scale times 1.25; a centre of -1 keeps both as they are.

    Args:
        path: ``valid.json`` or another file of its form.

    Raises:
        InputError: The file cannot be read.
        BadAnnotation: It is not such a file, or lists nobody; names the entry, as ``$[17].scale``.
    """
    shown = encodable(str(path))[0]
    try:
        rows = _DECODER.decode(_read(path, hint="check the path of the MPII annotations"))
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise BadAnnotation(
            f"{shown}: not MPII annotations: {error}",
            hint="expected a list of image, center, scale, joints and joints_vis",
        ) from error
    if not rows:
        raise BadAnnotation(f"{shown}: lists nobody", hint="valid.json of MPII has 2,958 people")
    centers = np.array([row.center for row in rows], np.float64)
    scales = np.array([row.scale for row in rows], np.float64)
    placed = centers[:, 0] != _NO_CENTER
    centers[:, 1] += np.where(placed, _LOWERED * scales, 0)
    return MpiiPeople(
        images=tuple(row.image for row in rows),
        centers=centers - 1,
        sides=scales * np.where(placed, _PADDING, 1) * _UNIT,
        labels=_labels(rows),
    )


def read_mpii_truth(path: Path) -> MpiiLabels:
    """Reads the truth that the published evaluation compares with.

    Args:
        path: ``gt_valid.mat`` or another MATLAB file (up to version 7) with its variables.

    Raises:
        InputError: The file cannot be read.
        BadAnnotation: It is not such a file.
    """
    shown = encodable(str(path))[0]
    content = _read(path, hint="check the path of the MPII truth")
    names = ("pos_gt_src", "jnt_missing", "headboxes_src", "dataset_joints")
    try:
        found = read_matlab(content, names)
    except ValueError as error:
        raise _bad_truth(shown, str(error)) from error
    joints = _variable(found, "pos_gt_src", (len(MPII16), 2, None), shown)
    people = joints.shape[2]
    missing = _variable(found, "jnt_missing", (len(MPII16), people), shown)
    heads = _variable(found, "headboxes_src", (2, 2, people), shown)
    order = found.get("dataset_joints", MAT_JOINTS)
    if not isinstance(order, tuple) or order != MAT_JOINTS:
        raise _bad_truth(shown, "dataset_joints is not in the order of MPII")
    return MpiiLabels(
        joints=np.ascontiguousarray(joints.transpose(2, 0, 1)) - 1,
        labelled=np.ascontiguousarray(missing.T == 0),
        head_sizes=HEAD_SHARE * np.linalg.norm(heads[1] - heads[0], axis=0),
    )


def _read(path: Path, *, hint: str) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise InputError(f"{encodable(str(path))[0]}: {error.strerror or error}", hint=hint) from (
            error
        )


def _labels(rows: list[_Person]) -> MpiiLabels:
    joints = np.zeros((len(rows), len(MPII16), 2))
    labelled = np.zeros((len(rows), len(MPII16)), np.bool_)
    for i, row in enumerate(rows):
        if row.joints is not None and row.joints_vis is not None:
            joints[i] = row.joints
            labelled[i] = np.array(row.joints_vis) > 0
    return MpiiLabels(joints - 1, labelled, np.array([_head_size(row) for row in rows]))


def _head_size(row: _Person) -> float:
    if row.head_size is not None:
        return row.head_size
    if row.headbox is None:
        return 0.0
    x1, y1, x2, y2 = row.headbox
    return HEAD_SHARE * float(np.hypot(x2 - x1, y2 - y1))


def _variable(
    found: dict[str, Value], name: str, shape: tuple[int | None, ...], shown: str
) -> DoubleArray:
    """A numeric variable as float64, if it has the shape and no value that is not a number."""
    if name not in found:
        raise _bad_truth(shown, f"there is no {name}")
    value = found[name]
    if not isinstance(value, np.ndarray) or value.size == 0:
        raise _bad_truth(shown, f"{name} holds no numbers")
    if value.ndim == len(shape) - 1:  # MATLAB drops the last dimension of one person
        value = value[..., None]
    fits = value.ndim == len(shape) and all(
        want in (None, got) for got, want in zip(value.shape, shape, strict=True)
    )
    if not fits:
        wanted = tuple("people" if want is None else want for want in shape)
        raise _bad_truth(shown, f"{name} has shape {value.shape}, expected {wanted}")
    if not np.isfinite(value).all():
        raise _bad_truth(shown, f"{name} holds values that are not numbers")
    return value.astype(np.float64)


def _bad_truth(shown: str, reason: str) -> BadAnnotation:
    return BadAnnotation(
        f"{shown}: not the truth of MPII: {reason}",
        hint="expected gt_valid.mat of the HRNet repository's annotations",
    )
