"""Files of labels of several formats: whose keypoints they are, and what does not go together."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from hrpose.errors import BadAnnotation, InputError, UsageError
from hrpose.skeleton import COCO17, MPII16, Skeleton
from hrpose.train.sources import Source, labels_of, read_skeleton, read_sources, skeleton_of

STAR = {"id": 1, "name": "star", "keypoints": ["top", "left_arm", "right_arm"]}
MPII = [{"image": "a.jpg", "center": [9, 9], "scale": 1, "joints": [[5, 5]] * 16,
         "joints_vis": [1] * 16}]  # fmt: skip


def coco(points: int = 3, category: dict[str, Any] | None = None) -> dict[str, Any]:
    return {
        "images": [{"id": 1, "file_name": "a.png", "width": 20, "height": 20}],
        "annotations": [
            {"id": 5, "image_id": 1, "bbox": [1, 1, 9, 9], "keypoints": [5, 5, 2] * points}
        ],
        "categories": [category] if category else [],
    }


def source(document: Any, name: str = "a.json") -> Source:
    return Source(Path(name), document)


def test_keypoints_that_are_named_make_a_skeleton() -> None:
    found = skeleton_of([source(coco(3, {**STAR, "skeleton": [[1, 2], [1, 3]]}))], COCO17)
    want = Skeleton("star", ("top", "left_arm", "right_arm"), ((0, 1), (0, 2)), (0, 2, 1))
    assert found == want
    (labels,) = labels_of([source(coco(3, STAR))], found)
    assert labels.keypoints.shape == (1, 3, 2)


@pytest.mark.parametrize(
    ("document", "usual", "want"),
    [
        (coco(17), COCO17, COCO17),
        (coco(17, {"id": 1, "keypoints": list(COCO17.keypoints)}), MPII16, COCO17),
        (coco(17, {"id": 1, "name": "person"}), MPII16, MPII16),
        (MPII, COCO17, MPII16),
    ],
    ids=["nothing named", "known names", "a category without", "MPII"],
)
def test_known_skeletons(document: Any, usual: Skeleton, want: Skeleton) -> None:
    assert skeleton_of([source(document)], usual) is want


@pytest.mark.parametrize(
    "category",
    [
        {**STAR, "keypoints": ["top", "top", "arm"]},
        {**STAR, "skeleton": [[0, 1]]},
        {**STAR, "skeleton": [[1, 4]]},
        {**STAR, "skeleton": [[1, 2, 3]]},
        {**STAR, "skeleton": [["top", "left_arm"]]},
        {**STAR, "skeleton": 7},
        {**STAR, "keypoints": [1, 2, 3]},
        {**STAR, "keypoints": "top"},
    ],
    ids=str,
)
def test_a_bad_category_is_refused(category: dict[str, Any]) -> None:
    with pytest.raises(BadAnnotation, match=r"a\.json"):
        skeleton_of([source(coco(3, category))], COCO17)


def test_files_of_two_skeletons_do_not_mix() -> None:
    star, people = source(coco(3, STAR)), source(coco(17), "b.json")
    with pytest.raises(UsageError, match=r"b\.json: its keypoints are not those of a\.json"):
        skeleton_of([star, people], COCO17)
    assert skeleton_of([people, people], COCO17) is COCO17


def test_the_order_of_named_keypoints_counts() -> None:
    turned = Skeleton("star", ("left_arm", "top", "right_arm"), (), (0, 1, 2))
    with pytest.raises(BadAnnotation, match="in another order"):
        labels_of([source(coco(3, STAR))], turned)
    renamed = Skeleton("mine", ("a", "b", "c"), (), (0, 1, 2))
    assert len(labels_of([source(coco(3, STAR))], renamed)) == 1


def test_mpii_and_other_numbers_of_keypoints_do_not_mix() -> None:
    with pytest.raises(UsageError, match="16 keypoints of MPII, not the 17 of coco17"):
        labels_of([source(MPII)], COCO17)
    labels = labels_of([source(MPII), source(coco(16), "b.json")], MPII16)
    assert [picture.source for picture in labels] == ["a", "b"]


def test_files_are_read(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text(json.dumps(MPII))
    (tmp_path / "b.json").write_text(json.dumps(coco()))
    first, second = read_sources([tmp_path / "a.json", tmp_path / "b.json"])
    assert (first.document, second.document) == (MPII, coco())
    with pytest.raises(InputError, match="No such file"):
        read_sources([tmp_path / "none.json"])
    (tmp_path / "c.json").write_text("{")
    with pytest.raises(BadAnnotation, match=r"c\.json: not a COCO"):
        read_sources([tmp_path / "c.json"])


def test_a_skeleton_from_a_file(tmp_path: Path) -> None:
    path = tmp_path / "star.json"
    path.write_text(json.dumps({"keypoints": ["a", "b"], "edges": [["a", "b"]]}))
    assert read_skeleton(path) == Skeleton("custom", ("a", "b"), ((0, 1),), (0, 1))
    for text in ("{", "[]", '{"keypoints": []}', '{"keypoints": ["a", "a"]}'):
        path.write_text(text)
        with pytest.raises(BadAnnotation, match=r"star\.json: not a skeleton"):
            read_skeleton(path)
    with pytest.raises(InputError, match="No such file"):
        read_skeleton(tmp_path / "none.json")
