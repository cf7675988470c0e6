"""Quantities with units, as scenario files and rules write them.

A number without its unit is an error: different tools have read `delay: 5` as seconds, milliseconds and
microseconds.
"""

from __future__ import annotations

import math
import re
from decimal import Decimal
from typing import Final

DURATION_NS: Final = {"ns": 1, "us": 10**3, "ms": 10**6, "s": 10**9, "min": 60 * 10**9}
RATE_BPS: Final = {"bit": 1, "kbit": 10**3, "mbit": 10**6, "gbit": 10**9}
SIZE_BYTES: Final = {"b": 1, "kb": 10**3, "mb": 10**6, "gb": 10**9, "kib": 2**10, "mib": 2**20, "gib": 2**30}

LARGEST: Final = 2**62
"""Quantities stay below this, so that sums of two still fit the kernel's signed 64 bits."""

MAX_QUANTITY_CHARACTERS: Final = 64
"""No quantity that means anything is longer; the bound is checked before the text is looked at."""

# The text is stripped before; blanks are then matched in one place only, so that the time is linear in the length.
_QUANTITY: Final = re.compile(r"(?P<number>[0-9]+(?:\.[0-9]+)?(?:e[+-]?[0-9]+)?)(?:\s*(?P<unit>[a-z%]+))?")

_MAX_SHOWN: Final = 60


def split_quantity(text: object) -> tuple[float, str] | None:
    """Return `(number, unit)` of a text such as `10ms`, the unit may be empty; None when it is no finite quantity."""
    written = ""
    if isinstance(text, int | float) and not isinstance(text, bool):
        written = repr(float(text)) if abs(text) < LARGEST else ""
    elif isinstance(text, str) and len(text) <= MAX_QUANTITY_CHARACTERS:
        written = text.strip().lower()
    match = _QUANTITY.fullmatch(written)
    if match is None or not math.isfinite(number := float(match["number"])):
        return None
    return number, match["unit"] or ""


def shown(value: object) -> str:
    """Return a value as messages quote it, cut where it is long."""
    if isinstance(value, str):
        return repr(value if len(value) <= _MAX_SHOWN else f"{value[: _MAX_SHOWN - 3]}...")
    if isinstance(value, int) and abs(value) >= LARGEST:
        return "a number beyond 62 bits"
    if isinstance(value, dict | list | tuple):
        return f"a {'mapping' if isinstance(value, dict) else 'list'} of {len(value)}" if value else repr(value)
    return repr(value)[:_MAX_SHOWN]


def _parse(text: object, table: dict[str, int], what: str, example: str) -> float:
    parts = split_quantity(text)
    if isinstance(text, bool) or parts is None or parts[1] not in table:
        raise ValueError(f"expected {what} such as {example}, got {shown(text)}")
    value = parts[0] * table[parts[1]]
    if value >= LARGEST:
        raise ValueError(f"expected {what} that fits 62 bits, such as {example}, got {shown(text)}")
    return value


def parse_duration_ns(text: object) -> int:
    """Parse `10ms`, `1.5s`, `200us` to whole nanoseconds; ValueError says what was expected."""
    return round(_parse(text, DURATION_NS, "a duration", "10ms"))


def parse_rate_bps(text: object) -> int:
    """Parse `100mbit`, `1gbit` to whole bits per second; ValueError says what was expected."""
    return round(_parse(text, RATE_BPS, "a rate", "100mbit"))


def parse_size_bytes(text: object) -> int:
    """Parse `256kb`, `1mib` to whole bytes; ValueError says what was expected."""
    return round(_parse(text, SIZE_BYTES, "a size", "256kb"))


def parse_percent(text: object) -> float:
    """Parse `0.1%` to 0.1, within 0..100; ValueError says what was expected."""
    value = _parse(text, {"%": 1}, "a percentage", "0.1%")
    if value > 100:
        raise ValueError(f"expected a percentage from 0% to 100%, got {shown(text)}")
    return value


def parse_in_unit(text: object, unit: str) -> float:
    """Parse a threshold for a metric of catalogue unit `unit` to a number in that unit.

    `<number><unit>` is converted (`60ms` for a metric in us gives 60000.0). A bare number is
    taken to be in the metric's own unit, since its name carries it.
    """
    parts = split_quantity(text)
    if isinstance(text, bool) or parts is None:
        raise ValueError(f"expected a number in {unit}, got {shown(text)}")
    number, given = parts
    if not given:
        return number
    for table in (DURATION_NS, RATE_BPS, SIZE_BYTES, {"%": 1}):
        own = {"bps": "bit", "bytes": "b", "pct": "%"}.get(unit, unit)
        if own in table:
            if given not in table:
                raise ValueError(f"expected a number in {unit}, or with a unit ({', '.join(table)}), got {shown(text)}")
            return number * table[given] / table[own]
    raise ValueError(f"expected a plain number ({unit}), got {shown(text)}")


_STEPS: Final = {
    "time": ((10**9, "s"), (10**6, "ms"), (10**3, "us"), (1, "ns")),
    "bps": ((10**9, "Gbit/s"), (10**6, "Mbit/s"), (10**3, "kbit/s"), (1, "bit/s")),
    "bytes": ((10**9, "GB"), (10**6, "MB"), (10**3, "kB"), (1, "B")),
}
_TIMES: Final = ("ns", "us", "ms", "s")
_ROUNDS_UP: Final = 0.99995
"""From this share of a unit on four digits are those of the unit: `1 ms`, not `1000 us`."""
_WHOLE_PCT: Final = 100.0
_HALF_PCT: Final = 0.5


def plain_number(value: float, digits: int = 4, *, grouped: bool = False) -> str:
    """Return a number with so many digits that count, and all of those before the point; `-` for what is no number.

    There is no exponent, which a reader takes for another number, no `-0`, and 0 only for 0.
    """
    if not math.isfinite(value):
        return "-"
    if value == 0:
        return "0"
    comma = "," if grouped else ""
    if abs(value) >= 10 ** (digits - 1):
        return f"{value:{comma}.0f}"
    short = f"{value:.{digits}g}"
    return f"{Decimal(short):f}" if "e" in short else short


def readable_pct(value_pct: float, digits: int = 4) -> str:
    """Return `99.5 %`; what is less than all is never rounded to `100 %`; `-` for what is no number."""
    if not math.isfinite(value_pct):
        return "-"
    text = plain_number(value_pct, digits)
    if abs(value_pct) < _WHOLE_PCT and abs(float(text)) >= _WHOLE_PCT:
        text = f"{math.copysign(_WHOLE_PCT - 10.0 ** (2 - digits), value_pct):.{max(digits - 2, 0)}f}"
    return f"{text} %"


def probability_text(probability: float) -> str:
    """Return a probability from 0 to 1 as `93 %`; what is neither impossible nor certain is never told as either."""
    return whole_pct(_WHOLE_PCT * probability)


def whole_pct(share_pct: float) -> str:
    """Return a share as `93 %`, `under 1 %` where it is not 0 and `over 99 %` where it is not all; `-` for NaN."""
    if not math.isfinite(share_pct):
        return "-"
    if 0 < share_pct <= _HALF_PCT:
        return "under 1 %"
    if _WHOLE_PCT - _HALF_PCT <= share_pct < _WHOLE_PCT:
        return "over 99 %"
    return f"{round(share_pct)} %"


def format_value(value: float, unit: str) -> str:
    """Return a value with a unit that a person reads easily, e.g. 20130 us as `20.13 ms`; `-` for what is no number."""
    if not math.isfinite(value):
        return "-"
    if unit in _TIMES:
        return _scaled(value * DURATION_NS[unit], _STEPS["time"])
    if unit in _STEPS:
        return _scaled(value, _STEPS[unit])
    if unit == "pct":
        return readable_pct(value)
    return plain_number(value, 5 if unit == "insns" else 4, grouped=unit not in ("1", "ratio"))


def readable_unit(largest: float, unit: str) -> tuple[float, str]:
    """Return what values up to the largest are divided by on one axis, and the name of their unit then."""
    if unit in _TIMES:
        factor, name = _step(largest * DURATION_NS[unit], _STEPS["time"])
        return factor / DURATION_NS[unit], name
    if unit in _STEPS:
        return _step(largest, _STEPS[unit])
    return 1.0, {"pct": "%", "insns": "instructions", "per_s": "per s", "segs": "segments", "1": "", "ratio": ""}.get(
        unit, unit
    )


def _scaled(value: float, steps: tuple[tuple[int, str], ...]) -> str:
    factor, name = _step(value, steps)
    return f"{plain_number(value / factor, grouped=True)} {name}"


def _step(value: float, steps: tuple[tuple[int, str], ...]) -> tuple[float, str]:
    return next((step for step in steps if abs(value) >= step[0] * _ROUNDS_UP), steps[-1])
