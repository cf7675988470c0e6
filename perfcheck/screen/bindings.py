"""Which key does what; `pages.KEYS` tells people."""

from __future__ import annotations

from typing import Final

from textual.binding import Binding

from perfcheck.screen.navigation import LEAP

KEY_BINDINGS: Final = (
    Binding("q", "end"), Binding("ctrl+c,ctrl+q", "end", priority=True), Binding("question_mark,h,f1", "page('help')"),
    Binding("a", "page('alerts')"), Binding("enter", "flow"), Binding("escape", "back", priority=True),
    Binding("space", "pause"), Binding("g", "group"), Binding("c", "closed"), Binding("r", "reverse"),
    Binding("s,right", "sort_next(1)"), Binding("S,left", "sort_next(-1)"), Binding("slash", "ask('filter')"),
    Binding("colon", "ask('time')"), Binding("left_square_bracket", "step(-1)"),
    Binding("right_square_bracket", "step(1)"), Binding("left_curly_bracket", f"step(-{LEAP})"),
    Binding("right_curly_bracket", f"step({LEAP})"), Binding("home", "edge(False)"), Binding("end", "edge(True)"),
    Binding("u", "release"), Binding("up,k", "move(-1)"), Binding("down,j", "move(1)"), Binding("pageup", "leap(-1)"),
    Binding("pagedown", "leap(1)"), *(Binding(each, f"sort_nth({each})") for each in "123456789"),
)  # fmt: skip
