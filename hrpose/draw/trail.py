"""Trails: the paths of joints over the last seconds of video time.

J joints are followed, M positions in a row; xy in image pixels.
"""

from __future__ import annotations

import math
from collections import Counter, deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from hrpose.draw.colours import DARK, of_person
from hrpose.draw.layer import Coat, Picture, layer_over
from hrpose.options import TRAIL_SECONDS, Style
from hrpose.skeleton import Skeleton
from hrpose.types import BoolArray, FloatArray, Poses, Size

_JOINTS = 5  # at most so many are followed; where more offer themselves, their middle is
_STEPS = 100  # positions of a path, at most twice as many; those in between are left out
_PEOPLE = 200  # paths that are kept; beyond, those of who left first go
_WIDTH = 0.0022  # of a trail, as a share of the picture's diagonal
_TAIL = 0.35  # width of its oldest part, as a share of the newest
_RIM = 0.6  # px of dark on both sides
_LEVELS, _RIM_LEVELS = 10, 4  # of fading
_LAYER_PIXELS = 1 << 20  # a layer over the whole picture is enlarged to at most so many


@dataclass(frozen=True, slots=True)
class _Step:
    """Where the joints of a person were: (J, 2), and (J,) which were seen; none is a gap."""

    time: float
    xy: FloatArray
    seen: BoolArray


@dataclass(frozen=True, slots=True)
class Run:
    """An unbroken piece of a path.

    Attributes:
        track_id: Whose.
        joint: Position among the joints that are followed.
        xy: (M, 2) float32 image pixels, oldest first; M >= 2.
        fade: (M,) float32, 1 now to 0 where the trail ends.
    """

    track_id: int
    joint: int
    xy: FloatArray
    fade: FloatArray


class Trails:
    """Where people with track ids have been lately; give it every frame, then draw.

    A path is broken where its person, or the joint, was not seen. A picture without time, a jump
    back in time, another size or another skeleton begins anew. Memory is bounded, however long
    the video and the trails are.

    Args:
        seconds: How long a position stays; above 0.
        joints: Indices of keypoints to follow. The default is the free ends of the skeleton,
            for COCO wrists and ankles; where those are none or many, as in faces, the middle of
            all that is seen.
        min_score: Keypoints below it are not seen.
    """

    def __init__(
        self,
        seconds: float = TRAIL_SECONDS,
        *,
        joints: Sequence[int] | None = None,
        min_score: float = Style().min_score,
    ) -> None:
        if not 0 < seconds < math.inf:
            raise ValueError(f"seconds is {seconds}, expected above 0")
        self._seconds, self._joints, self._min_score = seconds, joints, min_score
        self._paths: dict[int, deque[_Step]] = {}  # those who left first come first
        self._kind: tuple[Size, Skeleton] | None = None
        self._time = -math.inf

    @classmethod
    def of(cls, style: Style) -> Trails | None:
        """As a style wants them; None if it wants none."""
        return cls(style.trails, min_score=style.min_score) if style.trails else None

    def __len__(self) -> int:
        """How many people have a trail."""
        return len(self._paths)

    def clear(self) -> None:
        """Forgets everything."""
        self._paths.clear()
        self._time = -math.inf

    def add(self, poses: Poses) -> None:
        """Adds the people of the next frame; those without track id leave no trail."""
        kind = poses.size, poses.skeleton
        if poses.time is None or poses.time < self._time or kind != self._kind:
            self.clear()
        if poses.time is None:
            return
        self._kind, self._time = kind, poses.time
        here = {
            track: person for person, track in enumerate(poses.track_ids.tolist()) if track >= 0
        }
        for track, steps in self._paths.items():
            if track not in here and steps[-1].seen.any():
                nowhere = np.zeros_like(steps[-1].seen)
                steps.append(_Step(poses.time, steps[-1].xy, nowhere))
        for track, person in here.items():
            steps = self._paths.pop(track, deque(maxlen=2 * _STEPS))
            self._paths[track] = steps  # to the end
            self._extend(steps, self._step(poses, person, poses.time))
        self._forget()

    def runs(self) -> Iterator[Run]:
        """Yields what is to be drawn."""
        for track, steps in self._paths.items():
            xy = np.stack([step.xy for step in steps])
            seen = np.stack([step.seen for step in steps])
            ages = np.array([self._time - step.time for step in steps], np.float32)
            fade = (1 - ages / np.float32(self._seconds)).astype(np.float32)
            for joint in range(seen.shape[1]):
                for part in _stretches(seen[:, joint]):
                    yield Run(track, joint, xy[part, joint], fade[part])

    def _step(self, poses: Poses, person: int, time: float) -> _Step:
        xy, size = poses.keypoints[person], np.array(poses.size, np.float32)
        seen = poses.keypoint_scores[person] >= self._min_score
        seen &= ((xy > -size) & (xy < 2 * size)).all(axis=1)  # farther out is no place
        joints = _free_ends(poses.skeleton) if self._joints is None else self._joints
        if joints:
            return _Step(time, xy[list(joints)], seen[list(joints)])
        middle = xy[seen].mean(axis=0, keepdims=True) if seen.any() else xy[:1]
        return _Step(time, middle, seen.any(keepdims=True))

    def _extend(self, steps: deque[_Step], step: _Step) -> None:
        if steps and steps[-1].time == step.time:
            steps.pop()
        near = len(steps) > 1 and step.time - steps[-2].time < self._seconds / _STEPS
        if near and steps[-1].seen.any() and steps[-2].seen.any():
            steps.pop()
        steps.append(step)

    def _old(self, step: _Step) -> bool:
        return self._time - step.time >= self._seconds

    def _forget(self) -> None:
        for track, steps in list(self._paths.items()):
            while steps and (self._old(steps[0]) or not steps[0].seen.any()):
                steps.popleft()
            if not steps:
                del self._paths[track]
        for track in list(self._paths)[:-_PEOPLE]:
            del self._paths[track]


def draw_trails(canvas: Picture, trails: Trails) -> None:
    """Draws the trails, in place: in the colours of the people, fading and thinning."""
    runs = list(trails.runs())
    if not runs:
        return
    size = Size(canvas.shape[1], canvas.shape[0])
    width = max(1.2, _WIDTH * math.hypot(*size))
    room = math.isqrt(_LAYER_PIXELS // (size.width * size.height))
    zoom = min(4, max(1, room))  # by the picture: lines keep their width from frame to frame
    points = np.concatenate([run.xy for run in runs])
    ends = [tuple(points.min(axis=0).tolist()), tuple(points.max(axis=0).tolist())]
    layer = layer_over(ends, size, 2 * width, zoom=zoom)
    if layer is not None:
        for run in runs:
            layer.path(run.xy, _rim(run, width))
        for run in runs:
            layer.path(run.xy, _core(run, width))
        layer.blend(canvas)


def _rim(run: Run, width: float) -> Iterator[tuple[slice, Coat]]:
    for piece, share in _pieces(run.fade, _RIM_LEVELS):
        yield piece, Coat(_reach(width, share) + _RIM, (*DARK, round(127 * share)))


def _core(run: Run, width: float) -> Iterator[tuple[slice, Coat]]:
    colour = of_person(run.track_id)
    for piece, share in _pieces(run.fade, _LEVELS):
        yield piece, Coat(_reach(width, share), (*colour, round(255 * share)))


def _reach(width: float, share: float) -> float:
    return width * (_TAIL + (1 - _TAIL) * share) / 2


def _pieces(fade: FloatArray, levels: int) -> Iterator[tuple[slice, float]]:
    """Pieces of a path that are about equally new, and how new they are, 0 to 1."""
    level = np.ceil(fade[1:] * levels).astype(int).tolist()  # a segment is as new as its newer end
    first = 0
    for last in range(1, len(level) + 1):
        if last == len(level) or level[last] != level[first]:
            yield slice(first, last + 1), level[first] / levels
            first = last


def _stretches(seen: BoolArray) -> Iterator[slice]:
    """Where at least two in a row are true."""
    edges = np.flatnonzero(np.diff(seen.astype(np.int8), prepend=0, append=0))
    for start, end in edges.reshape(-1, 2).tolist():
        if end - start > 1:
            yield slice(start, end)


def _free_ends(skeleton: Skeleton) -> tuple[int, ...]:
    """Keypoints at the end of one limb; none where there are many of them."""
    count = Counter(index for edge in skeleton.edges for index in edge)
    ends = tuple(index for index in range(len(skeleton)) if count[index] == 1)
    return ends if len(ends) <= _JOINTS else ()
