"""What ``hrpose video`` does with clips: plan, open, run, and say how it went."""

from __future__ import annotations

import gc
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click

from hrpose.cli.options import Files
from hrpose.cli.progress import progress_bar
from hrpose.cli.report import printable, report, report_error
from hrpose.errors import InputError, UsageError
from hrpose.options import Encoding, Reading, Span

if TYPE_CHECKING:
    from hrpose.clip import ClipTally, How
    from hrpose.draw import Picture
    from hrpose.media.clips import Source
    from hrpose.media.preview import Preview
    from hrpose.media.reader import Reader
    from hrpose.media.targets import Target
    from hrpose.media.video_writer import Original
    from hrpose.pipeline import Pipeline
    from hrpose.run import Stop
    from hrpose.types import Poses

_WORTH_SAYING = 0.01  # share of the time from which a stage is named


def plan(
    found: Sequence[Source], out: Path | None, json: Path | None, *, draw: bool, files: Files
) -> list[Target]:
    """Names the results of clips, makes folders for those of several, and refuses bad names."""
    from hrpose.media.targets import make_folders_of, plan_clips, prepare
    from hrpose.results import check_results, derived_suffix, written

    paths = [path for source in found for path in source.inputs]
    names, given = [source.name for source in found], [source.given for source in found]
    suffix = derived_suffix(files.format)
    targets = plan_clips(names, given, out=out, json=json, draw=draw, suffix=suffix)
    drawings = [target.drawing for target in targets if target.drawing is not None]
    results = [target.json for target in targets if target.json is not None]
    named = [path for target in targets for path in written(target, files.format)]
    if len(set(named)) < len(named):
        raise UsageError("--out and --json are one file", hint="name two files")
    if len(found) > 1:
        make_folders_of(named)
    prepare(drawings, sources=paths, force=files.force)
    check_results(results, files.format, force=files.force, inputs=paths)
    return targets


def check_codecs(targets: Sequence[Target], encoding: Encoding) -> None:
    """Refuses drawn videos that cannot be written, before any work is done."""
    from hrpose.media.codecs import recipe

    for target in targets:
        if target.drawing is not None:
            recipe(target.drawing, encoding)


@dataclass(frozen=True, slots=True)
class Clips:
    """What all clips of a command share.

    Attributes:
        chain: Loads the pipeline, at the first clip that can be opened, and says how to run it.
        span: Which part of each clip.
        reading: How damaged a clip may be.
        files: How results are written.
        stop: Ends the run.
        preview: The window, or None.
    """

    chain: Callable[[], tuple[Pipeline, How]]
    span: Span
    reading: Reading
    files: Files
    stop: Stop
    preview: Preview | None

    def run(self, source: Source, target: Target) -> bool:
        """Writes the results of one clip; returns whether it was read as well as asked."""
        try:
            with source.open(self.span, max_pixels=self.files.max_pixels) as reader:
                return self._run(source, reader, target)
        except InputError as error:
            report_error(error)
            return False
        finally:
            gc.collect()  # a closed container is freed by it only

    def _run(self, source: Source, reader: Reader, target: Target) -> bool:
        from hrpose.clip import run_clip

        pipeline, how = self.chain()
        if reader.source_note and not self.files.quiet:
            report("note", f"{source.given}: {reader.source_note}")
        with progress_bar(reader.frame_count, unit=" frames", quiet=self.files.quiet) as bar:
            people = 0

            def watch(poses: Poses, picture: Picture | None) -> None:
                nonlocal people
                if self.preview is not None and picture is not None:
                    self.stop.enough |= not self.preview.show(picture, poses.time)
                people += len(poses)
                bar.update()
                bar.set_postfix_str(f"{people / bar.n:.1f} people" if bar.n else "", refresh=False)

            tally = run_clip(
                pipeline, reader, target, how,
                original=self._original(source, reader), stop=self.stop, watch=watch,
            )  # fmt: skip
        self._tell(tally, reader, target)
        return self._whole(reader, target)

    def _original(self, source: Source, reader: Reader) -> Original:
        from hrpose.media.video_writer import Original

        start, end = (
            None if time is None else time + reader.origin
            for time in (self.span.start, self.span.end)
        )
        return Original(source.path, (start, end), full_range=reader.full_range)

    def _tell(self, tally: ClipTally, reader: Reader, target: Target) -> None:
        from hrpose.results import written

        for note in (*map(str, reader.report.events), *tally.notes):
            report("warning", f"{target.source}: {note}")
        each = tally.people / max(tally.frames, 1)
        parts = [f"{tally.frames} frames", f"{each:.1f} people in each"]
        if tally.ids:
            parts.append("1 id" if len(tally.ids) == 1 else f"{len(tally.ids)} ids")
        results = ", ".join(map(str, written(target, self.files.format))) or "shown"
        click.echo(printable(f"{target.source}: {', '.join(parts)} -> {results}"))
        if not self.files.quiet:
            report("note", f"{target.source}: {speeds(tally)}")
        if self.stop.over:
            report("note", f"stopped; the results end after {tally.frames} frames")

    def _whole(self, reader: Reader, target: Target) -> bool:
        found = reader.report
        if not found.damaged:
            return True
        bad = found.error_rate > self.reading.max_error_rate
        report("error" if bad else "warning", f"{target.source}: video is damaged: {found}")
        if bad:
            results = " and ".join(map(str, target.results))
            kept = f"what could be read is in {results}; " if results else ""
            report("hint", f"{kept}copy or download the video again")
        return not bad


def speeds(tally: ClipTally) -> str:
    """Frames per second of the run, and of each stage by itself."""
    whole = tally.frames / tally.seconds if tally.seconds else 0.0
    busy = [m for m in tally.meters if m.seconds > _WORTH_SAYING * tally.seconds]
    stages = ", ".join(f"{m.name} {tally.frames / m.seconds:.3g}" for m in busy)
    return f"{whole:.3g} frames/s" + (f"; each stage by itself: {stages}" if stages else "")
