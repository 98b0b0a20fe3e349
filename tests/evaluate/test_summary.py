"""Numbers of a diagnosis that must add up."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hrpose.evaluate.coco import keypoint_metrics
from hrpose.evaluate.errors import KINDS
from hrpose.evaluate.summary import (
    BANDS,
    FIXES,
    Breakdown,
    diagnose_all,
    summarise,
    worst_cases,
)
from hrpose.skeleton import COCO17

L_WRIST, R_WRIST, L_KNEE = 9, 10, 13


@pytest.fixture(scope="module")
def pictures(make_scene: Callable[..., Any], tmp_path_factory: pytest.TempPathFactory) -> Any:
    return make_scene(tmp_path_factory.mktemp("truth"), names=("1.png", "2.png"))


@pytest.fixture(scope="module")
def results(pictures: Any) -> list[Any]:
    """Person 0 of picture 0 with crossed wrists and a wild knee, the rest noisy, one missed."""
    random = np.random.default_rng(3)
    points = pictures.points(0)
    points[[L_WRIST, R_WRIST]] = points[[R_WRIST, L_WRIST]]
    points[L_KNEE] = (350, 250)
    noisy = pictures.points(1) + random.normal(0, 6, (17, 2))
    return [
        pictures.result(0, [points, noisy]),
        pictures.result(1, [pictures.points(0) + 2, np.full((17, 2), 370.0)]),
    ]


@pytest.fixture(scope="module")
def breakdown(pictures: Any, results: list[Any]) -> Breakdown:
    diagnoses = diagnose_all(pictures.truth, results)
    return summarise(pictures.truth, diagnoses, worst_cases(diagnoses))


def test_metrics_are_those_of_the_evaluation(
    pictures: Any, results: list[Any], breakdown: Breakdown
) -> None:
    assert breakdown.metrics == keypoint_metrics(pictures.truth, results)


def test_outcomes_are_counted(breakdown: Breakdown) -> None:
    assert breakdown.pictures == 2
    wanted = {"matched": 3, "missed": 1, "false alarm": 1, "lost": 0, "duplicate": 0, "ignored": 0}
    assert breakdown.outcomes == wanted


def test_shares_sum_to_one(breakdown: Breakdown) -> None:
    for shares in (breakdown.shares, *(joint.shares for joint in breakdown.joints)):
        assert tuple(shares) == KINDS
        assert sum(shares.values()) == pytest.approx(1)
    for group in breakdown.groups:
        assert sum(group.shares.values()) == pytest.approx(1 if group.matched else 0)


def test_known_errors_are_at_their_joints(breakdown: Breakdown) -> None:
    joints = {joint.name: joint for joint in breakdown.joints}
    assert joints["left_wrist"].shares["inversion"] == pytest.approx(1 / 3)
    assert joints["left_wrist"].mirrored == pytest.approx(1 / 3)
    assert joints["left_knee"].shares["miss"] == pytest.approx(1 / 3)
    assert joints["left_knee"].mirrored == 0
    assert joints["nose"].labelled == 2  # one of three matched people has none
    assert breakdown.shares["swap"] == 0


def test_what_joints_cost_adds_up_to_the_lost_oks(
    pictures: Any, results: list[Any], breakdown: Breakdown
) -> None:
    cases = [case for d in diagnose_all(pictures.truth, results) for case in d.cases]
    found = [case.oks for case in cases if case.outcome == "matched"]
    lost = sum(joint.oks_lost for joint in breakdown.joints)
    assert lost == pytest.approx(100 * (1 - np.mean(found)))


def test_every_person_is_in_one_group_of_each_kind(breakdown: Breakdown) -> None:
    for by, lows in BANDS.items():
        groups = [group for group in breakdown.groups if group.by == by]
        assert [group.low for group in groups] == list(lows)
        assert sum(group.people for group in groups) == 4
    sizes = {group.low: group.people for group in breakdown.groups if group.by == "size"}
    assert sizes[96] == 4  # the root of the area is 100 px
    counts = {group.low: group.people for group in breakdown.groups if group.by == "labelled"}
    assert counts[16] == 4


def test_gains_lead_to_a_hundred(breakdown: Breakdown) -> None:
    gains = {gain.name: gain for gain in breakdown.gains}
    assert tuple(gains) == tuple(FIXES)
    assert gains["everything"].ap == pytest.approx(100)
    assert gains["inversion"].gain > 0
    assert gains["missed"].gain > 0
    assert gains["swap"].gain == 0
    for gain in breakdown.gains:
        assert gain.gain == pytest.approx(gain.ap - breakdown.metrics["AP"])


def test_worst_first(breakdown: Breakdown) -> None:
    first, *others = breakdown.worst
    assert (first.picture, first.outcome, first.oks) == ("2.png", "missed", 0)
    crossed = next(worst for worst in others if "inversion" in worst.errors)
    assert crossed.picture == "1.png"
    assert crossed.errors["inversion"] == ["left_wrist", "right_wrist"]
    assert crossed.errors["miss"] == ["left_knee"]
    assert "good" not in crossed.errors


def test_false_alarms_take_at_most_a_quarter_of_the_worst(pictures: Any) -> None:
    alarms = [np.full((17, 2), 350.0 + i) for i in range(10)]
    shifted = [pictures.points(i) + 12 for i in range(2)]
    results = [
        pictures.result(i, [*alarms, *shifted], scores=[0.9] * 10 + [0.5] * 2) for i in (0, 1)
    ]
    diagnoses = diagnose_all(pictures.truth, results)
    outcomes = [case.outcome for _, case in worst_cases(diagnoses, most=4)]
    assert outcomes.count("false alarm") == 1
    outcomes = [case.outcome for _, case in worst_cases(diagnoses, most=10)]
    assert outcomes.count("false alarm") == 6  # there are no more people


def test_pictures_without_a_result_have_missed_people(pictures: Any, results: list[Any]) -> None:
    diagnoses = diagnose_all(pictures.truth, results[:1])
    assert [case.outcome for case in diagnoses[1].cases] == ["missed", "missed"]
    assert [d.picture for d in diagnose_all(pictures.truth, results, pictures=[2])] == [1]


def test_a_picture_twice_is_refused(pictures: Any, results: list[Any]) -> None:
    with pytest.raises(ValueError, match="comes twice"):
        diagnose_all(pictures.truth, [results[0], results[0]])


def test_empty_results(pictures: Any) -> None:
    diagnoses = diagnose_all(pictures.truth, [])
    breakdown = summarise(pictures.truth, diagnoses, worst_cases(diagnoses))
    assert breakdown.outcomes["missed"] == 4
    assert set(breakdown.shares.values()) == {0.0}
    assert {gain.name for gain in breakdown.gains if gain.ap > 0} == {"missed", "everything"}
    assert len(breakdown.joints) == len(COCO17)


def test_nobody_to_find(make_scene: Callable[..., Any], tmp_path: Path) -> None:
    scene = make_scene(tmp_path, people=0)
    results = [scene.result(0, [np.full((17, 2), 100.0)])]
    diagnoses = diagnose_all(scene.truth, results)
    breakdown = summarise(scene.truth, diagnoses, worst_cases(diagnoses))
    assert breakdown.outcomes["false alarm"] == 1
    assert all(gain.gain == 0 for gain in breakdown.gains)
