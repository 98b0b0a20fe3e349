"""``hrpose train pose`` and ``hrpose train detector``."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from typing import Any, TypeVar

import click

from hrpose.train.settings import PoseAugmentation, Settings

Command = TypeVar("Command", bound=Callable[..., Any])

FOLDER = click.Path(path_type=Path)


@click.group()
def train() -> None:
    """Trains a pose network or a person detector."""


def _shared(command: Command) -> Command:
    """Options of both trainers; the defaults are those of ``Settings``."""
    helps = {
        "steps": "Optimiser steps in all.",
        "batch_size": "Samples per step.",
        "lr": "Peak learning rate.",
        "warmup": "Steps of warm-up.",
        "schedule": "cosine or step.",
        "weight_decay": "Decoupled weight decay.",
        "ema": "Decay of the weight average.",
        "clip": "Greatest norm of the gradient.",
        "seed": "Fixes order and augmentation.",
        "dtype": "float32 or bfloat16 (autocast).",
        "checkpoint_minutes": "Time between checkpoints.",
        "log_steps": "Steps between rows of log.csv.",
    }
    options = [
        click.option("--data", type=FOLDER, required=True, help="COCO keypoint annotations."),
        click.option(
            "--images", type=FOLDER, multiple=True, required=True,
            help="Folder of the pictures or of their ZIP shards, or a ZIP; may be repeated.",
        ),
        click.option(
            "--mix", type=(str, float), multiple=True, metavar="SOURCE TIMES",
            help="How often pictures of a source come in an epoch; may be repeated.",
        ),
        click.option("--out", type=FOLDER, required=True, help="Folder of checkpoint, log, model."),
        click.option("--init", default=None, help="Start from this weights file or model name."),
        click.option("--resume", is_flag=True, help="Go on from the checkpoint in --out."),
        click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda, mps."),
        click.option("--threads", type=int, default=None, help="CPU threads of the network."),
        *(
            click.option(
                f"--{field.name.replace('_', '-')}", type=type(field.default),
                default=field.default, show_default=True, help=helps[field.name],
            )
            for field in fields(Settings)
        ),
    ]  # fmt: skip
    for option in reversed(options):
        command = option(command)
    return command


_AUGMENTATION = {
    "scale": "Deviation of the relative size of a crop.",
    "rotation": "Deviation of the rotation in degrees.",
    "rotation_share": "Share of crops that are rotated.",
    "flip": "Share that is mirrored.",
    "half_body": "Share cropped around the upper or lower half.",
    "shift": "Greatest shift as a share of the crop.",
}


def _augmenting(command: Command) -> Command:
    """Options of the crops' variation; the defaults are those of ``PoseAugmentation``."""
    default = PoseAugmentation()
    for name, text in reversed(_AUGMENTATION.items()):
        option = click.option(
            f"--{name.replace('_', '-')}",
            default=getattr(default, name),
            show_default=True,
            help=text,
        )
        command = option(command)
    return command


@train.command()
@_shared
@click.option("--model", default=None, help="Row of `hrpose models` to train; default: embedded.")
@click.option("--size", type=(int, int), help="Input width and height; default: the row's.")
@_augmenting
def pose(model: str | None, size: tuple[int, int] | None, **options: Any) -> None:
    """Trains a pose network on people with keypoints."""
    from hrpose.train.run import Request, train_pose

    varied = PoseAugmentation(**{name: options.pop(name) for name in _AUGMENTATION})
    request = _request(Request, options)
    _report(train_pose(request, model=model, size=size, augmentation=varied))


@train.command()
@_shared
@click.option(
    "--canvas", type=(int, int), default=(320, 320), show_default=True, help="Size of the mosaics."
)
def detector(canvas: tuple[int, int], **options: Any) -> None:
    """Trains the Faster R-CNN person detector on boxes; --init takes a pose model for its trunk."""
    from hrpose.train.run import Request, train_detector

    _report(train_detector(_request(Request, options), canvas=canvas))


def _request(kind: Callable[..., Any], options: dict[str, Any]) -> Any:
    names = [field.name for field in fields(Settings)]
    try:
        settings = Settings(**{name: options.pop(name) for name in names})
    except ValueError as error:
        raise click.UsageError(str(error)) from error
    return kind(settings=settings, **options)


def _report(result: Any) -> None:
    if result.finished:
        click.echo(f"{result.model}: {result.step} steps")
    else:
        click.echo(f"stopped after {result.step} steps; go on with --resume", err=True)
        raise SystemExit(130)
