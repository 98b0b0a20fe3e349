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
