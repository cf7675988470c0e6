"""Which key does what; `pages.KEYS` tells people."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from textual.binding import Binding

from perfcheck.screen.navigation import LEAP

IN_PROMPT: Final = frozenset({"back", "stop"})
"""Actions whose keys work while a text is typed; all other keys are that text then."""
_KEYS: Final = (
    Binding("q", "end"), Binding("ctrl+c,ctrl+q", "stop"), Binding("question_mark,h,f1", "page('help')"),
    Binding("a", "page('alerts')"), Binding("enter", "flow"), Binding("escape", "back"),
    Binding("space", "pause"), Binding("g", "group"), Binding("c", "closed"), Binding("r", "reverse"),
    Binding("s,right", "sort_next(1)"), Binding("S,left", "sort_next(-1)"), Binding("slash", "ask('filter')"),
    Binding("colon", "ask('time')"), Binding("left_square_bracket", "step(-1)"),
    Binding("right_square_bracket", "step(1)"), Binding("left_curly_bracket", f"step(-{LEAP})"),
    Binding("right_curly_bracket", f"step({LEAP})"), Binding("home", "edge(False)"), Binding("end", "edge(True)"),
    Binding("u", "release"), Binding("up,k", "move(-1)"), Binding("down,j", "move(1)"), Binding("pageup", "leap(-1)"),
    Binding("pagedown", "leap(1)"), *(Binding(each, f"sort_nth({each})") for each in "123456789"),
)  # fmt: skip
KEY_BINDINGS: Final = tuple(replace(binding, priority=True) for binding in _KEYS)
"""Each key acts before the next is looked at: those that follow `/` in one packet of a slow line are the filter."""
