"""The lowest line: which rows are in sight and how they are sorted, the keys, or what was wrong."""

from __future__ import annotations

from perfcheck.live.wording import count
from perfcheck.screen.lines import GAP, Line, Span, both_sides, shown_text, text_of, width_of, wrapped_items
from perfcheck.screen.look import Look, Tone
from perfcheck.screen.table_view import TableView


def footer_line(view: TableView, look: Look, width: int, *, note: Span | None, below: int | None) -> Line:
    """Return the line; `below` is how many lines a page of text has below what is in sight, None for the table."""
    if note is not None:
        return both_sides((note,), (), width)
    keys: Line = (("? ", Tone.KEY), ("help ", Tone.LABEL), ("q ", Tone.KEY), ("end", Tone.LABEL))
    room = width - width_of(text_of(keys)) - len(GAP)
    items = _of_table(view, look) if below is None else _of_page(below)
    # What has no room is left out, not cut.
    left = wrapped_items(items, room)[0] if room > 0 else ()
    return both_sides(left, keys, width)


def _of_page(below: int) -> list[Line]:
    return [
        (("Esc ", Tone.KEY), ("back", Tone.LABEL)),
        ((f" {count(below, 'line')} below" if below else "", Tone.DIM),),
    ]


def _of_table(view: TableView, look: Look) -> list[Line]:
    first, last = min(view.top + 1, view.rows), min(view.top + view.visible, view.rows)
    arrow = ("▼" if view.descending else "▲") if look.wide else ("v" if view.descending else "^")
    text = shown_text(view.filter.text, wide=look.wide)
    closed = f" (+{view.hidden_closed:,} closed)" if view.hidden_closed else ""
    return [
        ((f"{first:,}-{last:,}", Tone.STRONG), (f" of {view.rows:,}", Tone.PLAIN), (closed, Tone.DIM)),
        (("s ", Tone.KEY), (f"{view.sort} {arrow}", Tone.PLAIN)), (("g ", Tone.KEY), (view.by.value, Tone.PLAIN)),
        (("/ ", Tone.KEY), (text or "filter", Tone.WARN if text else Tone.LABEL)),
        (("Enter ", Tone.KEY), ("details", Tone.LABEL)), (("Space ", Tone.KEY), ("pause", Tone.LABEL)),
    ]  # fmt: skip
