"""Where the people of a run go: into files of one format or several, whole or not at all."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from hrpose.errors import OutputError, UsageError
from hrpose.formats.coco import CocoWriter
from hrpose.formats.jsonl import CutShort, JsonlWriter
from hrpose.formats.native import NativeWriter
from hrpose.formats.openpose import BODY_25, COCO_18, OpenPoseWriter, is_own
from hrpose.formats.reading import Records
from hrpose.formats.record import Header, VideoRecord, skeleton_of, source_of
from hrpose.formats.table import CsvWriter, ParquetWriter, import_pyarrow
from hrpose.formats.writer import PoseWriter
from hrpose.media.folder import atomic_folder, check_folder
from hrpose.media.output import atomic_output, write_error
from hrpose.media.targets import Target, prepare
from hrpose.skeleton import COCO17
from hrpose.types import Poses


@dataclass(frozen=True, slots=True)
class Format:
    """One way to write results.

    Attributes:
        suffix: Ends a derived name. That of folders has no digits: Pose2Sim sorts by the last
            number in their names.
        file: Opens the writer of a file, or None.
        folder: Opens the writer of a folder, or None.
        coco_only: Whether it holds COCO's 17 keypoints and no others.
        sized: Whether it needs the size of every picture.
    """

    suffix: str
    file: Callable[[BinaryIO, Header], PoseWriter] | None = None
    folder: Callable[[Path, Header], PoseWriter] | None = None
    coco_only: bool = False
    sized: bool = False


FORMATS: dict[str, Format] = {
    "native": Format(".json", NativeWriter, sized=True),
    "jsonl": Format(".jsonl", JsonlWriter, sized=True),
    "coco": Format(".coco.json", lambda file, _: CocoWriter(file), coco_only=True),
    "openpose": Format(
        "_openpose_json", folder=lambda folder, _: OpenPoseWriter(folder, BODY_25), coco_only=True
    ),
    "openpose-coco": Format(
        "_openpose_coco_json",
        folder=lambda folder, _: OpenPoseWriter(folder, COCO_18),
        coco_only=True,
    ),
    "csv": Format(".csv", lambda file, _: CsvWriter(file)),
    "parquet": Format(".parquet", lambda file, _: ParquetWriter(file)),
}
_ENDINGS = sorted({row.suffix for row in FORMATS.values()}, key=len, reverse=True)


@dataclass(frozen=True, slots=True)
class _Output:
    path: Path
    writer: PoseWriter
    file: BinaryIO | None

    def complete(self) -> None:
        self.writer.close()
        if self.file is not None:
            self.file.flush()
            os.fsync(self.file.fileno())


class Results:
    """Writes every picture to all formats. Made by :func:`open_results`.

    Attributes:
        paths: What will be there at the end, in the order of the formats.
    """

    def __init__(
        self, outputs: Sequence[_Output], opened: ExitStack, check: Callable[[], None]
    ) -> None:
        self.paths = tuple(output.path for output in outputs)
        self._outputs, self._opened, self._check = outputs, opened, check
        self._done = False
        self._failed: OutputError | None = None

    def write(self, poses: Poses) -> None:
        """Appends one picture and its people.

        Raises:
            OutputError: A file cannot be written; names it. There will be no results then.
            ValueError: The poses do not fit a format, or have NaN or infinity.
        """
        self._each(lambda output: output.writer.write(poses))

    def fail(self, source: str, reason: str) -> None:
        """Appends a picture that could not be read, where a format has a place for it."""
        self._each(lambda output: output.writer.fail(source, reason))

    def video(self, record: VideoRecord) -> None:
        """Appends what became of a clip, where a format has a place for it."""
        self._each(lambda output: output.writer.video(record))

    def finish(self) -> None:
        """Completes all results and gives them their names; what fails later leaves them there.

        Nothing can be written afterwards; a second call does nothing.

        Raises:
            OutputError: A file cannot be written, now or earlier; then there are no results.
        """
        if self._done:
            return
        if self._failed is not None:
            raise self._failed
        self._done = True
        with self._opened.pop_all():  # gives the names, last, when all content is on disk
            self._each(_Output.complete)
            self._check()

    def _each(self, action: Callable[[_Output], None]) -> None:
        for output in self._outputs:
            try:
                action(output)
            except OSError as error:
                self._failed = write_error(output.path, error)
                raise self._failed from error
            except OutputError as error:
                self._failed = error
                raise

    def _give_up(self) -> None:
        with suppress(_GivenUp, OutputError), self._opened.pop_all():
            raise _GivenUp


class _GivenUp(Exception):
    """Unwinds the outputs without blaming them for an error that is not theirs."""


def result_paths(path: Path, formats: Sequence[str]) -> dict[str, Path]:
    """Where the results of each format go; a format named twice counts once.

    Of one format, ``path`` is the file (the folder, for OpenPose). Of several, their names follow
    from it: ``clip.json`` or ``clip`` gives ``clip.json``, ``clip.jsonl``, ``clip.coco.json``,
    ``clip_openpose_json``, ``clip_openpose_coco_json``, ``clip.csv``, ``clip.parquet``.

    Raises:
        ValueError: There is no format, or an unknown one.
    """
    names = tuple(dict.fromkeys(formats))
    unknown = [name for name in names if name not in FORMATS]
    if unknown or not names:
        raise ValueError(f"formats are {list(formats)}, expected some of {list(FORMATS)}")
    path = Path(path)
    if len(names) == 1:
        return {names[0]: path}
    ending = next((end for end in _ENDINGS if path.name.endswith(end) and path.name != end), "")
    stem = path.name.removesuffix(ending)
    return {name: path.with_name(stem + FORMATS[name].suffix) for name in names}


def written(target: Target, formats: Sequence[str]) -> tuple[Path, ...]:
    """All files and folders of one input: its drawing, and its results in every format."""
    drawing = () if target.drawing is None else (target.drawing,)
    results = () if target.json is None else result_paths(target.json, formats).values()
    return (*drawing, *results)


def derived_suffix(formats: Sequence[str]) -> str:
    """How a derived path ends that :func:`result_paths` takes: that of the only format."""
    return FORMATS[formats[0]].suffix if len(set(formats)) == 1 else FORMATS["native"].suffix


def check_results(
    paths: Iterable[Path], formats: Sequence[str], *, force: bool, inputs: Iterable[Path] = ()
) -> None:
    """Refuses, before any work is done, results that could not be written later. Writes nothing.

    Args:
        paths: See :func:`result_paths`.
        formats: Keys of :data:`FORMATS`.
        force: Whether existing results may be replaced.
        inputs: Files that are read; no result may be one of them.

    Raises:
        OutputError: A path is an input, exists, or its folder is missing or not writable.
        UsageError: A format needs a package that is not there.
    """
    if "parquet" in formats:
        import_pyarrow()
    sources = list(inputs)
    files: list[Path] = []
    folders: list[Path] = []
    for path in paths:
        for name, target in result_paths(path, formats).items():
            (files if FORMATS[name].folder is None else folders).append(target)
    prepare(files, sources=sources, force=force)
    read = [source for source in sources if source.is_dir()]
    for folder in folders:
        check_folder(folder, own=is_own, force=force, inputs=read)


def check_skeleton(formats: Sequence[str], header: Header) -> None:
    """Refuses formats that cannot hold the keypoints.

    Raises:
        UsageError: Names the format.
    """
    skeleton = skeleton_of(header)
    for name in formats:
        if FORMATS[name].coco_only and skeleton.keypoints != COCO17.keypoints:
            raise UsageError(
                f"format {name} holds the keypoints of {COCO17.name}, these are {skeleton.name}",
                hint="native, jsonl, csv and parquet hold any keypoints",
            )


@contextmanager
def open_results(
    path: Path,
    formats: Sequence[str],
    header: Header,
    *,
    force: bool,
    inputs: Sequence[Path] = (),
) -> Iterator[Results]:
    """Opens results of one format or several; they appear together at the end of the block.

    Whatever goes wrong before, none appears and what was there is untouched. To keep what is done
    in spite of a later error, call :meth:`Results.finish`.

    Args:
        path: See :func:`result_paths`.
        formats: Keys of :data:`FORMATS`.
        header: What is the same for all pictures.
        force: Whether existing results are replaced.
        inputs: Files that are read; no result may be one of them.

    Raises:
        OutputError: A result cannot be written; names it.
        UsageError: See :func:`check_results` and :func:`check_skeleton`.
    """
    check_results([path], formats, force=force, inputs=inputs)
    check_skeleton(formats, header)
    with ExitStack() as opened:
        outputs = [
            opened.enter_context(_open(FORMATS[name], target, header, force))
            for name, target in result_paths(path, formats).items()
        ]
        results = Results(outputs, opened, lambda: check_results([path], formats, force=force))
        try:
            yield results
        except BaseException:
            results._give_up()
            raise
        results.finish()


@contextmanager
def _open(row: Format, path: Path, header: Header, force: bool) -> Iterator[_Output]:
    if row.folder is not None:
        with (
            atomic_folder(path, own=is_own, force=force) as folder,
            row.folder(folder, header) as writer,
        ):
            yield _Output(path, writer, None)
    elif row.file is not None:
        with (
            atomic_output(path, force=force) as temporary,
            temporary.open("wb") as file,
            row.file(file, header) as writer,
        ):
            yield _Output(path, writer, file)


@dataclass(frozen=True, slots=True)
class Copied:
    """What :func:`copy_records` has done.

    Attributes:
        pictures: Pictures or frames whose people were written.
        people: People in all of them together.
        failed: Pictures that the input lists as unreadable.
        cut: Where the input ends too early, or None.
    """

    pictures: int
    people: int
    failed: int
    cut: CutShort | None


def copy_records(records: Records, results: Results, *, watch: Callable[[], object]) -> Copied:
    """Writes what one input holds to results of other formats, streaming.

    Args:
        records: The input.
        results: Opened with its header.
        watch: Called after every record.
    """
    pictures = people = failed = 0
    cut = None
    for item in records.items:
        if isinstance(item, Poses):
            results.write(item)
            pictures, people = pictures + 1, people + len(item)
        elif isinstance(item, VideoRecord):
            results.video(item)
        elif isinstance(item, CutShort):
            cut = item
        else:
            results.fail(source_of(item), item.reason)
            failed += 1
        watch()
    return Copied(pictures, people, failed, cut)
