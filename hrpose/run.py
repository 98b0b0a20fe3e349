"""From files to files: pictures in, drawings and results out, streaming; clips are in `clip`.

Memory is bounded by the batches of the pipeline, not by the number of pictures. Every
file appears whole or not at all. A picture that cannot be read is an outcome like any other: the
rest goes on.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TypeVar

from hrpose import __version__
from hrpose.device import choose_device
from hrpose.draw import draw
from hrpose.errors import InputError
from hrpose.formats import Header, ModelRecord
from hrpose.formats.record import Setting
from hrpose.media import read_image, write_image
from hrpose.media.ahead import read_ahead
from hrpose.media.targets import Target
from hrpose.options import Options, Smoothing, Span, Style, Tracking
from hrpose.pipeline import Pipeline
from hrpose.results import Results, open_results
from hrpose.types import Frame, Poses

Item = TypeVar("Item")
Settings = Tracking | Smoothing | Span

_NOT_SHAPING = ("frame_batch", "crop_batch")  # options that change speed, not results


@dataclass(frozen=True, slots=True)
class Output:
    """How results are written.

    Attributes:
        header: What is the same for all pictures.
        formats: Keys of ``results.FORMATS``.
        style: How to draw.
        force: Whether existing files are replaced.
    """

    header: Header
    formats: tuple[str, ...]
    style: Style
    force: bool


@dataclass(frozen=True, slots=True)
class Unreadable:
    """A picture that could not be read.

    Attributes:
        source: The path as it was given.
        error: Why; its message names the path.
    """

    source: str
    error: InputError

    @property
    def reason(self) -> str:
        return self.error.message.removeprefix(f"{self.source}: ")


@dataclass(frozen=True, slots=True)
class Tally:
    """What a run has done.

    Attributes:
        pictures: Pictures or frames whose people were written.
        people: People in all of them together.
        failed: Pictures that could not be read.
    """

    pictures: int = 0
    people: int = 0
    failed: tuple[Unreadable, ...] = ()


Reading = Frame | Unreadable
Outcome = tuple[Frame, Poses] | Unreadable


class Stop:
    """A request to end a run early and keep what is done.

    Attributes:
        asked: Set by an interruption: the command ends as an interrupted one.
        enough: Set by somebody who has seen enough: it ends as a finished one.
    """

    def __init__(self) -> None:
        self.asked = self.enough = False

    @property
    def over(self) -> bool:
        """Whether anybody wants the end."""
        return self.asked or self.enough

    def until(self, items: Iterable[Item]) -> Iterator[Item]:
        """Yields items until somebody asks to stop; whoever takes them ends as if these were all.

        Raises:
            KeyboardInterrupt: Asked before the first item: there is nothing to keep.
        """
        waiting, started = iter(items), False
        while not self.over:
            try:
                item = next(waiting)
            except StopIteration:
                return
            except KeyboardInterrupt:
                if self.asked:  # the second one
                    raise
                self.asked = True
                break
            started = True
            yield item
        if not started and self.asked:
            raise KeyboardInterrupt


def header_of(pipeline: Pipeline, options: Options, *more: Settings | None) -> Header:
    """What result files say about a run: skeleton, models with hashes, and settings.

    Args:
        pipeline: The chain.
        options: What it was made from.
        more: What else shaped the results; named ``smoothing.method`` and so on.
    """
    settings = {name: value for name, value in _plain(options).items() if name not in _NOT_SHAPING}
    settings["device"] = str(choose_device(options.device))
    for model in pipeline.models:
        if model.refine:  # by name: the model's own may be another in another version
            settings["refine"] = model.refine
    if options.boxes is not None:
        del settings["detector"]
    for group in filter(None, more):
        name = type(group).__name__.lower()
        settings |= {f"{name}.{key}": value for key, value in _plain(group).items()}
    models = [ModelRecord(m.task, m.name, m.sha256) for m in pipeline.models if m.sha256]
    return Header.of(pipeline.skeleton, hrpose=__version__, models=models, settings=settings)


def _plain(group: Settings | Options) -> dict[str, Setting]:
    values = {name: value for name, value in asdict(group).items() if value is not None}
    return {name: str(v) if isinstance(v, Path) else v for name, v in values.items()}


def read_pictures(paths: Iterable[Path], *, max_pixels: int, ahead: int) -> Iterator[Reading]:
    """Reads pictures in order, in threads, while the taker is busy with earlier ones.

    Args:
        paths: The pictures.
        max_pixels: Larger ones are unreadable.
        ahead: Most pictures that wait, decoded, to be taken.
    """
    return read_ahead(paths, lambda path: _read(path, max_pixels), ahead=ahead)


def _read(path: Path, max_pixels: int) -> Reading:
    try:
        return read_image(path, max_pixels=max_pixels)
    except InputError as error:
        return Unreadable(os.fspath(path), error)


def outcomes(pipeline: Pipeline, readings: Iterable[Reading]) -> Iterator[Outcome]:
    """Runs the pipeline over what could be read; one outcome per reading, in order."""
    order: deque[Unreadable | None] = deque()  # None: a frame in the pipeline

    def frames() -> Iterator[Frame]:
        for reading in readings:
            if isinstance(reading, Unreadable):
                order.append(reading)
            else:
                order.append(None)
                yield reading

    for result in pipeline.run(frames()):
        while (failed := order.popleft()) is not None:
            yield failed
        yield result
    for failed in order:
        assert failed is not None, "the pipeline lost a frame"
        yield failed


def run_pictures(
    pipeline: Pipeline, readings: Iterable[Reading], targets: Iterable[Target], output: Output
) -> Iterator[tuple[Target, Outcome]]:
    """Writes the results of every picture as they come.

    Args:
        pipeline: The chain.
        readings: What was read, see :func:`read_pictures`.
        targets: Where the results go, one per reading, in its order.
        output: How to write.

    Yields:
        Each target when its files are there, with what became of it.

    Raises:
        OutputError: A result cannot be written.
    """
    for target, outcome in zip(targets, outcomes(pipeline, readings), strict=False):
        if not isinstance(outcome, Unreadable):
            frame, poses = outcome
            if target.drawing is not None:
                drawn = draw(frame, poses, output.style)
                write_image(target.drawing, drawn, force=output.force)
            if target.json is not None:
                with _results(target.json, output) as writer:
                    writer.write(poses)
        yield target, outcome


def run_batch(
    pipeline: Pipeline,
    readings: Iterable[Reading],
    targets: Iterable[Target],
    output: Output,
    *,
    json: Path,
    watch: Callable[[], object],
) -> Tally:
    """As :func:`run_pictures`, and writes one JSON of all of them, unreadable ones included.

    Args:
        pipeline: The chain.
        readings: What was read; when it ends early, the JSON holds what came until then.
        targets: Where drawings go.
        output: How to write.
        json: The file of all results.
        watch: Called after every picture.

    Raises:
        OutputError: A result cannot be written; there is no JSON then.
    """
    pictures = people = 0
    failed: list[Unreadable] = []
    with _results(json, output) as writer:
        for _, outcome in run_pictures(pipeline, readings, targets, output):
            if isinstance(outcome, Unreadable):
                writer.fail(outcome.source, outcome.reason)
                failed.append(outcome)
            else:
                writer.write(outcome[1])
                pictures, people = pictures + 1, people + len(outcome[1])
            watch()
    return Tally(pictures, people, tuple(failed))


def _results(path: Path, output: Output) -> AbstractContextManager[Results]:
    return open_results(path, output.formats, output.header, force=output.force)
