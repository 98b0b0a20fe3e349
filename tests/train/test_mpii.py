"""Labels of MPII: regions and pixels by the official rules, and entries that do not fit."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from hrpose import geometry
from hrpose.errors import BadAnnotation
from hrpose.formats.mpii import read_mpii
from hrpose.train.mpii import is_mpii, mpii_labels

PERSON = {
    "image": "015601864.jpg",
    "center": [594.0, 257.0],
    "scale": 3.021046,
    "joints": [[float(600 + i), float(300 - i)] for i in range(16)],
    "joints_vis": [int(i % 5 > 0) for i in range(16)],
}
OTHER = {**PERSON, "center": [952.0, 222.0], "scale": 2.472117}
PATH = Path("train.json")


def test_a_picture_with_two_people() -> None:
    last = {**PERSON, "image": "b.jpg", "center": [-1.0, -1.0]}
    first, second = mpii_labels([PERSON, OTHER, last], PATH)
    assert (first.name, first.size, first.source) == ("015601864.jpg", (0, 0), "train")
    assert (len(first.boxes), len(second.boxes)) == (2, 1)
    assert first.keypoints[0, 3].tolist() == [602, 296]  # from 1 to 0
    assert first.weights[0].tolist() == [float(i % 5 > 0) for i in range(16)]
    assert not first.ignore.any()
    assert first.areas.dtype == torch.float32


def test_regions_are_those_of_the_official_code_and_of_the_evaluation(tmp_path: Path) -> None:
    people = [PERSON, {**OTHER, "image": "b.jpg"}, {**PERSON, "image": "c", "center": [-1, 4]}]
    boxes = torch.cat([picture.boxes for picture in mpii_labels(people, PATH)])
    centres, sizes = geometry.padded_region(boxes, 1.0)
    # centre y + 15 scale, scale x 1.25, then one less (mpii.py:52-65 of the HRNet repository)
    want = torch.tensor([[593, 256 + 15 * 3.021046], [951, 221 + 15 * 2.472117], [-2, 3]])
    torch.testing.assert_close(centres, want, atol=1e-3, rtol=0)
    sides = [250 * 3.021046, 250 * 2.472117, 200 * 3.021046]
    assert sizes.flatten().tolist() == pytest.approx(np.repeat(sides, 2), abs=1e-3)
    path = tmp_path / "valid.json"
    path.write_text(json.dumps(people))
    evaluated = read_mpii(path)
    np.testing.assert_allclose(centres, evaluated.centers, atol=1e-3)
    np.testing.assert_allclose(sizes[:, 0], evaluated.sides, atol=1e-3)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"image": ""}, "image"),
        ({"image": None}, "image"),
        ({"center": [3.0]}, "cannot reshape"),
        ({"center": [3.0, float("nan")]}, "not finite"),
        ({"scale": 0}, "scale is 0"),
        ({"scale": -1}, "scale is -1"),
        ({"scale": "tall"}, "tall"),
        ({"joints": PERSON["joints"][:-1]}, "cannot reshape"),
        ({"joints_vis": [1] * 17}, "cannot reshape"),
        ({"joints": None}, ""),
    ],
    ids=lambda value: str(value)[:30],
)
def test_a_bad_person_is_named(change: dict[str, Any], reason: str) -> None:
    with pytest.raises(BadAnnotation, match=rf"train\.json: person 1: .*{reason}"):
        mpii_labels([PERSON, {**PERSON, **change}], PATH)


@pytest.mark.parametrize("lost", list(PERSON))
def test_a_lacking_field_is_named(lost: str) -> None:
    person = {name: value for name, value in PERSON.items() if name != lost}
    with pytest.raises(BadAnnotation, match=f"person 0: no '{lost}'"):
        mpii_labels([person], PATH)


@pytest.mark.parametrize("document", [[], {}, {"images": []}, [3], ["joints_vis"], [{"a": 1}]])
def test_other_documents_are_not_mpii(document: object) -> None:
    assert not is_mpii(document)
    assert is_mpii([PERSON])
