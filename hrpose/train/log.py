"""The log of a training run, and its progress bar."""

from __future__ import annotations

import csv
import time
from collections.abc import Sequence
from pathlib import Path

from tqdm import tqdm

from hrpose.errors import OutputError
from hrpose.train.settings import Settings


class Log:
    """Rows of means in a CSV file that one can plot, and the progress bar."""

    def __init__(self, path: Path, step: int, settings: Settings, *, silent: bool) -> None:
        self._path, self._every, self._silent = path, settings.log_steps, silent
        if not silent:
            _keep_rows(path, step)
        self._batch = settings.batch_size
        self._rows: list[dict[str, float]] = []
        self._bar = tqdm(
            total=settings.steps, initial=step, unit="step", dynamic_ncols=True, disable=silent
        )
        self._since = time.monotonic()
        self._waited = 0.0

    def __enter__(self) -> Log:
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.close()

    def add(self, step: int, lr: float, figures: dict[str, float], waited: float) -> None:
        if self._silent:
            return
        self._rows.append(figures)
        self._waited += waited
        self._bar.update()
        if step % self._every:
            return
        figures = means(self._rows)
        spent = time.monotonic() - self._since
        row = {
            "step": step,
            "lr": round(lr, 8),
            **{name: round(value, 6) for name, value in figures.items()},
            "samples_per_s": round(len(self._rows) * self._batch / spent, 1),
            "wait_share": round(self._waited / spent, 4),
        }
        self._write(row)
        self._bar.set_postfix({name: f"{value:.4g}" for name, value in figures.items()})
        self._rows, self._waited, self._since = [], 0.0, time.monotonic()

    def _write(self, row: dict[str, float]) -> None:
        try:
            with self._path.open("a+", newline="") as file:
                file.seek(0)
                names = next(csv.reader(file), None)  # a figure may be lacking in some rows
                writer = csv.DictWriter(file, names or list(row), extrasaction="ignore")
                if names is None:
                    writer.writeheader()
                writer.writerow(row)
        except OSError as error:
            raise OutputError(
                f"{self._path}: {error.strerror}", hint="--resume goes on from the last checkpoint"
            ) from error


def _keep_rows(path: Path, step: int) -> None:
    """Leaves the rows up to a step: a run that is killed has logged further than its checkpoint."""
    if path.is_file():
        header, *rows = path.read_text().splitlines(keepends=True) or [""]
        numbered = [(row.split(",")[0], row) for row in rows if row.endswith("\n")]
        kept = [row for number, row in numbered if number.isdigit() and int(number) <= step]
        path.write_text(header + "".join(kept) if kept else "")


def means(rows: Sequence[dict[str, float]]) -> dict[str, float]:
    """The mean of every figure over the rows that have it."""
    names = dict.fromkeys(name for row in rows for name in row)
    found = {name: [row[name] for row in rows if name in row] for name in names}
    return {name: sum(values) / len(values) for name, values in found.items()}
