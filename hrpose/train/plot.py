"""Curves of training runs: their log.csv files as one page of charts."""

from __future__ import annotations

import csv
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from hrpose.errors import InputError
from hrpose.evaluate import chart
from hrpose.evaluate.chart import Html, Series
from hrpose.media.output import atomic_output, check_output

LOG = "log.csv"
_STEP = "step"
_LAST = ("lr", "samples_per_s", "wait_share")  # read after what is learnt
_TITLES = {
    "lr": "Learning rate",
    "loss": "Loss",
    "pck": "PCK on training samples, share",
    "samples_per_s": "Samples per second",
    "wait_share": "Share of the time spent waiting for data",
}
_ROUGH = 40  # rows from which a smoother line is drawn over the values


@dataclass(frozen=True, slots=True)
class Run:
    """The log of one training run.

    Attributes:
        name: Of its folder.
        steps: Of every row, ascending.
        columns: Values by the name of the column, one per row; NaN where a row has none.
    """

    name: str
    steps: tuple[float, ...]
    columns: dict[str, tuple[float, ...]]


def read_run(path: Path) -> Run:
    """Reads the log of a run, also while it is being written.

    Args:
        path: The folder of the run, or its log.csv.

    Raises:
        InputError: No log is there, it has no rows yet, or it is another file.
    """
    path = path / LOG if path.is_dir() else path
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise InputError(
            f"{path}: {error.strerror}", hint=f"name the --out folder of a training, or its {LOG}"
        ) from error
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: not a training log", hint=f"expected a {LOG}") from error
    whole = text[: text.rfind("\n") + 1]  # the last row may be half written
    reader = csv.DictReader(whole.splitlines())
    names = reader.fieldnames or []
    if whole and _STEP not in names:
        raise InputError(f"{path}: not a training log", hint=f"its first column is {_STEP}")
    rows = [row for row in reader if math.isfinite(_number(row[_STEP]))]
    if not rows:
        raise InputError(f"{path}: no rows yet", hint="the first comes after --log-steps steps")
    rows.sort(key=lambda row: _number(row[_STEP]))
    columns = {
        name: tuple(_number(row[name]) for row in rows) for name in names if name and name != _STEP
    }
    name = (path.parent if path.name == LOG else path).absolute().name or str(path)
    return Run(name, tuple(_number(row[_STEP]) for row in rows), columns)


def _number(text: str | None) -> float:
    try:
        return float(text or "nan")
    except ValueError:
        return math.nan


def plot_runs(paths: Sequence[Path], out: Path, *, force: bool = False) -> list[Run]:
    """Writes a page of the runs' curves, one chart per column, the runs over each other.

    Args:
        paths: Folders of runs, or their log.csv.
        out: The HTML file; it refers to nothing outside itself.
        force: Replace an existing file.

    Returns:
        The runs as read. Those of one name have their path as name.

    Raises:
        ValueError: There are no paths.
        InputError: A log cannot be read.
        OutputError: The page cannot be written, or is one of the logs.
    """
    if not paths:
        raise ValueError("no runs to plot")
    logs = [path / LOG if path.is_dir() else path for path in paths]
    check_output(out, force=force, inputs=logs)
    runs = [read_run(path) for path in paths]
    names = [run.name for run in runs]
    runs = [
        run if names.count(run.name) == 1 else Run(str(path), run.steps, run.columns)
        for run, path in zip(runs, paths, strict=True)
    ]
    with atomic_output(out, force=force, inputs=logs) as part:
        part.write_text(chart.page("Training curves", _parts(runs)), encoding="utf-8")
    return runs


def _parts(runs: Sequence[Run]) -> list[Html]:
    names = list(dict.fromkeys(name for run in runs for name in run.columns))
    names.sort(key=lambda name: name in _LAST)
    last = [[run.name, *(_shown(value) for value in (run.steps[-1], *_ends(run, names)))]
            for run in runs]  # fmt: skip
    parts = [
        chart.lines_key([run.name for run in runs]),
        chart.table(["run", _STEP, *names], last),
        chart.paragraph("The table shows the last rows; the charts' axis is the step.", soft=True),
    ]
    for name in names:
        title = _TITLES.get(name, name)
        series = [line for place, run in enumerate(runs) for line in _series(run, name, place)]
        parts += [chart.heading(title), chart.lines(title, series)]
    return parts


def _ends(run: Run, names: Sequence[str]) -> list[float]:
    return [run.columns[name][-1] if name in run.columns else math.nan for name in names]


def _shown(value: float) -> str:
    return f"{value:.5g}" if math.isfinite(value) else "\N{EN DASH}"


def _series(run: Run, name: str, place: int) -> list[Series]:
    values = run.columns.get(name)
    if values is None:
        return []
    if len(values) < _ROUGH or name == "lr":  # the schedule has no noise
        return [Series(run.name, run.steps, values, place=place)]
    smooth = _smoothed(values, len(values) // 20)
    return [
        Series(run.name, run.steps, values, faint=True, place=place),
        Series(run.name, run.steps, smooth, place=place),
    ]


def _smoothed(values: Sequence[float], reach: int) -> list[float]:
    """Means of the finite values at most ``reach`` rows away, fewer at the ends."""
    means = []
    for i in range(len(values)):
        room = min(reach, i, len(values) - 1 - i)  # even on both sides, or the ends would lag
        near = [v for v in values[i - room : i + room + 1] if math.isfinite(v)]
        means.append(sum(near) / len(near) if near else math.nan)
    return means
