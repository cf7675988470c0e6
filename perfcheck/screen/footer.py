"""The lowest line: which rows are in sight and how they are sorted, the keys, or what was wrong."""

from __future__ import annotations

from perfcheck.live.wording import count
from perfcheck.screen.lines import Line, Span, both_sides, shown_text
from perfcheck.screen.look import Look, Tone
from perfcheck.screen.table_view import TableView


def footer_line(view: TableView, look: Look, width: int, *, note: Span | None, below: int | None) -> Line:
    """Return the line; `below` is how many lines a page of text has below what is in sight, None for the table."""
    if note is not None:
        return both_sides((note,), (), width)
    keys: Line = (("? ", Tone.KEY), ("help ", Tone.LABEL), ("q ", Tone.KEY), ("end", Tone.LABEL))
    return both_sides(_of_table(view, look) if below is None else _of_page(below), keys, width)


def _of_page(below: int) -> Line:
    more = f"   {count(below, 'line')} below" if below else ""
    return ("Esc ", Tone.KEY), ("back", Tone.LABEL), (more, Tone.DIM)


def _of_table(view: TableView, look: Look) -> Line:
    first, last = min(view.top + 1, view.rows), min(view.top + view.visible, view.rows)
    arrow = ("▼" if view.descending else "▲") if look.wide else ("v" if view.descending else "^")
    text = shown_text(view.filter.text, wide=look.wide)
    return (
        (f"{first:,}-{last:,}", Tone.STRONG), (f" of {view.rows:,}", Tone.PLAIN),
        (f" (+{view.hidden_closed:,} closed)" if view.hidden_closed else "", Tone.DIM),
        ("  s ", Tone.KEY), (f"{view.sort} {arrow}", Tone.PLAIN), ("  g ", Tone.KEY), (view.by.value, Tone.PLAIN),
        ("  / ", Tone.KEY), (text or "filter", Tone.WARN if text else Tone.LABEL),
        ("  Enter ", Tone.KEY), ("details", Tone.LABEL), ("  Space ", Tone.KEY), ("pause", Tone.LABEL),
    )  # fmt: skip
