"""Heatmaps over pictures: where they lie, how people join, and that the rest is untouched."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hrpose.draw.heat import draw_heat
from hrpose.types import Heatmaps


def heatmaps(
    *peaks: tuple[float, float], scale: float = 6.0, corner: tuple[float, float]
) -> Heatmaps:
    """One person for each peak, in cells; the same place in the picture for all."""
    y, x = np.mgrid[:16, :12]
    values = [np.exp(-((x - px) ** 2 + (y - py) ** 2) / 4.5) for px, py in peaks]
    place = np.float32([[scale, 0, corner[0]], [0, scale, corner[1]]])
    return Heatmaps(np.float16(values)[:, None], np.repeat(place[None], len(peaks), axis=0))


def brightest(canvas: np.ndarray) -> np.ndarray:
    """Middle of the brightest pixels, x and y."""
    light = canvas.astype(int).sum(axis=2)
    return np.argwhere(light == light.max()).mean(axis=0)[::-1]


@pytest.mark.parametrize("scale", [1.5, 6.0, 13.0])
@pytest.mark.parametrize("peak", [(5, 8), (2.5, 3.25)])
def test_the_peak_lies_on_the_keypoint(peak: tuple[float, float], scale: float) -> None:
    canvas = np.zeros((240, 200, 3), np.uint8)
    draw_heat(canvas, heatmaps(peak, scale=scale, corner=(20.0, 30.0)))
    want = scale * np.array(peak) + [20, 30]
    assert np.abs(brightest(canvas) - want).max() <= max(0.5 * scale, 1)


def test_a_turned_crop_is_turned() -> None:
    maps = heatmaps((9, 3), corner=(0, 0))
    turned = Heatmaps(maps.values, np.float32([[[0, -6, 150], [6, 0, 20]]]))
    canvas = np.zeros((120, 160, 3), np.uint8)
    draw_heat(canvas, turned)
    assert np.abs(brightest(canvas) - [150 - 6 * 3, 20 + 6 * 9]).max() <= 3


def test_people_are_joined_by_the_maximum() -> None:
    def drawn(*peaks: tuple[float, float]) -> np.ndarray:
        canvas = np.full((120, 100, 3), 90, np.uint8)
        draw_heat(canvas, heatmaps(*peaks, corner=(10, 10)))
        return canvas

    one, other, both = drawn((3, 3)), drawn((8, 12)), drawn((3, 3), (8, 12))
    assert np.array_equal(both[:50], one[:50])
    assert np.array_equal(both[70:], other[70:])
    assert np.array_equal(drawn((3, 3), (3, 3)), one)
    assert np.array_equal(drawn((8, 12), (3, 3)), both)


def test_where_nothing_was_seen_the_picture_stays() -> None:
    noise = np.random.default_rng(0).integers(0, 256, (120, 100, 3), dtype=np.uint8)
    canvas = noise.copy()
    draw_heat(canvas, heatmaps((5, 8), corner=(10, 10)))
    changed = (canvas != noise).any(axis=2)
    y, x = np.nonzero(changed)
    assert changed[58, 40]
    assert np.hypot(x - 40, y - 58).max() < 6 * 5  # 3.3 deviations: 0.05 of the peak is left at 2.4
    faint = noise.copy()
    quiet = heatmaps((5, 8), corner=(10, 10))
    draw_heat(faint, Heatmaps(quiet.values * np.float16(0.04), quiet.image_from_cells))
    assert np.array_equal(faint, noise)


def test_the_picture_shows_through() -> None:
    dark, light = np.zeros((120, 100, 3), np.uint8), np.full((120, 100, 3), 255, np.uint8)
    for canvas in (dark, light):
        draw_heat(canvas, heatmaps((5, 8), corner=(10, 10)))
    assert (light[58, 40].astype(int) - dark[58, 40]).min() >= 40


@settings(max_examples=30, deadline=None)
@given(
    st.lists(st.floats(width=32), min_size=6, max_size=6),
    st.integers(1, 40),
    st.integers(1, 40),
)
def test_no_place_breaks_it(numbers: list[float], width: int, height: int) -> None:
    place = np.float32(numbers).reshape(1, 2, 3)
    canvas = np.zeros((height, width, 3), np.uint8)
    draw_heat(canvas, Heatmaps(np.ones((1, 2, 4, 3), np.float16), place))
    draw_heat(canvas, Heatmaps(np.zeros((0, 2, 4, 3), np.float16), np.zeros((0, 2, 3), np.float32)))
