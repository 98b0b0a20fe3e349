"""``hrpose models``: what there is, what is on this machine, and how to get the rest."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from hrpose.cli.report import printable, report

if TYPE_CHECKING:
    from hrpose.zoo.specs import ModelSpec

HEADINGS = ("model", "task", "width x height", "published", "MB", "on this machine")


@click.group(invoke_without_command=True)
@click.option("--json", "as_json", is_flag=True, help="Print JSON, with licences and sources.")
@click.pass_context
def models(context: click.Context, as_json: bool) -> None:
    """List the models, or get one.

    Without a command, lists all models: what they are for, their published results, and where
    they lie on this machine. A * marks the defaults, which come with hrpose.
    """
    if context.invoked_subcommand is None:
        rows = _rows()
        click.echo(json.dumps(rows, indent=2) if as_json else _table(rows))


@models.command("get")
@click.argument("name")
@click.option("--quiet", is_flag=True, help="No progress bar.")
def get(name: str, quiet: bool) -> None:
    """Download the model NAME into the cache directory (HRPOSE_HOME)."""
    from hrpose.zoo.files import fetch
    from hrpose.zoo.specs import find_spec

    spec = find_spec(name)
    click.echo(printable(str(fetch(spec, progress=not quiet))))
    report("note", f"licence of {spec.name}: {spec.licence}")


@models.command("add")
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--as", "name", required=True, metavar="NAME", help="The model that the file is.")
def add(file: Path, name: str) -> None:
    """Import the checkpoint FILE (.pth or .safetensors) that you have as the model NAME."""
    from hrpose.zoo import load

    imported = load.add(file, name)
    click.echo(printable(str(imported.path)))
    if imported.published is False:
        report("note", f"{file} is not the published file; its results may differ")


def _rows() -> list[dict[str, Any]]:
    from hrpose.zoo.specs import SPECS

    return [_row(spec) for spec in SPECS.values()]


def _row(spec: ModelSpec) -> dict[str, Any]:
    from hrpose.zoo.files import find
    from hrpose.zoo.specs import DEFAULT_DETECTOR, DEFAULT_POSE

    path = find(spec)
    metric = spec.metric
    return {
        "name": spec.name,
        "task": spec.task,
        "default": spec.name in (DEFAULT_POSE, DEFAULT_DETECTOR),
        "input_width": spec.crop and spec.crop.size.width,
        "input_height": spec.crop and spec.crop.size.height,
        "skeleton": spec.skeleton and spec.skeleton.name,
        "metric": metric
        and {"name": metric.name, "value": metric.value, "protocol": metric.protocol},
        "published": metric and f"{metric.shown} {metric.name}",
        "bytes": path.stat().st_size if path else None,
        "megabytes": round(path.stat().st_size / 1e6) if path else spec.megabytes or None,
        "path": str(path) if path else None,
        "licence": spec.licence,
        "source": spec.source,
        "sha256": spec.expected_hash or None,
    }


def _table(rows: list[dict[str, Any]]) -> str:
    protocols = list(dict.fromkeys(row["metric"]["protocol"] for row in rows if row["metric"]))
    lines = [HEADINGS, *(_cells(row, protocols) for row in rows)]
    widths = [max(len(line[i]) for line in lines) for i in range(len(HEADINGS))]
    table = (
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
        for line in lines
    )
    notes = (f"[{number}] {protocol}" for number, protocol in enumerate(protocols, start=1))
    return "\n".join((*table, "", "* default", *notes))


def _cells(row: dict[str, Any], protocols: list[str]) -> tuple[str, ...]:
    metric = row["metric"]
    note = f" [{protocols.index(metric['protocol']) + 1}]" if metric else ""
    return (
        row["name"] + " *" * row["default"],
        row["task"],
        f"{row['input_width']} x {row['input_height']}" if row["input_width"] else "any",
        f"{row['published']}{note}" if metric else "-",
        str(row["megabytes"] or "-"),
        printable(row["path"]) if row["path"] else "no",
    )
