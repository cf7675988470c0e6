"""Values of connections in a few characters, for the cells of tables."""

from __future__ import annotations

import math
from typing import Final

from perfcheck.model.units import plain_number

ABSENT: Final = "-"
_WHOLE_BELOW: Final = 99_999.5
"""Counts up to here are written out."""
_BEYOND: Final = 1e15
"""No figure of a connection; only a damaged recording has it."""
_TINY: Final = 0.1
"""Two digits behind the point would not tell these from 0."""
_STEPS: Final = {
    "us": ((1e6, "s"), (1e3, "ms"), (1.0, "us")),
    "bps": ((1e9, "G"), (1e6, "M"), (1e3, "k"), (1.0, "")),
    "bytes": ((1e9, "GB"), (1e6, "MB"), (1e3, "kB"), (1.0, "B")),
    "count": ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k"), (1.0, "")),
}


def short(value: float, unit: str) -> str:
    """Return a value of a unit (us, bps, bytes, count) in few characters: `20.1ms`, `941M`; `-` for NaN."""
    if math.isnan(value):
        return ABSENT
    if value == 0:
        return "0"
    if abs(value) >= _BEYOND:
        return f"{value:.2g}"
    if unit == "count" and abs(value) < _WHOLE_BELOW:
        return plain_number(value, 2) if abs(value) < 10 and value != int(value) else f"{value:.0f}"
    factor, name = next(
        ((factor, name) for factor, name in _STEPS[unit] if abs(value) >= factor * 0.9995), _STEPS[unit][-1]
    )
    scaled = value / factor
    if abs(scaled) < _TINY:
        return f"{plain_number(scaled, 2)}{name}"
    digits = 0 if abs(scaled) >= 99.95 else 1 if abs(scaled) >= 9.995 else 2
    text = f"{scaled:.{digits}f}"
    return f"{text.rstrip('0').rstrip('.') if '.' in text else text}{name}"
