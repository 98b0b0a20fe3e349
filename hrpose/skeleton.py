"""Keypoint sets as data: names, limbs, mirror permutation and OKS constants.

Adding a keypoint set is adding a row to :data:`SKELETONS`.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Skeleton:
    """One keypoint set.

    Attributes:
        name: Unique name, e.g. ``"coco17"``.
        keypoints: K names; left and right are the person's own.
        edges: Limbs as pairs of keypoint indices, in drawing order.
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

SKELETONS: dict[str, Skeleton] = {row.name: row for row in (COCO17, MPII16)}
