"""Defaults: the same everywhere, and free to read."""

from __future__ import annotations

import inspect
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from hrpose import draw, options
from hrpose.detector import BoxesFromFile, PersonDetector
from hrpose.estimator import Estimator
from hrpose.media import image, video
from hrpose.options import Options, Style
from hrpose.pipeline import Pipeline, load
from hrpose.zoo.specs import SPECS


@pytest.mark.parametrize(
    ("of", "parameter", "value"),
    [
        (load, "options", Options()),
        (Estimator, "batch_size", Options().crop_batch),
        (Estimator, "flip_test", Options().flip_test),
        (PersonDetector, "score_threshold", Options().threshold),
        (PersonDetector, "max_people", Options().max_people),
        (PersonDetector, "batch_size", Options().frame_batch),
        (BoxesFromFile, "max_people", Options().max_people),
        (Pipeline, "frame_batch", Options().frame_batch),
        (Pipeline, "oks_threshold", Options().oks_threshold),
        (image.read_image, "max_pixels", options.MAX_PIXELS),
        (video.VideoReader, "max_pixels", options.MAX_PIXELS),
        (getattr(draw, "draw", draw), "style", Style()),
    ],
    ids=lambda value: getattr(value, "__name__", None),
)
def test_the_library_agrees(of: Callable[..., Any], parameter: str, value: object) -> None:
    assert inspect.signature(of).parameters[parameter].default == value


def test_the_default_models_come_in_the_box() -> None:
    assert SPECS[Options().pose].embedded
    assert SPECS[Options().detector].embedded


def test_they_cost_nothing_to_read() -> None:
    probe = """
import sys
import hrpose.options
assert not {"torch", "cv2", "av", "PIL", "numpy"} & set(sys.modules)
"""
    repo = Path(__file__).resolve().parents[1]
    subprocess.run([sys.executable, "-c", probe], cwd=repo, check=True)
