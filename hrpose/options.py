"""Every default of the chain and of drawing, written once.

Imports nothing heavy, so that help texts show true defaults without loading torch.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Literal

DEFAULT_POSE = "hrnet_w28thin_256x192.hrpose"
DEFAULT_DETECTOR = "fasterrcnn_hrnetv2p_w16thin.hrpose"
CROP_BATCH = 32
MAX_PIXELS = 100_000_000
CODECS = ("h264", "h265", "vp9", "av1")
OVERLAYS = ("skeleton", "boxes", "scores", "ids", "heatmaps", "trails")
BACKGROUNDS = ("original", "black", "blur")
TRAIL_SECONDS = 1.0
_TIME = re.compile(r"(\d{1,9}:){0,2}(\d{1,9}(\.\d{0,9})?|\.\d{1,9})", re.ASCII)


@dataclass(frozen=True, slots=True)
class Options:
    """What to run and how; every default of the chain is written here and nowhere else.

    Attributes:
        pose: Name of a pose model, see ``hrpose models``.
        detector: Name of a detector, or ``"none"``: the whole picture is one person.
        boxes: COCO detections file that replaces the detector.
        device: ``auto``, ``cpu``, ``cuda``, ``cuda:1`` or ``mps``.
        dtype: ``float32``, ``bfloat16`` or ``float16`` of the pose network, and on CUDA of the
            detector's backbone.
        flip_test: Whether every crop is seen mirrored as well; about twice the time
            (the embedded model gains about 2 AP by it).
        refine: ``none``, ``quarter``, ``dark`` or ``oks``; None takes the model's own.
        threshold: Least detector score; raising it finds fewer and surer people.
        pose_threshold: Least pose score (``Poses.scores``); drops many boxes that fit
            nobody, and a few people. 0 keeps all, as evaluations do.
        max_people: At most this many people in a frame.
        oks_threshold: Of two poses more alike than this, the better stays; 1 keeps all.
        frame_batch: Frames per forward of the detector.
        crop_batch: People per forward of the pose network.
    """

    pose: str = DEFAULT_POSE
    detector: str = DEFAULT_DETECTOR
    boxes: Path | None = None
    device: str = "auto"
    dtype: str = "float32"
    flip_test: bool = False
    refine: str | None = None
    threshold: float = 0.5
    pose_threshold: float = 0.4
    max_people: int = 100
    oks_threshold: float = 0.9
    frame_batch: int = 4
    crop_batch: int = CROP_BATCH


@dataclass(frozen=True, slots=True)
class Style:
    """What to draw.

    ``heatmaps`` and ``trails`` ask for an overlay just as its name in ``overlay`` does; however it
    was asked, the three fields agree.

    Attributes:
        overlay: What lies over the background: names of :data:`OVERLAYS`; none of them is fine.
            Scores are pose scores; ids and trails need people with track ids.
        background: ``"original"``; ``"black"`` for the overlay alone; ``"blur"``: so coarse that
            the eye does not recognise a face, which is no promise of anonymity.
        side_by_side: Whether the untouched picture stands to the left of the drawn one.
        min_score: Keypoints below it, and their limbs, are not drawn. Raising it draws less.
        heatmaps: Whether to show what the network saw; needs poses with heatmaps.
        trails: Seconds of video for which the paths of joints stay; 0 is none, or
            :data:`TRAIL_SECONDS` where ``overlay`` names them.
    """

    overlay: tuple[str, ...] = ("skeleton",)
    background: Literal["original", "black", "blur"] = "original"
    side_by_side: bool = False
    min_score: float = 0.3
    heatmaps: bool = False
    trails: float = 0.0

    def __post_init__(self) -> None:
        unknown = [name for name in self.overlay if name not in OVERLAYS]
        if unknown or isinstance(self.overlay, str):
            raise ValueError(f"overlay is {self.overlay!r}, expected some of {', '.join(OVERLAYS)}")
        if self.background not in BACKGROUNDS:
            expected = ", ".join(BACKGROUNDS)
            raise ValueError(f"background is {self.background!r}, expected one of {expected}")
        if not 0 <= self.trails < math.inf:
            raise ValueError(f"trails is {self.trails}, expected seconds, at least 0")
        asked = {"heatmaps": self.heatmaps, "trails": self.trails > 0}
        overlay = tuple(name for name in OVERLAYS if name in self.overlay or asked.get(name))
        object.__setattr__(self, "overlay", overlay)  # as frozen dataclasses set their own fields
        object.__setattr__(self, "heatmaps", "heatmaps" in overlay)
        if "trails" in overlay and not self.trails:
            object.__setattr__(self, "trails", TRAIL_SECONDS)


@dataclass(frozen=True, slots=True)
class Span:
    """Which part of a video is read: from its first frame at or after ``start`` up to the first
    one at or after ``end``.

    Both are seconds as a player shows them: 0 is the start time of the file, that of its first
    packet of picture or sound, whatever the presentation timestamps begin with; to the microsecond.
    ``Frame.time`` remains the timestamp of the file, which is ``Reader.origin`` more.

    In ``Frame.index`` 0 is the first decoded frame of the span; with ``every`` N come 0, N, 2N.

    Attributes:
        start: In seconds, or None: from the beginning.
        end: In seconds; None: to the end.
        every: Only every so manieth frame is handed out.
        max_frames: At most so many frames are handed out, or None.
    """

    start: float | None = None
    end: float | None = None
    every: int = 1
    max_frames: int | None = None

    def __post_init__(self) -> None:
        for name, value in (("start", self.start), ("end", self.end)):
            if value is not None and not 0 <= value < math.inf:
                raise ValueError(f"{name} is {value}, expected seconds, at least 0")
        if self.every < 1:
            raise ValueError(f"every is {self.every}, expected at least 1")
        if self.max_frames is not None and self.max_frames < 1:
            raise ValueError(f"max_frames is {self.max_frames}, expected at least 1")
        if self.end is not None and self.end <= (self.start or 0):
            raise ValueError(f"end is {self.end:g}, expected after start {self.start or 0:g}")


def parse_time(text: str) -> float:
    """Seconds of ``90``, ``90.5``, ``1:30.5`` (minutes) or ``0:01:30.5`` (hours).

    >>> parse_time("1:30.5")
    90.5

    Raises:
        ValueError: Another form, or 60 and more minutes or seconds behind a colon.
    """
    parts = text.split(":") if _TIME.fullmatch(text) else []
    # Fractions, so that 1:00.1 is the very float that 60.1 is.
    values = [Fraction(part) for part in reversed(parts)]
    if not values or any(value >= 60 for value in values[:-1]):
        raise ValueError(
            f"{text!r} is no time, expected seconds, m:s or h:m:s such as 90.5, 1:30.5, 0:01:30.5"
        )
    return float(sum(value * 60**i for i, value in enumerate(values)))


@dataclass(frozen=True, slots=True)
class Reading:
    """What clips may be read, and how well.

    Attributes:
        allow_network: Whether URLs (http, https, rtsp, rtsps) are opened.
        fps: Frames per second of image sequences, which have no times of their own.
        max_error_rate: Share of lost frames, 0 to 1, up to which a damaged clip counts as done;
            raising it forgives more.
    """

    allow_network: bool = False
    fps: Fraction = Fraction(25)
    max_error_rate: float = 0.05

    def __post_init__(self) -> None:
        if not 0 < self.fps <= 1000:
            raise ValueError(f"fps is {self.fps}, expected above 0 and at most 1000")
        if not 0 <= self.max_error_rate <= 1:
            raise ValueError(f"max_error_rate is {self.max_error_rate}, expected 0 to 1")


@dataclass(frozen=True, slots=True)
class Encoding:
    """How a drawn video is written.

    Attributes:
        codec: One of ``CODECS``, or None: what the container is best played with (``h264``, in
            WebM ``vp9``).
        quality: Constant rate factor; raising it makes files smaller and worse. Its scale is the
            codec's own: 0-51 for h264 and h265, 0-63 for vp9 and av1. None takes the default of
            the codec, see ``hrpose.media.codecs``.
        audio: Whether the sound of the input is copied.
    """

    codec: str | None = None
    quality: int | None = None
    audio: bool = True

    def __post_init__(self) -> None:
        if self.codec not in (None, *CODECS):
            raise ValueError(f"codec is {self.codec!r}, expected one of {', '.join(CODECS)}")
        if self.quality is not None and not 0 <= self.quality <= 63:
            raise ValueError(f"quality is {self.quality}, expected 0-63")


@dataclass(frozen=True, slots=True)
class Tracking:
    """How people keep their ids from frame to frame.

    Attributes:
        memory: Seconds of video time for which a lost person's id is kept; a longer gap between
            frames makes everybody new. Raising it brings more people back under their id, and
            gives more ids to somebody else.
        detect_every: The detector runs on every so manieth frame; between, boxes follow poses.
            Raising it is faster, and finds later who has come or was lost.
        start: Least box score of somebody new, 0 to 1; lower ones only continue what is known.
            Raising it makes fewer false tracks, and leaves more people without id.
        sure: Somebody new of at least this box score has an id at once, others from their second
            sighting on. Raising it gives fewer ids to what is seen once and never again, and
            leaves more people without id in their first frame.
        alike: Least likeness, 0 to 1, of a person to where a track is expected. Raising it
            confuses fewer people, and loses more of them where motion is fast.
    """

    memory: float = 2.0
    detect_every: int = 1
    start: float = 0.5
    sure: float = 0.7
    alike: float = 0.05

    def __post_init__(self) -> None:
        if not 0 < self.memory < math.inf:
            raise ValueError(f"memory is {self.memory}, expected seconds, above 0")
        if self.detect_every < 1:
            raise ValueError(f"detect_every is {self.detect_every}, expected at least 1")
        for name in ("start", "sure", "alike"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name} is {getattr(self, name)}, expected 0 to 1")


@dataclass(frozen=True, slots=True)
class Smoothing:
    """How the keypoints of tracked people are steadied over time.

    A height is the person's: the longer side of the box.

    Attributes:
        method: ``"none"``; ``"one-euro"``: causal, with a small delay (Casiez et al. 2012);
            ``"zero-phase"``: looks ahead by half its window and 0.2 s, no delay.
        cutoff: one-euro, Hz, of a person at rest. Raising it lags less and trembles more.
        beta: one-euro, Hz per height per second: what speed adds to the cutoff. Raising it lags
            less in motion and steadies motion less.
        derivative_cutoff: one-euro, Hz, of the speed. Raising it follows a sudden start sooner,
            and single bad keypoints as well.
        memory: one-euro, s: a keypoint unseen for longer starts its filter anew. Raising it lets
            older positions count.
        window: zero-phase, s: the widest fit, from half of it before to half after a frame; fast
            motion narrows it by itself. Raising it steadies a person at rest more, and takes
            more memory and delay.
        fill: Gaps of a person or a keypoint of at most so many seconds are filled by
            interpolation and marked; 0 fills none. Raising it fills more, and guesses more.
    """

    method: Literal["none", "one-euro", "zero-phase"] = "none"
    cutoff: float = 1.0
    beta: float = 10.0
    derivative_cutoff: float = 1.0
    memory: float = 0.5
    window: float = 0.8
    fill: float = 0.0

    def __post_init__(self) -> None:
        if self.method not in ("none", "one-euro", "zero-phase"):
            raise ValueError(f"method is {self.method!r}, expected none, one-euro or zero-phase")
        for name in ("cutoff", "derivative_cutoff", "window"):
            if not 0 < getattr(self, name) < math.inf:
                raise ValueError(f"{name} is {getattr(self, name)}, expected above 0")
        for name in ("beta", "memory", "fill"):
            if not 0 <= getattr(self, name) < math.inf:
                raise ValueError(f"{name} is {getattr(self, name)}, expected at least 0")
