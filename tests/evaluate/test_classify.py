"""Top-1 and top-5: the preprocessing against torchvision's, and counts of known answers."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file
from torch import Tensor, nn
from torchvision.transforms import CenterCrop, Compose, Resize

from hrpose.crop import IMAGENET_MEAN, IMAGENET_STD, CropSpec
from hrpose.errors import BadAnnotation, InputError, UsageError
from hrpose.evaluate import classify
from hrpose.evaluate.classify import centre_crop, evaluate_classify
from hrpose.models.hrnet import HRNetConfig
from hrpose.models.networks import ClassNet
from hrpose.options import Options
from hrpose.types import Size
from hrpose.zoo.load import LoadedModel
from hrpose.zoo.specs import SPECS

OFFICIAL = SPECS["cls_hrnet_w18_small_v1_224x224.official"]
TINY = HRNetConfig(width=4, stem=4, planes=4, bottlenecks=1, modules=(1, 1, 1), blocks=1)
COLOURS = {"blue": 2, "green": 1, "red": 0}  # classes by name, and their channel


@pytest.mark.parametrize(
    ("width", "height"), [(500, 375), (375, 501), (256, 256), (120, 97), (1200, 301)]
)
def test_crop_is_torchvision_s(width: int, height: int) -> None:
    # smooth, like photographs: on noise rounding differs by more
    x, y = np.meshgrid(np.arange(width), np.arange(height))
    waves = [128 + 100 * np.sin(x / a + c) * np.cos(y / b) for a, b, c in ((9, 13, 0), (31, 7, 1))]
    picture = np.stack([*waves, (x * 255 / width)], axis=2).astype(np.uint8)
    expected = np.asarray(Compose([Resize(256), CenterCrop(224)])(Image.fromarray(picture)))
    assert OFFICIAL.crop
    crop = centre_crop(torch.from_numpy(picture).permute(2, 0, 1), OFFICIAL.crop)
    assert crop.dtype == torch.uint8
    difference = np.abs(crop.permute(1, 2, 0).numpy().astype(int) - expected)
    assert difference.shape == (224, 224, 3)
    assert difference.max() <= 1  # Pillow rounds after each of its two passes, too


class Brightest(nn.Module):
    """Scores of ``classes`` classes; the first three are how bright a channel is."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.classes = classes
        self.batches: list[int] = []
        self.register_buffer("std", torch.tensor(IMAGENET_STD).view(3, 1, 1))
        self.register_buffer("mean", torch.tensor(IMAGENET_MEAN).view(3, 1, 1))

    def forward(self, pixels: Tensor) -> Tensor:
        self.batches.append(len(pixels))
        assert pixels.shape[1:] == (3, 32, 32)
        means = (pixels * self.std + self.mean).mean(dim=(2, 3))[:, list(COLOURS.values())]
        low = -torch.arange(1.0, self.classes - 2).expand(len(pixels), -1)
        return torch.cat([means, low], dim=1)


@pytest.fixture
def network(monkeypatch: pytest.MonkeyPatch) -> Brightest:
    """Replaces the model; three classes, as the folders of ``folder``."""
    return put(Brightest(3), monkeypatch)


def put(network: Brightest, monkeypatch: pytest.MonkeyPatch) -> Brightest:
    row = replace(OFFICIAL, crop=CropSpec(Size(32, 32), padding=0.875), classes=network.classes)
    model = LoadedModel(row, network.eval(), "f" * 64)
    monkeypatch.setattr(classify, "load", lambda *_, **__: model)
    return network


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Five pictures of three classes; one of "green" is red."""
    pictures = (("blue", "0.png", 2), ("green", "1.png", 1), ("green", "2.png", 0))
    for name, file, channel in (*pictures, ("red", "3.jpg", 0), ("red", "deep/4.png", 0)):
        pixels = np.zeros((40, 60, 3), np.uint8)
        pixels[..., channel] = 200
        path = tmp_path / "val" / name / file
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(path)
    return tmp_path / "val"


def test_folders_are_classes(folder: Path, network: Brightest) -> None:
    report = evaluate_classify(folder, [], Options(crop_batch=2, device="cpu"))
    assert report.top == pytest.approx({"top1": 80, "top5": 100, "error1": 20, "error5": 0})
    assert report.tables() == [("5 pictures", report.top)]
    assert (report.pictures, report.people, report.unreadable) == (5, 5, ())
    assert network.batches == [2, 2, 1]
    assert [m.task for m in report.models] == ["classify"]


def test_a_list_of_names_and_numbers(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put(Brightest(9), monkeypatch)
    text = "blue/0.png 0\ngreen/1.png 4\n\ngreen/2.png 8\nred/deep/4.png 2\n"
    listed = folder / "val.txt"
    listed.write_text(text)
    # 0 first; 4 fifth (after the colours and 3); 8 not among five; 2 first
    report = evaluate_classify(listed, [folder], Options(device="cpu"))
    assert report.top == pytest.approx({"top1": 50, "top5": 75, "error1": 50, "error5": 25})


def test_unreadable_pictures_are_named_and_left_out(folder: Path, network: Brightest) -> None:
    (folder / "green/2.png").write_bytes(b"no picture")
    report = evaluate_classify(folder, [], Options(device="cpu"))
    assert [one.source for one in report.unreadable] == ["green/2.png"]
    assert (report.pictures, report.people, report.top["top1"]) == (5, 4, 100)
    for path in folder.rglob("*.*g"):
        path.write_bytes(b"no picture")
    with pytest.raises(InputError, match=r"blue/0\.png"):
        evaluate_classify(folder, [], Options(device="cpu"))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "no pictures"),
        ("a.png\n", "no name and number in line 1"),
        ("a.png 1\nb.png x\n", "no name and number in line 2"),
        ("a.png -1\n", "no name and number in line 1"),
        ("7\n", "no name and number in line 1"),
    ],
)
def test_bad_lists(tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "list.txt").write_text(text)
    with pytest.raises(BadAnnotation, match=said):
        evaluate_classify(tmp_path / "list.txt", [tmp_path], Options())


def test_bad_data(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put(Brightest(9), monkeypatch)
    with pytest.raises(UsageError, match="has 3 classes, the model 9"):
        evaluate_classify(folder, [], Options())
    (folder / "list.txt").write_text("blue/0.png 9\n")
    with pytest.raises(UsageError, match="has 10 classes, the model 9"):
        evaluate_classify(folder / "list.txt", [folder], Options())
    with pytest.raises(BadAnnotation, match="no folders of pictures"):
        evaluate_classify(folder / "blue", [], Options())
    Image.new("RGB", (9, 9)).save(folder / "loose.png")
    with pytest.raises(BadAnnotation, match=r"loose\.png is in no class"):
        evaluate_classify(folder, [], Options())
    with pytest.raises(InputError, match="No such file"):
        evaluate_classify(folder / "nothing.txt", [folder], Options())


def test_through_a_real_network(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    row = replace(OFFICIAL, name="tiny.cls", network=TINY, classes=3)
    monkeypatch.setitem(SPECS, row.name, row)
    weights = tmp_path / "weights.safetensors"
    save_file(ClassNet(TINY, 3).state_dict(), weights)
    report = evaluate_classify(folder, [], Options(pose=row.name, device="cpu"), weights=weights)
    assert report.top["top5"] == 100
    assert report.top["top1"] in (20, 40, 60, 80, 100)
    assert len(report.models[0].sha256) == 64


def test_a_pose_model_is_no_classifier(folder: Path) -> None:
    with pytest.raises(UsageError, match="is no classifier"):
        evaluate_classify(folder, [], Options(device="cpu"))
