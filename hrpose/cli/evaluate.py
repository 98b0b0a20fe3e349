"""``hrpose evaluate``: how right a model is, by the published protocol."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from hrpose.options import Options

if TYPE_CHECKING:
    from hrpose.evaluate.run import Report

FILE = click.Path(path_type=Path)
_DEFAULT = Options()


@click.command()
@click.option("--data", type=FILE, required=True, help="COCO person_keypoints annotations.")
@click.option(
    "--images", type=FILE, multiple=True, required=True, help="Folder or ZIP of the pictures."
)
@click.option(
    "--boxes",
    default="gt",
    show_default=True,
    help="gt (ground-truth boxes), detector (the one of --detector), or a COCO detections file.",
)
@click.option("--pose", default=_DEFAULT.pose, show_default=True, help="Pose model.")
@click.option("--detector", default=_DEFAULT.detector, show_default=True, help="Detector.")
@click.option("--weights", type=FILE, default=None, help="Evaluate this file as the pose model.")
@click.option("--detector-weights", type=FILE, default=None, help="The same for the detector.")
@click.option("--flip-test/--no-flip-test", default=True, show_default=True, help="Mirror test.")
@click.option("--refine", type=click.Choice(["none", "quarter", "dark"]), default=None)
@click.option(
    "--threshold",
    type=float,
    default=0.05,
    show_default=True,
    help="Least detector score; AP wants the unsure boxes too.",
)
@click.option("--device", default=_DEFAULT.device, show_default=True)
@click.option("--json", "json_path", type=FILE, default=None, help="Numbers and settings as JSON.")
@click.option("--force", is_flag=True, help="Overwrite --json.")
def evaluate(
    data: Path, images: tuple[Path, ...], boxes: str, json_path: Path | None, force: bool,
    weights: Path | None, detector_weights: Path | None, **options: Any,
) -> None:  # fmt: skip
    """Measures keypoint AP, and with --boxes detector also person box AP and recall."""
    from hrpose.evaluate.run import evaluate_keypoints
    from hrpose.media.output import check_output

    if json_path is not None:
        check_output(json_path, force=force, inputs=(data,))
    report = evaluate_keypoints(
        data,
        images,
        Options(**options),
        boxes=boxes,
        weights=weights,
        detector_weights=detector_weights,
    )
    _print(report)
    if json_path is not None:
        _save(
            report, json_path, force=force, settings={"boxes": boxes, "data": data.name, **options}
        )


def _print(report: Report) -> None:
    for model in report.models:
        click.echo(f"{model.task}: {model.name} {model.sha256[:8]}".rstrip())
    click.echo(f"{report.pictures} pictures, {report.people} people, {report.seconds:.1f} s")
    for title, numbers in (
        ("keypoints", report.keypoints),
        ("keypoints, fully labelled pictures", report.keypoints_complete),
        ("person boxes, fully labelled pictures", report.boxes),
    ):
        if numbers:
            click.echo(title)
            click.echo("  " + "  ".join(f"{name:>8}" for name in numbers))
            click.echo("  " + "  ".join(f"{value:8.1f}" for value in numbers.values()))


def _save(report: Report, path: Path, *, force: bool, settings: dict[str, Any]) -> None:
    import json
    from dataclasses import asdict

    from hrpose.media.output import atomic_output

    document = {**asdict(report), "settings": settings}
    with atomic_output(path, force=force) as part:
        part.write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")
