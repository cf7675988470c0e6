"""The record itself at the end of a scenario's part: all of it where it is short, else its begin, which says so."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, Final

from perfcheck.report.document import Block, Code, Fold, Paragraph
from perfcheck.report.run.source import Run

_BULKY: Final = ("trials", "metrics", "subjects", "phases")
"""Fields with a value for each metric: the tables have what they say."""
_WIDTH: Final = 160


def raw_block(run: Run, room: int) -> Fold:
    """Return the record's JSON, folded; of a long one the fields that are in tables are left out, and then the rest."""
    record = json.loads(run.record.to_json())
    text = _text(record)
    left_out: tuple[str, ...] = ()
    if len(text) > room:
        left_out = tuple(name for name in _BULKY if record.get(name))
        text = _text({name: value for name, value in record.items() if name not in left_out})
    blocks: list[Block] = []
    if left_out:
        blocks.append(Paragraph(
            text=f"The record is too long for this page: left out are its {', '.join(left_out)}, which the tables "
            "above sum up. The file of records has all of it."
        ))  # fmt: skip
    if len(text) > room:
        blocks.append(Paragraph(text=f"Only the first {room:,} of {len(text):,} characters are here."))
        text = text[:room]
    return Fold(summary="the record as JSON", blocks=(*blocks, Code(text=text)), printed=False)


def _text(value: Any) -> str:
    """Return JSON with a line for each field, and for what is long in it."""
    return "\n".join(_lines(value, 0))


def _lines(value: Any, depth: int) -> list[str]:
    short = json.dumps(value, ensure_ascii=True)
    if len(short) <= _WIDTH or not isinstance(value, (dict, list)):
        return [short]
    pad = " " * (depth + 1)
    items: Sequence[tuple[str, Any]]
    if isinstance(value, Mapping):
        items = [(f"{json.dumps(key)}: ", inner) for key, inner in value.items()]
        ends = "{}"
    else:
        items = [("", inner) for inner in value]
        ends = "[]"
    found = [ends[0]]
    for number, (key, inner) in enumerate(items, start=1):
        first, *more = _lines(inner, depth + 1)
        found += [f"{pad}{key}{first}", *more]
        found[-1] += "," if number < len(items) else ""
    return [*found, f"{' ' * depth}{ends[1]}"]
