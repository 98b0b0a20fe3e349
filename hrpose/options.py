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
