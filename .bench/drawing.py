"""What drawing costs: five people, on one core, in milliseconds of CPU time per picture.

OMP_NUM_THREADS=1 python .bench/drawing.py
"""

from __future__ import annotations

import time

import cv2
import numpy as np
import torch

from hrpose.draw import Trails, draw
from hrpose.options import Style
from hrpose.skeleton import COCO17
from hrpose.types import Frame, Heatmaps, Poses, Size

PEOPLE = 5
FIGURE = np.array([  # a standing person of height 1, in the order of COCO
    [0, -0.42], [0.03, -0.45], [-0.03, -0.45], [0.06, -0.43], [-0.06, -0.43],
    [0.12, -0.3], [-0.12, -0.3], [0.18, -0.12], [-0.18, -0.12], [0.2, 0.04], [-0.2, 0.04],
    [0.08, 0.03], [-0.08, 0.03], [0.1, 0.27], [-0.1, 0.27], [0.11, 0.48], [-0.11, 0.48],
])  # fmt: skip
STYLES = {
    "skeleton": Style(),
    "nothing": Style(overlay=()),
    "skeleton, boxes, ids, scores": Style(overlay=("skeleton", "boxes", "ids", "scores")),
    "skeleton on black": Style(background="black"),
    "skeleton on blur": Style(background="blur"),
    "skeleton, heatmaps": Style(heatmaps=True),
    "skeleton, trails of 1 s": Style(trails=1.0),
    "skeleton, trails of 5 s": Style(trails=5.0),
    "skeleton, side by side": Style(side_by_side=True),
}


def walk(size: Size, time: float) -> Poses:
    """Five people who walk across the picture; tall ones, as in a room."""
    random = np.random.default_rng(0)
    tall = random.uniform(0.45, 0.85, PEOPLE) * size.height
    middle = (np.arange(PEOPLE) + 0.5) / PEOPLE * size.width + 0.1 * size.width * np.sin(time)
    keypoints = FIGURE[None] * tall[:, None, None]
    keypoints[..., 0] += middle[:, None] + 0.05 * tall[:, None] * np.sin(9 * time + np.arange(17))
    keypoints[..., 1] += 0.5 * size.height
    points = keypoints.astype(np.float32)
    low, high = points.min(axis=1), points.max(axis=1)
    unit = (high[:, 1] - low[:, 1]) / 60
    places = np.zeros((PEOPLE, 2, 3), np.float32)
    places[:, 0, 0] = places[:, 1, 1] = unit
    places[..., 2] = low - np.stack([unit, unit], axis=1)
    return Poses(
        keypoints=points,
        keypoint_scores=random.uniform(0.4, 1.0, (PEOPLE, 17)).astype(np.float32),
        boxes=np.concatenate([low - 5, high + 5], axis=1),
        box_scores=np.full(PEOPLE, 0.9, np.float32),
        track_ids=np.arange(PEOPLE),
        size=size,
        skeleton=COCO17,
        time=time,
        heatmaps=Heatmaps(random.random((PEOPLE, 17, 64, 48)).astype(np.float16) ** 9, places),
    )


def cost(size: Size, style: Style, repeats: int = 40) -> tuple[float, float]:
    """Median and least milliseconds of one picture."""
    pixels = np.random.default_rng(0).integers(0, 256, (3, *reversed(size)), dtype=np.uint8)
    frame, trails, taken = Frame(torch.from_numpy(pixels)), Trails.of(style), []
    for number in range(150 + repeats):
        poses = walk(size, number / 30)
        begin = time.thread_time()
        if trails is not None:
            trails.add(poses)
        if number >= 150:  # the longest trails are full
            draw(frame, poses, style, trails)
            taken.append(1000 * (time.thread_time() - begin))
    return float(np.median(taken)), min(taken)


def main() -> None:
    cv2.setNumThreads(1)
    torch.set_num_threads(1)
    for size in (Size(320, 240), Size(640, 480), Size(1920, 1080)):
        print(f"{size.width} x {size.height}")
        for name, style in STYLES.items():
            median, least = cost(size, style)
            print(f"  {name:30} {median:6.1f} (at best {least:.1f})")


if __name__ == "__main__":
    main()
