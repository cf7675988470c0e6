"""Diagrams as Mermaid text, which GitHub and GitLab draw: a causal chain, a topology, one curve.

Texts of others stand in quoted labels only, where every character but ASCII letters, digits and blanks is a numeric
entity of Mermaid's (`#35;`). So a label has no quote that could end it, no line end, and nothing that Mermaid,
Markdown or HTML would obey; it is decoded after the diagram is laid out. Nodes are named by number.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from decimal import Decimal
from itertools import pairwise
from typing import Final

from perfcheck.model.printable import printable

MOST_CHARACTERS: Final = 80
"""Of a label; a longer one is cut."""
MOST_IN_A_ROW: Final = 5
"""States side by side; more would be drawn too small to read."""
_CHART: Final = (
    '%%{init: {"xyChart": {"width": 800, "height": 260}, '
    '"themeVariables": {"xyChart": {"plotColorPalette": "#2f81f7"}}}}%%\nxychart-beta'
)
"""Mermaid's own colour of a curve is hardly seen on white; this one is, also on black."""
MOST_NODES: Final = 24
"""Of a diagram; a larger one would not be read."""


def label(text: str) -> str:
    """Return a text as a quoted label."""
    shown = printable(text)
    if len(shown) > MOST_CHARACTERS:
        shown = f"{shown[: MOST_CHARACTERS - 1]}\N{HORIZONTAL ELLIPSIS}"
    escaped = "".join(
        each if each == " " or (each.isascii() and each.isalnum()) else f"#{ord(each)};" for each in shown
    )
    # A label of nothing is an error of Mermaid's.
    return f'"{escaped.strip() or "#8203;"}"'


def chain(states: Sequence[str]) -> str:
    """Return a flowchart of states that follow from one another."""
    shown = states[:MOST_NODES]
    nodes = [f"s{number}[{label(state)}]" for number, state in enumerate(shown)]
    steps = [f"s{before} --> s{after}" for before, after in pairwise(range(len(shown)))]
    return _diagram(f"flowchart {'LR' if len(shown) <= MOST_IN_A_ROW else 'TD'}", (*nodes, *steps))


def topology(hosts: Sequence[str], links: Sequence[tuple[str, str, str]]) -> str:
    """Return hosts and the links between them, each with two of the hosts and what is set on it."""
    shown = hosts[:MOST_NODES]
    number = {host: place for place, host in enumerate(shown)}
    nodes = [f"h{place}[{label(host)}]" for host, place in number.items()]
    lines = [
        f"h{number[one]} ---{f'|{label(text)}|' if text else ''} h{number[other]}"
        for one, other, text in links
        if one in number and other in number
    ]
    return _diagram("flowchart LR", (*nodes, *lines[:MOST_NODES]))


def curve(title: str, unit: str, values: Sequence[float], end_s: float) -> str:
    """Return a chart of values at equal distances in time, from 0 to the end."""
    shown = [_rounded(value) for value in values]
    low, high = min(shown), max(shown)
    low = min(low, Decimal(0)) if low <= high / 2 else low
    high = high if high > low else low + max(abs(low), Decimal(1))
    return _diagram(
        _CHART,
        (
            f"title {label(title)}", f"x-axis {label('time, s')} 0 --> {_rounded(end_s):f}",
            f"y-axis {label(unit)} {low:f} --> {high:f}", f"line [{', '.join(f'{value:f}' for value in shown)}]",
        ),
    )  # fmt: skip


def _rounded(value: float) -> Decimal:
    """Return the value in six digits; Mermaid reads no exponents, so that it is written without."""
    return Decimal(f"{value:.6g}")


def fenced(diagram: str) -> str:
    """Return a diagram as a block of Markdown."""
    return f"```mermaid\n{diagram}\n```"


def _diagram(kind: str, lines: Iterable[str]) -> str:
    return "\n".join((kind, *(f"  {line}" for line in lines)))
