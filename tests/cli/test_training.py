"""Options of the trainers: defaults, recipes, and what goes before a recipe."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from hrpose.cli.main import run
from hrpose.cli.training import _AUGMENTATION, _LOSS, _SETTINGS
from hrpose.train import run as training
from hrpose.train.recipes import RECIPES
from hrpose.train.run import PoseChoice, Request, Trained
from hrpose.train.settings import Colour, Loss, PoseAugmentation, Settings
from hrpose.zoo.specs import DEFAULT_POSE

PLACES = ["--data", "a.json", "--data", "b.json", "--images", "pictures", "--out", "run"]


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Request, Any]]:
    """What the trainers were asked for; they do nothing."""
    calls: list[tuple[Request, Any]] = []

    def remember(request: Request, choice: Any = None, **more: Any) -> Trained:
        calls.append((request, choice or more))
        return Trained(Path("model"), 1, True)

    monkeypatch.setattr(training, "train_pose", remember)
    monkeypatch.setattr(training, "train_detector", remember)
    return calls


def test_defaults_are_those_of_the_library(asked: list[tuple[Request, Any]]) -> None:
    assert run(["train", "pose", *PLACES]) == 0
    assert run(["train", "detector", *PLACES]) == 0
    (pose, choice), (detector, canvas) = asked
    assert choice == PoseChoice()
    assert (pose.settings, pose.recipe, pose.init, pose.ignore_exif) == (
        Settings(),
        "",
        None,
        False,
    )
    assert pose.data == (Path("a.json"), Path("b.json"))
    assert detector.settings == Settings()
    assert canvas == {"canvas": (384, 384), "trunk": None}


def test_every_field_has_an_option() -> None:
    assert list(_SETTINGS) == list(Settings.__slots__)
    assert list(_LOSS) == list(Loss.__slots__)
    assert {*_AUGMENTATION, "even", "colour"} == set(PoseAugmentation.__slots__)


def test_options_become_fields(asked: list[tuple[Request, Any]]) -> None:
    words = ["--steps", "7", "--optimizer", "adam", "--milestones", "0.5", "0.9", "--compile"]
    words += ["--loss", "ohkm", "--ohkm-keep", "4", "--teacher", "w48", "--teacher-weight", "0.25"]
    words += ["--paste", "0.3", "--colour", "0.5", "--erase", "0", "--flip", "0", "--ignore-exif"]
    words += ["--init", "none", "--skeleton", "s.json", "--dtype", "float16"]
    assert run(["train", "pose", *PLACES, *words]) == 0
    ((request, choice),) = asked
    assert request.settings == Settings(
        steps=7, optimizer="adam", milestones=(0.5, 0.9), compile=True, dtype="float16"
    )
    assert choice == PoseChoice(
        model=DEFAULT_POSE,
        skeleton=Path("s.json"),
        teacher="w48",
        loss=Loss("ohkm", 4, 0.25),
        augmentation=PoseAugmentation(
            flip=0, paste=0.3, colour=Colour(0.15, 0.15, 0.2, 0.04, 0.05, erase=0)
        ),
    )
    assert (request.init, request.ignore_exif) == (None, True)


@pytest.mark.parametrize("name", RECIPES)
def test_a_recipe_is_the_default(asked: list[tuple[Request, Any]], name: str) -> None:
    assert run(["train", "pose", *PLACES, "--recipe", name]) == 0
    ((request, choice),) = asked
    recipe = RECIPES[name]
    assert (request.settings, request.recipe) == (recipe.settings, name)
    assert (request.init, request.ignore_exif) == (recipe.init, True)
    assert (choice.model, choice.size) == (recipe.model, recipe.size)
    assert choice.augmentation == recipe.augmentation


def test_options_go_before_a_recipe(asked: list[tuple[Request, Any]]) -> None:
    words = ["--recipe", "w32-coco-256x192", "--batch-size", "32", "--ema", "0.999"]
    words += ["--model", "w48", "--size", "96", "128", "--rotation", "20", "--erase", "0.2"]
    # an option of the value that is the library's default counts as given, too
    words += ["--shift", str(PoseAugmentation().shift), "--init", "none"]
    assert run(["train", "pose", *PLACES, *words]) == 0
    assert run(["train", "pose", *PLACES, *words, "--steps", "9"]) == 0
    (request, choice), (shorter, _) = asked
    recipe = RECIPES["w32-coco-256x192"]
    assert (request.settings.batch_size, request.settings.ema) == (32, 0.999)
    assert (request.settings.epochs, request.settings.milestones) == (210, (170 / 210, 200 / 210))
    assert (choice.model, choice.size, request.init) == ("w48", (96, 128), None)
    varied = choice.augmentation
    assert (varied.rotation, varied.scale, varied.shift) == (20, recipe.augmentation.scale, 0.04)
    assert (varied.colour.erase, varied.colour.brightness) == (0.2, 0)
    assert (shorter.settings.steps, shorter.settings.epochs) == (9, 0)


@pytest.mark.parametrize(
    "words",
    [
        ["--steps", "5", "--epochs", "2"],
        ["--loss", "l1"],
        ["--ohkm-keep", "0"],
        ["--teacher-weight", "2"],
        ["--optimizer", "sgd"],
        ["--recipe", "w999"],
        ["--epochs", "-1"],
        ["--batch-size", "0"],
    ],
    ids=" ".join,
)
def test_refusals(
    asked: list[tuple[Request, Any]], words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["train", "pose", *PLACES, *words]) == 2
    assert capsys.readouterr().err.startswith("error: ")
    assert not asked
