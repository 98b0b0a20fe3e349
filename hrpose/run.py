"""From files to files: pictures or a video in, drawings and JSON out, streaming.

Memory is bounded by the batches of the pipeline, not by the number of pictures or frames. Every
file appears whole or not at all. A picture that cannot be read is an outcome like any other: the
rest goes on.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TypeVar

from hrpose import __version__
from hrpose.device import choose_device
from hrpose.draw import draw
from hrpose.errors import InputError
from hrpose.formats import WRITERS, CocoWriter, Header, ModelRecord, NativeWriter
from hrpose.media import atomic_output, read_image, write_image
from hrpose.media.targets import Target
from hrpose.media.video import VideoReader, VideoWriter
from hrpose.options import Options, Style
from hrpose.pipeline import Pipeline
from hrpose.types import Frame, Poses, Size

Item = TypeVar("Item")
Read = TypeVar("Read")

READERS = 4  # threads that decode pictures; more only wait for each other
_NOT_SHAPING = ("frame_batch", "crop_batch")  # options that change speed, not results


@dataclass(frozen=True, slots=True)
class Output:
    """How results are written.

    Attributes:
        header: What is the same for all pictures.
        format: A key of ``formats.WRITERS``.
        style: How to draw.
        force: Whether existing files are replaced.
    """

    header: Header
    format: str
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
        notes: What else is worth a line, for instance sound that was left out.
    """

    pictures: int = 0
    people: int = 0
    failed: tuple[Unreadable, ...] = ()
    notes: tuple[str, ...] = ()


Reading = Frame | Unreadable
Outcome = tuple[Frame, Poses] | Unreadable


class Stop:
    """A request, made by setting ``asked``, to end a run early and keep what is done."""

    def __init__(self) -> None:
        self.asked = False

    def until(self, items: Iterable[Item]) -> Iterator[Item]:
        """Yields items until somebody asks to stop; whoever takes them ends as if these were all.

        Raises:
            KeyboardInterrupt: Asked before the first item: there is nothing to keep.
        """
        waiting, started = iter(items), False
        while not self.asked:
            try:
                item = next(waiting)
            except StopIteration:
                return
            except KeyboardInterrupt:
                self.asked = True
                break
            started = True
            yield item
        if not started:
            raise KeyboardInterrupt


def header_of(pipeline: Pipeline, options: Options) -> Header:
    """What result files say about a run: skeleton, models with hashes, and settings."""
    settings = {
        name: str(value) if isinstance(value, Path) else value
        for name, value in asdict(options).items()
        if value is not None and name not in _NOT_SHAPING
    }
    settings["device"] = str(choose_device(options.device))
    if options.boxes is not None:
        del settings["detector"]
    models = [ModelRecord(m.task, m.name, m.sha256) for m in pipeline.models if m.sha256]
    return Header.of(pipeline.skeleton, hrpose=__version__, models=models, settings=settings)


def read_pictures(paths: Iterable[Path], *, max_pixels: int, ahead: int) -> Iterator[Reading]:
    """Reads pictures in order, in threads, while the taker is busy with earlier ones.

    Args:
        paths: The pictures.
        max_pixels: Larger ones are unreadable.
        ahead: Most pictures that wait, decoded, to be taken.
    """
    return read_ahead(paths, lambda path: _read(path, max_pixels), ahead=ahead)


def read_ahead(
    items: Iterable[Item], read: Callable[[Item], Read], *, ahead: int
) -> Iterator[Read]:
    """Yields ``read(item)`` in order; threads do it while the taker is busy with earlier ones.

    Args:
        items: What to read.
        read: Reads one of them; must be safe to run in several threads.
        ahead: Most results that wait to be taken.
    """
    pool = ThreadPoolExecutor(min(ahead, READERS), thread_name_prefix="hrpose-reader")
    waiting: deque[Future[Read]] = deque()
    try:
        for item in items:
            waiting.append(pool.submit(read, item))
            if len(waiting) > ahead:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        pool.shutdown(wait=False, cancel_futures=True)


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


def run_video(
    pipeline: Pipeline,
    reader: VideoReader,
    target: Target,
    output: Output,
    *,
    stop: Stop,
    watch: Callable[[], object],
) -> Tally:
    """Writes the drawn video, with its times and its sound, and the JSON of its frames.

    Args:
        pipeline: The chain.
        reader: The video, opened.
        target: Its path and where the results go.
        output: How to write.
        stop: When asked, the files hold the frames until then.
        watch: Called after every frame.

    Raises:
        OutputError: A result cannot be written; then there is none.
    """
    pictures = people = 0
    with ExitStack() as stack:
        writer = film = None
        if target.json is not None:
            writer = stack.enter_context(_results(target.json, output))
        if target.drawing is not None:
            film = stack.enter_context(_film(reader, target, target.drawing, output))
        for frame, poses in pipeline.run(stop.until(reader)):
            if film is not None:
                assert frame.time is not None, "a frame of a video has a time"
                film.write(draw(frame, poses, output.style), frame.time)
            if writer is not None:
                writer.write(poses)
            pictures, people = pictures + 1, people + len(poses)
            watch()
        if film is not None and stop.asked:
            film.end_sound()
    return Tally(pictures, people, notes=() if film is None else tuple(_notes(film)))


def _film(reader: VideoReader, target: Target, path: Path, output: Output) -> VideoWriter:
    width, height = reader.size
    return VideoWriter(
        path,
        size=Size(2 * width if output.style.side_by_side else width, height),
        rate=reader.rate,
        audio_from=target.source,
        force=output.force,
    )


def _notes(film: VideoWriter) -> Iterator[str]:
    yield from film.dropped_audio
    if film.moved:
        yield f"{film.moved} frames had times that do not grow; they were moved"


@contextmanager
def _results(path: Path, output: Output) -> Iterator[NativeWriter | CocoWriter]:
    with (
        atomic_output(path, force=output.force) as temporary,
        temporary.open("wb") as file,
        WRITERS[output.format](file, output.header) as writer,
    ):
        yield writer
