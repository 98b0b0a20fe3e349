"""``hrpose train plot``: the curves of training runs as a page."""

from __future__ import annotations

from pathlib import Path

import click

from hrpose.cli.report import printable

FILE = click.Path(path_type=Path)


@click.command()
@click.argument("runs", type=FILE, nargs=-1, required=True, metavar="RUN...")
@click.option(
    "--out", type=FILE, default="curve.html", show_default=True, help="The page to write."
)
@click.option("--force", is_flag=True, help="Replace an existing page.")
def plot(runs: tuple[Path, ...], out: Path, force: bool) -> None:
    """Draws the log.csv of one or several trainings (RUN: an --out folder, or the file)."""
    from hrpose.train.plot import plot_runs

    for run in plot_runs(runs, out, force=force):
        last = "  ".join(f"{name} {values[-1]:.5g}" for name, values in run.columns.items())
        click.echo(printable(f"{run.name}: step {run.steps[-1]:.0f}  {last}"))
    click.echo(printable(f"-> {out}"), err=True)
