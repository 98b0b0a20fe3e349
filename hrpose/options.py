"""Every default of the chain and of drawing, written once.

Imports nothing heavy, so that help texts show true defaults without loading torch.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

DEFAULT_POSE = "hrnet_w16thin_256x192.hrpose"
DEFAULT_DETECTOR = "fasterrcnn_hrnetv2p_w16thin.hrpose"
CROP_BATCH = 32
MAX_PIXELS = 100_000_000


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
            (the embedded model gains 1.4 AP by it).
        refine: ``none``, ``quarter`` or ``dark``; None takes the model's own.
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
    pose_threshold: float = 0.25
    max_people: int = 100
    oks_threshold: float = 0.9
    frame_batch: int = 4
    crop_batch: int = CROP_BATCH


@dataclass(frozen=True, slots=True)
class Style:
    """What to draw.

    Attributes:
        boxes: Whether to draw the detector's boxes.
        scores: Whether to write each person's pose score (and track id, where there is one).
        background: ``"image"``, or ``"black"`` for skeletons alone.
        side_by_side: Whether the untouched picture stands to the left of the drawn one.
        min_score: Keypoints below it, and their limbs, are not drawn. Raising it draws less.
    """

    boxes: bool = False
    scores: bool = False
    background: Literal["image", "black"] = "image"
    side_by_side: bool = False
    min_score: float = 0.3

    def __post_init__(self) -> None:
        if self.background not in ("image", "black"):
            raise ValueError(f"background is {self.background!r}, expected image or black")


@dataclass(frozen=True, slots=True)
class Span:
    """Which part of a video is read.

    Attributes:
        start: First presentation timestamp that is read, in seconds, or None: from the beginning.
        end: Frames at or after this time are not read, or None: to the end.
        every: Only every so manieth frame is read.
        max_frames: At most so many frames are read, or None.
    """

    start: float | None = None
    end: float | None = None
    every: int = 1
    max_frames: int | None = None

    def __post_init__(self) -> None:
        if self.every < 1:
            raise ValueError(f"every is {self.every}, expected at least 1")
        if self.max_frames is not None and self.max_frames < 1:
            raise ValueError(f"max_frames is {self.max_frames}, expected at least 1")
        if self.start is not None and self.end is not None and self.end <= self.start:
            raise ValueError(f"end is {self.end}, expected after start {self.start}")


@dataclass(frozen=True, slots=True)
class Encoding:
    """How a drawn video is written.

    Attributes:
        codec: Video codec.
        quality: Constant rate factor of the codec; raising it makes files smaller and worse.
        audio: Whether the sound of the input is copied.
    """

    codec: str = "h264"
    quality: int | None = None
    audio: bool = True


@dataclass(frozen=True, slots=True)
class Tracking:
    """How people keep their ids from frame to frame.

    Attributes:
        memory: Seconds of video time for which a lost person's id is kept.
        detect_every: The detector runs on every so manieth frame; between, boxes follow poses.
    """

    memory: float = 1.0
    detect_every: int = 1

    def __post_init__(self) -> None:
        if not self.memory >= 0:
            raise ValueError(f"memory is {self.memory}, expected at least 0 seconds")
        if self.detect_every < 1:
            raise ValueError(f"detect_every is {self.detect_every}, expected at least 1")


@dataclass(frozen=True, slots=True)
class Smoothing:
    """How keypoints are steadied over time.

    Attributes:
        method: ``"none"``; ``"one-euro"``: causal, small delay (Casiez et al. 2012);
            ``"zero-phase"``: looks ahead by a fraction of a second, no delay.
        fill: Gaps of a person or a keypoint of at most so many seconds are filled; 0 fills none.
    """

    method: Literal["none", "one-euro", "zero-phase"] = "none"
    fill: float = 0.0
