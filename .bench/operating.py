"""What reaches the user: shares of people found and of boxes that fit nobody, by pose threshold.

python .bench/operating.py --data dev.json --images dev-images.zip

Of the fully labelled pictures. A box finds a person at IoU 0.5, each person once; boxes of which
half lies in a crowd region do not count. Far off are boxes that overlap nobody by an IoU of 0.1.
Everything else is as in `hrpose image`.
"""

import argparse
from pathlib import Path

import numpy as np

from hrpose.evaluate.protocol import OFFICIAL
from hrpose.evaluate.truth import GroundTruth
from hrpose.options import Options
from hrpose.pipeline import load
from hrpose.similarity import box_iou

THRESHOLDS = (0, 0.2, 0.25, 0.3, 0.35, 0.4, 0.45, 0.5)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--images", type=Path, required=True)
    parser.add_argument("--pose", default=Options().pose)
    parser.add_argument("--detector", default=Options().detector)
    parser.add_argument("--threshold", type=float, default=Options().threshold)
    parser.add_argument("--flip-test", action="store_true")
    given = parser.parse_args()
    options = Options(
        pose=given.pose,
        detector=given.detector,
        threshold=given.threshold,
        flip_test=given.flip_test,
        pose_threshold=0,
    )
    truth = GroundTruth(given.data, [given.images], protocol=OFFICIAL)
    complete = set(truth.complete or truth.ids)
    frames = (f for f in truth.frames() if truth.pictures[f.index].id in complete)
    counts = np.zeros((len(THRESHOLDS), 4), int)
    people = 0
    for frame, poses in load(options).run(frames):
        entries = truth.coco.imgToAnns.get(truth.pictures[frame.index].id, [])
        labelled, crowds = (boxes_of(entries, crowd) for crowd in (0, 1))
        people += len(labelled)
        for row, least in enumerate(THRESHOLDS):
            counts[row] += count(
                poses.take(np.flatnonzero(poses.scores >= least)), labelled, crowds
            )
    print(f"{len(complete)} pictures, {people} people")
    for least, (found, boxes, strange, far) in zip(THRESHOLDS, counts.tolist(), strict=True):
        shares = f"found {100 * found / people:5.1f} %, fit nobody {100 * strange / boxes:5.1f} %"
        print(f"pose threshold {least:4.2f}: {shares} of {boxes} boxes ({far} far off)")


def boxes_of(entries, crowd):
    boxes = np.array([e["bbox"] for e in entries if e["iscrowd"] == crowd], np.float32)
    boxes = boxes.reshape(-1, 4)
    boxes[:, 2:] += boxes[:, :2]
    return boxes


def count(poses, labelled, crowds):
    """People found, boxes that count, those that fit nobody, and those of them that are far off."""
    overlap = box_iou(poses.boxes, labelled)
    taken, fits = set(), np.zeros(len(poses), bool)
    for i in np.argsort(-poses.scores):
        free = [k for k in np.flatnonzero(overlap[i] >= 0.5) if k not in taken]
        if free:
            taken.add(max(free, key=lambda k: overlap[i, k]))
            fits[i] = True
    low = np.maximum(poses.boxes[:, None, :2], crowds[None, :, :2])
    high = np.minimum(poses.boxes[:, None, 2:], crowds[None, :, 2:])
    shared = np.prod(np.clip(high - low, 0, None), axis=2)
    area = np.prod(poses.boxes[:, 2:] - poses.boxes[:, :2], axis=1)
    ignored = ~fits & (shared >= area[:, None] / 2).any(axis=1)
    strange = ~fits & ~ignored
    far = strange & (overlap < 0.1).all(axis=1)
    return fits.sum(), (~ignored).sum(), strange.sum(), far.sum()


if __name__ == "__main__":
    main()
