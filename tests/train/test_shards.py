"""Labels from COCO files, and the order in which they are shown."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from hrpose.errors import BadAnnotation, InputError, UsageError
from hrpose.media.store import Pictures
from hrpose.skeleton import COCO17
from hrpose.train.shards import Labels, mixed, read_labels, read_pixels, shuffled
from hrpose.types import Size

TRIPLES = [v for k in range(17) for v in (10.0 + k, 20.5 + k, k % 3)]
PICTURE = {"id": 7, "file_name": "a.png", "width": 64, "height": 48}
PERSON = {"id": 1, "image_id": 7, "bbox": [5, 6, 30, 40], "area": 900, "keypoints": TRIPLES}


def write(path: Path, images: Any = (PICTURE,), annotations: Any = (PERSON,)) -> Path:
    path.write_text(json.dumps({"images": list(images), "annotations": list(annotations)}))
    return path


def test_a_person(tmp_path: Path) -> None:
    other = {**PICTURE, "id": "x", "file_name": "b.png", "shard": "part-00.zip"}
    (labels, empty) = read_labels(write(tmp_path / "t.json", [PICTURE, other]), COCO17)
    assert (labels.name, labels.shard, labels.size) == ("a.png", "", Size(64, 48))
    assert labels.boxes.tolist() == [[5, 6, 35, 46]]
    assert labels.areas.tolist() == [900]
    assert labels.ignore.tolist() == [False]
    assert labels.keypoints[0, 3].tolist() == [13, 23.5]
    assert labels.weights[0].tolist() == [float(k % 3 > 0) for k in range(17)]
    assert (empty.name, empty.shard) == ("b.png", "part-00.zip")
    assert (empty.boxes.shape, empty.keypoints.shape) == ((0, 4), (0, 17, 2))
    kinds = {labels.boxes.dtype, labels.keypoints.dtype, labels.weights.dtype, labels.areas.dtype}
    assert kinds == {torch.float32}


def test_weights_are_visibility_times_scores(tmp_path: Path) -> None:
    scores = [round(0.05 * (k + 1), 2) for k in range(17)]
    scored = {**PERSON, "keypoint_scores": scores}
    (labels,) = read_labels(write(tmp_path / "t.json", annotations=[scored]), COCO17)
    want = [s if k % 3 else 0 for k, s in enumerate(scores)]
    assert labels.weights[0].tolist() == pytest.approx(want)


def test_a_crowd_is_ignored_and_boxes_need_no_keypoints(tmp_path: Path) -> None:
    boxed = {"id": 2, "image_id": 7, "bbox": [0, 0, 3, 4]}
    crowd = {**PERSON, "iscrowd": 1}
    (labels,) = read_labels(write(tmp_path / "t.json", annotations=[crowd, boxed]), COCO17)
    assert labels.ignore.tolist() == [True, False]
    assert labels.weights.sum() == 0
    assert labels.areas.tolist() == [900, 12]


def shifted(by: float) -> list[float]:
    """Keypoints moved, all of them visible."""
    return [value + by if i % 3 < 2 else 2 for i, value in enumerate(TRIPLES)]


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"bbox": [1, 2, 3]}, "cannot reshape"),
        ({"bbox": [3]}, "cannot reshape"),
        ({"bbox": 3}, "cannot reshape"),
        ({"bbox": None}, ""),
        ({"bbox": [1, 2, 3, "wide"]}, ""),
        ({"bbox": [1, 2, 3, float("nan")]}, "not finite"),
        ({"bbox": [1, 2, float("inf"), 3]}, "not finite"),
        ({"bbox": [30, 40, -20, 30]}, "negative"),
        ({"bbox": [70, 6, 30, 40]}, "outside the picture of 64x48"),
        ({"bbox": [5, -50, 30, 40]}, "outside the picture"),
        ({"area": None}, ""),
        ({"area": -1}, "negative"),
        ({"keypoints": TRIPLES[:-1]}, "cannot reshape"),
        ({"keypoints": []}, "cannot reshape"),
        ({"keypoints": [*TRIPLES[:-1], float("inf")]}, "not finite"),
        ({"keypoints": [*TRIPLES[:-1], 3]}, "visibility"),
        ({"keypoints": [*TRIPLES[:-1], 0.5]}, "visibility"),
        ({"keypoints": shifted(500)}, "no keypoint lies near the bbox"),
        ({"keypoint_scores": [1.0] * 16}, "cannot reshape"),
        ({"keypoint_scores": 0.5}, "cannot reshape"),
        ({"keypoint_scores": [1.0] * 16 + [-0.1]}, "score is negative"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_a_bad_annotation_is_named(tmp_path: Path, change: dict[str, Any], reason: str) -> None:
    people = [PERSON, {**PERSON, "id": 99, **change}]
    with pytest.raises(BadAnnotation, match=rf"t\.json: annotation 99 of a\.png: .*{reason}"):
        read_labels(write(tmp_path / "t.json", annotations=people), COCO17)


@pytest.mark.parametrize(
    "change",
    [
        {"bbox": [-3, -2, 30, 40]},
        {"bbox": [60, 40, 30, 40], "keypoints": shifted(30)},
        {"bbox": [5, 6, 0, 0]},
        {"keypoints": [0] * 51},
        {"area": 0},
        {"keypoint_scores": [0.0] * 17},
    ],
    ids=str,
)
def test_odd_people_are_read(tmp_path: Path, change: dict[str, Any]) -> None:
    """Boxes of COCO reach over the border, and some have no width."""
    (labels,) = read_labels(write(tmp_path / "t.json", annotations=[{**PERSON, **change}]), COCO17)
    assert len(labels.boxes) == 1


def test_an_annotation_without_box_is_named(tmp_path: Path) -> None:
    boxless = {"id": 99, "image_id": 7}
    with pytest.raises(BadAnnotation, match=r"annotation 99 of a\.png"):
        read_labels(write(tmp_path / "t.json", annotations=[boxless]), COCO17)


@pytest.mark.parametrize("stray", [8, 0, "", None], ids=repr)
def test_an_annotation_of_no_picture_is_named(tmp_path: Path, stray: object) -> None:
    people = [PERSON, {**PERSON, "id": 99, "image_id": stray}]
    with pytest.raises(BadAnnotation, match="annotation 99 of unknown image_id"):
        read_labels(write(tmp_path / "t.json", annotations=people), COCO17)


@pytest.mark.parametrize("lost", ["file_name", "width", "height"])
def test_a_bad_picture_entry_is_named(tmp_path: Path, lost: str) -> None:
    entry = {name: value for name, value in PICTURE.items() if name != lost}
    with pytest.raises(BadAnnotation, match="picture 7"):
        read_labels(write(tmp_path / "t.json", [entry]), COCO17)
    for wrong in (0, -5, None, ""):
        with pytest.raises(BadAnnotation, match="picture 7"):
            read_labels(write(tmp_path / "t.json", [{**PICTURE, lost: wrong}]), COCO17)


def test_two_pictures_of_one_id_are_refused(tmp_path: Path) -> None:
    other = {**PICTURE, "file_name": "b.png"}
    with pytest.raises(BadAnnotation, match="two pictures have the id 7"):
        read_labels(write(tmp_path / "t.json", [PICTURE, other]), COCO17)


@pytest.mark.parametrize(
    ("categories", "kept"),
    [
        ([], [1, 2, 3]),
        ([{"id": 1, "name": "person"}, {"id": 2, "name": "dog"}], [1, 3]),
        ([{"id": 2, "name": "cat"}, {"id": 1, "name": "dog"}], [1, 2, 3]),
        ([{"id": 2, "name": "cow", "keypoints": ["a"]}, {"id": 1, "name": "x"}], [2, 3]),
        ([{"id": i, "name": f"{i}", "keypoints": ["a"]} for i in (1, 2)], [1, 2, 3]),
    ],
    ids=["none", "person", "no person", "with keypoints", "same keypoints"],
)
def test_categories(tmp_path: Path, categories: list[dict[str, Any]], kept: list[int]) -> None:
    people = [
        {**PERSON, "area": 1, "category_id": 1},
        {**PERSON, "area": 2, "category_id": 2},
        {**PERSON, "area": 3},
    ]
    path = write(tmp_path / "t.json", annotations=people)
    path.write_text(json.dumps({**json.loads(path.read_text()), "categories": categories}))
    (labels,) = read_labels(path, COCO17)
    assert labels.areas.tolist() == kept


def test_the_source_is_named_after_the_file_unless_it_has_a_name(tmp_path: Path) -> None:
    other = {**PICTURE, "id": 8, "source": "mine"}
    labels = read_labels(write(tmp_path / "train2017.json", [PICTURE, other]), COCO17)
    assert [picture.source for picture in labels] == ["train2017", "mine"]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "hello",
        "[]",
        "3",
        '{"images": []}',
        '{"images": 3, "annotations": []}',
        '{"images": [{}], "annotations": []}',
        '{"images": ["a"], "annotations": []}',
        '{"images": [], "annotations": [3]}',
        '{"images": [], "annotations": [{"image_id": [1]}]}',
        '{"images": [], "annotations": [], "categories": 3}',
        '{"images": [], "annotations": [], "categories": ["person"]}',
    ],
)
def test_other_files_are_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "t.json").write_text(text)
    with pytest.raises(BadAnnotation, match=r"t\.json: not a COCO annotation file"):
        read_labels(tmp_path / "t.json", COCO17)


def test_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"none\.json: No such file") as caught:
        read_labels(tmp_path / "none.json", COCO17)
    assert caught.value.exit_code == 3


def test_pixels_of_another_size_are_named(tmp_path: Path) -> None:
    (labels,) = read_labels(write(tmp_path / "t.json"), COCO17)
    Image.new("RGB", (64, 48), (255, 0, 9)).save(tmp_path / "a.png")
    pixels = read_pixels(Pictures([tmp_path]), labels)
    assert pixels.shape == (3, 48, 64)
    assert pixels[:, 0, 0].tolist() == [255, 0, 9]
    Image.new("RGB", (48, 64)).save(tmp_path / "a.png")
    with pytest.raises(InputError, match=r"a\.png: is 48x64, its labels are for 64x48") as turned:
        read_pixels(Pictures([tmp_path]), labels)
    assert "--ignore-exif" in turned.value.hint
    Image.new("RGB", (50, 60)).save(tmp_path / "a.png")
    with pytest.raises(InputError, match="is 50x60") as other:
        read_pixels(Pictures([tmp_path]), labels)
    assert "--ignore-exif" not in other.value.hint
    unknown = replace(labels, size=Size(0, 0))
    assert read_pixels(Pictures([tmp_path]), unknown).shape == (3, 60, 50)


def test_real_labels(shared: Path) -> None:
    folder = shared / "data/people"
    labels = read_labels(folder / "dev.json", COCO17)
    people = sum(len(picture.boxes) for picture in labels)
    assert people > len(labels) > 50
    assert sum(int((picture.weights > 0).sum()) for picture in labels) > 5 * len(labels)
    pixels = read_pixels(Pictures([folder / "dev-images.zip"]), labels[0])
    assert (pixels.shape[2], pixels.shape[1]) == labels[0].size


def epochs(count: int, batch: int, *, first: int = 0, seed: int = 3) -> Iterator[np.ndarray]:
    return (chosen for _, chosen in shuffled(count, batch_size=batch, seed=seed, first=first))


@pytest.mark.parametrize(("count", "batch"), [(12, 3), (13, 4), (5, 5), (7, 1)])
def test_every_index_once_per_epoch(count: int, batch: int) -> None:
    steps = count // batch
    orders = []
    for epoch in range(3):
        shown = np.concatenate(list(islice(epochs(count, batch, first=epoch * steps), steps)))
        assert len(set(shown.tolist())) == len(shown) == steps * batch
        assert set(shown.tolist()) <= set(range(count))
        orders.append(shown.tolist())
    assert orders[0] != orders[1] != orders[2]


def test_all_are_shown_in_the_long_run_although_remainders_are_dropped() -> None:
    shown = np.concatenate(list(islice(epochs(13, 4), 12)))
    assert set(shown.tolist()) == set(range(13))


@pytest.mark.parametrize("first", [1, 3, 4, 5, 11])
def test_order_can_be_resumed_anywhere(first: int) -> None:
    whole = list(islice(shuffled(13, batch_size=3, seed=8), 16))
    part = list(islice(shuffled(13, batch_size=3, seed=8, first=first), 16 - first))
    assert [n for n, _ in part] == [n for n, _ in whole[first:]] == list(range(first, 16))
    for (_, got), (_, want) in zip(part, whole[first:], strict=True):
        assert got.tolist() == want.tolist()


def test_few_items_are_repeated_to_fill_a_batch() -> None:
    (chosen,) = islice(epochs(3, 8), 1)
    assert len(chosen) == 8
    assert np.bincount(chosen).tolist() in ([3, 3, 2], [3, 2, 3], [2, 3, 3])


def test_seeds_give_other_orders() -> None:
    (a,), (b,) = (islice(epochs(50, 50, seed=s), 1) for s in (1, 2))
    assert a.tolist() != b.tolist()


def test_mixed_repeats_and_thins_sources() -> None:
    empty = torch.zeros(0)
    pictures = [
        Labels(f"{i}", "", Size(1, 1), empty, empty, empty, empty, empty, source="ab"[i % 2])
        for i in range(400)
    ]
    shown = mixed(pictures, {"a": 2.5, "b": 0.25}, seed=1)
    times = [sum(p is picture for p in shown) for picture in pictures]
    assert set(times[0::2]) == {2, 3}
    assert set(times[1::2]) == {0, 1}
    assert sum(times[0::2]) == pytest.approx(500, abs=30)
    assert sum(times[1::2]) == pytest.approx(50, abs=25)
    again = mixed(pictures, {"a": 2.5, "b": 0.25}, seed=1)
    assert [p.name for p in shown] == [p.name for p in again]
    assert mixed(pictures, {}, seed=1) == pictures
    with pytest.raises(UsageError, match="source 'c'") as caught:
        mixed(pictures, {"c": 1.0}, seed=0)
    assert caught.value.hint == "sources: a, b"
