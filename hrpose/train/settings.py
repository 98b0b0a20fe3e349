"""How to train. Free of PyTorch, so that the command line shows defaults without importing it."""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Settings:
    """How to train; every default of the trainer is written here and nowhere else.

    Attributes:
        steps: Optimiser steps in all.
        batch_size: Samples per step.
        lr: Peak learning rate (AdamW).
        warmup: Steps of linear warm-up.
        schedule: ``"cosine"`` to 1 % of the peak, or ``"step"``: a tenth at 81 % and at 95 %, the
            proportions of the published recipes (170 and 200 of 210 epochs).
        weight_decay: Decoupled weight decay.
        ema: Decay of the weight average that is evaluated and exported.
        clip: Greatest norm of the gradient.
        seed: Fixes order and augmentation.
        dtype: ``"float32"`` or ``"bfloat16"`` (autocast; on devices that have it).
        checkpoint_minutes: Time between checkpoints.
        log_steps: Steps between rows of the log.
    """

    steps: int = 100_000
    batch_size: int = 32
    lr: float = 1e-3
    warmup: int = 500
    schedule: str = "cosine"
    weight_decay: float = 1e-4
    ema: float = 0.999
    clip: float = 1.0
    seed: int = 0
    dtype: str = "float32"
    checkpoint_minutes: float = 5.0
    log_steps: int = 50

    def __post_init__(self) -> None:
        if self.schedule not in ("cosine", "step"):
            raise ValueError(f"schedule is {self.schedule!r}, expected cosine or step")
        if self.dtype not in ("float32", "bfloat16"):
            raise ValueError(f"dtype is {self.dtype!r}, expected float32 or bfloat16")

    def lr_at(self, step: int) -> float:
        """Learning rate of a step, from 0."""
        if step < self.warmup:
            return self.lr * (step + 1) / self.warmup
        done = (step - self.warmup) / max(1, self.steps - self.warmup)
        if self.schedule == "step":
            return self.lr * (0.1 ** sum(done >= at for at in (0.81, 0.95)))
        return self.lr * (0.01 + 0.99 * (1 + math.cos(math.pi * min(done, 1))) / 2)


@dataclass(frozen=True, slots=True)
class Colour:
    """Strength of the colour changes.

    Attributes:
        brightness: Greatest relative change.
        contrast: Greatest relative change around the crop's mean.
        saturation: Greatest relative change.
        tint: Greatest relative change of each channel, as by other light.
        grey: Share of crops made grey; old photographs and night cameras have no colour.
        erase: Share of crops in which a rectangle is hidden.
    """

    brightness: float = 0.3
    contrast: float = 0.3
    saturation: float = 0.4
    tint: float = 0.08
    grey: float = 0.1
    erase: float = 0.2


@dataclass(frozen=True, slots=True)
class PoseAugmentation:
    """How crops vary; the defaults are those of the HRNet paper (section 4.1) and its code.

    Attributes:
        scale: Standard deviation of the relative size; clipped at one deviation.
        rotation: Standard deviation in degrees; clipped at two deviations.
        rotation_share: Share of the crops that are rotated.
        flip: Share that is mirrored.
        half_body: Share of people with more than 8 labelled keypoints who are cropped around
            their upper or lower half.
        shift: Greatest shift as a share of the crop; detectors do not centre people exactly.
        colour: Colour changes.
    """

    scale: float = 0.35
    rotation: float = 45.0
    rotation_share: float = 0.6
    flip: float = 0.5
    half_body: float = 0.3
    shift: float = 0.04
    colour: Colour = Colour()


@dataclass(frozen=True, slots=True)
class DetectionAugmentation:
    """How training canvases vary.

    Attributes:
        tiles: Numbers of pictures on a canvas; each is as likely, so repeat one to favour it.
            Many tiles make small people.
        split: A tile is split at this share of its longer side, or further in.
        zoom: Least and greatest size of a picture relative to just covering its tile; what
            remains uncovered is black.
        max_scale: Pictures are not enlarged further than this.
        stretch: Greatest relative change of width against height.
        flip: Share of tiles that is mirrored.
        min_visible: A person of whom a smaller share is left becomes an ignore region.
        min_side: So does one whose box has a shorter side, in pixels.
        repeat: A picture of n times 200 x 200 px is shown n times as often, at most this often:
            large pictures hold scenes, and small ones single people.
        colour: Colour changes of each tile.
    """

    tiles: tuple[int, ...] = (1, 1, 2, 3, 4, 4, 6, 9)
    split: float = 0.35
    zoom: tuple[float, float] = (0.85, 1.8)
    max_scale: float = 2.5
    stretch: float = 0.1
    flip: float = 0.5
    min_visible: float = 0.3
    min_side: float = 6.0
    repeat: int = 4
    colour: Colour = Colour(erase=0.1)
