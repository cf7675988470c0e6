"""Charts as JSON for a page: numbers no longer than they can be seen, and nothing that HTML would read as markup."""

from __future__ import annotations

import base64
import json
import math
import zlib
from collections.abc import Iterable, Mapping, Sequence
from numbers import Integral
from typing import Any, Final

from perfcheck.model.printable import ascii_json, printable
from perfcheck.report.document import Chart

_DIGITS: Final = 6
"""What a value keeps of significant digits, and a column of its spread: far finer than a screen's pixels."""
_PLAIN_CHARS: Final = 4096
"""Shorter JSON stays readable in the page's source; longer is deflated."""
_MARKUP: Final = {ord("<"): "\\u003c", ord(">"): "\\u003e", ord("&"): "\\u0026"}


def packed(charts: Iterable[Chart]) -> str:
    """Return charts by their names as JSON for a script element: an object, or its text deflated as a string.

    All charts are packed as one: what they have alike, their specifications above all, then takes no room.
    """
    text = script_json({chart.name: _packed(chart) for chart in charts})
    return text if len(text) <= _PLAIN_CHARS else f'"{deflated(text)}"'


def script_json(value: Any) -> str:
    """Return a value as JSON in which nothing is markup, in a script element or elsewhere."""
    return ascii_json(json.dumps(value, separators=(",", ":"), ensure_ascii=False, allow_nan=False)).translate(_MARKUP)


def deflated(text: str) -> str:
    """Return a text deflated, in base64."""
    return base64.b64encode(zlib.compress(text.encode(), 9)).decode()


def unpacked(text: str) -> Mapping[str, Any]:
    """Return what `packed` was given: `spec` and `columns` of each chart by its name."""
    found = json.loads(text)
    if isinstance(found, str):
        found = json.loads(zlib.decompress(base64.b64decode(found)))
    if not isinstance(found, dict):
        raise TypeError("not packed charts")
    return found


def _packed(chart: Chart) -> Mapping[str, Any]:
    return {"spec": _shown(chart.spec), "columns": {name: _column(values) for name, values in chart.columns.items()}}


def _shown(value: Any) -> Any:
    """Return a part of a specification with its texts made printable."""
    if isinstance(value, str):
        return printable(value)
    if isinstance(value, Mapping):
        return {str(key): _shown(each) for key, each in value.items()}
    return [_shown(each) for each in value] if isinstance(value, Sequence) else value


def _column(values: Sequence[Any]) -> list[float | int | str | None]:
    """Return a column as it is packed; its numbers may be numpy's, and a text often stands in many rows."""
    texts = {each: printable(each) for each in {each for each in values if isinstance(each, str)}}
    plain = [each if isinstance(each, str) else _plain(each) for each in values]
    known = [each for each in plain if isinstance(each, float)]
    decimals = _decimals(max(known) - min(known)) if known else 0
    return [
        texts[each] if isinstance(each, str) else _short(each, decimals) if isinstance(each, float) else each
        for each in plain
    ]


def _plain(value: Any) -> float | int | None:
    """Return a number as one of Python's; None where it is not known."""
    if value is None or type(value) is int:
        return value
    if not isinstance(value, float) and isinstance(value, Integral):
        return int(value)
    number = float(value)
    return number if math.isfinite(number) else None


def _short(number: float, least_decimals: int) -> float | int:
    short = round(number, max(least_decimals, _decimals(number)))
    return int(short) if short.is_integer() and abs(short) < 2**53 else short


def _decimals(size: float) -> int:
    """Return how many decimals show a size in so many digits."""
    size = abs(float(size))
    return _DIGITS - 1 - math.floor(math.log10(size)) if 0 < size < math.inf else 0
