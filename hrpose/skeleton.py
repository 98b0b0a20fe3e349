"""Keypoint sets as data: names, limbs and contours, mirror permutation and OKS constants.

Adding a keypoint set is adding a row to :data:`SKELETONS`.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import pairwise


@dataclass(frozen=True, slots=True)
class Skeleton:
    """One keypoint set.

    Attributes:
        name: Unique name, e.g. ``"coco17"``.
        keypoints: K names; left and right are the person's own.
        edges: Limbs or contours as pairs of keypoint indices, in drawing order.
        mirror: Permutation of K indices that swaps left and right; its own inverse.
        sigmas: K standard deviations of human labels, as a fraction of the square root of the
            person's area (Ronchi and Perona 2017; the COCO keypoint evaluation). Empty when the
            set has no published values.
        upper_body: Indices of the upper body, for half-body augmentation.
    """

    name: str
    keypoints: tuple[str, ...]
    edges: tuple[tuple[int, int], ...]
    mirror: tuple[int, ...]
    sigmas: tuple[float, ...] = ()
    upper_body: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        count = len(self.keypoints)
        if len(set(self.keypoints)) != count:
            raise ValueError(f"{self.name}: keypoint names are not unique")
        if sorted(self.mirror) != list(range(count)):
            raise ValueError(f"{self.name}: mirror is not a permutation of {count} indices")
        if any(self.mirror[self.mirror[i]] != i for i in range(count)):
            raise ValueError(f"{self.name}: mirror is not its own inverse")
        if any(not 0 <= i < count for edge in self.edges for i in edge):
            raise ValueError(f"{self.name}: an edge names a keypoint outside 0..{count - 1}")
        if self.sigmas and len(self.sigmas) != count:
            raise ValueError(f"{self.name}: {len(self.sigmas)} sigmas for {count} keypoints")

    def __len__(self) -> int:
        return len(self.keypoints)

    def side(self, index: int) -> str:
        """Returns ``"left"``, ``"right"`` or ``"middle"`` for a keypoint index."""
        name = self.keypoints[index]
        return next((s for s in ("left", "right") if name.startswith(s)), "middle")

    def limb_side(self, edge: tuple[int, int]) -> str:
        """Returns the side of a limb: that of its ends where they agree, else ``"middle"``."""
        sides = {self.side(edge[0]), self.side(edge[1])} - {"middle"}
        return sides.pop() if len(sides) == 1 else "middle"


def _mirror(names: tuple[str, ...]) -> tuple[int, ...]:
    swap = {"left": "right", "right": "left"}
    index = {name: i for i, name in enumerate(names)}

    def twin(name: str) -> str:
        side, _, rest = name.partition("_")
        return f"{swap[side]}_{rest}" if side in swap else name

    return tuple(index[twin(name)] for name in names)


_COCO17 = (
    "nose", "left_eye", "right_eye", "left_ear", "right_ear",
    "left_shoulder", "right_shoulder", "left_elbow", "right_elbow", "left_wrist", "right_wrist",
    "left_hip", "right_hip", "left_knee", "right_knee", "left_ankle", "right_ankle",
)  # fmt: skip
_MPII16 = (
    "right_ankle", "right_knee", "right_hip", "left_hip", "left_knee", "left_ankle",
    "pelvis", "thorax", "upper_neck", "head_top",
    "right_wrist", "right_elbow", "right_shoulder", "left_shoulder", "left_elbow", "left_wrist",
)  # fmt: skip

COCO17 = Skeleton(
    name="coco17",
    keypoints=_COCO17,
    edges=(
        (15, 13), (13, 11), (16, 14), (14, 12), (11, 12), (5, 11), (6, 12), (5, 6),
        (5, 7), (6, 8), (7, 9), (8, 10), (1, 2), (0, 1), (0, 2), (1, 3), (2, 4), (3, 5), (4, 6),
    ),
    mirror=_mirror(_COCO17),
    sigmas=(
        0.026, 0.025, 0.025, 0.035, 0.035, 0.079, 0.079, 0.072, 0.072, 0.062, 0.062,
        0.107, 0.107, 0.087, 0.087, 0.089, 0.089,
    ),
    upper_body=tuple(range(11)),
)  # fmt: skip
MPII16 = Skeleton(
    name="mpii16",
    keypoints=_MPII16,
    edges=(
        (0, 1), (1, 2), (2, 6), (5, 4), (4, 3), (3, 6), (6, 7), (7, 8), (8, 9),
        (10, 11), (11, 12), (12, 7), (15, 14), (14, 13), (13, 7),
    ),
    mirror=_mirror(_MPII16),
    upper_body=tuple(range(7, 16)),
)  # fmt: skip


def _points(part: str, numbers: Iterable[object]) -> tuple[str, ...]:
    return tuple(f"{part}_{number}" for number in numbers)


def _lines(*chains: Iterable[int]) -> tuple[tuple[int, int], ...]:
    return tuple(edge for chain in chains for edge in pairwise(chain))


def _loop(first: int, last: int) -> tuple[int, ...]:
    return (*range(first, last + 1), first)


# Faces. The side that is left in the picture of a frontal face, the person's right, comes first.
# Numbers: brows and eyes from the outer corner on, upper side first; lips from the corner on,
# upper side first; so equal numbers mirror each other, as the published pairs say
# (HRNet-Facial-Landmark-Detection transforms.py, mmpose's tables of the data sets).
_FACE68 = (
    *_points("right_jaw", range(8)), "chin", *_points("left_jaw", range(7, -1, -1)),
    *_points("right_brow", "01234"), *_points("left_brow", "43210"),
    *_points("nose_bridge", "012"), "nose_tip",
    *_points("right_nostril", "01"), "nose_base", *_points("left_nostril", "10"),
    *_points("right_eye", "012345"), *_points("left_eye", "321054"),
    *_points("right_lip", "012"), "upper_lip",
    *_points("left_lip", "21034"), "lower_lip", *_points("right_lip", "43"),
    *_points("right_inner_lip", "01"), "upper_inner_lip",
    *_points("left_inner_lip", "102"), "lower_inner_lip", "right_inner_lip_2",
)  # fmt: skip
_WFLW98 = (
    *_points("right_jaw", range(16)), "chin", *_points("left_jaw", range(15, -1, -1)),
    *_points("right_brow", "012345678"), *_points("left_brow", "432108765"),
    *_points("nose_bridge", "012"), "nose_tip",
    *_points("right_nostril", "01"), "nose_base", *_points("left_nostril", "10"),
    *_points("right_eye", "01234567"), *_points("left_eye", "43210765"),
    *_points("right_lip", "012"), "upper_lip",
    *_points("left_lip", "21034"), "lower_lip", *_points("right_lip", "43"),
    *_points("right_inner_lip", "01"), "upper_inner_lip",
    *_points("left_inner_lip", "102"), "lower_inner_lip", "right_inner_lip_2",
    "right_pupil", "left_pupil",
)  # fmt: skip
_COFW29 = (
    "right_brow_0", "left_brow_0", "right_brow_1", "left_brow_1",
    "right_brow_2", "right_brow_3", "left_brow_2", "left_brow_3",
    "right_eye_0", "left_eye_0", "right_eye_1", "left_eye_1",
    "right_eye_2", "right_eye_3", "left_eye_2", "left_eye_3", "right_pupil", "left_pupil",
    "right_nostril", "left_nostril", "nose_tip", "nose_base",
    "right_lip", "left_lip", "upper_lip", "upper_inner_lip", "lower_inner_lip", "lower_lip",
    "chin",
)  # fmt: skip
_AFLW19 = (
    *_points("right_brow", "012"), *_points("left_brow", "210"),
    *_points("right_eye", "012"), *_points("left_eye", "210"),
    "right_nostril", "nose_tip", "left_nostril", "right_lip", "mouth", "left_lip", "chin",
)  # fmt: skip

FACE68 = Skeleton(
    name="face68",
    keypoints=_FACE68,
    edges=_lines(
        range(17), range(17, 22), range(22, 27), range(27, 31), range(31, 36),
        _loop(36, 41), _loop(42, 47), _loop(48, 59), _loop(60, 67),
    ),
    mirror=_mirror(_FACE68),
)  # fmt: skip
WFLW98 = Skeleton(
    name="wflw98",
    keypoints=_WFLW98,
    edges=_lines(
        range(33), _loop(33, 41), _loop(42, 50), range(51, 55), range(55, 60),
        _loop(60, 67), _loop(68, 75), _loop(76, 87), _loop(88, 95),
    ),
    mirror=_mirror(_WFLW98),
)  # fmt: skip
COFW29 = Skeleton(
    name="cofw29",
    keypoints=_COFW29,
    edges=_lines(
        (0, 4, 2, 5, 0), (1, 6, 3, 7, 1), (8, 12, 10, 13, 8), (9, 14, 11, 15, 9),
        (18, 20, 19, 21, 18), (22, 24, 23, 27, 22), (22, 25, 23, 26, 22),
    ),
    mirror=_mirror(_COFW29),
)  # fmt: skip
AFLW19 = Skeleton(
    name="aflw19",
    keypoints=_AFLW19,
    edges=_lines((0, 1, 2), (3, 4, 5), (6, 7, 8), (9, 10, 11), (12, 13, 14), (15, 16, 17)),
    mirror=_mirror(_AFLW19),
)

SKELETONS: dict[str, Skeleton] = {
    row.name: row for row in (COCO17, MPII16, FACE68, WFLW98, COFW29, AFLW19)
}
