"""What overlapping stages bring: a clip with every stage in its own thread, and all in one.

    python .bench/line.py CLIP --frames 60 --rounds 3

Both ways run the same code in one process, in turns; the ratio of their best times counts.
"""

import argparse
import tempfile
from pathlib import Path
from unittest.mock import patch

import hrpose
from hrpose.clip import How, run_clip
from hrpose.media.clips import sources
from hrpose.media.targets import Target
from hrpose.media.video_writer import Original
from hrpose.options import Options, Span, Style
from hrpose.run import Output, Stop, header_of
from hrpose.stages import Line


def seconds(pipeline, clip, frames, folder, threads):
    header = header_of(pipeline, Options())
    how = How(Output(header, ("native",), Style(), force=True), part=True)
    (source,) = sources([clip])
    target = Target(Path(clip), folder / "out.mp4", folder / "out.json")
    alone = patch.object(Line, "thread", lambda self, name, items, ahead=1: self.here(name, items))
    with source.open(Span(max_frames=frames)) as reader:
        run = {"original": Original(source.path), "stop": Stop(), "watch": lambda *_: None}
        if threads:
            return run_clip(pipeline, reader, target, how, **run)
        with alone:
            return run_clip(pipeline, reader, target, how, **run)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("clip")
    parser.add_argument("--frames", type=int, default=60)
    parser.add_argument("--rounds", type=int, default=3)
    given = parser.parse_args()
    pipeline = hrpose.load()
    best = {}
    with tempfile.TemporaryDirectory() as folder:
        for _ in range(given.rounds):
            for threads in (False, True):
                tally = seconds(pipeline, given.clip, given.frames, Path(folder), threads)
                best[threads] = min(best.get(threads, 1e9), tally.seconds)
    print(f"one thread {best[False]:.2f} s, a thread each {best[True]:.2f} s,", end=" ")
    print(f"ratio {best[False] / best[True]:.2f}")


if __name__ == "__main__":
    main()
