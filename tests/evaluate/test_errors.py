"""Every kind of error made on purpose, and the definitions against a slow second writing."""

import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hrpose.evaluate.coco import keypoint_metrics
from hrpose.evaluate.errors import (
    KINDS,
    Diagnosis,
    People,
    classify,
    corrected,
    diagnose,
    keypoint_similarity,
    object_similarity,
    people_of,
)
from hrpose.skeleton import COCO17, MPII16

NOSE, L_WRIST, R_WRIST, L_HIP = 0, 9, 10, 11


def _apart(keypoint: int, similarity: float) -> float:
    """The distance in px at which ks has a value, for the area of the scene."""
    return 2 * COCO17.sigmas[keypoint] * 100 * math.sqrt(-2 * math.log(similarity))


def _diagnosed(scene: Any, *points: np.ndarray, **more: Any) -> Diagnosis:
    _, poses = scene.result(0, points, **more)
    return diagnose(0, people_of(scene.truth, 0, COCO17), poses)


def _kind(diagnosis: Diagnosis, keypoint: int, person: int = 0) -> str:
    case = next(case for case in diagnosis.cases if case.person == person)
    kind = int(case.kinds[keypoint])
    return KINDS[kind] if kind >= 0 else "none"


@pytest.mark.parametrize(
    ("keypoint", "target", "kind"),
    [
        pytest.param(NOSE, ("off", 1.0), "good", id="exact"),
        pytest.param(NOSE, ("off", 0.86), "good", id="just good"),
        pytest.param(NOSE, ("off", 0.84), "jitter", id="just jitter"),
        pytest.param(NOSE, ("off", 0.51), "jitter", id="just near"),
        pytest.param(NOSE, ("off", 0.49), "miss", id="just missed"),
        pytest.param(L_HIP, ("off", 0.51), "jitter", id="a wide keypoint allows more"),
        pytest.param(L_WRIST, ("at", 0, R_WRIST), "inversion", id="left/right partner"),
        pytest.param(L_WRIST, ("at", 0, L_HIP), "inversion", id="another joint, same person"),
        pytest.param(L_WRIST, ("at", 1, L_WRIST), "swap", id="same joint, other person"),
        pytest.param(L_WRIST, ("at", 1, L_HIP), "swap", id="other joint, other person"),
        pytest.param(L_WRIST, ("at", 1, NOSE), "miss", id="other person's, not labelled"),
    ],
)
def test_kind_of_one_keypoint(
    scene: Any, keypoint: int, target: tuple[Any, ...], kind: str
) -> None:
    points = scene.points(0)
    if target[0] == "off":
        points[keypoint, 1] -= _apart(keypoint, target[1]) if target[1] < 1 else 0
    else:
        points[keypoint] = scene.points(target[1])[target[2]]
    diagnosis = _diagnosed(scene, points, scene.points(1))
    assert _kind(diagnosis, keypoint) == kind
    others = [_kind(diagnosis, k) for k in range(17) if k != keypoint]
    assert others == ["good"] * 16


def test_what_is_not_labelled_has_no_kind(scene: Any) -> None:
    diagnosis = _diagnosed(scene, scene.points(0), scene.points(1))
    assert _kind(diagnosis, NOSE, person=1) == "none"
    assert _kind(diagnosis, L_WRIST, person=1) == "good"


def test_inversion_says_for_what_it_was_taken(scene: Any) -> None:
    points = scene.points(0)
    points[[L_WRIST, R_WRIST]] = points[[R_WRIST, L_HIP]]
    case = _diagnosed(scene, points, scene.points(1)).cases[0]
    assert case.taken_for[[L_WRIST, R_WRIST, L_HIP]].tolist() == [R_WRIST, L_HIP, -1]


def test_distances_are_shares_of_the_persons_size(scene: Any) -> None:
    points = scene.points(0)
    points[L_WRIST] += (3, -4)
    case = _diagnosed(scene, points, scene.points(1)).cases[0]
    assert case.distances[L_WRIST] == pytest.approx(0.05)
    assert case.distances.sum() == pytest.approx(0.05)


FAR = np.full((17, 2), 350.0)


@pytest.mark.parametrize(
    ("points", "box", "outcomes"),
    [
        pytest.param(["own"], None, ["matched"], id="matched"),
        pytest.param([], None, ["missed"], id="nobody found"),
        pytest.param([FAR], None, ["missed", "false alarm"], id="pose and box elsewhere"),
        pytest.param([FAR], [0, 0, 300, 240], ["lost"], id="right box, wrong pose"),
        pytest.param(["own", "own"], None, ["matched", "duplicate"], id="found twice"),
    ],
)
def test_outcomes(
    make_scene: Callable[..., Any],
    tmp_path: Path,
    points: list[Any],
    box: list[float] | None,
    outcomes: list[str],
) -> None:
    scene = make_scene(tmp_path, people=1)
    own = [scene.points(0) if isinstance(p, str) else p for p in points]
    boxes = None if box is None else [box]
    assert [c.outcome for c in _diagnosed(scene, *own, boxes=boxes).cases] == outcomes


def test_poses_in_a_crowd_do_not_count(make_scene: Callable[..., Any], tmp_path: Path) -> None:
    scene = make_scene(tmp_path, people=1, crowd=True)
    diagnosis = _diagnosed(scene, scene.points(0), FAR)
    assert [case.outcome for case in diagnosis.cases] == ["matched", "ignored"]
    assert diagnosis.people.counted.tolist() == [True, False]


def test_the_better_score_takes_its_choice_first(scene: Any) -> None:
    near = scene.points(0) + 3
    first, second = _diagnosed(scene, scene.points(0), near, scores=[0.5, 0.9]).cases[:2]
    assert (first.pose, first.outcome) == (1, "matched")
    assert second.outcome == "missed"
    assert [c.outcome for c in _diagnosed(scene, scene.points(0), near).cases][-1] == "duplicate"


def test_only_the_twenty_best_poses_count(scene: Any) -> None:
    poses = [FAR] * 20 + [scene.points(0)]
    cases = _diagnosed(scene, *poses).cases
    assert [case.outcome for case in cases].count("false alarm") == 20
    assert cases[0].outcome == "missed"


def test_crowding_is_the_greatest_overlap_with_another_person(scene: Any) -> None:
    people = scene.truth.coco.imgToAnns[1]
    people[1]["bbox"] = [150.0, 0.0, 300.0, 240.0]
    assert people_of(scene.truth, 0, COCO17).crowding == pytest.approx([1 / 3, 1 / 3])
    people[1]["iscrowd"] = 1
    assert people_of(scene.truth, 0, COCO17).crowding[0] == 0


def test_skeletons_without_sigmas_are_refused(scene: Any) -> None:
    _, poses = scene.result(0, [])
    bare = replace(poses, skeleton=MPII16, keypoints=np.zeros((0, 16, 2), np.float32),
                   keypoint_scores=np.zeros((0, 16), np.float32))  # fmt: skip
    with pytest.raises(ValueError, match="mpii16 has no sigmas"):
        diagnose(0, people_of(scene.truth, 0, COCO17), bare)


def test_oks_is_that_of_pycocotools(scene: Any) -> None:
    from pycocotools.cocoeval import Params

    random = np.random.default_rng(1)
    found = np.stack([scene.points(0) + random.normal(0, 12, (17, 2)) for _ in range(3)])
    people = people_of(scene.truth, 0, COCO17)
    ours = object_similarity(keypoint_similarity(found, people, COCO17.sigmas), people)
    variance = (2 * Params(iouType="keypoints").kpt_oks_sigmas) ** 2
    for m, entry in enumerate(scene.truth.coco.imgToAnns[1]):
        truth = np.array(entry["keypoints"]).reshape(17, 3)
        seen = truth[:, 2] > 0
        for n, points in enumerate(found):
            squared = ((points - truth[:, :2]) ** 2).sum(axis=1)
            each = np.exp(-squared / variance / (entry["area"] + np.spacing(1)) / 2)
            assert ours[n, m] == pytest.approx(each[seen].mean())


def _slow_kind(point: np.ndarray, k: int, person: int, people: People) -> str:
    """The definitions, one keypoint and one label at a time."""

    def near(m: int, j: int) -> float:
        if not people.labelled[m, j]:
            return 0.0
        reach = people.areas[m] * (2 * COCO17.sigmas[j]) ** 2
        return math.exp(-float(((point - people.points[m, j]) ** 2).sum()) / 2 / reach)

    if near(person, k) >= 0.5:
        return "good" if near(person, k) >= 0.85 else "jitter"
    same = max(near(person, j) for j in range(17) if j != k)
    other = max((near(m, j) for m in range(len(people)) for j in range(17) if m != person),
                default=0.0)  # fmt: skip
    if max(same, other) < 0.5:
        return "miss"
    return "inversion" if same >= other else "swap"


@given(seed=st.integers(0, 2**32 - 1), count=st.integers(1, 4), spread=st.floats(5, 200))
@settings(max_examples=60, deadline=None)
def test_kinds_follow_the_definitions(seed: int, count: int, spread: float) -> None:
    random = np.random.default_rng(seed)
    people = People(
        points=random.normal(0, spread, (count, 17, 2)),
        labelled=random.random((count, 17)) < 0.7,
        areas=random.uniform(500, 20_000, count),
        boxes=np.zeros((count, 4)),
        counted=np.ones(count, bool),
        crowding=np.zeros(count),
    )
    found = random.normal(0, spread, (1, 17, 2))
    similarity = keypoint_similarity(found, people, COCO17.sigmas)
    for person in range(count):
        kinds = classify(similarity[0], person, people.labelled[person])
        for k in range(17):
            if people.labelled[person, k]:
                assert KINDS[kinds[k]] == _slow_kind(found[0, k], k, person, people)
            else:
                assert kinds[k] == -1


EVERYTHING = frozenset({*KINDS, "lost", "missed", "false alarm", "score"})


@pytest.fixture(scope="module")
def pictures(make_scene: Callable[..., Any], tmp_path_factory: pytest.TempPathFactory) -> Any:
    return make_scene(tmp_path_factory.mktemp("truth"), names=("1.png", "2.png", "3.png"))


@given(seed=st.integers(0, 2**32 - 1), spread=st.floats(1, 300), count=st.integers(0, 5))
@settings(max_examples=15, deadline=None)
def test_everything_put_right_is_a_hundred(
    pictures: Any, seed: int, spread: float, count: int
) -> None:
    random = np.random.default_rng(seed)
    fixed = []
    for i in range(3):
        points = [
            pictures.points(int(random.integers(2))) + random.normal(0, spread, (17, 2))
            for _ in range(count)
        ]
        frame, poses = pictures.result(i, points, scores=random.random(count))
        diagnosis = diagnose(i, people_of(pictures.truth, i, COCO17), poses)
        fixed.append((frame, corrected(diagnosis, EVERYTHING)))
    assert keypoint_metrics(pictures.truth, fixed)["AP"] == pytest.approx(100)


def test_nothing_put_right_changes_nothing(scene: Any) -> None:
    diagnosis = _diagnosed(scene, scene.points(0) + 9, FAR)
    same = corrected(diagnosis, frozenset())
    assert np.array_equal(same.keypoints, diagnosis.poses.keypoints)
    assert np.array_equal(same.scores, diagnosis.poses.scores)


def test_one_kind_put_right_leaves_the_others(scene: Any) -> None:
    points = scene.points(0)
    points[L_WRIST] = points[R_WRIST]
    points[NOSE] -= (0, _apart(NOSE, 0.6))
    diagnosis = _diagnosed(scene, points, scene.points(1))
    fixed = corrected(diagnosis, frozenset({"inversion"})).keypoints[0]
    assert fixed[L_WRIST].tolist() == scene.points(0)[L_WRIST].tolist()
    assert np.array_equal(np.delete(fixed, L_WRIST, 0), np.delete(points, L_WRIST, 0).astype("f"))


@pytest.mark.parametrize(
    ("part", "people"),
    [("lost", 2), ("missed", 3), ("false alarm", 1), ("score", 2)],
)
def test_people_put_right(scene: Any, part: str, people: int) -> None:
    lost = part == "lost"
    boxes = [[0, 0, 1, 1], [400, 0, 700, 240] if lost else [0, 0, 1, 1]]
    diagnosis = _diagnosed(scene, scene.points(0), FAR, boxes=boxes)
    fixed = corrected(diagnosis, frozenset({part}))
    assert len(fixed) == people
    if lost:
        assert np.array_equal(fixed.keypoints[1, 1:], scene.points(1)[1:].astype("f"))
        assert fixed.keypoints[1, NOSE].tolist() == [350, 350]  # not labelled, as it was
    if part == "missed":
        assert np.array_equal(fixed.keypoints[2, 1:], scene.points(1)[1:].astype("f"))
    if part == "score":
        assert fixed.scores.tolist() == pytest.approx([1, 0])
