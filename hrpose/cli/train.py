"""``hrpose train pose`` and ``hrpose train detector``."""

from __future__ import annotations

from typing import Any

import click

from hrpose.cli.plot import plot
from hrpose.cli.report import report
from hrpose.cli.training import augmentation_from, loss_from, posing, settings_from, shared
from hrpose.train.recipes import RECIPES


@click.group()
def train() -> None:
    """Trains a pose network or a person detector."""


train.add_command(plot)


@train.command()
@shared
@posing
def pose(
    recipe: str | None, model: str | None, size: tuple[int, int] | None, **options: Any
) -> None:
    """Trains a pose network on people with keypoints.

    --init of a model with other keypoints keeps its trunk and replaces its head; this is how a
    model for keypoints of your own is made from a few dozen pictures. `hrpose image --pose
    OUT/model.safetensors` uses the result.
    """
    from hrpose.train.run import PoseChoice, Request, train_pose
    from hrpose.zoo.specs import DEFAULT_POSE

    followed = RECIPES[recipe] if recipe else None
    if followed is not None:
        model, size = model or followed.model, size or followed.size
        options["init"] = options["init"] or followed.init
        options["ignore_exif"] = True  # as the published code reads pictures
    choice = PoseChoice(
        model=model or DEFAULT_POSE,
        size=size,
        skeleton=options.pop("skeleton"),
        teacher=options.pop("teacher"),
        loss=loss_from(options),
        augmentation=augmentation_from(options, followed),
        negatives=options.pop("negatives"),
    )
    settings = settings_from(options, followed)
    request = _request(Request, options, settings=settings, recipe=recipe or "")
    _report(train_pose(request, choice))


@train.command()
@shared
@click.option(
    "--canvas", type=(int, int), default=(384, 384), show_default=True, help="Size of the mosaics."
)
@click.option("--trunk", help="Pose model whose trunk it has; default: that of --init.")
def detector(canvas: tuple[int, int], trunk: str | None, **options: Any) -> None:
    """Trains the Faster R-CNN person detector on boxes; --init takes a pose model for its trunk."""
    from hrpose.train.run import Request, train_detector

    request = _request(Request, options, settings=settings_from(options))
    _report(train_detector(request, canvas=canvas, trunk=trunk))


def _request(kind: Any, options: dict[str, Any], **more: Any) -> Any:
    if options["init"] == "none":
        options["init"] = None
    return kind(tell=lambda text: report("note", text), **options, **more)


def _report(result: Any) -> None:
    if result.finished:
        if result.first:
            click.echo(f"{result.model}: {result.step} steps")
        return
    if result.first:
        click.echo(f"stopped after {result.step} steps; go on with --resume", err=True)
    raise SystemExit(130)
