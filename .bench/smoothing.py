"""Measures smoothing: jitter, error and lag, on made motion with known truth and on a real clip.

    python .bench/smoothing.py [--seeds 100 104] [--tune] [--clip FILE [--poses FILE.npz]]

Made motion, in person heights: standing (sway 0.3 and 0.8 Hz), walking with limbs at 0.5, 1, 2 and
3 Hz, and arm strokes (minimum jerk, Flash and Hogan 1985, up to 0.5 heights in 0.25 s, 3.7 heights
a second). Noise as second differences of keypoints show it on two real clips of the embedded model:
deviation 0.004 heights at score 0.75 and as the inverse square of the score, outliers of 0.08
heights more often at low scores (0.1 % at 0.8, 5 % at 0.5, 25 % at 0.1); besides left/right flips
of 1 to 3 frames in 0.4 % and keypoints missing in 0.5 % of frames. It is white: slow errors of a
network stay in any filter. Defaults were chosen with --tune (seed 0); report others.

"one-euro px" is the plain filter with its speed in pixels (the same cutoffs, beta divided by the
middle height) and without scores; "savgol" is scipy's, of order 2 over 0.3 s, on frame numbers.
Both get straight lines for missing keypoints.
With --clip, the chain and the tracker run and --poses keeps what they found.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from scipy.interpolate import CubicSpline
from scipy.optimize import minimize_scalar
from scipy.signal import savgol_filter

from hrpose.options import Smoothing
from hrpose.skeleton import COCO17
from hrpose.smoother import smooth
from hrpose.types import Poses, Size

RATES = ("10", "25", "30", "60", "uneven")
MOTIONS = ("stand", "walk 0.5", "walk 1", "walk 2", "walk 3", "strokes")
HEIGHTS = (80.0, 240.0, 720.0)  # px
SIZE = Size(4000, 4000)
# x to the person's left, y down, from the middle; heights
REST = np.array(
    [(0, -0.42), (0.02, -0.44), (-0.02, -0.44), (0.04, -0.43), (-0.04, -0.43), (0.11, -0.32),
     (-0.11, -0.32), (0.13, -0.15), (-0.13, -0.15), (0.14, 0), (-0.14, 0), (0.07, 0.02),
     (-0.07, 0.02), (0.07, 0.25), (-0.07, 0.25), (0.07, 0.47), (-0.07, 0.47)]
)  # fmt: skip


@dataclass(frozen=True)
class Take:
    """A person's motion: times (T,), truth as a function of time, found xy (T, K, 2) and scores."""

    rate: str
    motion: str
    height: float
    times: np.ndarray
    truth: Callable[[np.ndarray], np.ndarray]
    xy: np.ndarray
    scores: np.ndarray


def frame_times(rate: str, seconds: float, random: np.random.Generator) -> np.ndarray:
    """(T,) s; uneven: 30 fps, a tenth of the frames lost, every second one for a while."""
    if rate != "uneven":
        return np.arange(0, seconds, 1 / float(rate))
    times = np.arange(0, seconds, 1 / 30)
    kept = random.random(len(times)) > 0.1
    slow = (times > 0.4 * seconds) & (times < 0.6 * seconds) & (np.arange(len(times)) % 2 == 1)
    return (times + random.uniform(0, 0.016, len(times)))[kept & ~slow]


def strokes(
    times: np.ndarray, random: np.random.Generator, reach: float, last: float
) -> np.ndarray:
    """Minimum-jerk strokes to and fro with pauses, (T,) heights."""
    out, at, start = np.zeros(len(times)), 0.0, random.uniform(0, 0.8)
    while start < times[-1]:
        step = random.uniform(0.5, 1) * reach * (1 if at <= 0 else -1)
        u = np.clip((times - start) / last, 0, 1)
        out += step * (10 * u**3 - 15 * u**4 + 6 * u**5)
        at, start = at + step, start + last + random.uniform(0, 0.8)
    return out


def motion(name: str, t: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """(T, 17, 2) heights."""
    out = np.repeat(REST[None], len(t), axis=0)
    phase = random.uniform(0, 2 * np.pi, 4)
    sway = 0.01 * np.sin(0.6 * np.pi * t + phase[0]) + 0.004 * np.sin(1.6 * np.pi * t + phase[1])
    out += np.stack([sway, 0.003 * np.sin(0.5 * np.pi * t + phase[2])], axis=1)[:, None]
    if name == "strokes":
        for side in (0, 1):
            hand = np.stack([strokes(t, random, 0.45, 0.25), -strokes(t, random, 0.5, 0.3)], axis=1)
            out[:, 9 + side] += hand
            out[:, 7 + side] += 0.45 * hand
    if not name.startswith("walk"):
        return out
    rate = float(name.split()[1])

    def swing(reach: float, times: int = 1, ahead: float = 0.0) -> np.ndarray:
        return reach * np.sin(2 * np.pi * rate * times * t + phase[3] + ahead)

    out += np.stack([0.4 * rate * t, swing(0.012, 2)], axis=1)[:, None]
    for side, turn in ((0, 0.0), (1, np.pi)):
        out[:, 13 + side, 0] += swing(0.09, 1, turn)
        out[:, 15 + side, 0] += swing(0.2, 1, turn - 0.6) + swing(0.03, 2, turn)
        out[:, 15 + side, 1] -= np.maximum(swing(0.06, 1, turn - 1.2), 0)
        out[:, 7 + side, 0] += swing(0.05, 1, turn + np.pi)
        out[:, 9 + side] += np.stack([swing(0.12, 1, turn + 2.8), swing(0.03, 2, turn)], axis=1)
    return out


def found(truth: np.ndarray, random: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """What a network would find: xy (T, 17, 2) heights and scores (T, 17)."""
    frames, points, _ = truth.shape
    usual = random.normal(0.72, 0.13, (1, points))
    scores = np.clip(usual + random.normal(0, 0.06, (frames, points)), 0.1, 0.98)
    xy = truth + random.normal(size=truth.shape) * (0.004 * (0.75 / scores) ** 2)[..., None]
    for start in np.flatnonzero(random.random(frames) < 0.004):
        rows = slice(start, start + random.integers(1, 4))
        for left in (11, 13, 15) if random.random() < 0.7 else (5, 7, 9):
            xy[rows, [left, left + 1]] = xy[rows, [left + 1, left]]
            scores[rows, [left, left + 1]] *= 0.85
    share = np.interp(
        scores, [0.1, 0.3, 0.5, 0.6, 0.7, 0.8], [0.25, 0.12, 0.05, 0.02, 0.006, 0.001]
    )
    out = random.random(scores.shape) < share
    xy[out] += random.normal(0, 0.08, (out.sum(), 2))
    scores[out] *= random.uniform(0.6, 1, out.sum())
    gone = random.random(scores.shape) < 0.005
    xy[gone], scores[gone] = 0, 0
    return xy, scores


def takes(seeds: range, seconds: float = 5.0) -> Iterator[Take]:
    dense = np.arange(-0.5, seconds + 0.5, 0.004)
    for seed in seeds:
        for i, rate in enumerate(RATES):
            for j, name in enumerate(MOTIONS):
                random = np.random.default_rng([seed, i, j])
                times = frame_times(rate, seconds, random)
                truth = CubicSpline(dense, motion(name, dense, random))
                xy, scores = found(truth(times), random)
                yield Take(rate, name, HEIGHTS[(seed + j) % 3], times, truth, xy, scores)


def as_poses(take: Take) -> Iterator[tuple[int, Poses]]:
    h = take.height
    box = np.array([[2000 - 0.3 * h, 2000 - h / 2, 2000 + 0.3 * h, 2000 + h / 2]], np.float32)
    for i, time in enumerate(take.times):
        xy, scores = take.xy[i : i + 1] * h + 2000, take.scores[i : i + 1]
        one, track = np.ones(1, np.float32), np.zeros(1, np.int64)
        yield (
            i,
            Poses(
                xy.astype(np.float32),
                scores.astype(np.float32),
                box,
                one,
                track,
                SIZE,
                COCO17,
                i,
                time,
            ),
        )


def by_hrpose(settings: Smoothing) -> Callable[[Take], np.ndarray]:
    def run(take: Take) -> np.ndarray:
        xy = [poses.keypoints[0] for _, poses in smooth(as_poses(take), settings)]
        return (np.array(xy, np.float64) - 2000) / take.height

    return run


def without_gaps(take: Take) -> np.ndarray:
    """Found xy with straight lines over what is missing, for filters that know no scores."""
    xy = take.xy.copy()
    for k in range(xy.shape[1]):
        seen = take.scores[:, k] > 0
        for d in (0, 1):
            xy[:, k, d] = np.interp(take.times, take.times[seen], take.xy[seen, k, d])
    return xy


def plain_one_euro(take: Take, settings: Smoothing = Smoothing()) -> np.ndarray:  # noqa: B008
    """The paper's filter for every coordinate, in px; one beta for everybody."""
    xy, beta, out = without_gaps(take) * take.height, settings.beta / HEIGHTS[1], []
    value, speed = xy[0], np.zeros_like(xy[0])
    for i, time in enumerate(take.times):
        if i:
            step = time - take.times[i - 1]
            share = 1 / (1 + 1 / (2 * np.pi * settings.derivative_cutoff * step))
            speed = speed + share * ((xy[i] - value) / step - speed)
            cutoff = settings.cutoff + beta * np.abs(speed)
            value = value + (xy[i] - value) / (1 + 1 / (2 * np.pi * cutoff * step))
        out.append(value)
    return np.array(out) / take.height


def savgol(take: Take) -> np.ndarray:
    frames = 2 * round(0.15 * len(take.times) / take.times[-1]) + 1
    return savgol_filter(without_gaps(take), max(frames, 5), 2, axis=0)


@dataclass(frozen=True)
class Score:
    """RMS error in 0.001 heights; mean acceleration, heights/s^2, and jerk, heights/s^3; delay, ms,
    and share of the amplitude that is left, of the limbs that move."""

    error: float
    acceleration: float
    jerk: float
    lag: float
    kept: float


def derivative(xy: np.ndarray, times: np.ndarray, order: int) -> np.ndarray:
    for _ in range(order):
        xy = np.diff(xy, axis=0) / np.diff(times)[:, None, None]
        times = (times[1:] + times[:-1]) / 2
    return xy


def mean_length(xy: np.ndarray, times: np.ndarray, seen: np.ndarray, order: int) -> float:
    known = np.stack([seen[i : len(seen) - order + i] for i in range(order + 1)]).all(axis=0)
    lengths = np.linalg.norm(derivative(xy, times, order), axis=-1)[known]
    return float(lengths.mean()) if len(lengths) else np.nan


def score(take: Take, xy: np.ndarray) -> Score:
    seen, truth = take.scores > 0, take.truth(take.times)
    error = np.sqrt(((xy - truth) ** 2).sum(axis=-1)[seen].mean())
    own = truth - truth.mean(axis=1, keepdims=True)  # without walking along
    moving = seen & (own.std(axis=0).max(axis=-1) > 0.03)
    lag = kept = np.nan
    if moving.any():

        def apart(delay: float) -> float:
            return float(((xy - take.truth(take.times - delay)) ** 2)[moving].sum())

        delay = minimize_scalar(apart, bounds=(-0.1, 0.25), method="bounded").x
        shifted = take.truth(take.times - delay)
        body = shifted.mean(axis=1, keepdims=True)
        middle = body + (shifted - body).mean(axis=0)  # what is left is the limbs' own motion
        base = (shifted - middle)[moving]
        lag, kept = 1000 * delay, ((xy - middle)[moving] * base).sum() / (base**2).sum()
    acceleration, jerk = (mean_length(xy, take.times, seen, order) for order in (2, 3))
    return Score(1000 * float(error), acceleration, jerk, lag, kept)


METHODS: dict[str, Callable[[Take], np.ndarray]] = {
    "truth": lambda take: take.truth(take.times),
    "raw": lambda take: take.xy,
    "one-euro": by_hrpose(Smoothing("one-euro")),
    "one-euro px": plain_one_euro,
    "zero-phase": by_hrpose(Smoothing("zero-phase")),
    "savgol": savgol,
}


def mean(scores: list[Score], name: str) -> float:
    values = np.array([getattr(one, name) for one in scores])
    return float(values[np.isfinite(values)].mean()) if np.isfinite(values).any() else np.nan


def table(methods: dict[str, Callable[[Take], np.ndarray]], seeds: range) -> None:
    """Prints errors by frame rate, then all figures by motion (all rates but 10 fps for jitter)."""
    done = {
        m: [(take, score(take, run(take))) for take in takes(seeds)] for m, run in methods.items()
    }
    print(f"RMS error, 0.001 heights\n{'':24}", *(f"{r:>8}" for r in RATES), f"{'all':>8}")
    for name, rows in done.items():
        parts = [[s for take, s in rows if take.rate == rate] for rate in RATES]
        values = [mean(part, "error") for part in [*parts, [s for _, s in rows]]]
        print(f"{name:24}", *(f"{value:8.1f}" for value in values))
    for figure in ("error", "acceleration", "jerk", "lag", "kept"):
        print(f"\n{figure}, at 25, 30, 60 fps and uneven\n{'':24}", *(f"{m:>8}" for m in MOTIONS))
        for name, rows in done.items():
            parts = [[s for t, s in rows if t.motion == m and t.rate != "10"] for m in MOTIONS]
            print(
                f"{name:24}",
                *(f"{mean(part, figure):8.{2 if figure == 'kept' else 1}f}" for part in parts),
            )


def tune(seeds: range) -> None:
    euro, centred = Smoothing("one-euro"), Smoothing("zero-phase")
    trials = [replace(euro, cutoff=c, beta=b) for c in (0.5, 1, 2) for b in (3, 5, 10, 20)]
    trials += [replace(euro, derivative_cutoff=c) for c in (0.5, 2)]
    trials += [replace(centred, window=w) for w in (0.2, 0.4, 0.6, 0.8, 1.0, 1.4)]
    for trial in trials:
        rows = [(take, score(take, by_hrpose(trial)(take))) for take in takes(seeds)]
        still = [s for take, s in rows if take.motion == "stand" and take.rate != "10"]
        every = [s for _, s in rows]
        name = (
            f"one-euro {trial.cutoff:g} Hz, beta {trial.beta:g}, d {trial.derivative_cutoff:g} Hz"
            if trial.method == "one-euro"
            else f"zero-phase {trial.window:g} s"
        )
        print(
            f"{name:36} error {mean(every, 'error'):6.2f}  standing: {mean(still, 'error'):6.2f}"
            f"  acceleration {mean(still, 'acceleration'):6.2f}  lag {mean(every, 'lag'):6.1f} ms",
            flush=True,
        )


def clip_poses(clip: Path) -> Iterator[Poses]:
    import hrpose
    from hrpose.media.video import VideoReader
    from hrpose.tracker import Tracker

    tracker = Tracker()
    with VideoReader(clip) as reader:
        for _, poses in hrpose.load().run(reader):
            yield tracker(poses)


def saved(file: Path) -> list[Poses]:
    kept, out = np.load(file), []
    for i, time in enumerate(kept["times"]):
        rows = kept["frames"] == i
        people = (
            kept[name][rows] for name in ("keypoints", "scores", "boxes", "box_scores", "ids")
        )
        out.append(Poses(*people, Size(*kept["size"].tolist()), COCO17, i, float(time)))
    return out


def save(file: Path, poses: list[Poses]) -> None:
    names = {
        "keypoints": "keypoints", "scores": "keypoint_scores", "boxes": "boxes",
        "box_scores": "box_scores", "ids": "track_ids",
    }  # fmt: skip
    people = {n: np.concatenate([getattr(p, of) for p in poses]) for n, of in names.items()}
    frames = np.repeat(np.arange(len(poses)), [len(p) for p in poses])
    times = np.array([p.time for p in poses])
    np.savez(file, frames=frames, times=times, size=np.array(poses[0].size), **people)


def clip_table(poses: list[Poses]) -> None:
    """Jitter of tracks of 1 s and more; lag against what was decoded."""
    print(f"{'':24} accel.   jerk  lag ms  moved by, 0.001 heights")
    for method in ("none", "one-euro", "zero-phase"):
        after = [p for _, p in smooth(enumerate(poses), Smoothing(method))]
        rows = [
            row for track in tracks(after) if (row := clip_row(track)) and np.isfinite(row).all()
        ]
        mean_row = np.average([row[1:] for row in rows], axis=0, weights=[row[0] for row in rows])
        print(f"{method:24}", *(f"{value:6.1f} " for value in mean_row), f"({len(rows)} tracks)")


def tracks(poses: list[Poses]) -> Iterator[list[tuple[Poses, int]]]:
    ids = sorted({int(i) for p in poses for i in p.track_ids if i >= 0})
    for track in ids:
        yield [
            (p, int(np.flatnonzero(p.track_ids == track)[0])) for p in poses if track in p.track_ids
        ]


def clip_row(track: list[tuple[Poses, int]]) -> tuple[float, ...] | None:
    times = np.array([p.time for p, _ in track])
    if times[-1] - times[0] < 1:
        return None
    boxes = np.array([p.boxes[row] for p, row in track])
    height = np.median((boxes[:, 2:] - boxes[:, :2]).max(axis=1))
    xy, raw = (
        np.array([np.asarray(getattr(p, name))[row] for p, row in track], np.float64) / height
        for name in ("keypoints", "measured" if track[0][0].measured is not None else "keypoints")
    )
    sure = np.array([p.keypoint_scores[row] for p, row in track]) > 0.5
    if sure.mean() < 0.3:
        return None
    shifts = np.arange(-0.1, 0.2, 0.005)
    course, inner = CubicSpline(times, xy), sure.copy()
    inner[(times < times[0] + 0.2) | (times > times[-1] - 0.2)] = False
    fits = [np.abs(course(times + shift) - raw)[inner].sum() for shift in shifts]
    apart = np.sqrt(((xy - raw) ** 2).sum(axis=-1)[sure].mean())
    return (
        float(sure.sum()), mean_length(xy, times, sure, 2), mean_length(xy, times, sure, 3),
        1000 * float(shifts[int(np.argmin(fits))]), 1000 * float(apart),
    )  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--seeds", type=int, nargs=2, default=None, metavar=("FIRST", "END"))
    parser.add_argument("--tune", action="store_true")
    parser.add_argument("--clip", type=Path)
    parser.add_argument("--poses", type=Path)
    given = parser.parse_args()
    if given.clip or given.poses:
        poses = (
            saved(given.poses)
            if given.poses and given.poses.exists()
            else list(clip_poses(given.clip))
        )
        if given.poses and not given.poses.exists():
            save(given.poses, poses)
        clip_table(poses)
    elif given.tune:
        tune(range(*(given.seeds or (0, 1))))
    else:
        table(METHODS, range(*(given.seeds or (100, 104))))


if __name__ == "__main__":
    main()
