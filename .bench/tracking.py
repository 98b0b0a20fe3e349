"""Measures the tracker on made sequences with known truth, beside ByteTrack of `trackers`.

    python .bench/tracking.py [--seeds 100 105] [--least 0.1 0.5] [--clip FILE ...]

Both get the same boxes, scores and times; ours gets the keypoints, too. `trackers` (Apache-2.0,
from the package registry) is no dependency of hrpose: put it into a scratch folder and on
PYTHONPATH, else only our own columns are printed. Milliseconds are time of the process, one
thread. Defaults of the tracker were chosen on seeds 0 and 1; report others.

With --clip the chain runs on real clips, without labels: people, ids, tracks of less than half a
second, and gaps within tracks are counted, with the detector in every frame and in some.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from walkers import SCENES, Made, make

from hrpose.evaluate.tracking import Labelled, TrackingScore, score_tracking
from hrpose.media.clips import sources
from hrpose.options import Options, Span, Tracking
from hrpose.pipeline import Pipeline, load
from hrpose.tracker import Tracker
from hrpose.types import Poses


def above(sequence: Made, least: float) -> Made:
    kept = [p.take(np.flatnonzero(p.box_scores >= least)) for p in sequence.poses]
    return replace(sequence, poses=kept)


Run = Callable[[list[Poses], float], list[Labelled]]


def ours(settings: Tracking) -> Run:
    def run(frames: list[Poses], rate: float) -> list[Labelled]:
        tracker = Tracker(settings)
        return [Labelled.of(tracker(poses)) for poses in frames]

    return run


def bytetrack(**settings: Any) -> Run | None:
    try:
        import supervision
        from trackers import ByteTrackTracker
    except ImportError:
        return None

    def run(frames: list[Poses], rate: float) -> list[Labelled]:
        tracker, out = ByteTrackTracker(frame_rate=rate, **settings), []
        for poses in frames:
            found = supervision.Detections(
                xyxy=poses.boxes.astype(np.float64), confidence=poses.box_scores.copy()
            )
            result = tracker.update(found, timestamp=poses.time)
            ids = np.asarray(result.tracker_id, np.int64).reshape(-1)
            boxes = np.asarray(result.xyxy, np.float32).reshape(-1, 4)
            out.append(Labelled(ids[ids >= 0], boxes[ids >= 0]))
        return out

    return run


def measure(run: Run, sequence: Made, rate: float) -> tuple[TrackingScore, float]:
    """Score, and ms per frame."""
    start = time.process_time()  # of this process: others may be at work
    results = run(sequence.poses, rate)
    spent = (time.process_time() - start) * 1e3 / len(results)
    return score_tracking(sequence.truth, results), spent


def rows(
    runs: dict[str, Run], seeds: range, least: float
) -> Iterator[tuple[str, dict[str, tuple[TrackingScore, float]]]]:
    for scene in SCENES:
        sums: dict[str, tuple[TrackingScore, float]] = {}
        for seed in seeds:
            sequence = above(make(scene, seed), least)
            for name, run in runs.items():
                score, spent = measure(run, sequence, scene.rate)
                before, time_before = sums.get(name, (TrackingScore(), 0.0))
                sums[name] = before + score, time_before + spent / len(seeds)
        yield scene.name, sums


def cells(score: TrackingScore, spent: float) -> str:
    return (
        f"{score.switches:5d} {score.fragmentations:5d} {100 * score.mota:6.2f}"
        f" {100 * score.idf1:6.2f} {100 * score.hota:6.2f} {spent:5.2f}"
    )


def table(runs: dict[str, Run], seeds: range, least: float) -> Iterator[str]:
    head = "  idsw  frag   MOTA   IDF1   HOTA    ms"
    yield f"seeds {seeds.start}-{seeds.stop - 1}, boxes from score {least} on"
    yield " " * 11 + "".join(f"| {name:<{len(head)}}" for name in runs)
    yield f"{'scene':<11}" + "".join(f"| {head}" for _ in runs)
    totals: dict[str, list[tuple[TrackingScore, float]]] = {name: [] for name in runs}
    for scene, sums in rows(runs, seeds, least):
        yield f"{scene:<11}" + "".join(f"| {cells(*sums[name])}" for name in runs)
        for name in runs:
            totals[name].append(sums[name])
    line = f"{'all':<11}"
    for measured in totals.values():
        spent = sum(ms for _, ms in measured) / len(SCENES)
        line += f"| {cells(sum(score for score, _ in measured), spent)}"
    yield line


def found_in(clip: Path, pipeline: Pipeline, every: int, most: int) -> tuple[list[Poses], float]:
    """Tracked people of a clip, the detector in every so manieth frame; seconds of the process."""
    (source,) = sources([str(clip)])
    start = time.process_time()
    with source.open(Span(max_frames=most)) as reader:
        tracked = pipeline.follow(reader, Tracker(), every)
        return [poses for _, poses in tracked], time.process_time() - start


def seen(frames: Sequence[Labelled], times: Sequence[float]) -> str:
    """What can be counted without truth."""
    tracks: dict[int, list[int]] = {}
    for index, frame in enumerate(frames):
        for name in frame.ids.tolist():
            tracks.setdefault(name, []).append(index)
    short = sum(times[track[-1]] - times[track[0]] < 0.5 for track in tracks.values())
    gaps = sum(b > a + 1 for track in tracks.values() for a, b in pairwise(track))
    people = sum(map(len, tracks.values()))
    return f"{people:6d} {len(tracks):5d} {short:5d} {gaps:5d}"


def real(clips: Sequence[Path], runs: dict[str, Run], most: int) -> Iterator[str]:
    pipeline = load(Options())
    yield f"{'clip':<22}{'tracker':<36}people   ids short  gaps seconds"
    for clip in clips:
        found: list[Poses] = []
        for every in (1, 2, 5, 10):
            tracked, spent = found_in(clip, pipeline, every, most)
            found = found or tracked
            line = seen([*map(Labelled.of, tracked)], [p.time or 0.0 for p in tracked])
            yield f"{clip.name:<22}{f'hrpose, detect every {every}':<36}{line} {spent:7.1f}"
        times = [p.time or 0.0 for p in found]
        rate = (len(times) - 1) / (times[-1] - times[0])
        for name, run in list(runs.items())[1:]:
            yield f"{clip.name:<22}{name:<36}{seen(run(found, rate), times)}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--seeds", type=int, nargs=2, default=(100, 105), help="first, one past")
    parser.add_argument("--least", type=float, nargs="+", default=(0.1, 0.5))
    parser.add_argument("--clip", type=Path, nargs="+", default=())
    parser.add_argument("--frames", type=int, default=150, help="of each clip at most")
    asked = parser.parse_args()
    settings = Tracking()
    candidates = {
        "hrpose": ours(settings),
        "ByteTrack, its defaults": bytetrack(),
        "ByteTrack, our memory, thresholds": bytetrack(
            lost_track_buffer=round(30 * settings.memory),
            track_activation_threshold=settings.start,
            high_conf_det_threshold=settings.start,
        ),
    }
    runs = {name: run for name, run in candidates.items() if run is not None}
    if asked.clip:
        lines = real(asked.clip, runs, asked.frames)
    else:
        lines = (line for least in asked.least for line in table(runs, range(*asked.seeds), least))
    for line in lines:
        sys.stdout.write(f"{line}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
