"""One clip from frames to files: the whole chain as a line of stages, results as they come.

Decoding, drawing and the networks overlap, each behind a bounded queue. What is held is a few
frames, whatever the length of the clip: those of a batch, of the queues, and those that a smoother
looks ahead.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, nullcontext, suppress
from dataclasses import dataclass, field
from time import perf_counter

from hrpose.draw import Picture, Trails, draw
from hrpose.errors import HrposeError, OutputError
from hrpose.formats import VideoRecord
from hrpose.media.reader import Reader
from hrpose.media.targets import Target
from hrpose.media.video_writer import Original, VideoWriter
from hrpose.options import Encoding, Smoothing, Tracking
from hrpose.pipeline import Pipeline
from hrpose.results import Results, open_results
from hrpose.run import Output, Stop
from hrpose.smoother import smooth
from hrpose.stages import Line, Meter
from hrpose.tracker import Tracker
from hrpose.types import Frame, Poses, Size

_AHEAD = 2  # frames that wait between two stages
_LONG = 50_000  # frames from which an MP4 is not worth an index in memory; or of unknown length
_NOTHING = Original()

Pair = tuple[Frame, Poses]
Watcher = Callable[[Poses, Picture | None], object]


@dataclass(frozen=True, slots=True)
class How:
    """How a clip is run and written.

    Attributes:
        output: Formats, header and style.
        tracking: How ids are given, or None: there are none.
        smoothing: How keypoints are steadied; needs ids.
        encoding: Of the drawn video.
        show: Whether pictures are drawn though no video is written.
        part: Whether frames may end before the clip does; the sound then ends with them.
    """

    output: Output
    tracking: Tracking | None = None
    smoothing: Smoothing = field(default_factory=Smoothing)
    encoding: Encoding = field(default_factory=Encoding)
    show: bool = False
    part: bool = False


@dataclass(slots=True)
class ClipTally:
    """What a run over a clip has done so far.

    Attributes:
        frames: Frames whose people were written.
        people: People in all of them together.
        ids: The track ids that came.
        seconds: Since the first frame was asked for.
        meters: Times of the stages.
        notes: What else is worth a line, for instance sound that was left out.
    """

    frames: int = 0
    people: int = 0
    ids: set[int] = field(default_factory=set)
    seconds: float = 0.0
    meters: tuple[Meter, ...] = ()
    notes: tuple[str, ...] = ()

    def add(self, poses: Poses) -> None:
        self.frames += 1
        self.people += len(poses)
        self.ids.update(int(i) for i in poses.track_ids if i >= 0)


def run_clip(
    pipeline: Pipeline,
    reader: Reader,
    target: Target,
    how: How,
    *,
    original: Original = _NOTHING,
    stop: Stop,
    watch: Watcher,
) -> ClipTally:
    """Writes the drawn video, with its times and its sound, and the results of its frames.

    Args:
        pipeline: The chain.
        reader: The clip, opened.
        target: Where the results go; with neither drawing nor results it is only shown.
        how: How to run and to write.
        original: What the drawn video takes over besides the pictures, for instance sound.
        stop: When asked, the files hold the frames until then.
        watch: Called with the people of every frame when they are written, and with the drawn
            picture where there is one.

    Raises:
        OutputError: A result cannot be written. When it is the video, the people found until then
            are kept, and the hint says where.
        HrposeError: A network failed on the way; the files hold the frames until then.
    """
    tally = ClipTally()
    with ExitStack() as stack:
        results = None
        if target.json is not None:
            output = how.output
            inputs = [] if original.path is None else [original.path]
            opened = open_results(
                target.json, output.formats, output.header, force=output.force, inputs=inputs
            )
            results = stack.enter_context(opened)
        run = _Run(pipeline, reader, how, tally, stop, watch)
        try:
            failure = run.write(_film(reader, target, how, original), results)
        except OutputError as error:
            if results is None or not tally.frames:
                raise
            raise _keep(results, target, reader, tally, error) from error
        if results is not None:
            results.video(_record(target, reader, tally, failure))
    if failure is not None:
        raise failure
    return tally


@dataclass(frozen=True, slots=True)
class _Run:
    """The parts of one run."""

    pipeline: Pipeline
    reader: Reader
    how: How
    tally: ClipTally
    stop: Stop
    watch: Watcher

    def write(
        self, film: AbstractContextManager[VideoWriter | None], results: Results | None
    ) -> HrposeError | None:
        """Runs the line; returns what ended it early, if something to keep came before."""
        failure, start = None, perf_counter()
        with film as video, Line() as line:
            try:
                pictures = self._drawn(line, needed=video is not None or self.how.show)
                written = line.here("write", _written(pictures, video, results))
                for poses, picture in self.stop.until(written):
                    self.tally.add(poses)
                    self.watch(poses, picture)
            except OutputError:
                raise
            except HrposeError as error:
                if not self.tally.frames:
                    raise
                failure = error
            finally:
                self.tally.seconds = perf_counter() - start
                self.tally.meters = tuple(line.meters)
            early = self.stop.over or failure is not None or self.how.part
            if video is not None and early:
                video.end_sound()
        if video is not None:
            self.tally.notes = tuple(_notes(video))
        return failure

    def _drawn(self, line: Line, *, needed: bool) -> Iterator[tuple[Poses, Picture | None]]:
        posed = smooth(self._posed(line), self.how.smoothing)
        if not needed:
            return ((poses, None) for _, poses in line.here("smooth", posed))
        pairs = line.thread("smooth", posed, ahead=_AHEAD)
        return line.thread("draw", self._pictures(pairs), ahead=_AHEAD)

    def _posed(self, line: Line) -> Iterator[Pair]:
        """Frames and people. On a CPU both networks share a thread, as each uses all cores."""
        frames = line.thread("read", self.reader, ahead=_AHEAD + self.pipeline.frame_batch)
        tracking = self.how.tracking
        if tracking is not None and tracking.detect_every > 1:
            tracker = Tracker(tracking)
            followed = self.pipeline.follow(frames, tracker, tracking.detect_every)
            return line.here("follow", followed)
        stage = line.here if self.pipeline.device.type == "cpu" else line.thread
        found = stage("detect", self.pipeline.detected(frames))
        posed = line.here("pose", self.pipeline.posed(found))
        if tracking is None:
            return posed
        return line.here("track", _tracked(posed, Tracker(tracking)))

    def _pictures(self, pairs: Iterator[Pair]) -> Iterator[tuple[Poses, Picture]]:
        style = self.how.output.style
        trails = Trails.of(style)
        for frame, poses in pairs:
            if trails is not None:
                trails.add(poses)
            yield poses, draw(frame, poses, style, trails)


def _tracked(pairs: Iterator[Pair], tracker: Tracker) -> Iterator[Pair]:
    for frame, poses in pairs:
        yield frame, tracker(poses)


def _written(
    pictures: Iterator[tuple[Poses, Picture | None]],
    video: VideoWriter | None,
    results: Results | None,
) -> Iterator[tuple[Poses, Picture | None]]:
    for poses, picture in pictures:
        # The video first: when it fails, the results hold the frames that were counted, no more.
        if video is not None and picture is not None:
            assert poses.time is not None, "a frame of a video has a time"
            video.write(picture, poses.time)
        if results is not None:
            results.write(poses)
        yield poses, picture


def _film(
    reader: Reader, target: Target, how: How, original: Original
) -> AbstractContextManager[VideoWriter | None]:
    if target.drawing is None:
        return nullcontext()
    width, height = reader.size
    return VideoWriter(
        target.drawing,
        size=Size(2 * width if how.output.style.side_by_side else width, height),
        rate=reader.rate,
        encoding=how.encoding,
        original=original,
        force=how.output.force,
        long=reader.frame_count is None or reader.frame_count > _LONG,
    )


def _notes(video: VideoWriter) -> Iterator[str]:
    yield from video.dropped_audio
    if video.moved:
        yield f"{video.moved} frames had times that do not grow; they were moved"


def _keep(
    results: Results, target: Target, reader: Reader, tally: ClipTally, error: OutputError
) -> OutputError:
    """The error of a video that cannot be written, once the results until then are safe."""
    with suppress(OutputError):  # they may be on the same full disk
        results.video(_record(target, reader, tally, error))
        results.finish()
        kept = f"the people of {tally.frames} frames are in {', '.join(map(str, results.paths))}"
        return OutputError(error.message, hint=f"{error.hint}; {kept}" if error.hint else kept)
    return error


def _record(
    target: Target, reader: Reader, tally: ClipTally, failure: HrposeError | None
) -> VideoRecord:
    report = reader.report
    facts = {"reason": failure.message} if failure else {}
    if failure is None and report.damaged:
        facts = {"reason": f"video is damaged: {report}"}
    if tally.ids:
        facts["ids"] = len(tally.ids)
    if reader.duration is not None:
        facts["duration"] = reader.duration
    if report.declared is not None:
        facts["declared"] = report.declared
    return VideoRecord(
        source=str(target.source),
        status="error" if failure else "degraded" if report.damaged else "ok",
        width=reader.size.width,
        height=reader.size.height,
        rate=float(reader.rate),
        frames=tally.frames,
        people=tally.people,
        undecodable=report.undecodable,
        flagged=report.flagged,
        cut_short=report.cut_short,
        error_rate=report.error_rate,
        notes=(*map(str, report.events), *tally.notes),
        **facts,
    )
