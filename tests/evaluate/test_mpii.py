"""MPII from files to numbers: regions as published, pixels counted from 0, people in their order.

No file of MPII is at hand: pictures, people and truth are made here.
"""

from __future__ import annotations

import json
import zipfile
from dataclasses import asdict
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image
from scipy.io import savemat
from torch import Tensor, nn

from hrpose.crop import CropSpec, crop_transforms
from hrpose.errors import BadAnnotation, HrposeError, InputError, UsageError
from hrpose.estimator import Estimator
from hrpose.evaluate import mpii
from hrpose.evaluate.mpii import PckhReport, boxes_of, evaluate_pckh
from hrpose.evaluate.pck import GROUPS
from hrpose.formats.mpii import read_mpii
from hrpose.options import Options
from hrpose.pipeline import UsedModel
from hrpose.skeleton import COCO17, MPII16, Skeleton
from hrpose.train.mpii import mpii_labels
from hrpose.types import Codec, Size

SQUARE = CropSpec(Size(256, 256))


def test_thresholds_are_those_of_the_published_code() -> None:
    np.testing.assert_array_equal(mpii.THRESHOLDS, np.arange(0, 0.5 + 0.01, 0.01))
    assert mpii.THRESHOLDS[11] == mpii.PUBLISHED_FINE  # what Mean@0.1 of the tables took


def official_affine(center: np.ndarray, scale: float | np.float32, crop: Size) -> np.ndarray:
    """Image to crop by facts C: three float32 points, of which only the width sets the scale."""
    up = np.array([0, -scale * 200 / 2], np.float64)
    source, target = np.zeros((3, 2), np.float32), np.zeros((3, 2), np.float32)
    source[0], source[1] = center, center + up
    target[0] = [crop.width / 2, crop.height / 2]
    target[1] = target[0] + [0, -crop.width / 2]
    for points in (source, target):
        arm = points[0] - points[1]
        points[2] = points[1] + np.array([-arm[1], arm[0]])
    return cv2.getAffineTransform(source, target)


def test_official_affine_is_that_of_the_golden_values(shared: Path) -> None:
    golden = np.load(shared / "data/golden/postprocess.npz")
    people = golden["256x192_center"], golden["256x192_scale"], golden["256x192_affine"]
    for center, scale, affine in zip(*people, strict=True):
        found = official_affine(center, scale[0], Size(192, 256))
        np.testing.assert_allclose(found, affine, rtol=0, atol=1e-4)


def person(image: str, center: tuple[float, float], scale: float, **more: Any) -> dict[str, Any]:
    """One entry whose joints are in the middle of its region."""
    joint = [center[0], center[1] + 15 * scale]
    values = {"image": image, "center": list(center), "scale": scale, "head_size": 10.0}
    return values | {"joints": [joint] * 16, "joints_vis": [1] * 16} | more


def stored(folder: Path, people: list[dict[str, Any]]) -> Path:
    path = folder / "valid.json"
    path.write_text(json.dumps(people))
    return path


@pytest.mark.parametrize("padding", [1.0, 1.25, 1.5])
@pytest.mark.parametrize("crop", [Size(256, 256), Size(192, 256)], ids=str)
def test_crops_are_those_of_the_official_code(tmp_path: Path, crop: Size, padding: float) -> None:
    """To 1e-3 crop pixels; the box passes through float32."""
    random = np.random.default_rng(0)
    centers, scales = random.uniform(1, 2000, (50, 2)), random.uniform(0.2, 12, 50)
    centers[0] = -1
    rows = [person("a", (x, y), s) for (x, y), s in zip(centers.tolist(), scales, strict=True)]
    boxes = boxes_of(read_mpii(stored(tmp_path, rows)), padding=padding)
    transforms = crop_transforms(boxes, CropSpec(crop, padding=padding)).numpy()
    corners = np.array([[0, 0, 1], [crop.width, 0, 1], [crop.width, crop.height, 1]])
    for row, found in zip(rows, transforms, strict=True):
        center, scale = np.array(row["center"]), row["scale"]
        if center[0] != -1:
            center, scale = center + np.array([0, 15 * scale]), scale * 1.25
        official = official_affine(center - 1, scale, crop)
        back = np.linalg.inv(np.concatenate([official, [[0, 0, 1]]]))
        np.testing.assert_allclose(found @ back @ corners.T, corners.T[:2], rtol=0, atol=1e-3)


class Middle(nn.Module):
    """Sees every joint in the middle of the crop, or each in the middle of a row of cells."""

    def __init__(self, joints: int, rows: list[int] | None = None) -> None:
        super().__init__()
        self._rows = rows or [32] * joints

    def forward(self, pixels: Tensor) -> Tensor:
        heat = torch.zeros(len(pixels), len(self._rows), 64, 64)
        heat[:, range(len(self._rows)), self._rows, 32] = 1
        return heat


class Brightest(nn.Module):
    """Sees every joint at the brightest spot of the crop."""

    def forward(self, pixels: Tensor) -> Tensor:
        grey = pixels.mean(dim=1, keepdim=True)
        blurred = F.avg_pool2d(grey, 9, stride=1, padding=4)[:, :, ::4, ::4]
        return (blurred - blurred.min()).expand(-1, 16, -1, -1)


def use(monkeypatch: pytest.MonkeyPatch, network: nn.Module, skeleton: Skeleton = MPII16) -> None:
    """Lets an evaluation find this network instead of one of the zoo."""

    def built(options: Options, device: torch.device, *, weights: Path | None) -> object:
        estimator = Estimator(
            network,
            crop=SQUARE,
            codec=Codec(),
            skeleton=skeleton,
            flip_test=options.flip_test,
            batch_size=2,
        )
        return estimator, UsedModel("pose", options.pose, "0" * 64)

    monkeypatch.setattr(mpii, "build_estimator", built)


def pictures(folder: Path, *names: str) -> list[Path]:
    for i, name in enumerate(names):
        Image.new("RGB", (160 + i, 120), (i, 90, 30)).save(folder / name)
    return [folder]


PEOPLE = [
    person("a.png", (51, 41), 0.3),
    person("b.png", (81, 61), 0.5),
    person("a.png", (121, 71), 0.4),  # comes after another picture's
    person("a.png", (121, 71), 0.4),  # the same person again is not dropped
]


def run(
    folder: Path,
    people: list[dict[str, Any]] = PEOPLE,
    *,
    flip_test: bool = True,
    truth: Path | None = None,
) -> PckhReport:
    data, roots = stored(folder, people), pictures(folder, "a.png", "b.png")
    return evaluate_pckh(data, roots, Options(device="cpu", flip_test=flip_test), truth=truth)


def test_every_person_meets_the_own_truth(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The middle of a region is its centre exactly, with the mirror test too."""
    use(monkeypatch, Middle(16))
    report = run(tmp_path)
    assert set(report.pckh.values()) == {100.0}
    assert list(report.pckh) == [*GROUPS, "Mean", "Mean@0.1"]
    assert report.curve[1:] == (100.0,) * 50
    assert report.means == {**{f"0.{k}": 100.0 for k in range(1, 6)}, "AUC": report.means["AUC"]}
    assert (report.pictures, report.people, len(report.joints)) == (2, 4, 14)
    assert [m.name for m in report.models] == ["ground truth", Options().pose]
    assert json.loads(json.dumps(asdict(report)))["pckh"] == report.pckh
    (title, numbers), (_, means) = report.tables()
    assert title == "PCKh@0.5 (Mean@0.1 is at 0.11, as published)"
    assert (numbers, means) == (report.pckh, report.means)


@pytest.mark.parametrize(
    ("moved", "right"),
    [(0.98, ["Mean@0.1", 0.1, 0.5]), (1.05, ["Mean@0.1", 0.5]), (1.2, [0.5]), (5.1, [])],
)
def test_the_scale_is_the_head(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, moved: float, right: list[object]
) -> None:
    """Heads of 10 px; a wrist moved by ``moved`` px is right up to the threshold of that share."""
    use(monkeypatch, Middle(16))
    one = person("a.png", (51.0, 41.0), 1 / 15)  # regions of whole numbers: no rounding
    one["joints"] = [[one["joints"][0][0] + moved, one["joints"][0][1]]] * 16
    report = run(tmp_path, [one])
    found = {"Mean@0.1": report.pckh["Mean@0.1"], 0.5: report.pckh["Mean"]}
    found[0.1] = report.means["0.1"]
    assert {key for key, value in found.items() if value == 100} == set(right)
    assert set(found.values()) <= {0.0, 100.0}


def matlab(folder: Path, people: list[dict[str, Any]], **changes: Any) -> Path:
    """The truth of the people as gt_valid.mat, whose pixels count from 1 too."""
    joints = np.array([p["joints"] for p in people]).transpose(1, 2, 0)
    corner = np.ones((1, 2, len(people)))
    content = {
        "pos_gt_src": joints,
        "jnt_missing": np.zeros((16, len(people))),
        "headboxes_src": np.concatenate([corner, corner + np.array([6.0, 8.0])[None, :, None]]),
    }
    savemat(folder / "gt_valid.mat", content | changes)
    return folder / "gt_valid.mat"


def test_the_truth_may_be_a_matlab_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It wins over what the people's file says; heads of 0.6 times 10 px."""
    use(monkeypatch, Middle(16))
    bare = [{k: v for k, v in p.items() if k not in ("joints", "head_size")} for p in PEOPLE]
    truth = matlab(tmp_path, PEOPLE)
    assert run(tmp_path, bare, truth=truth).pckh["Mean"] == 100
    assert run(tmp_path, truth=truth).pckh["Mean"] == 100
    moved = [p | {"joints": [[x + 2.9, y] for x, y in p["joints"]]} for p in PEOPLE]
    report = run(tmp_path, truth=matlab(tmp_path, moved))
    assert (report.pckh["Mean"], report.means["0.4"]) == (100, 0)  # 2.9 of 6 px


def test_joints_are_found_in_the_pixels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A spot near each person, read from a ZIP, is found within a cell: 2 px of the picture."""
    use(monkeypatch, Brightest())
    spots = [(48, 45), (125, 66)]
    image = np.zeros((120, 160, 3), np.uint8)
    for x, y in spots:
        cv2.circle(image, (x, y), 4, (255, 255, 255), -1)
    Image.fromarray(image).save(tmp_path / "a.png")
    with zipfile.ZipFile(tmp_path / "images.zip", "w") as archive:
        archive.write(tmp_path / "a.png", "a.png")
    people = [
        person("a.png", center, 0.4, joints=[[x + 1, y + 1]] * 16, head_size=4.0)
        for center, (x, y) in zip([(51, 41), (121, 71)], spots, strict=True)
    ]
    data = stored(tmp_path, people)
    options = Options(device="cpu")
    report = evaluate_pckh(data, [tmp_path / "images.zip"], options)
    assert report.pckh["Mean"] == 100
    swapped = [p | {"joints": q["joints"]} for p, q in zip(people, people[::-1], strict=True)]
    report = evaluate_pckh(stored(tmp_path, swapped), [tmp_path / "images.zip"], options)
    assert report.pckh["Mean"] == 0


def test_a_coco_model_is_measured_on_the_joints_it_has(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every joint has a row of its own, so that taking one for another shows."""
    rows = [8 + 3 * k for k in range(17)]
    use(monkeypatch, Middle(17, rows), COCO17)
    people = [p | {"joints": [[0, 0]] * 16, "head_size": 0.01 * p["scale"]} for p in PEOPLE]
    for p in people:
        x, y = p["center"][0], p["center"][1] + 15 * p["scale"]
        cell = 250 * p["scale"] / 64
        row = dict(zip(COCO17.keypoints, rows, strict=True))
        p["joints"] = [[x, y + cell * (row.get(name, 99) - 32)] for name in MPII16.keypoints]
    report = run(tmp_path, people, flip_test=False)
    assert "Head" not in report.pckh
    assert set(report.pckh.values()) == {100.0}
    assert len(report.joints) == 12
    assert "12 of 14 joints" in report.tables()[0][0]


def test_the_model_in_the_box_runs(tmp_path: Path) -> None:
    """Through the zoo, with nothing in the place of anything."""
    report = run(tmp_path, flip_test=False)
    assert len(report.joints) == 12
    assert report.models[1].name == Options().pose
    assert len(report.models[1].sha256) == 64
    assert all(0 <= value <= 100 for value in report.pckh.values())


def test_a_model_of_other_things_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    use(monkeypatch, Middle(2), Skeleton("face", ("tip", "pelvis"), (), (0, 1)))
    with pytest.raises(UsageError, match="face"):
        run(tmp_path)


def refused(folder: Path, match: str, people: list[dict[str, Any]], **more: Any) -> HrposeError:
    with pytest.raises(HrposeError, match=match) as caught:
        run(folder, people, **more)
    assert "\n" not in caught.value.message
    assert caught.value.hint
    return caught.value


def test_what_cannot_be_evaluated(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    use(monkeypatch, Middle(16))
    headless = [PEOPLE[0], {k: v for k, v in PEOPLE[1].items() if k != "head_size"}]
    assert "--truth" in refused(tmp_path, r"no head size - at \$\[1\]", headless).hint
    unlabelled = [headless[1] | {"joints_vis": [0] * 16}]
    refused(tmp_path, "nobody has a joint", unlabelled)
    truth = matlab(tmp_path, PEOPLE[:3])
    assert isinstance(refused(tmp_path, "3 people, but 4", PEOPLE, truth=truth), BadAnnotation)
    others = [*PEOPLE[1:], PEOPLE[0]]
    refused(tmp_path, "far from", PEOPLE[:2], truth=matlab(tmp_path, others[:2]))
    lost = [PEOPLE[0] | {"image": "c.png"}]
    assert isinstance(refused(tmp_path, r"c\.png", lost), InputError)


def test_people_of_unreadable_pictures_count_as_wrong(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    use(monkeypatch, Middle(16))
    (tmp_path / "bad.png").write_bytes(b"no picture")
    people = [*PEOPLE, PEOPLE[1] | {"image": "bad.png"}, PEOPLE[1] | {"image": "lost.png"}]
    report = run(tmp_path, people)
    assert [u.source for u in report.unreadable] == ["bad.png", "lost.png"]
    assert (report.pictures, report.people) == (4, 6)
    assert list(report.pckh.values()) == pytest.approx([100 * 4 / 6] * 9)


def test_pictures_are_not_turned(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The official code reads them with ``IMREAD_IGNORE_ORIENTATION``."""
    use(monkeypatch, Brightest())
    image = np.zeros((120, 160, 3), np.uint8)
    cv2.circle(image, (48, 45), 4, (255, 255, 255), -1)
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(image).save(tmp_path / "turned.jpg", exif=exif)
    one = person("turned.jpg", (51, 41), 0.4, joints=[[49, 46]] * 16, head_size=4.0)
    assert run(tmp_path, [one]).pckh["Mean"] == 100


def test_training_reads_the_same_regions_and_joints(tmp_path: Path) -> None:
    """Training has a reader of its own, which needs no msgspec; the two must not drift apart."""
    rows = [*PEOPLE, person("a.png", (-1, -1), 0.7)]
    rows[1] |= {"joints": [[k, 2 * k] for k in range(16)], "joints_vis": [1, 0] * 8}
    people = read_mpii(stored(tmp_path, rows))
    boxes = boxes_of(people, padding=CropSpec(Size(256, 256)).padding)
    for labels in mpii_labels(rows, tmp_path):
        mine = [i for i, name in enumerate(people.images) if name == labels.name]
        torch.testing.assert_close(labels.boxes, boxes[mine])
        np.testing.assert_allclose(labels.keypoints, people.labels.joints[mine], atol=1e-4)
        np.testing.assert_array_equal(labels.weights > 0, people.labels.labelled[mine])
