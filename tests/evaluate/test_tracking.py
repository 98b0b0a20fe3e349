"""MOTA, IDF1 and HOTA: tables by hand, from the definitions of the papers."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hrpose.evaluate.tracking import ALPHAS, Labelled, TrackingScore, score_tracking

QUICK = settings(max_examples=15, deadline=None, derandomize=True)
PLACES = {name: 100.0 * i for i, name in enumerate("abcdefghij")}


def frame(people: str) -> Labelled:
    """``"a1 b2"``: id 1 where a stands, id 2 where b does; ``a1+3``: 3 px to the right."""
    ids, boxes = [], []
    for person in people.split():
        number, _, shift = person[1:].partition("+")
        x = PLACES[person[0]] + float(shift or 0)
        ids.append(int(number))
        boxes.append([x, 0, x + 10, 10])
    return Labelled(np.array(ids, np.int64), np.array(boxes, np.float32).reshape(-1, 4))


def score(truth: list[str], results: list[str]) -> TrackingScore:
    return score_tracking([*map(frame, truth)], [*map(frame, results)])


TWO = ["a1 b2"] * 4
ROWS = {
    # results: matches, switches, fragmentations, identities; TWO has 8 true boxes
    "all right": (["a7 b9"] * 4, 8, 0, 0, 8),
    "nothing found": ([""] * 4, 0, 0, 0, 0),
    "only false ones": (["c1 d2"] * 4, 0, 0, 0, 0),
    "a new id halfway": (["a7 b9", "a7 b9", "a8 b9", "a8 b9"], 8, 1, 0, 6),
    "ids exchanged halfway": (["a7 b9", "a7 b9", "a9 b7", "a9 b7"], 8, 2, 0, 4),
    "exchanged for a frame": (["a7 b9", "a9 b7", "a7 b9", "a7 b9"], 8, 4, 0, 6),
    "missed for a frame": (["a7 b9", "b9", "a7 b9", "a7 b9"], 7, 0, 1, 7),
    "missed at the end": (["a7 b9", "a7 b9", "b9", "b9"], 6, 0, 0, 6),
    "a new id after a miss": (["a7 b9", "b9", "a8 b9", "a8 b9"], 7, 1, 1, 6),
    "one false box": (["a7 b9 c3", "a7 b9", "a7 b9", "a7 b9"], 8, 0, 0, 8),
}


@pytest.mark.parametrize("row", ROWS)
def test_by_hand(row: str) -> None:
    results, matches, switches, fragmentations, identities = ROWS[row]
    boxes = sum(len(people.split()) for people in results)
    got = score(TWO, results)
    assert (got.truths, got.results, got.matches) == (8, boxes, matches)
    assert (got.switches, got.fragmentations) == (switches, fragmentations)
    assert got.identities == identities
    assert (got.misses, got.false_positives) == (8 - matches, boxes - matches)
    assert got.mota == pytest.approx(1 - (8 - matches + boxes - matches + switches) / 8)
    assert got.idf1 == pytest.approx(2 * identities / (8 + boxes))


def test_a_pair_stays_while_it_overlaps_though_another_fits_better() -> None:
    """Bernardin and Stiefelhagen 2008: correspondences of the frame before come first."""
    results = ["a5+1", "a5+3 a6", "a5+3 a6"]
    got = score(["a1"] * 3, results)
    assert (got.matches, got.switches, got.false_positives) == (3, 0, 2)
    got = score(["a1"] * 3, ["a5+1", "a5+4 a6", "a5+1 a6"])  # IoU 6/14 < 0.5: let go
    assert (got.matches, got.switches) == (3, 1)


def test_leaving_is_no_fragmentation() -> None:
    got = score(["a1", "", "", "a1"], ["a5", "", "", "a5"])
    assert (got.fragmentations, got.switches, got.mota) == (0, 0, 1.0)
    assert score(["a1", "", "", "a1"], ["a5", "", "", "a6"]).switches == 1


def test_identities_pair_whole_trajectories() -> None:
    """Ristani et al. 2016: the id that holds longest counts, also when it is not the first."""
    got = score(["a1"] * 10, ["a5"] * 3 + ["a6"] * 7)
    assert (got.identities, got.idf1, got.switches) == (7, pytest.approx(0.7), 1)
    # one result id over two people is worth the longer part only
    got = score(["a1"] * 6 + ["b2"] * 4, ["a5"] * 6 + ["b5"] * 4)
    assert (got.identities, got.mota) == (6, 1.0)


def test_hota_by_hand() -> None:
    assert score(TWO, ["a7 b9"] * 4).hota == pytest.approx(1)
    assert score(TWO, [""] * 4).hota == 0
    # one person, two ids of half the length: detection is perfect, each Jaccard index is 1/2
    assert score(["a1"] * 4, ["a5"] * 2 + ["a6"] * 2).hota == pytest.approx(math.sqrt(0.5))
    # IoU 7/13 = 0.538: right at the thresholds up to 0.5, wrong above
    assert score(["a1"] * 4, ["a5+3"] * 4).hota == pytest.approx((ALPHAS <= 0.5).mean())
    # half of the boxes found: detection 1/2, association 1/2
    assert score(["a1"] * 4, ["a5", "a5", "", ""]).hota == pytest.approx(0.5)


@given(st.integers(0, 10**6))
@QUICK
def test_names_of_ids_and_order_do_not_matter_and_scores_add_up(seed: int) -> None:
    random = np.random.default_rng(seed)

    def some(noise: float) -> list[Labelled]:
        out = []
        for _ in range(6):
            here = np.flatnonzero(random.random(5) < 0.8)
            x = 12.0 * here + random.normal(0, noise, len(here))
            out.append(Labelled(here, np.stack([x, 0 * x, x + 10, 0 * x + 10], 1).astype("f4")))
        return out

    truth, results = some(0), some(2)
    one = score_tracking(truth, results)
    other = score_tracking(
        [Labelled(t.ids[::-1] + 40, t.boxes[::-1]) for t in truth],
        [Labelled(900 - r.ids, r.boxes) for r in results],
    )
    assert (one.mota, one.idf1, one.switches) == (other.mota, other.idf1, other.switches)
    assert one.hota == pytest.approx(other.hota)
    twice = sum([one, other])
    assert twice.truths == 2 * one.truths
    assert (twice.mota, twice.idf1) == pytest.approx((one.mota, one.idf1))
    assert twice.hota == pytest.approx(one.hota)
    perfect = score_tracking(truth, truth)
    assert (perfect.mota, perfect.idf1) == (1, 1)
    assert perfect.hota == pytest.approx(1)


def test_wrong_arguments() -> None:
    with pytest.raises(ValueError, match="twice"):
        frame("a1 b1")
    with pytest.raises(ValueError, match="boxes have shape"):
        Labelled(np.arange(2), np.zeros((3, 4), np.float32))
    with pytest.raises(ValueError, match="1 frames of truth and 2"):
        score(["a1"], ["a1", "a1"])
    assert score([], []).mota == 0
