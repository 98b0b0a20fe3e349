"""Pages that stay well-formed whatever is put in, and charts that are to scale."""

import math
import re
from xml.etree import ElementTree

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hrpose.evaluate import chart
from hrpose.evaluate.chart import KIND_COLOURS, Html, Series


def _tree(*parts: Html) -> ElementTree.Element:
    return ElementTree.fromstring(chart.page("title", parts))


@given(text=st.text())
@settings(max_examples=30)
def test_any_text_comes_back_as_text(text: str) -> None:
    tree = _tree(chart.paragraph(text), chart.table([text], [[text], [text]]), chart.heading(text))
    shown = "".join(c if c.isprintable() or c in " \t\n" else "\ufffd" for c in text)
    shown = shown.encode("utf-8", "replace").decode()
    assert [e.text or "" for e in tree.iter("td")] == [shown] * 2
    assert (tree.find(".//h2").text or "") == shown  # type: ignore[union-attr]


def test_lone_surrogates_of_file_names_can_be_written() -> None:
    assert chart.escape("\udcff<").encode("utf-8") == b"?&lt;"


def test_markup_is_not_escaped_twice() -> None:
    assert chart.escape(Html("<b>x</b>")) == "<b>x</b>"


def test_cells_by_kind() -> None:
    tree = _tree(chart.table(["name", "n", "share"], [["x", 3, 0.25], ["y", None, 99.96]]))
    cells = [(e.get("class"), e.text) for e in tree.iter("td")]
    assert cells == [
        ("short", "x"), ("number", "3"), ("number", "0.2"),
        ("short", "y"), ("number", "\u2013"), ("number", "100.0"),
    ]  # fmt: skip
    assert [e.get("class") for e in tree.iter("th")] == ["text", "number", "number"]


def test_table_without_rows() -> None:
    assert _tree(chart.table([], []), chart.table(["a"], [])).find(".//td") is None


def _rects(markup: Html) -> list[tuple[float, float, str]]:
    tree = ElementTree.fromstring(markup)
    return [
        (float(e.get("x", "0")), float(e.get("width", "0")), e.get("style", ""))
        for e in tree.iter("rect")
    ][1:]  # the first is the track


@given(shares=st.lists(st.floats(0, 1), min_size=5, max_size=5).filter(lambda s: sum(s) > 0.01))
@settings(max_examples=40)
def test_parts_of_a_bar_lie_side_by_side(shares: list[float]) -> None:
    parts = {name: s / sum(shares) for name, s in zip(KIND_COLOURS, shares, strict=True)}
    rects = _rects(chart.stacked(parts))
    end = 0.0
    for (x, width, style), name in zip(rects, [n for n in parts if parts[n] > 0], strict=True):
        assert x == pytest.approx(end, abs=0.2)
        assert KIND_COLOURS[name] in style
        end = x + width
    assert end == pytest.approx(1000, abs=0.5)


@pytest.mark.parametrize(
    ("value", "full", "width"),
    [(5.0, 10.0, 500), (-3.0, 10.0, 0), (20.0, 10.0, 1000), (1.0, 0.0, 0)],
)
def test_bar_is_to_scale(value: float, full: float, width: float) -> None:
    assert _rects(chart.bar(value, full))[0][1] == width


def _spots(markup: Html) -> list[list[tuple[str, float, float]]]:
    tree = ElementTree.fromstring(markup)
    paths = [e.get("d", "") for e in tree.iter("path") if "line" in e.get("class", "")]
    found = [re.findall(r"([ML])([-\d.]+) ([-\d.]+)", path) for path in paths]
    return [[(kind, float(x), float(y)) for kind, x, y in path] for path in found]


def test_lines_share_axes_and_break_at_gaps() -> None:
    first = Series("a", [0, 1, 2, 3], [0.0, math.nan, 1.0, math.inf])
    second = Series("b", [1, 3], [2.0, 0.5], place=1)
    a, b = _spots(chart.lines("x", [first, second]))
    assert [kind for kind, _, _ in a] == ["M", "M"]
    assert [kind for kind, _, _ in b] == ["M", "L"]
    (_, x0, y0), (_, x2, y1) = a
    (_, x1, y2), (_, x3, _) = b
    assert x1 - x0 == pytest.approx((x3 - x0) / 3, abs=0.1)
    assert x2 - x0 == pytest.approx((x3 - x0) * 2 / 3, abs=0.1)
    assert y0 - y1 == pytest.approx(y1 - y2, abs=0.1)  # upwards, in equal steps
    assert y0 > y1 > y2


@given(values=st.lists(st.floats(-1e12, 1e12) | st.just(math.nan), max_size=6))
@settings(max_examples=40)
def test_any_values_stay_inside_the_chart(values: list[float]) -> None:
    markup = chart.lines("x", [Series("a", range(len(values)), values)])
    for _, x, y in _spots(markup)[0]:
        assert 0 <= x <= 720
        assert 0 <= y <= 240
    assert "nan" not in markup


@pytest.mark.parametrize(
    ("values", "ticks"),
    [
        ([0.0, 1.0], ["0", "0.2", "0.4", "0.6", "0.8", "1"]),
        ([0.31, 0.49], ["0.35", "0.4", "0.45"]),
        ([1000.0, 5000.0], ["1000", "2000", "3000", "4000", "5000"]),
        ([7.0], ["4", "6", "8", "10"]),
    ],
)
def test_ticks_are_round(values: list[float], ticks: list[str]) -> None:
    tree = ElementTree.fromstring(chart.lines("x", [Series("a", [0] * len(values), values)]))
    labels = [e.text for e in tree.iter("text") if e.get("text-anchor") == "end"]
    assert labels == ticks
