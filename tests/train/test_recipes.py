"""Recipes agree with the models they made, and their settings with the published files."""

from __future__ import annotations

import pytest

from hrpose.train.recipes import RECIPES, Recipe
from hrpose.zoo.specs import SPECS

ROWS = pytest.mark.parametrize("recipe", RECIPES.values(), ids=list(RECIPES))


@ROWS
def test_the_model_has_the_recipes_target(recipe: Recipe) -> None:
    spec = SPECS[recipe.model]
    assert spec.codec is not None
    assert spec.codec.sigma == recipe.sigma
    assert not spec.codec.exact_target
    assert spec.crop is not None
    assert recipe.size in (spec.crop.size, (256, 256))
    assert f"{recipe.size[1]}x{recipe.size[0]}" in recipe.name
    assert recipe.target == "gaussian"


@ROWS
def test_the_start_is_a_classifier_of_the_same_trunk(recipe: Recipe) -> None:
    trunk = SPECS[recipe.init]
    assert trunk.task == "classify"
    assert trunk.network.width == SPECS[recipe.model].network.width


@ROWS
def test_the_loop_is_the_published_one(recipe: Recipe) -> None:
    settings = recipe.settings
    assert settings.batch_size % recipe.gpus == 0
    assert (settings.optimizer, settings.weight_decay, settings.warmup) == ("adam", 0, 0)
    assert (settings.ema, settings.clip) == (0, 0)
    assert recipe.augmentation.colour.times(1).erase == recipe.augmentation.paste == 0
    assert recipe.augmentation.rotation_share == 0.6


@pytest.mark.parametrize(
    ("name", "samples", "falls"),
    [
        ("w32-coco-256x192", 149_813, (170, 200)),
        ("w48-coco-384x288", 149_813, (170, 200)),
        ("w32-mpii-256x256", 22_246, (170, 200)),
        ("v2w18-wflw-256x256", 7_500, (30, 50)),
    ],
)
def test_the_rate_falls_at_the_published_epochs(
    name: str, samples: int, falls: tuple[int, int]
) -> None:
    settings = RECIPES[name].settings.resolved(samples)
    epoch = samples // settings.batch_size
    assert settings.steps == epoch * settings.epochs
    for number, fall in enumerate(falls, start=1):
        before, after = settings.lr_at(epoch * fall - 2), settings.lr_at(epoch * fall + 2)
        assert before == pytest.approx(settings.lr * 0.1 ** (number - 1))
        assert after == pytest.approx(settings.lr * 0.1**number)
