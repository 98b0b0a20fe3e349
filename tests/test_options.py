"""Defaults: the same everywhere, and free to read."""

from __future__ import annotations

import inspect
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from hrpose import draw, options
from hrpose.detector import BoxesFromFile, PersonDetector
from hrpose.estimator import Estimator
from hrpose.media import image, video
from hrpose.options import Options, Reading, Span, Style, parse_time
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


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("0", 0), ("90", 90), ("90.5", 90.5), (".5", 0.5), ("7.", 7), ("1:30", 90),
        ("1:02.25", 62.25), ("100:00", 6000), ("1:02:03.5", 3723.5), ("0:00:00", 0),
        ("1:00.1", 60.1), ("0:0:8.333", 8.333),
    ],
)  # fmt: skip
def test_times(text: str, seconds: float) -> None:
    assert parse_time(text) == seconds


@pytest.mark.parametrize(
    "text", ["", ":", "1:", ":30", "-1", "+1", "1:60", "1:2:3:4", "1h", "1e3", "1,5", "٣", "1 "]
)  # fmt: skip
def test_no_times(text: str) -> None:
    with pytest.raises(ValueError, match="expected seconds, m:s or h:m:s"):
        parse_time(text)


@pytest.mark.parametrize(
    "values",
    [
        {"start": -1.0}, {"start": float("nan")}, {"end": float("inf")}, {"end": 0.0},
        {"start": 2.0, "end": 2.0}, {"every": 0}, {"max_frames": 0},
    ],
    ids=str,
)  # fmt: skip
def test_impossible_spans(values: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(reversed(values))):
        Span(**values)


@pytest.mark.parametrize("values", [{"fps": 0}, {"fps": 1001}, {"max_error_rate": 1.1}], ids=str)
def test_impossible_reading(values: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(values))):
        Reading(**values)


def test_what_is_drawn_agrees_however_it_is_asked() -> None:
    assert Style(overlay=("heatmaps", "skeleton")) == Style(heatmaps=True)
    assert Style(overlay=("boxes", "trails")) == Style(overlay=("boxes",), trails=1.0)
    assert Style(overlay=("boxes", "boxes")).overlay == ("boxes",)
    assert Style(overlay=()).overlay == ()
    assert not Style().heatmaps
    assert not Style().trails
    for style in (Style(trails=2.0), Style(heatmaps=True), Style(overlay=())):
        assert replace(style) == style


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({"overlay": ("bones",)}, "bones"),
        ({"overlay": "boxes"}, "skeleton, boxes"),
        ({"background": "white"}, "original, black, blur"),
        ({"trails": -1.0}, "-1"),
        ({"trails": float("nan")}, "nan"),
        ({"trails": float("inf")}, "inf"),
    ],
    ids=str,
)
def test_wrong_styles(fields: dict[str, Any], named: str) -> None:
    with pytest.raises(ValueError, match=named):
        Style(**fields)
