"""A pipeline that needs no weights: two boxes in every picture, a tiny random pose network."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from hrpose import pipeline
from hrpose.crop import CropSpec
from hrpose.device import choose_device
from hrpose.estimator import Estimator
from hrpose.models.hrnet import HRNetConfig
from hrpose.models.networks import PoseNet
from hrpose.options import DEFAULT_DETECTOR, DEFAULT_POSE, Options
from hrpose.pipeline import Detector, Pipeline, UsedModel
from hrpose.skeleton import COCO17
from hrpose.types import Codec, Detections, Frame, Size

TINY = HRNetConfig(width=4, stem=8, planes=4, bottlenecks=1, modules=(1, 1, 1), blocks=1)
SHARES = torch.tensor([[0.1, 0.1, 0.5, 0.9], [0.5, 0.2, 0.9, 0.8]])  # of width and height


@dataclass
class Tiny:
    """What the pipeline was asked for and has seen.

    Attributes:
        options: Those of the latest load, None before one.
        seen: Sources of the frames so far.
        before: Called with every batch of frames before its people are found.
    """

    options: Options | None = None
    seen: list[str] = field(default_factory=list)
    before: Callable[[Sequence[Frame]], object] = lambda frames: None

    def detect(self, frames: Sequence[Frame]) -> list[Detections]:
        self.before(frames)
        self.seen += [frame.source for frame in frames]
        return [
            Detections(boxes=SHARES * torch.tensor([*f.size, *f.size]), scores=torch.ones(2))
            for f in frames
        ]

    def load(self, options: Options, *, heatmaps: bool = False) -> Pipeline:
        self.options = options
        torch.manual_seed(0)
        estimator = Estimator(
            PoseNet(TINY, 17),
            crop=CropSpec(Size(32, 64)),
            codec=Codec(),
            skeleton=COCO17,
            keep_heatmaps=heatmaps,
        )
        detector: Detector = self.detect
        found_by = UsedModel("detect", DEFAULT_DETECTOR, "d" * 64)
        if options.boxes or options.detector == "none":
            detector, found_by = pipeline.load_detector(options, choose_device("cpu"))
        models = (found_by, UsedModel("pose", DEFAULT_POSE, "e" * 64))
        return Pipeline(
            detector, estimator, models=models, frame_batch=options.frame_batch, oks_threshold=1
        )


@pytest.fixture
def tiny_pipeline(monkeypatch: pytest.MonkeyPatch) -> Tiny:
    """Takes the place of the default models."""
    tiny = Tiny()
    monkeypatch.setattr(pipeline, "load", tiny.load)
    return tiny


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder that is the current one."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def make_picture() -> Callable[..., Path]:
    """Writes a picture of noise, its folder too; the suffix decides its kind."""

    def make(path: str, *, size: tuple[int, int] = (64, 48)) -> Path:
        file = Path(path)
        file.parent.mkdir(parents=True, exist_ok=True)
        noise = np.random.default_rng(0).integers(0, 256, (size[1], size[0], 3), np.uint8)
        Image.fromarray(noise).save(file)
        return file

    return make
