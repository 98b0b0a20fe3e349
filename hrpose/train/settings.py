"""How to train. Free of PyTorch, so that the command line shows defaults without importing it."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace


@dataclass(frozen=True, slots=True)
class Settings:
    """How to train; every default of the trainer is written here and nowhere else.

    Attributes:
        steps: Optimiser steps in all.
        epochs: Passes over the data, instead of ``steps``; 0 leaves it to ``steps``.
        batch_size: Samples per step.
        lr: Peak learning rate.
        optimizer: ``"adamw"``, or ``"adam"`` whose weight decay is part of the gradient; the
            published recipes have that without weight decay.
        warmup: Steps of linear warm-up.
        schedule: ``"cosine"`` to 1 % of the peak, or ``"step"``: a tenth from each milestone on.
        milestones: Shares of the steps after the warm-up at which ``"step"`` falls; the defaults
            are near the published recipes' 170 and 200 of 210 epochs.
        weight_decay: Weight decay of matrices and kernels.
        ema: Decay of the weight average that is evaluated and exported; 0 is the last weights.
        clip: Greatest norm of the gradient; 0 does not clip.
        seed: Fixes order and augmentation.
        dtype: ``"float32"``; or ``"bfloat16"`` or ``"float16"`` (autocast; on devices that have
            it).
        compile: Whether ``torch.compile`` makes kernels for the network; the first step then takes
            a minute or more, and needs a C++ compiler (CPU) or Triton (CUDA).
        checkpoint_minutes: Time between checkpoints.
        log_steps: Steps between rows of the log.
    """

    steps: int = 100_000
    epochs: float = 0.0
    batch_size: int = 32
    lr: float = 1e-3
    optimizer: str = "adamw"
    warmup: int = 500
    schedule: str = "cosine"
    milestones: tuple[float, ...] = (0.81, 0.95)
    weight_decay: float = 1e-4
    ema: float = 0.999
    clip: float = 1.0
    seed: int = 0
    dtype: str = "float32"
    compile: bool = False
    checkpoint_minutes: float = 5.0
    log_steps: int = 50

    def __post_init__(self) -> None:
        if self.schedule not in ("cosine", "step"):
            raise ValueError(f"schedule is {self.schedule!r}, expected cosine or step")
        if self.optimizer not in ("adamw", "adam"):
            raise ValueError(f"optimizer is {self.optimizer!r}, expected adamw or adam")
        if self.dtype not in ("float32", "bfloat16", "float16"):
            raise ValueError(f"dtype is {self.dtype!r}, expected float32, bfloat16 or float16")
        if self.batch_size < 1:
            raise ValueError(f"batch_size is {self.batch_size}, expected at least 1")
        if self.epochs < 0:
            raise ValueError(f"epochs is {self.epochs}, expected 0 or more")

    def resolved(self, samples: int) -> Settings:
        """The same with ``steps`` for the epochs, if there are any, over ``samples`` samples.

        An epoch has as many steps as it has whole batches, and at least one.
        """
        if not self.epochs:
            return self
        per_epoch = max(1, samples // self.batch_size)
        return replace(self, steps=max(1, round(self.epochs * per_epoch)))

    def lr_at(self, step: int) -> float:
        """Learning rate of a step, from 0."""
        if step < self.warmup:
            return self.lr * (step + 1) / self.warmup
        done = (step - self.warmup) / max(1, self.steps - self.warmup)
        if self.schedule == "step":
            return self.lr * (0.1 ** sum(done >= at for at in self.milestones))
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

    def times(self, strength: float) -> Colour:
        """All changes of colour by a factor, 0 for none; ``erase`` stays."""
        names = ("brightness", "contrast", "saturation", "tint", "grey")
        return replace(self, **{name: getattr(self, name) * strength for name in names})


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
        truncate: Share of people whose picture is cut, so that its border hides a part of them.
        paste: Share of crops into which one to three other people of the batch are pasted.
        negative_share: Share of crops that show a box that fits nobody instead of a person, where
            the trainer is given such boxes.
        even: Whether sizes (within ``scale``) and angles (within ``rotation``) are drawn evenly
            instead of normally; the published face recipes do so.
        colour: Colour changes.
    """

    scale: float = 0.35
    rotation: float = 45.0
    rotation_share: float = 0.6
    flip: float = 0.5
    half_body: float = 0.3
    shift: float = 0.04
    truncate: float = 0.0
    paste: float = 0.0
    negative_share: float = 0.1
    even: bool = False
    colour: Colour = Colour()


@dataclass(frozen=True, slots=True)
class Loss:
    """What a pose network's heatmaps are compared with, and how.

    Attributes:
        kind: ``"mse"``, or ``"ohkm"``: of every person the worst keypoints only.
        ohkm_keep: How many of them.
        teacher_weight: Share of the teacher's heatmaps in the loss, where there is a teacher.
        absent: Weight, towards an empty heatmap, of keypoints that are not labelled or lie outside
            the crop. The papers have 0: then nothing keeps a network from seeing ankles in a face.
            Right where an unlabelled keypoint mostly is one that is not there.
    """

    kind: str = "mse"
    ohkm_keep: int = 8
    teacher_weight: float = 0.5
    absent: float = 0.0

    def __post_init__(self) -> None:
        if self.kind not in ("mse", "ohkm"):
            raise ValueError(f"loss is {self.kind!r}, expected mse or ohkm")
        if self.ohkm_keep < 1:
            raise ValueError(f"ohkm_keep is {self.ohkm_keep}, expected at least 1")
        if not 0 <= self.teacher_weight <= 1:
            raise ValueError(f"teacher_weight is {self.teacher_weight}, expected 0 to 1")
        if not 0 <= self.absent <= 1:
            raise ValueError(f"absent is {self.absent}, expected 0 to 1")


@dataclass(frozen=True, slots=True)
class DetectionAugmentation:
    """How training canvases vary.

    Attributes:
        tiles: Numbers of pictures on a canvas; each is as likely, so repeat one to favour it.
            Many tiles make small people; one shows a picture about as large as the detector sees
            it, so that people who fill it are learnt, too.
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

    tiles: tuple[int, ...] = (1, 1, 1, 1, 2, 2, 3, 4, 6)
    split: float = 0.35
    zoom: tuple[float, float] = (0.75, 1.6)
    max_scale: float = 2.5
    stretch: float = 0.1
    flip: float = 0.5
    min_visible: float = 0.3
    min_side: float = 6.0
    repeat: int = 4
    colour: Colour = Colour(erase=0.1)
