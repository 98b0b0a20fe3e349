"""AP of a hundred made-up pictures, against a second implementation and against pycocotools.

The COCO API comes with an example of 100 pictures and made-up results; its files are not here, so
these are made in its likeness: crowds, people without keypoints and with few, all sizes, equal
scores; results with noise, misses, doubles, false alarms, and a picture with more than 20.
"""

from __future__ import annotations

import contextlib
import io
import json
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from hrpose.evaluate.coco import KEYPOINT_STATS, keypoint_metrics, score_keypoints
from hrpose.evaluate.results import read_results, write_results
from hrpose.evaluate.run import evaluate_results
from hrpose.evaluate.truth import GroundTruth
from hrpose.skeleton import COCO17

Array = NDArray[np.float64]
Entry = dict[str, Any]

SIGMAS = np.array(COCO17.sigmas)
SIZES = {"": (0, 1e10), "M": (32**2, 96**2), "L": (96**2, 1e10)}
PICTURES = 100


@dataclass
class Example:
    """A data set and results for it, in the files' form."""

    document: Entry
    results: list[Entry]


def make_example(pictures: int, *, seed: int = 0) -> Example:
    """Builds pictures with ids in no order, their people, and what a mediocre model says."""
    random = np.random.default_rng(seed)
    ids = random.choice(10 * pictures, pictures, replace=False).tolist()
    people, results = [], []
    for number, image in enumerate(ids):
        own = [_person(random, image) for _ in range(int(random.integers(0, 6)))]
        people += own
        found = [entry for person in own for entry in _found(random, person)]
        alarms = 25 if number == pictures // 2 else int(random.integers(0, 3))
        found += [_result(random, image, _pose(random)[0], 0.4) for _ in range(alarms)]
        results += [found[i] for i in random.permutation(len(found))]
    for i, person in enumerate(people, start=1):
        person["id"] = i
    images = [{"id": i, "file_name": f"{i}.jpg", "width": 640, "height": 480} for i in ids]
    categories = [{"id": 1, "name": "person"}]
    return Example({"images": images, "annotations": people, "categories": categories}, results)


def _pose(random: np.random.Generator) -> tuple[Array, float]:
    """(17, 2) points, whole pixels, and the area of a person somewhere in a picture."""
    height = 480 * random.uniform(0.2, 1) ** 3
    width = height * random.uniform(0.3, 0.9)
    corner = random.uniform((0, 0), (640 - width, 480 - height + 1e-9))
    return np.round(corner + random.random((17, 2)) * (width, height)), 0.53 * width * height


def _person(random: np.random.Generator, image: int) -> Entry:
    points, area = _pose(random)
    kind = random.choice(["person", "crowd", "unlabelled"], p=[0.8, 0.08, 0.12])
    share = random.uniform(0.1, 1.1) if kind == "person" else 0
    shown = np.where(random.random(17) < share, random.integers(1, 3, 17), 0)
    triples = np.column_stack([points, shown]) * (shown > 0)[:, None]
    low, high = points.min(axis=0), points.max(axis=0)
    return {
        "image_id": image, "category_id": 1, "iscrowd": int(kind == "crowd"), "area": area,
        "bbox": [*low.tolist(), *(high - low).tolist()], "num_keypoints": int((shown > 0).sum()),
        "keypoints": triples.ravel().tolist(), "points": points.tolist(),
    }  # fmt: skip


def _found(random: np.random.Generator, person: Entry) -> Iterator[Entry]:
    """What the model says about a person: nothing, one pose, or two."""
    for _ in range(int(random.choice(3, p=[0.15, 0.7, 0.15]))):
        blur = random.lognormal(-0.5, 0.8)
        noise = random.normal(0, 1, (17, 2)) * 2 * SIGMAS[:, None] * np.sqrt(person["area"]) * blur
        points = np.array(person["points"]) + noise
        yield _result(random, person["image_id"], points, 1 / (1 + blur))


def _result(random: np.random.Generator, image: int, points: Array, sure: float) -> Entry:
    score = round(float(np.clip(random.normal(sure, 0.15), 0.01, 1)), 2)  # 2 digits: many are equal
    triples = np.column_stack([points, np.full(17, score)]).astype(np.float32)
    keypoints = triples.astype(np.float64).ravel().tolist()
    return {"image_id": image, "category_id": 1, "keypoints": keypoints, "score": score}


def similarity(found: Array, person: Entry) -> Array:
    """(N,) OKS of poses (N, 17, 2) with a person, as cocodataset.org/#keypoints-eval says.

    Without a labelled keypoint, a pose's distance is that to the box made three times as large.
    """
    x, y, shown = np.array(person["keypoints"], float).reshape(17, 3).T
    low = np.array(person["bbox"][:2])
    size = np.array(person["bbox"][2:])
    outside = np.maximum(low - size - found, 0) + np.maximum(found - (low + 2 * size), 0)
    labelled = shown > 0
    apart = found - np.column_stack([x, y]) if labelled.any() else outside
    similar = np.exp(-(apart**2).sum(axis=2) / (2 * person["area"] * (2 * SIGMAS) ** 2))
    return similar[:, labelled if labelled.any() else slice(None)].mean(axis=1)


def match(found: list[Entry], people: list[Entry], least: float, size: tuple[float, float]) -> Any:
    """Outcomes of a picture's best 20 poses, best first: 1 right, 0 wrong, -1 does not count."""
    counts = [
        p["num_keypoints"] > 0 and not p["iscrowd"] and size[0] <= p["area"] <= size[1]
        for p in people
    ]
    poses = np.array([e["keypoints"] for e in found]).reshape(-1, 17, 3)[..., :2]
    alike = [similarity(poses, person) for person in people]
    taken: set[int] = set()
    outcomes = []
    for n in range(len(found)):
        for wanted in (True, False):
            free = [
                m for m in range(len(people))
                if counts[m] is wanted and alike[m][n] >= least
                and (m not in taken or people[m]["iscrowd"])
            ]  # fmt: skip
            if free:
                taken.add(max(free, key=lambda m: alike[m][n]))
                outcomes.append(1 if wanted else -1)
                break
        else:
            area = np.ptp(poses[n], axis=0).prod()
            outcomes.append(0 if size[0] <= area <= size[1] else -1)
    return outcomes, sum(counts)


def average(example: Example, least: float, size: tuple[float, float]) -> tuple[float, float]:
    """AP and recall at one OKS threshold, by their definition."""
    scores, outcomes, total = [], [], 0
    for image in sorted(entry["id"] for entry in example.document["images"]):
        people = [p for p in example.document["annotations"] if p["image_id"] == image]
        found = [e for e in example.results if e["image_id"] == image]
        found = sorted(found, key=lambda e: -e["score"])[:20]
        made, counted = match(found, people, least, size)
        scores += [e["score"] for e in found]
        outcomes += made
        total += counted
    ranked = np.array(outcomes)[np.argsort(-np.array(scores), kind="stable")]
    right = np.cumsum(ranked[ranked >= 0])
    recall = right / total
    precision = right / np.arange(1, len(right) + 1)
    best = np.maximum.accumulate(precision[::-1])[::-1]  # at this recall or a higher one
    at = np.searchsorted(recall, np.linspace(0, 1, 101))
    return float(np.append(best, 0)[np.minimum(at, len(best))].mean()), float(recall[-1])


def definition(example: Example) -> dict[str, float]:
    """COCO's ten numbers, percent."""
    table = {
        name: np.array([average(example, t, size) for t in np.linspace(0.5, 0.95, 10)]) * 100
        for name, size in SIZES.items()
    }
    numbers = {f"{kind}{name}": rows[:, i].mean() for name, rows in table.items()
               for i, kind in enumerate(("AP", "AR"))}  # fmt: skip
    for i, kind in enumerate(("AP", "AR")):
        numbers |= {f"{kind}50": table[""][0, i], f"{kind}75": table[""][5, i]}
    return {name: float(numbers[name]) for name in KEYPOINT_STATS}


def by_pycocotools(data: Path, results: Path) -> list[float]:
    with contextlib.redirect_stdout(io.StringIO()):
        truth = COCO(str(data))
        evaluation = COCOeval(truth, truth.loadRes(str(results)), "keypoints")
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    return [100 * float(stat) for stat in evaluation.stats]


@pytest.fixture(scope="module")
def example() -> Example:
    return make_example(PICTURES)


@pytest.fixture(scope="module")
def files(example: Example, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    folder = tmp_path_factory.mktemp("example")
    data, results = folder / "truth.json", folder / "results.json"
    data.write_text(json.dumps(example.document))
    results.write_text(json.dumps(example.results))
    return data, results


def test_the_example_has_what_is_hard(example: Example) -> None:
    people = example.document["annotations"]
    assert sum(p["iscrowd"] for p in people) > 5
    assert sum(not p["num_keypoints"] and not p["iscrowd"] for p in people) > 5
    assert {0, 1, 17} < {p["num_keypoints"] for p in people}
    areas = np.array([p["area"] for p in people])
    assert all(np.sum((low <= areas) & (areas <= high)) > 20 for low, high in SIZES.values())
    assert sum(areas < 32**2) > 20
    scores = [e["score"] for e in example.results]
    assert len(set(scores)) < len(scores) / 2
    assert max(np.bincount([e["image_id"] for e in example.results])) > 20


def test_numbers_by_their_definition(example: Example, files: tuple[Path, Path]) -> None:
    numbers = evaluate_results(*files).keypoints
    assert numbers == pytest.approx(definition(example), abs=1e-6)
    assert 20 < numbers["AP"] < 80
    assert len(set(np.round(list(numbers.values()), 3))) == len(KEYPOINT_STATS)


def test_numbers_of_pycocotools(files: tuple[Path, Path]) -> None:
    assert list(evaluate_results(*files).keypoints.values()) == by_pycocotools(*files)


def test_poses_and_their_file_have_the_same_numbers(
    files: tuple[Path, Path], tmp_path: Path
) -> None:
    data, results = files
    report = evaluate_results(data, results)
    truth = GroundTruth(data)
    assert keypoint_metrics(truth, report.results) == pytest.approx(report.keypoints, abs=1e-6)
    assert report.people == sum(len(poses) for _, poses in report.results)
    scored = read_results(results, truth.ids)
    write_results(tmp_path / "again.json", scored)
    again = read_results(tmp_path / "again.json", truth.ids)
    for name in ("image_ids", "keypoints", "scores"):
        np.testing.assert_array_equal(getattr(again, name), getattr(scored, name))
    assert score_keypoints(truth, again) == report.keypoints
    assert by_pycocotools(data, tmp_path / "again.json") == list(report.keypoints.values())


def test_a_box_in_the_results_does_not_count(
    example: Example, files: tuple[Path, Path], tmp_path: Path
) -> None:
    """pycocotools takes the area of results from it, and numbers by size change."""
    data, results = files
    boxed = [{**entry, "bbox": [0, 0, 50, 50]} for entry in example.results]
    (tmp_path / "boxed.json").write_text(json.dumps(boxed))
    want = evaluate_results(data, results).keypoints
    assert evaluate_results(data, tmp_path / "boxed.json").keypoints == want
    other = dict(zip(KEYPOINT_STATS, by_pycocotools(data, tmp_path / "boxed.json"), strict=True))
    assert other["AP"] == want["AP"]
    assert other["APL"] != want["APL"]


def test_no_person_of_a_size_is_no_number(example: Example, tmp_path: Path) -> None:
    people = [p for p in example.document["annotations"] if p["area"] < 32**2]
    (tmp_path / "small.json").write_text(json.dumps({**example.document, "annotations": people}))
    (tmp_path / "results.json").write_text(json.dumps(example.results))
    numbers = evaluate_results(tmp_path / "small.json", tmp_path / "results.json").keypoints
    assert set(KEYPOINT_STATS) - set(numbers) == {"APM", "APL", "ARM", "ARL"}


def test_ids_from_zero_are_people_too(
    example: Example, files: tuple[Path, Path], tmp_path: Path
) -> None:
    """pycocotools takes an annotation's id of 0 for "matches nobody"."""
    people = [{**p, "id": i} for i, p in enumerate(example.document["annotations"])]
    document = {**example.document, "annotations": people}
    (tmp_path / "zero.json").write_text(json.dumps(document))
    data, results = files
    want = evaluate_results(data, results).keypoints
    assert evaluate_results(tmp_path / "zero.json", results).keypoints == want


@pytest.mark.slow
def test_ten_thousand_results_take_seconds(tmp_path: Path) -> None:
    """4.4 s on a core that had other work, of which pycocotools took 3."""
    example = make_example(3000)
    (tmp_path / "data.json").write_text(json.dumps(example.document))
    (tmp_path / "results.json").write_text(json.dumps(example.results))
    started = time.perf_counter()
    report = evaluate_results(tmp_path / "data.json", tmp_path / "results.json")
    assert time.perf_counter() - started < 20
    assert report.people == len(example.results) > 10_000
