"""Made sequences of people who walk, with known truth: what a detector and a pose network find.

People of 1.5 to 1.9 m walk on a plane before a camera, with swinging limbs, and hide each other.
The nearer person's keypoints attract those of the hidden one, as those of real pose networks do.
Scores of false boxes fall as measured with published detections of this project's dev pictures: by
a factor of 2.85 for every 0.1.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from hrpose.evaluate.tracking import Labelled
from hrpose.skeleton import COCO17
from hrpose.types import Poses, Size

SIZE = Size(1280, 720)
FOCAL, HORIZON, CAMERA_HEIGHT = 1000.0, 180.0, 2.6
PANNING = (0, 1, 1, 0, -1, 0, -1, -1, 0, 1)  # direction in each second
SIGMAS = np.array(COCO17.sigmas)


@dataclass(frozen=True)
class Scene:
    """What a sequence is made of; lengths in m, times in s."""

    name: str
    people: int = 6
    seconds: float = 12
    rate: float = 25
    uneven: float = 0  # deviation of a frame time, in frames
    dropped: float = 0  # share of frames that are not there
    speed: tuple[float, float] = (0.8, 1.7)
    turning: float = 0.3  # rad/s^0.5
    dash: float = 0  # abrupt changes of direction, per s
    depth: tuple[float, float] = (5, 12)
    pillars: int = 0
    pan: float = 0  # px/s, speed of the camera's turning, which comes and goes
    shake: float = 0  # px per frame
    missed: float = 0.03  # share of lone misses
    bursts: float = 0.1  # per s, misses of 0.1 to 0.6 s
    lone: float = 0.5  # false boxes per frame, scores from 0.1
    ghosts: int = 2  # places of false boxes that come again
    doubled: float = 0.03
    jitter: float = 0.03
    width: float = 4.5  # half of the plane on which people turn round
    opposite: bool = False  # all walk along x, half of them each way


SCENES = (
    Scene("crossing", people=6, opposite=True, turning=0.05, depth=(6, 9)),
    Scene("street", people=12),
    Scene("crowd", people=25, depth=(6, 16), width=7),
    Scene("pillars", people=8, pillars=4, opposite=True, turning=0.1),
    Scene("in and out", people=8, width=9, depth=(5, 9)),
    Scene("misses", people=8, missed=0.2, bursts=0.5, jitter=0.05),
    Scene("10 fps", people=8, rate=10),
    Scene("uneven", people=8, rate=20, uneven=0.3, dropped=0.25),
    Scene("camera", people=8, pan=250, shake=3),
    Scene("sport", people=8, speed=(1, 4), turning=1, dash=0.7, depth=(6, 10), rate=30),
)


@dataclass
class Made:
    """Truth and what a detector and a pose network would find."""

    name: str
    truth: list[Labelled] = field(default_factory=list)
    poses: list[Poses] = field(default_factory=list)


def joints(phase: float, stature: float) -> np.ndarray:
    """(17, 3) forward, left, up in m of a walker."""
    s, c = np.sin(phase), np.cos(phase)
    lift = 0.12 * max(c, 0), 0.12 * max(-c, 0)
    points = [
        (0.1, 0, 1.57), (0.08, 0.03, 1.6), (0.08, -0.03, 1.6), (0, 0.07, 1.58), (0, -0.07, 1.58),
        (0, 0.19, 1.4), (0, -0.19, 1.4),
        (-0.12 * s, 0.23, 1.13), (0.12 * s, -0.23, 1.13),
        (-0.3 * s + 0.08, 0.22, 0.9), (0.3 * s + 0.08, -0.22, 0.9),
        (0, 0.11, 0.92), (0, -0.11, 0.92),
        (0.2 * s + 0.05, 0.1, 0.5), (-0.2 * s + 0.05, -0.1, 0.5),
        (0.36 * s - 0.05 * c, 0.1, 0.09 + lift[0]), (-0.36 * s + 0.05 * c, -0.1, 0.09 + lift[1]),
    ]  # fmt: skip
    return np.array(points) * stature / 1.7


class World:
    """People on a plane; ``step`` moves them."""

    def __init__(self, scene: Scene, random: np.random.Generator) -> None:
        self.scene, self.random = scene, random
        n = scene.people
        self.x = random.uniform(-scene.width, scene.width, n)
        self.z = random.uniform(*scene.depth, n)
        self.speed = random.uniform(*scene.speed, n)
        self.heading = random.uniform(-np.pi, np.pi, n)
        if scene.opposite:
            self.heading = np.where(np.arange(n) % 2, 0, np.pi) + random.normal(0, 0.1, n)
        self.phase = random.uniform(0, 6, n)
        self.stature = random.uniform(1.5, 1.9, n)
        self.luck = random.normal(0, 0.06, n)  # of each person with the detector
        self.noise = np.zeros(n)
        self.shift = np.zeros((n, 4))
        self.blind = np.zeros(n)  # s for which a person is missed
        self.pillars = random.uniform(-2.5, 2.5, scene.pillars)
        self.pan, self.offset = 0.0, np.zeros(2)  # px
        self.time = 0.0

    def step(self, seconds: float) -> None:
        scene, random, n = self.scene, self.random, self.scene.people
        self.time += seconds
        self.heading += random.normal(0, scene.turning * np.sqrt(seconds), n)
        dashing = random.random(n) < scene.dash * seconds
        self.heading[dashing] = random.uniform(-np.pi, np.pi, dashing.sum())
        self.speed[dashing] = random.uniform(*scene.speed, dashing.sum())
        self.x += self.speed * np.cos(self.heading) * seconds
        self.z += self.speed * np.sin(self.heading) * seconds
        for values, low, high, turned in (
            (self.x, -scene.width, scene.width, lambda a: np.pi - a),
            (self.z, *scene.depth, lambda a: -a),
        ):
            out = (values < low) | (values > high)
            values[out] = np.clip(values[out], low, high)
            self.heading[out] = turned(self.heading[out])
        self.phase += 2 * np.pi * (0.5 + 0.35 * self.speed) * seconds
        left = np.exp(-seconds / 0.3)
        self.noise = left * self.noise + np.sqrt(1 - left**2) * random.normal(0, 0.09, n)
        left = np.exp(-seconds / 0.08)
        self.shift = left * self.shift + np.sqrt(1 - left**2) * random.normal(0, 1, (n, 4))
        self.blind -= seconds
        hit = random.random(n) < scene.bursts * seconds
        self.blind[hit] = random.uniform(0.1, 0.6, hit.sum())
        self.pan += scene.pan * PANNING[int(self.time) % len(PANNING)] * seconds
        self.offset = np.array([self.pan, 0]) + random.normal(0, 1, 2) * scene.shake

    def poses(self) -> np.ndarray:
        """(n, 17, 2) px."""
        found = []
        for i in range(self.scene.people):
            body, zoom = joints(self.phase[i], self.stature[i]), FOCAL / self.z[i]
            across = body[:, 0] * np.cos(self.heading[i]) - body[:, 1] * np.sin(self.heading[i])
            x = SIZE.width / 2 + zoom * (self.x[i] + across)
            y = HORIZON + zoom * (CAMERA_HEIGHT - body[:, 2])
            found.append(np.stack([x, y], axis=1))
        return np.array(found) + self.offset

    def boxes(self, poses: np.ndarray) -> np.ndarray:
        pad = (FOCAL / self.z)[:, None]
        low = poses.min(axis=1) - pad * [0.12, 0.16]
        return np.concatenate([low, poses.max(axis=1) + pad * [0.12, 0.08]], axis=1)

    def walls(self) -> np.ndarray:
        """(P, 4) px, nearer than everybody."""
        x = SIZE.width / 2 + FOCAL / 4 * self.pillars + self.offset[0]
        return np.stack([x - 45, 0 * x, x + 45, 0 * x + SIZE.height], axis=1)


def clip(boxes: np.ndarray) -> np.ndarray:
    return np.clip(boxes, 0, [*SIZE, *SIZE])


def area(boxes: np.ndarray) -> np.ndarray:
    return np.prod(np.clip(boxes[..., 2:] - boxes[..., :2], 0, None), axis=-1)


def hidden(points: np.ndarray, boxes: np.ndarray) -> np.ndarray:
    """(...,) whether a point lies in one of the boxes."""
    if not len(boxes):
        return np.zeros(points.shape[:-1], bool)
    p = points[..., None, :]
    return ((p > boxes[:, :2]) & (p < boxes[:, 2:])).all(-1).any(-1)


def thinned(boxes: np.ndarray) -> np.ndarray:
    trim = (boxes[:, 2:3] - boxes[:, :1]) * 0.15
    return boxes + trim * [1, 0, -1, 0]


GRID = np.stack(np.meshgrid(np.linspace(0.1, 0.9, 6), np.linspace(0.05, 0.95, 12)), -1).reshape(
    -1, 2
)


def make(scene: Scene, seed: int) -> Made:
    """One sequence."""
    random = np.random.default_rng([seed, *scene.name.encode()])
    world, sequence = World(scene, random), Made(scene.name)
    ghosts = [
        (random.uniform(0, [1200, 600]), random.uniform(60, 200)) for _ in range(scene.ghosts)
    ]
    luck = 0.1 + random.exponential(0.12, scene.ghosts)
    at, index = 0.0, 0
    for frame in range(int(scene.seconds * scene.rate)):
        due = (
            (frame + random.normal(0, scene.uneven)) / scene.rate
            if scene.uneven
            else frame / scene.rate
        )
        if frame and (random.random() < scene.dropped or due <= at + 1e-3):
            continue
        world.step(due - at if frame else 0)
        at = due if frame else 0
        truth, found = look(world, random)
        found += [false(random) for _ in range(random.poisson(scene.lone))]
        for (corner, width), base in zip(ghosts, luck, strict=True):
            if random.random() < 0.5:
                found.append(ghost(corner + world.offset, width, base, random))
        sequence.truth.append(truth)
        sequence.poses.append(gather(found, index, at))
        index += 1
    return sequence


Person = tuple[np.ndarray, float, np.ndarray, np.ndarray]  # box, score, keypoints, their scores


def look(world: World, random: np.random.Generator) -> tuple[Labelled, list[Person]]:
    scene, poses = world.scene, world.poses()
    whole = world.boxes(poses)
    ids, true, found = [], [], []
    for i in range(scene.people):
        nearer = np.flatnonzero(world.z < world.z[i])
        covers = np.concatenate([thinned(whole[nearer]), world.walls()])
        inside = clip(whole[i])
        if area(inside) < 0.4 * area(whole[i]):
            continue
        cells = inside[:2] + GRID * (inside[2:] - inside[:2])
        open_cells = cells[~hidden(cells, covers)]
        seen = len(open_cells) / len(GRID)
        if seen < 0.15:
            continue
        ids.append(i)
        true.append(inside)
        score = 0.25 + 0.6 * seen**0.8 + world.luck[i] + world.noise[i]
        if world.blind[i] > 0 or random.random() < scene.missed or score < 0.1:
            continue
        box = inside
        if seen < 0.6 and random.random() < 0.5:
            half = (inside[2:] - inside[:2]) / [12, 24]
            box = np.concatenate([open_cells.min(0) - half, open_cells.max(0) + half])
        side = np.sqrt(area(box))
        box = clip(box + world.shift[i] * scene.jitter * side)
        points, scores = posed(poses, i, nearer, covers, side, random)
        found.append((box, min(score, 0.99), points, scores))
        if random.random() < scene.doubled:
            moved = box + np.tile(random.normal(0, 0.12, 2) * side, 2)
            low = random.uniform(0.1, 0.55)
            found.append(
                (moved, low, points + random.normal(0, 0.03, (17, 2)) * side, scores * 0.7)
            )
    boxes = np.array(true, np.float32).reshape(-1, 4)
    return Labelled(np.array(ids, np.int64), boxes), found


def posed(
    poses: np.ndarray, i: int, nearer: np.ndarray, covers: np.ndarray, side: float,
    random: np.random.Generator,
) -> tuple[np.ndarray, np.ndarray]:  # fmt: skip
    """Keypoints of person i as a network gives them."""
    unseen = hidden(poses[i], covers)
    spread = np.where(unseen, 4, 1)[:, None] * SIGMAS[:, None] * side
    points = poses[i] + random.normal(0, 1, (17, 2)) * spread
    scores = np.where(unseen, random.uniform(0.1, 0.5, 17), random.normal(0.8, 0.1, 17))
    if unseen.any() and len(nearer):
        gaps = np.abs(poses[nearer] - poses[i]).mean(axis=(1, 2))
        if gaps.min() < side and random.random() < 0.6:  # drawn to the one in front
            front = poses[nearer[gaps.argmin()]]
            drawn = unseen & (random.random(17) < 0.7)
            points[drawn] = front[drawn] + random.normal(0, 1, (drawn.sum(), 2)) * spread[drawn] / 4
            scores[drawn] = random.uniform(0.3, 0.8, drawn.sum())
    return points, np.clip(scores, 0, 1)


def false(random: np.random.Generator) -> Person:
    width = random.uniform(30, 200)
    corner = random.uniform(0, [SIZE.width - width, SIZE.height - width])
    return ghost(corner, width, 0.1 + random.exponential(0.095), random, 0)


def ghost(
    corner: np.ndarray, width: float, base: float, random: np.random.Generator, noise: float = 0.08
) -> Person:
    sides = np.array([width, 2 * width]) * random.normal(1, 0.05, 2)
    box = clip(np.concatenate([corner, corner + sides]))
    points = box[:2] + random.random((17, 2)) * (box[2:] - box[:2])
    score = float(np.clip(base + random.normal(0, noise) if noise else base, 0.1, 0.95))
    return box, score, points, random.uniform(0.05, 0.45, 17)


def gather(found: list[Person], index: int, at: float) -> Poses:
    found = [person for person in found if area(person[0]) > 0]
    found.sort(key=lambda person: -person[1])
    n = len(found)

    def stack(part: int, *shape: int) -> np.ndarray:
        return np.array([person[part] for person in found], np.float32).reshape(n, *shape)

    return Poses(
        keypoints=stack(2, 17, 2), keypoint_scores=stack(3, 17), boxes=stack(0, 4),
        box_scores=stack(1), track_ids=np.full(n, -1, np.int64), size=SIZE, skeleton=COCO17,
        frame=index, time=at,
    )  # fmt: skip
