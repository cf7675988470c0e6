"""Bounds of a JSON text from a file: finite numbers of limited size, no duplicate keys, limited nesting."""

from __future__ import annotations

import json
import math
from typing import Any, Final, NoReturn

LARGEST: Final = 1e24
SMALLEST: Final = 1e-30
"""No figure of a network is beyond these; within them neither a square nor a quotient of two overflows."""

_MAX_DIGITS: Final = 25
_MAX_VALUES: Final = 1_000_000
"""A record of 1000 runs with all metrics has half of them."""
_MAX_KEYS: Final = 10_000


def json_fault(text: str) -> str | None:
    """Return why a JSON text is refused, or None for a good one; a text that is not JSON is left to its reader."""
    if sum(text.count(mark) for mark in ",[{") > _MAX_VALUES:
        return f"more than {_MAX_VALUES:,} values"
    try:
        json.loads(text, parse_float=_number, parse_int=_whole, parse_constant=_constant, object_pairs_hook=_bounded)
    except _Refused as refused:
        return str(refused)
    except RecursionError:
        return "nested too deep"
    except ValueError:
        return None
    return None


def in_bounds(value: float) -> bool:
    """Whether a number is finite and of a size that a figure of a network can have."""
    return math.isfinite(value) and (value == 0 or SMALLEST <= abs(value) <= LARGEST)


class _Refused(Exception):  # noqa: N818 - does not leave this module
    """A value that no file of ours holds."""


def _number(text: str) -> float:
    value = float(text)
    if not in_bounds(value):
        raise _Refused(f"expected a number between {SMALLEST:g} and {LARGEST:g}, or 0, got {text[:40]}")
    return value


def _whole(text: str) -> int:
    if len(text) > _MAX_DIGITS:
        raise _Refused(f"expected a number of at most {_MAX_DIGITS} digits, got {len(text)}")
    return int(text)


def _constant(name: str) -> NoReturn:
    raise _Refused(f"expected a number, got {name}")


def _bounded(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    if len(pairs) > _MAX_KEYS:
        raise _Refused(f"expected at most {_MAX_KEYS:,} keys in one object, got {len(pairs):,}")
    keys = dict(pairs)
    if len(keys) < len(pairs):
        seen: set[str] = set()
        repeated = next(key for key, _ in pairs if key in seen or seen.add(key))  # type: ignore[func-returns-value]
        raise _Refused(f"duplicate key {repeated[:60]!a}")
    return keys
