"""A history as one HTML page with inline SVG: no script, nothing from the network, light and dark."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

import numpy as np

from perfcheck.cli.history_text import Story
from perfcheck.cli.scale import Frame, ticks
from perfcheck.compare.ranks import Floats
from perfcheck.compare.trends import CUSUM_LIMIT, SIGMAS, WINDOW, Excursion
from perfcheck.model.printable import printable_markup

WIDTH: Final = 960
HEIGHT: Final = 300
SUMS_HEIGHT: Final = 120
MOST_DOTS: Final = 2_000
"""Longer histories are drawn by every so manieth run; what was found rests on all of them."""

_SUMS_TITLE: Final = "cumulative sums above (blue) and below (orange) the last level"
_STYLE: Final = """
:root { color-scheme: light dark; --paper: #fff; --ink: #1c2128; --soft: #59636e; --line: #d8dee4; --run: #0969da;
  --level: #1c2128; --band: #0969da1f; --change: #bc4c00; --beyond: #cf222e; }
@media (prefers-color-scheme: dark) { :root { --paper: #0d1117; --ink: #e6edf3; --soft: #9198a1; --line: #30363d;
  --run: #58a6ff; --level: #e6edf3; --band: #58a6ff29; --change: #f0883e; --beyond: #ff7b72; } }
body { margin: 2rem auto; max-width: 62rem; padding: 0 1rem; background: var(--paper); color: var(--ink);
  font: 15px/1.5 system-ui, sans-serif; }
h1 { font-size: 1.5rem; margin: 0; } h2 { font-size: 1.1rem; margin: 2.5rem 0 .25rem; }
p { margin: .25rem 0; } .soft { color: var(--soft); }
svg { display: block; width: 100%; height: auto; margin: .5rem 0; }
svg text { fill: var(--soft); font-size: 12px; }
.grid { stroke: var(--line); } .run { fill: var(--run); } .beyond { fill: var(--beyond); }
.level { stroke: var(--level); stroke-width: 2; } .band { fill: var(--band); }
.mean { fill: none; stroke: var(--run); stroke-opacity: .55; }
.change { stroke: var(--change); stroke-dasharray: 4 3; }
.up { fill: none; stroke: var(--run); stroke-width: 1.5; }
.down { fill: none; stroke: var(--change); stroke-width: 1.5; }
.limit { stroke: var(--beyond); stroke-dasharray: 2 3; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; }
th, td { text-align: left; padding: .3rem .8rem .3rem 0; border-bottom: 1px solid var(--line); vertical-align: top; }
th { color: var(--soft); font-weight: 600; } ul { padding-left: 1.2rem; margin: .5rem 0; }
.key { display: inline-block; width: 1.4em; height: .7em; margin: 0 .35em 0 1.1em; vertical-align: baseline; }
.key:first-child { margin-left: 0; } .dot { border-radius: 50%; width: .6em; height: .6em; }
"""


def page(metric: str, meaning: str, stories: Sequence[Story]) -> str:
    """Return the whole page."""
    body = "\n".join(_section(story) for story in stories)
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{printable_markup(metric)}: history</title>
<style>{_STYLE}</style>
</head>
<body>
<h1>{printable_markup(metric)}</h1>
<p class="soft">{printable_markup(meaning)}. Each dot is the median of one run.</p>
{_overview(stories)}
{body}
</body>
</html>
"""


def _overview(stories: Sequence[Story]) -> str:
    heads = "".join(f"<th>{head}</th>" for head in ("scenario", "machine", "runs", "last", "trend", "beyond 3 sigma"))
    rows = "".join(
        "<tr>" + "".join(f"<td>{printable_markup(cell)}</td>" for cell in (
            story.label, story.series.machine[:8], str(len(story.series.values)), story.value(-1), story.trend,
            story.beyond,
        )) + "</tr>\n"
        for story in stories
    )  # fmt: skip
    return f'<div class="scroll"><table><thead><tr>{heads}</tr></thead><tbody>\n{rows}</tbody></table></div>'


def _section(story: Story) -> str:
    items = "".join(_item(*line.split(maxsplit=1)) for line in story.lines())
    return f"""<section>
<h2>{printable_markup(story.title)}</h2>
{_values_plot(story)}
<p class="soft"><span class="key dot" style="background:var(--run)"></span>run
<span class="key dot" style="background:var(--beyond)"></span>beyond 3 sigma
<span class="key" style="background:var(--level);height:2px;vertical-align:middle"></span>level
<span class="key" style="background:var(--band)"></span>rolling mean and 3 sigma
<span class="key" style="border-top:2px dashed var(--change);height:0;vertical-align:middle"></span>change of level</p>
{_sums_plot(story)}
<ul>{items}</ul>
</section>"""


def _item(kind: str, text: str) -> str:
    return f"<li><b>{printable_markup(kind)}</b> {printable_markup(text)}</li>"


def _values_plot(story: Story) -> str:
    found, values = story.outlook, story.outlook.values
    frame = Frame.around(values, count=len(values), width=WIDTH, height=HEIGHT)
    parts = [*_grid(story, frame), *_band(story, frame)]
    for change in found.changes:
        x = frame.x(change.index - 0.5)
        parts.append(f'<line class="change" x1="{x:.1f}" y1="{frame.top}" x2="{x:.1f}" y2="{frame.bottom}"/>')
    for level in found.levels:
        y = frame.y(level.value)
        first, last = frame.x(level.first), frame.x(level.last)
        parts.append(f'<line class="level" x1="{first:.1f}" y1="{y:.1f}" x2="{last:.1f}" y2="{y:.1f}"/>')
    beyond = {index for each in found.excursions for index in _news(each)}
    for index in _drawn(len(values)):
        shown = printable_markup(f"{story.value(index)}, {story.run(index)}")
        kind = "beyond" if index in beyond else "run"
        parts.append(
            f'<circle class="{kind}" cx="{frame.x(index):.1f}" cy="{frame.y(float(values[index])):.1f}" r="3">'
            f"<title>{shown}</title></circle>"
        )
    return _svg(parts, HEIGHT, f"{story.title}: value of each run")


def _news(excursion: Excursion) -> range:
    """Return the runs to point out: all of a burst, and of a shift those before its level was the usual one."""
    last = min(excursion.last, excursion.first + WINDOW - 1) if excursion.lasting else excursion.last
    return range(excursion.first, last + 1)


def _grid(story: Story, frame: Frame) -> Iterator[str]:
    for value in ticks(frame.low, frame.high):
        y = frame.y(value)
        yield f'<line class="grid" x1="{frame.left}" y1="{y:.1f}" x2="{frame.right}" y2="{y:.1f}"/>'
        shown = printable_markup(story.shown(value))
        yield f'<text x="{frame.left - 8}" y="{y + 4:.1f}" text-anchor="end">{shown}</text>'
    yield from _times(story, frame)


def _times(story: Story, frame: Frame) -> Iterator[str]:
    last = len(story.series.values) - 1
    places = sorted({round(last * share / 4) for share in range(5)}) if last >= 8 else sorted({0, last})
    for index in places:
        anchor = "start" if index == 0 else "end" if index == last else "middle"
        yield (
            f'<text x="{frame.x(index):.1f}" y="{frame.bottom + 18}" text-anchor="{anchor}">'
            f"{printable_markup(story.when(index))}</text>"
        )


def _band(story: Story, frame: Frame) -> Iterator[str]:
    """Draw the rolling mean and its limits, kept inside the frame."""
    limits = story.outlook.limits
    known = [index for index in _drawn(len(limits.mean)) if np.isfinite(limits.mean[index])]
    if len(known) < 2:
        return
    reach = SIGMAS * limits.deviation
    over = [(frame.x(index), frame.y(float(limits.mean[index] + reach[index]))) for index in known]
    under = [(frame.x(index), frame.y(float(limits.mean[index] - reach[index]))) for index in reversed(known)]
    yield f'<polygon class="band" points="{_points([*over, *under])}"/>'
    mean = [(frame.x(index), frame.y(float(limits.mean[index]))) for index in known]
    yield f'<polyline class="mean" points="{_points(mean)}"/>'


def _sums_plot(story: Story) -> str:
    """Draw the cumulative sums of the last level below the values, on the same axis of runs."""
    found = story.outlook
    first = found.levels[-1].first
    if len(found.upper) <= WINDOW:
        return ""
    highest = max(2 * CUSUM_LIMIT, float(found.upper.max()), float(found.lower.max()))
    both: Floats = np.array([0.0, highest])
    frame = Frame.around(both, count=len(found.values), width=WIDTH, height=SUMS_HEIGHT)
    limit = frame.y(CUSUM_LIMIT)
    parts = [
        f'<line class="grid" x1="{frame.left}" y1="{frame.y(0):.1f}" x2="{frame.right}" y2="{frame.y(0):.1f}"/>',
        f'<line class="limit" x1="{frame.left}" y1="{limit:.1f}" x2="{frame.right}" y2="{limit:.1f}"/>',
        f'<text x="{frame.left - 8}" y="{limit + 4:.1f}" text-anchor="end">{CUSUM_LIMIT:g} sigma</text>',
        f'<text x="{frame.left - 8}" y="{frame.y(0) + 4:.1f}" text-anchor="end">0</text>',
        f'<text x="{frame.left}" y="{frame.bottom + 18}">{_SUMS_TITLE}</text>',
    ]
    for kind, sums in (("up", found.upper), ("down", found.lower)):
        places = [(frame.x(first + index), frame.y(float(sums[index]))) for index in _drawn(len(sums))]
        parts.append(f'<polyline class="{kind}" points="{_points(places)}"/>')
    return _svg(parts, SUMS_HEIGHT, f"{story.title}: cumulative sums")


def _drawn(count: int) -> list[int]:
    if count <= MOST_DOTS:
        return list(range(count))
    return sorted({int(index) for index in np.linspace(0, count - 1, MOST_DOTS).round()})


def _points(places: Sequence[tuple[float, float]]) -> str:
    return " ".join(f"{x:.1f},{y:.1f}" for x, y in places)


def _svg(parts: Sequence[str], height: int, title: str) -> str:
    inner = "\n".join(parts)
    named = printable_markup(title)
    return f'<svg viewBox="0 0 {WIDTH} {height}" role="img" aria-label="{named}">\n{inner}\n</svg>'
