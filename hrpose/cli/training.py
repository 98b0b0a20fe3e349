"""Options of the trainers, and the values they become.

Names and defaults are those of the fields of ``train.settings``. A recipe takes the place of the
defaults; what is given on the command line goes before it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import Any, TypeVar

import click

from hrpose.train.recipes import RECIPES, Recipe
from hrpose.train.settings import Colour, Loss, PoseAugmentation, Settings

Command = TypeVar("Command", bound=Callable[..., Any])
Value = TypeVar("Value", Settings, Loss, PoseAugmentation, Colour)

PATH = click.Path(path_type=Path)

_SETTINGS = {
    "steps": "Optimiser steps in all.",
    "epochs": "Passes over the data, instead of steps; 0 leaves it to --steps.",
    "batch_size": "Samples per step, of all processes together.",
    "lr": "Peak learning rate.",
    "optimizer": "adamw or adam.",
    "warmup": "Steps of warm-up.",
    "schedule": "cosine or step.",
    "milestones": "Shares of the steps at which --schedule step falls to a tenth.",
    "weight_decay": "Weight decay.",
    "ema": "Decay of the weight average.",
    "clip": "Greatest norm of the gradient; 0 does not clip.",
    "seed": "Fixes order and augmentation.",
    "dtype": "float32, bfloat16 or float16 (autocast).",
    "compile": "Make kernels for the network by torch.compile.",
    "checkpoint_minutes": "Time between checkpoints.",
    "log_steps": "Steps between rows of log.csv.",
}
_AUGMENTATION = {
    "scale": "Deviation of the relative size of a crop.",
    "rotation": "Deviation of the rotation in degrees.",
    "rotation_share": "Share of crops that are rotated.",
    "flip": "Share that is mirrored.",
    "half_body": "Share cropped around the upper or lower half.",
    "shift": "Greatest shift as a share of the crop.",
    "truncate": "Share whose picture is cut, as photographs cut people.",
    "paste": "Share into which other people are pasted.",
    "negative_share": "Share that shows boxes of --negatives.",
}
_LOSS = {
    "kind": "mse, or ohkm: the worst keypoints of each person.",
    "ohkm_keep": "How many keypoints of a person ohkm takes.",
    "teacher_weight": "Share of the teacher in the loss.",
    "absent": "Weight of keypoints without a label, towards an empty heatmap.",
}


def _option(field: str, default: Any, text: str, *, name: str = "") -> Callable[[Command], Command]:
    option = (name or field).replace("_", "-")
    if isinstance(default, bool):
        return click.option(
            f"--{option}/--no-{option}", field, default=default, show_default=True, help=text
        )
    kind: Any = (float, float) if isinstance(default, tuple) else type(default)
    return click.option(
        f"--{option}", field, type=kind, default=default, show_default=True, help=text
    )


def _decorated(command: Command, options: Sequence[Callable[[Any], Any]]) -> Command:
    for option in reversed(options):
        command = option(command)
    return command


def shared(command: Command) -> Command:
    """Options of both trainers: data, place, device and ``Settings``."""
    options = [
        click.option(
            "--data", type=PATH, multiple=True, required=True,
            help="COCO keypoint annotations, for pose also MPII's; may be repeated.",
        ),
        click.option(
            "--images", type=PATH, multiple=True, required=True,
            help="Folder of the pictures or of their ZIP shards, or a ZIP; may be repeated.",
        ),
        click.option(
            "--mix", type=(str, float), multiple=True, metavar="SOURCE TIMES",
            help="How often pictures of a source come in an epoch; may be repeated.",
        ),
        click.option("--out", type=PATH, required=True, help="Folder of checkpoint, log, model."),
        click.option(
            "--init", default=None, help="Start from this weights file or model name, or none."
        ),
        click.option(
            "--grow", is_flag=True, help="Let --init be of a narrower network with the same layers."
        ),
        click.option("--resume", is_flag=True, help="Go on from the checkpoint in --out."),
        click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda, mps."),
        click.option("--threads", type=int, default=None, help="CPU threads of the network."),
        click.option(
            "--ignore-exif", is_flag=True,
            help="Take pictures as they are stored, as COCO's labels do.",
        ),
        *(_option(f.name, f.default, _SETTINGS[f.name]) for f in fields(Settings)),
    ]  # fmt: skip
    return _decorated(command, options)


def posing(command: Command) -> Command:
    """Options of the pose trainer: recipe, network, ``Loss`` and ``PoseAugmentation``."""
    crops, loss = PoseAugmentation(), Loss()
    options = [
        click.option(
            "--recipe", type=click.Choice(list(RECIPES)),
            help="Settings of a published model; other options go before it.",
        ),
        click.option("--model", help="Row of `hrpose models` to train; default: embedded."),
        click.option("--size", type=(int, int), help="Input width and height; default: the row's."),
        click.option(
            "--skeleton", type=PATH,
            help="JSON of keypoints and limbs; default: what the data names, or the row's.",
        ),
        _option("kind", loss.kind, _LOSS["kind"], name="loss"),
        *(_option(name, getattr(loss, name), _LOSS[name]) for name in list(_LOSS)[1:]),
        click.option("--teacher", help="Model or file whose heatmaps are learnt, too."),
        *(_option(name, getattr(crops, name), text) for name, text in _AUGMENTATION.items()),
        click.option(
            "--negatives", type=PATH,
            help="COCO detections on these pictures; those that fit nobody are shown, too.",
        ),
        _option("colour", 1.0, "Strength of the changes of colour; 0 is none."),
        _option("erase", crops.colour.erase, "Share in which a rectangle is hidden."),
    ]  # fmt: skip
    return _decorated(command, options)


def settings_from(options: dict[str, Any], recipe: Recipe | None = None) -> Settings:
    """Takes the fields of ``Settings`` out of a command's options."""
    given = _given(options, list(_SETTINGS))
    if "steps" in given and given.setdefault("epochs", 0.0):
        raise click.UsageError("give --steps or --epochs, not both")
    return _replaced(recipe.settings if recipe else Settings(), given)


def loss_from(options: dict[str, Any]) -> Loss:
    """Takes the fields of ``Loss`` out of a command's options."""
    return _replaced(Loss(), _given(options, list(_LOSS)))


def augmentation_from(options: dict[str, Any], recipe: Recipe | None = None) -> PoseAugmentation:
    """Takes the fields of ``PoseAugmentation`` out of a command's options."""
    base = recipe.augmentation if recipe else PoseAugmentation()
    colour, given = base.colour, _given(options, ["colour", "erase"])
    if "colour" in given:
        colour = replace(Colour(), erase=colour.erase).times(given.pop("colour"))
    colour = _replaced(colour, given)
    return replace(_replaced(base, _given(options, list(_AUGMENTATION))), colour=colour)


def _given(options: dict[str, Any], names: list[str]) -> dict[str, Any]:
    """Takes options out, and returns those that were on the command line."""
    source = click.get_current_context().get_parameter_source
    given = {name for name in names if source(name) != click.core.ParameterSource.DEFAULT}
    values = {name: options.pop(name) for name in names}
    return {name: values[name] for name in given}


def _replaced(value: Value, given: dict[str, Any]) -> Value:
    try:
        return replace(value, **given)
    except ValueError as error:
        raise click.UsageError(str(error)) from error
