"""Pages of text: the keys and columns, and all alerts."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from perfcheck.live.alerts import AlertState
from perfcheck.screen import clock, filtering
from perfcheck.screen.columns import FLOW_COLUMNS, GROUP_COLUMNS
from perfcheck.screen.frame import Frame
from perfcheck.screen.lines import EMPTY, Line, padded, shown_text
from perfcheck.screen.look import Look, Tone

_KEYS_WIDTH: Final = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class Key:
    """Keys as people read them, and what they do."""

    keys: str
    what: str


KEYS: Final = (
    Key(keys="Up Down k j", what="move the cursor; PgUp, PgDn by a page"),
    Key(keys="Enter", what="all about the connection under the cursor; Esc goes back"),
    Key(keys="s S Right Left", what="sort by the next column, or the one before"),
    Key(keys="1 .. 9", what="sort by this column, counted from the left; again: turn the direction"),
    Key(keys="r", what="turn the direction of sorting"),
    Key(keys="/", what=f"show only what matches: {filtering.EXAMPLES}; Esc removes it"),
    Key(keys="g", what="group: connection, process, app (name of the process), netns (network namespace)"),
    Key(keys="c", what="show connections that ended in the interval (marked x), or hide them"),
    Key(keys="a", what="all alerts"),
    Key(keys="Space", what="stand still; measuring goes on. Again: go on (a recording plays)"),
    Key(keys="[ ]  { }", what="one interval back or on; ten"),
    Key(keys="Home End", what="the first interval that is kept; the newest one"),
    Key(keys=": t", what=f"go to a time: {clock.EXAMPLES}"),
    Key(keys="u", what="release the selection: the first rows are shown again"),
    Key(keys="? q", what="this page; end (Ctrl-C, too)"),
)
FILTERS: Final = (
    f"A word is looked for in {', '.join(('addresses', 'ports', 'processes', 'namespaces', 'bottlenecks'))}. All "
    f"words must match; ! before a word turns it. NAME:TEXT looks in one place ({', '.join(filtering.TEXTS)}), "
    f"NAME>VALUE, NAME<VALUE and NAME=VALUE compare a figure ({', '.join(filtering.FIGURES)}) with a value that may "
    "have a unit (20ms, 1mbit, 64kb)."
)


def help_lines(width: int) -> list[Line]:
    """Return the page of help."""
    made: list[Line] = [(("keys", Tone.HEADING),)]
    for key in KEYS:
        made += _entry(key.keys, key.what, width)
    made += [EMPTY, (("filters", Tone.HEADING),), *_prose(FILTERS, width), EMPTY]
    made.append((("columns, as far as there is room", Tone.HEADING),))
    for column in (*FLOW_COLUMNS, *GROUP_COLUMNS[:2]):
        unit = f" ({column.unit})" if column.unit and column.unit not in {"RTT", "CWND"} else ""
        name = f"{column.unit} {column.heading}" if column.unit in {"RTT", "CWND"} else column.heading
        made += _entry(name, f"{column.what}{unit}", width)
    made += [EMPTY, (("lines above", Tone.HEADING),)]
    made += _prose(
        "The diagnosis judges the last intervals together: when an alert is raised and while it lasts, else now and "
        "then. Rates are payload over the whole interval. The order of rows changes only where a value changed by more "
        "than 5 %, and the selected row stays where it is.", width,
    )  # fmt: skip
    return [*made, EMPTY, *_prose("Esc goes back.", width)]


def _entry(name: str, what: str, width: int) -> list[Line]:
    lines = textwrap.wrap(what, max(width - _KEYS_WIDTH, 20))
    return [
        ((padded("" if number else name, _KEYS_WIDTH), Tone.KEY), (line, Tone.PLAIN))
        for number, line in enumerate(lines)
    ]


def _prose(text: str, width: int) -> Iterator[Line]:
    for line in textwrap.wrap(text, max(width, 20)):
        yield ((line, Tone.PLAIN),)


_STATES: Final = {
    AlertState.RAISED: ("raised", Tone.ALARM), AlertState.ONGOING: ("lasting", Tone.WARN),
    AlertState.CLEARED: ("cleared", Tone.GOOD),
}  # fmt: skip


def alert_lines(frames: Sequence[Frame], look: Look, width: int) -> list[Line]:
    """Return the alerts of the last of these frames, and those that were raised or cleared before."""
    made: list[Line] = [(("alerts of this interval", Tone.HEADING),)]
    now = frames[-1].alerts if frames else ()
    for alert in now:
        made += _told(_STATES[alert.state], alert.text, look, width)
    if not now:
        made.append((("none", Tone.DIM),))
    before = [
        alert for frame in reversed(frames[:-1]) for alert in frame.alerts if alert.state is not AlertState.ONGOING
    ]
    made += [EMPTY, (("raised and cleared before, the latest first", Tone.HEADING),)]
    for alert in before:
        made += _told(_STATES[alert.state], alert.text, look, width)
    return made if before else [*made, (("none", Tone.DIM),)]


def _told(state: tuple[str, Tone], text: str, look: Look, width: int) -> list[Line]:
    word, tone = state
    lines = textwrap.wrap(shown_text(text, wide=look.wide), max(width - 9, 20), break_on_hyphens=False)
    return [
        ((padded("" if number else word, 9), tone), (line, Tone.PLAIN)) for number, line in enumerate(lines)
    ]  # fmt: skip
