"""Evaluations from files to numbers: what is measured, what cannot be read, and what is kept."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, replace
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from hrpose import __version__
from hrpose.crop import CropSpec
from hrpose.errors import BadAnnotation, InputError, OutputError, UsageError
from hrpose.estimator import Estimator
from hrpose.evaluate import run
from hrpose.evaluate.protocol import OFFICIAL, Protocol
from hrpose.evaluate.report import Request, write_report
from hrpose.evaluate.results import Scored, read_results, scored_people, write_results
from hrpose.evaluate.run import evaluate_boxes, evaluate_keypoints, evaluate_results
from hrpose.evaluate.truth import GroundTruth
from hrpose.models.hrnet import HRNetConfig
from hrpose.models.networks import PoseNet
from hrpose.options import Options
from hrpose.pipeline import UsedModel
from hrpose.skeleton import COCO17, MPII16, Skeleton
from hrpose.types import Codec, Detections, Frame, Size

TINY = HRNetConfig(width=4, stem=8, planes=4, bottlenecks=1, modules=(1, 1, 1), blocks=1)
SIZE = Size(80, 60)
BOX = [10.0, 5.0, 30.0, 50.0]
POINTS = [value for k in range(17) for value in (12.0 + k, 10.0 + 2 * k, 2)]


class Tiny:
    """Takes the place of the pose model; remembers with which options it was asked for."""

    def __init__(self, skeleton: Skeleton = COCO17) -> None:
        self.skeleton = skeleton
        self.options: list[Options] = []

    def __call__(
        self, options: Options, device: torch.device, *, weights: Path | None = None
    ) -> tuple[Estimator, UsedModel]:
        self.options.append(options)
        torch.manual_seed(0)
        estimator = Estimator(
            PoseNet(TINY, len(self.skeleton)),
            crop=CropSpec(Size(32, 64)),
            codec=Codec(),
            skeleton=self.skeleton,
            flip_test=options.flip_test,
        )
        return estimator, UsedModel("pose", "tiny", "e" * 64, refine="quarter")


@pytest.fixture
def tiny(monkeypatch: pytest.MonkeyPatch) -> Tiny:
    model = Tiny()
    monkeypatch.setattr(run, "build_estimator", model)
    return model


def person(image: int, **changes: Any) -> dict[str, Any]:
    return {
        "id": image, "image_id": image, "category_id": 1, "iscrowd": 0, "area": 1500.0,
        "bbox": BOX, "num_keypoints": 17, "keypoints": POINTS, **changes,
    }  # fmt: skip


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Five pictures of one person each, whose names say another number than their ids."""
    random = np.random.default_rng(0)
    ids = (41, 42, 43, 44, 45)
    images = [
        {"id": i, "file_name": f"{i + 1}.png", "width": 80, "height": 60, "gt_complete": i != 45}
        for i in ids
    ]
    for entry in images:
        noise = random.integers(0, 255, (60, 80, 3), np.uint8)
        Image.fromarray(noise).save(tmp_path / str(entry["file_name"]))
    document = {"images": images, "annotations": [person(i) for i in ids]}
    path = tmp_path / "data.json"
    path.write_text(json.dumps(document))
    return path


def found_file(folder: Path, ids: Sequence[int]) -> Path:
    rows = [{"image_id": i, "category_id": 1, "bbox": BOX, "score": i / 100} for i in ids]
    (folder / "found.json").write_text(json.dumps(rows))
    return folder / "found.json"


def bytes_held(results: Sequence[tuple[Frame, Any]]) -> int:
    return sum(frame.image.untyped_storage().nbytes() for frame, _ in results)


class TestKeypoints:
    def test_report(self, tiny: Tiny, data: Path) -> None:
        report = evaluate_keypoints(data, [data.parent], Options(device="cpu"))
        assert (report.pictures, report.people, report.unreadable) == (5, 5, ())
        assert [model.name for model in report.models] == ["ground truth", "tiny"]
        titles = ["keypoints", "keypoints, fully labelled pictures"]
        assert [title for title, _ in report.tables()] == titles
        assert 0 <= report.keypoints["AP"] <= report.keypoints["AP50"] <= 100
        assert report.boxes is None
        assert report.counted is None
        first = report.results[0][1]
        assert first.boxes.tolist() == [[10, 5, 39, 54]]  # one pixel smaller
        assert first.size == SIZE

    def test_pixels_are_let_go(self, tiny: Tiny, data: Path) -> None:
        """A slice of nothing would keep its whole picture."""
        report = evaluate_keypoints(data, [data.parent], Options(device="cpu"))
        assert len(report.results) == 5
        assert bytes_held(report.results) == 0

    @pytest.mark.parametrize("flip_test", [True, False])
    def test_the_protocol_decides_not_the_options(
        self, tiny: Tiny, data: Path, flip_test: bool
    ) -> None:
        odd = Options(
            device="cpu", flip_test=not flip_test, threshold=0.9, pose_threshold=0.99,
            oks_threshold=0.1, boxes=Path("none.json"), crop_batch=2,
        )  # fmt: skip
        protocol = Protocol(flip_test=flip_test)
        boxes = str(found_file(data.parent, [41, 42, 43, 44, 45]))
        report = evaluate_keypoints(data, [data.parent], odd, boxes=boxes, protocol=protocol)
        assert report.people == 5
        assert sum(len(poses) for _, poses in report.results) == 5
        (options,) = tiny.options
        assert (options.flip_test, options.crop_batch) == (flip_test, 2)
        assert (options.threshold, options.pose_threshold, options.oks_threshold) == (0, 0, 1)

    def test_boxes_of_a_file_go_by_id(self, tiny: Tiny, data: Path) -> None:
        """The picture with id 41 is called 42.png; id 42 is another one."""
        boxes = str(found_file(data.parent, [41, 43]))
        report = evaluate_keypoints(data, [data.parent], Options(device="cpu"), boxes=boxes)
        assert [len(poses) for _, poses in report.results] == [1, 0, 1, 0, 0]
        assert report.models[0] == UsedModel("detect", "found.json")
        assert report.counted == [41, 42, 43, 44]

    def test_boxes_of_a_detector(
        self, tiny: Tiny, data: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        boxes = torch.tensor([[10.0, 5, 40, 55], [50, 30, 70, 50]])

        def detect(frames: Sequence[Frame]) -> list[Detections]:
            assert all(frame.image.numel() for frame in frames)
            return [Detections(boxes, torch.tensor([0.9, 0.1])) for _ in frames]

        used = UsedModel("detect", "two", "d" * 64)
        monkeypatch.setattr(run, "load_detector", lambda *_, **__: (detect, used))
        options = Options(device="cpu")
        report = evaluate_keypoints(data, [data.parent], options, boxes="detector")
        assert report.models[0] == used
        assert report.people == 10
        assert report.boxes is not None
        assert report.boxes["AP"] == pytest.approx(100)
        alone = evaluate_boxes(data, [data.parent], options)
        assert alone.boxes_complete == report.boxes
        assert (alone.people, alone.models) == (10, (used,))
        assert [title for title, _ in alone.tables()] == [
            "person boxes", "person boxes, fully labelled pictures",
        ]  # fmt: skip

    def test_suppression_of_the_protocol(self, tiny: Tiny, data: Path) -> None:
        rows = [
            {"image_id": 41, "category_id": 1, "bbox": BOX, "score": score} for score in (0.9, 0.8)
        ]
        (data.parent / "twice.json").write_text(json.dumps(rows))
        kept = {
            nms: evaluate_keypoints(
                data, [data.parent], Options(device="cpu"), boxes=str(data.parent / "twice.json"),
                protocol=replace(OFFICIAL, nms=nms),
            ).results[0][1]
            for nms in ("oks", "soft", "none")
        }  # fmt: skip
        assert {nms: len(poses) for nms, poses in kept.items()} == {"oks": 1, "soft": 2, "none": 2}

    def test_a_model_of_other_keypoints(self, data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(run, "build_estimator", Tiny(MPII16))
        with pytest.raises(UsageError, match="mpii16"):
            evaluate_keypoints(data, [data.parent], Options(device="cpu"))


class TestUnreadable:
    @pytest.fixture
    def spoilt(self, data: Path) -> Path:
        (data.parent / "42.png").unlink()
        whole = (data.parent / "43.png").read_bytes()
        (data.parent / "43.png").write_bytes(whole[: len(whole) // 2])
        Image.new("RGB", (60, 80)).save(data.parent / "44.png")
        return data

    def test_are_named_and_the_rest_goes_on(self, tiny: Tiny, spoilt: Path) -> None:
        report = evaluate_keypoints(spoilt, [spoilt.parent], Options(device="cpu"))
        assert [one.source for one in report.unreadable] == ["42.png", "43.png", "44.png"]
        reasons = [one.reason for one in report.unreadable]
        assert "not found" in reasons[0]
        assert "damaged" in reasons[1]
        assert reasons[2] == "is 60x80, its labels are for 80x60"
        assert (report.pictures, report.people) == (5, 2)
        assert [frame.index for frame, _ in report.results] == [3, 4]
        assert report.counted == [44, 45]

    def test_their_people_count_as_missed(
        self, spoilt: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def detect(frames: Sequence[Frame]) -> list[Detections]:
            box = torch.tensor([[10.0, 5, 40, 55]])
            return [Detections(box, torch.ones(1)) for _ in frames]

        used = UsedModel("detect", "right")
        monkeypatch.setattr(run, "load_detector", lambda *_, **__: (detect, used))
        report = evaluate_boxes(spoilt, [spoilt.parent], Options(device="cpu"))
        assert report.boxes["recall50"] == pytest.approx(40)
        assert len(report.unreadable) == 3

    def test_not_one_is_an_error(self, tiny: Tiny, data: Path, tmp_path_factory: Any) -> None:
        empty = tmp_path_factory.mktemp("empty")
        with pytest.raises(InputError, match=r"42\.png: not found"):
            evaluate_keypoints(data, [empty], Options(device="cpu"))


class TestBoxes:
    def test_of_a_file_need_no_pictures(self, data: Path) -> None:
        file = found_file(data.parent, [41, 42, 44, 45])
        report = evaluate_boxes(data, [], Options(), boxes=str(file))
        assert report.boxes["recall50"] == pytest.approx(80)
        assert report.boxes_complete is not None
        assert report.boxes_complete["recall50"] == pytest.approx(75)
        assert (report.pictures, report.people) == (5, 4)
        sure = Protocol(box_threshold=0.43)
        report = evaluate_boxes(data, [], Options(), boxes=str(file), protocol=sure)
        assert report.boxes["recall50"] == pytest.approx(40)

    def test_of_the_truth_are_refused(self, data: Path) -> None:
        with pytest.raises(UsageError, match="ground-truth"):
            evaluate_boxes(data, [], Options(), boxes="gt")


class TestResults:
    def test_file_of_an_evaluation_scores_the_same(self, tiny: Tiny, data: Path) -> None:
        report = evaluate_keypoints(data, [data.parent], Options(device="cpu"))
        file = data.parent / "results.json"
        write_results(file, scored_people(report.results, report.truth.ids))
        again = evaluate_results(data, file)
        assert again.keypoints == report.keypoints
        assert again.keypoints_complete == report.keypoints_complete
        for (_, a), (_, b) in zip(again.results, report.results, strict=True):
            np.testing.assert_array_equal(a.keypoints, b.keypoints)
            np.testing.assert_allclose(a.scores, b.scores, rtol=1e-6)
        with pytest.raises(OutputError, match="already exists"):
            write_results(file, scored_people([], []))

    def test_nobody(self, data: Path) -> None:
        file = data.parent / "none.json"
        write_results(file, scored_people([], []))
        assert json.loads(file.read_text()) == []
        assert evaluate_results(data, file).keypoints["AP"] == 0

    @pytest.mark.parametrize(
        ("row", "message"),
        [
            ({"image_id": 9}, r"image 9 is not in the data - at \$\[1\]"),
            ({"keypoints": [1.0] * 50}, r"\$\[1\].keypoints"),
            ({"score": "high"}, r"\$\[1\].score"),
            ({"score": None}, r"\$\[1\].score"),
        ],
        ids=["picture", "keypoints", "score", "none"],
    )
    def test_bad_rows_are_named(self, data: Path, row: dict[str, Any], message: str) -> None:
        good = {"image_id": 41, "category_id": 1, "keypoints": [1.0] * 51, "score": 1}
        file = data.parent / "results.json"
        file.write_text(json.dumps([good, {**good, **row}]))
        with pytest.raises(BadAnnotation, match=message):
            read_results(file, {41})

    def test_other_categories_do_not_count(self, data: Path) -> None:
        good = {"image_id": 41, "category_id": 1, "keypoints": [1.0] * 51, "score": 1}
        (data.parent / "r.json").write_text(json.dumps([good, {**good, "category_id": 2}]))
        assert len(read_results(data.parent / "r.json", {41})) == 1

    @pytest.mark.parametrize("text", ["", "{}", "[[]]", '{"a": 1'])
    def test_other_files_are_refused(self, data: Path, text: str) -> None:
        (data.parent / "r.json").write_text(text)
        with pytest.raises(BadAnnotation, match=r"r\.json"):
            evaluate_results(data, data.parent / "r.json")

    def test_table_of_one_shape(self) -> None:
        with pytest.raises(ValueError, match="for 2 people"):
            Scored(np.zeros(2, np.int64), np.zeros((2, 16, 3)), np.zeros(2))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"bbox": [1, 2, 3]}, r"bbox and area .* - at \$\.annotations\[1\]"),
        ({"area": None}, r"bbox and area .* - at \$\.annotations\[1\]"),
        ({"image_id": 7}, r"image 7 is not listed - at \$\.annotations\[1\]"),
        ({"keypoints": [1, 2]}, r"2 numbers, expected triples - at \$\.annotations\[1\]"),
    ],
    ids=["bbox", "area", "picture", "keypoints"],
)
def test_bad_labels_are_named(data: Path, changes: dict[str, Any], message: str) -> None:
    document = json.loads(data.read_text())
    document["annotations"][1] |= changes
    data.write_text(json.dumps(document))
    with pytest.raises(BadAnnotation, match=message):
        GroundTruth(data)


@pytest.mark.parametrize("field", ["area", "bbox", "image_id", "category_id"])
def test_missing_labels_are_named(data: Path, field: str) -> None:
    document = json.loads(data.read_text())
    del document["annotations"][2][field]
    data.write_text(json.dumps(document))
    with pytest.raises(BadAnnotation, match=rf"'{field}' is missing - at \$\.annotations\[2\]"):
        GroundTruth(data)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"id": "41"}, r"id is '41', expected int - at \$\.images\[0\]"),
        ({"width": 80.5}, r"width is 80.5, expected int"),
        ({"id": 42}, "two pictures have one id"),
    ],
    ids=["text", "fraction", "twice"],
)
def test_bad_pictures_are_named(data: Path, changes: dict[str, Any], message: str) -> None:
    document = json.loads(data.read_text())
    document["images"][0] |= changes
    document["annotations"] = []
    data.write_text(json.dumps(document))
    with pytest.raises(BadAnnotation, match=message):
        GroundTruth(data)


@pytest.mark.parametrize("count", [0, 16])
def test_data_without_keypoints_of_coco(tiny: Tiny, data: Path, count: int) -> None:
    document = json.loads(data.read_text())
    for entry in document["annotations"]:
        entry |= {"keypoints": [1, 1, 2] * count, "num_keypoints": count}
        if not count:
            del entry["keypoints"]
    data.write_text(json.dumps(document))
    with pytest.raises(BadAnnotation, match="16 keypoints" if count else "nobody"):
        evaluate_keypoints(data, [data.parent], Options(device="cpu"))
    file = found_file(data.parent, [41])
    assert evaluate_boxes(data, [], Options(), boxes=str(file)).boxes["AP"] > 0


def test_what_a_report_says_beside_the_numbers(tiny: Tiny, data: Path) -> None:
    (data.parent / "43.png").unlink()
    report = evaluate_keypoints(data, [data.parent], Options(device="cpu"))
    started = datetime(2026, 3, 1, 1, 30, tzinfo=timezone(timedelta(hours=2)))
    request = Request(
        "keypoints", asdict(OFFICIAL), {"data": data}, (data.parent,), torch.device("cpu"), started
    )
    path = data.parent / "numbers.json"
    write_report(path, report, request)
    document = json.loads(path.read_text())
    assert document["numbers"] == dict(report.tables())
    assert document["task"] == "keypoints"
    assert document["started"] == "2026-02-28T23:30:00+00:00"
    assert document["seconds"] == pytest.approx(report.seconds, abs=1e-3)
    sha256 = hashlib.sha256(data.read_bytes()).hexdigest()
    assert document["files"] == {"data": {"name": "data.json", "sha256": sha256}}
    assert document["images"] == [data.parent.name]
    pose = {"task": "pose", "name": "tiny", "sha256": "e" * 64, "refine": "quarter"}
    assert document["models"][1] == pose
    assert document["unreadable"] == [{"source": "43.png", "reason": report.unreadable[0].reason}]
    assert document["settings"]["nms"] == "oks"
    assert document["device"] == "cpu"
    assert document["versions"]["hrpose"] == __version__
    assert document["versions"]["torch"] == torch.__version__
    assert set(document["versions"]) >= {"torchvision", "pycocotools", "python"}
    assert datetime.fromisoformat(document["started"]).tzinfo == UTC
    with pytest.raises(OutputError, match="already exists"):
        write_report(path, report, request)
