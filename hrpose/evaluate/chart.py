"""Pages of tables and charts: one HTML file, no scripts, nothing fetched, light and dark.

The file is well-formed XML as well. Strings are escaped wherever they go in; only `Html` is taken
as it is. Shares are 0 to 1.
"""

from __future__ import annotations

import html
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

# Far from the blue and orange of limbs, for the contact sheet shows them together. Red and green
# are never neighbours, and every chart has its numbers beside it. Grey needs no attention.
KIND_COLOURS: dict[str, str] = {
    "good": "#b4bcc4",
    "jitter": "#f0d54a",
    "inversion": "#9d7bea",
    "swap": "#2fb392",
    "miss": "#e5484d",
}
_SHORT = 16  # characters of a cell that are not to be broken
_SERIES = 6  # colours of lines; further ones repeat, dashed

_STYLE = """
:root { color-scheme: light dark; --ink: #1b1f24; --soft: #5c6670; --rule: #d9dee3;
  --paper: #ffffff; --track: #eef1f4; --mark: #2f6db3;
  --s0: #0072b2; --s1: #d55e00; --s2: #008a63; --s3: #b05a8c; --s4: #8a6d00; --s5: #4a4a4a; }
@media (prefers-color-scheme: dark) { :root { --ink: #e8eaed; --soft: #a0a8b0; --rule: #3a4047;
  --paper: #16181b; --track: #262a2f; --mark: #6aa8e8;
  --s0: #56b4e9; --s1: #f08a4b; --s2: #3fc79a; --s3: #dd9cc2; --s4: #e6c84a; --s5: #c8c8c8; } }
body { margin: 2rem auto; max-width: 68rem; padding: 0 1rem; background: var(--paper);
  color: var(--ink); font: 15px/1.5 system-ui, sans-serif; }
h1 { font-size: 1.5rem; margin-bottom: .2rem; } h2 { font-size: 1.15rem; margin: 2rem 0 .3rem; }
p { margin: .3rem 0 .8rem; max-width: 46rem; } .soft { color: var(--soft); }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; }
th, td { padding: .2rem .6rem .2rem 0; text-align: left; border-bottom: 1px solid var(--rule);
  vertical-align: middle; overflow-wrap: break-word; }
th { color: var(--soft); font-weight: 600; font-size: .85rem; }
td.number, th.number { text-align: right; white-space: nowrap; }
td.short { white-space: nowrap; } td.chart { width: 26%; min-width: 8rem; }
svg { display: block; width: 100%; } svg.bar { height: 1.1rem; }
svg.lines { height: auto; } svg text { fill: var(--soft); font-size: 12px; }
.grid { stroke: var(--rule); } .line { fill: none; stroke-width: 1.8; stroke-linejoin: round; }
.faint { stroke-width: 1; opacity: .35; }
.key span { display: inline-block; margin-right: 1.1rem; }
.key svg { display: inline-block; width: 1.6rem; height: .75rem; margin-right: .4rem; }
"""


class Html(str):
    """Markup that is already escaped."""

    __slots__ = ()


@dataclass(frozen=True, slots=True)
class Series:
    """One line of a chart.

    Attributes:
        name: Shown in the legend.
        x: Ascending positions.
        y: Values; the line has a gap where one is not finite.
        faint: Whether it is the background of a smoother line of the same colour.
        place: Which colour, from 0.
    """

    name: str
    x: Sequence[float]
    y: Sequence[float]
    faint: bool = False
    place: int = 0


def escape(value: object) -> Html:
    """Text as markup; what XML or UTF-8 cannot hold becomes U+FFFD.

    >>> escape("<a> & b")
    '&lt;a&gt; &amp; b'
    """
    if isinstance(value, Html):
        return value
    text = str(value).encode("utf-8", "replace").decode()
    kept = "".join(c if c.isprintable() or c in " \t\n" else "\N{REPLACEMENT CHARACTER}"
                   for c in text)  # fmt: skip
    return Html(html.escape(kept))


def page(title: str, parts: Sequence[Html]) -> str:
    """A whole document."""
    return (
        f'<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8"/>'
        f'<meta name="viewport" content="width=device-width"/><title>{escape(title)}</title>'
        f"<style>{escape(_STYLE)}</style></head>\n<body>\n<h1>{escape(title)}</h1>\n"
        + "\n".join(parts)
        + "\n</body></html>\n"
    )


def heading(text: str) -> Html:
    """A section's title."""
    return Html(f"<h2>{escape(text)}</h2>")


def paragraph(text: str, *, soft: bool = False) -> Html:
    """A paragraph; ``soft`` is for what is read second."""
    return Html(f'<p class="soft">{escape(text)}</p>' if soft else f"<p>{escape(text)}</p>")


def link(target: str, text: str) -> Html:
    """A paragraph that leads to a file beside the page."""
    return Html(f'<p><a href="{escape(target)}">{escape(text)}</a></p>')


def table(titles: Sequence[str], rows: Sequence[Sequence[object]]) -> Html:
    """A table; strings stand left, numbers right with one decimal, `Html` is a chart.

    Args:
        titles: One per column.
        rows: Cells: ``str``, ``int``, ``float``, None (shown as a dash) or ``Html``.
    """
    kinds = [
        "number" if rows and all(isinstance(row[i], int | float | None) for row in rows) else "text"
        for i in range(len(titles))
    ]
    head = "".join(
        f'<th scope="col" class="{kind}">{escape(title)}</th>'
        for title, kind in zip(titles, kinds, strict=True)
    )
    body = "\n".join("<tr>" + "".join(_cell(value) for value in row) + "</tr>" for row in rows)
    return Html(
        f'<div class="scroll"><table><thead><tr>{head}</tr></thead>\n'
        f"<tbody>{body}</tbody></table></div>"
    )


def _cell(value: object) -> str:
    if isinstance(value, Html):
        return f'<td class="chart">{value}</td>'
    if value is None:
        return '<td class="number">\N{EN DASH}</td>'
    if isinstance(value, float):
        return f'<td class="number">{value:.1f}</td>'
    if isinstance(value, int):
        return f'<td class="number">{value}</td>'
    kind = "short" if len(str(value)) <= _SHORT else "text"
    return f'<td class="{kind}">{escape(value)}</td>'


def bar(value: float, full: float) -> Html:
    """A bar of a value on a track that ends at ``full``; negative values draw nothing."""
    share = min(max(value / full, 0.0), 1.0) if full > 0 else 0.0
    return _bar(f"{value:.1f}", [("var(--mark)", share, "")])


def stacked(shares: Mapping[str, float]) -> Html:
    """Parts of a whole in the colours of ``KIND_COLOURS``, each with its number as a tooltip."""
    label = ", ".join(f"{name} {100 * share:.1f} %" for name, share in shares.items())
    parts = [
        (KIND_COLOURS[name], share, f"{name} {100 * share:.1f} %")
        for name, share in shares.items()
        if share > 0
    ]
    return _bar(label or "nothing", parts)


def _bar(label: str, parts: Sequence[tuple[str, float, str]]) -> Html:
    # stretched to the cell, so it holds no text
    left, rects = 0.0, []
    for colour, share, tip in parts:
        tooltip = f"<title>{escape(tip)}</title>" if tip else ""
        rects.append(
            f'<rect x="{1000 * left:.1f}" y="0" width="{1000 * share:.1f}" height="10" '
            f'style="fill:{colour}">{tooltip}</rect>'
        )
        left += share
    return Html(
        f'<svg class="bar" viewBox="0 0 1000 10" preserveAspectRatio="none" role="img" '
        f'aria-label="{escape(label)}"><rect x="0" y="0" width="1000" height="10" '
        f'style="fill:var(--track)"/>{"".join(rects)}</svg>'
    )


def kinds_key() -> Html:
    """The legend of :func:`stacked`."""
    return _key([(name, f'<rect width="32" height="15" fill="{colour}"/>')
                 for name, colour in KIND_COLOURS.items()])  # fmt: skip


def lines_key(names: Sequence[str]) -> Html:
    """The legend of :func:`lines`: the name of each colour in turn."""
    return _key([(name, f'<path class="line" {_stroke(place)} d="M0 8 H32"/>')
                 for place, name in enumerate(names)])  # fmt: skip


def _key(entries: Sequence[tuple[str, str]]) -> Html:
    spans = "".join(
        f'<span><svg viewBox="0 0 32 15" aria-hidden="true">{mark}</svg>{escape(name)}</span>'
        for name, mark in entries
    )
    return Html(f'<p class="key">{spans}</p>')


def _stroke(place: int) -> str:
    dash = "" if place < _SERIES else ";stroke-dasharray:6 4"
    return f'style="stroke:var(--s{place % _SERIES}){dash}"'


_WIDTH, _HEIGHT = 720, 240
_LEFT, _RIGHT, _TOP, _BOTTOM = 58, 712, 10, 212


def lines(title: str, series: Sequence[Series]) -> Html:
    """A chart of lines over common axes; the axes hold every finite value."""
    points = [
        (float(x), float(y)) for s in series for x, y in zip(s.x, s.y, strict=True)
        if math.isfinite(y)
    ]  # fmt: skip
    across, up = _axis([x for x, _ in points]), _axis([y for _, y in points])
    grid = "".join(
        f'<path class="grid" d="M{_LEFT} {y:.1f} H{_RIGHT}"/>'
        f'<text x="{_LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{value:g}</text>'
        for value, y in ((v, up.at(v, _BOTTOM, _TOP)) for v in up.ticks)
    ) + "".join(
        f'<text x="{across.at(v, _LEFT, _RIGHT):.1f}" y="{_BOTTOM + 18}" text-anchor="middle">'
        f"{v:g}</text>"
        for v in across.ticks
    )
    paths = "".join(_path(s, across, up) for s in series)
    return Html(
        f'<svg class="lines" viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" '
        f'aria-label="{escape(title)}">{grid}{paths}</svg>'
    )


@dataclass(frozen=True, slots=True)
class _Axis:
    low: float
    high: float
    ticks: tuple[float, ...]

    def at(self, value: float, start: float, end: float) -> float:
        return start + (end - start) * (value - self.low) / (self.high - self.low)


def _axis(values: Sequence[float]) -> _Axis:
    """An axis over the values with about five round ticks (steps of 1, 2 or 5)."""
    low, high = (min(values), max(values)) if values else (0.0, 1.0)
    if high - low <= 1e-9 * max(abs(low), abs(high)):
        room = abs(low) / 2 or 0.5
        low, high = low - room, high + room
    rough = (high - low) / 5
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(power * n for n in (1, 2, 5, 10) if power * n >= rough * (1 - 1e-9))
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return _Axis(low, high, tuple(round(n * step, 12) for n in range(first, last + 1)))


def _path(series: Series, across: _Axis, up: _Axis) -> str:
    runs, fresh = [], True
    for x, y in zip(series.x, series.y, strict=True):
        if math.isfinite(y):
            place = f"{across.at(x, _LEFT, _RIGHT):.1f} {up.at(y, _BOTTOM, _TOP):.1f}"
            runs.append(f"{'M' if fresh else 'L'}{place}")
        fresh = not math.isfinite(y)
    kind = "line faint" if series.faint else "line"
    tip = f"<title>{escape(series.name)}</title>"
    return f'<path class="{kind}" {_stroke(series.place)} d="{" ".join(runs)}">{tip}</path>'
