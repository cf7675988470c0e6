"""What all charts share: one readable unit for an axis, its numbers, and how tooltips and scales are written."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from perfcheck.model.units import plain_number, readable_unit

Spec = dict[str, Any]
ROWS: Final = {"name": "rows"}
"""The source of all charts' data, which the renderer fills from `Chart.columns`."""
SCHEMA: Final = "https://vega.github.io/schema/vega-lite/v6.json"
NUMBERS: Final = ",.4~r"
"""Four digits that count, without powers of ten."""
_DIGITS: Final = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Axis:
    """One unit for all values of an axis: `name` is what it is, `unit` may be empty for a plain count."""

    name: str
    unit: str
    divisor: float = 1.0

    @classmethod
    def of(cls, name: str, unit: str, values: Iterable[float]) -> Axis:
        """Return the axis of these values, which are in a unit of the catalogue."""
        largest = max((abs(value) for value in values if math.isfinite(value)), default=0.0)
        divisor, readable = readable_unit(largest, unit)
        return cls(name=name, unit="" if readable == "count" else readable, divisor=divisor)

    @property
    def title(self) -> str:
        """The axis' title: `tcp.rtt_us.p99 (ms)`."""
        return f"{self.name} ({self.unit})" if self.unit else self.name

    @property
    def upright(self) -> str:
        """The title of an axis that stands upright, where a chart's height is all its room: the unit alone."""
        return self.unit or "number"

    def titled(self, name: str) -> str:
        """Return the title of one value of this axis in a tooltip."""
        return f"{name} ({self.unit})" if self.unit else name

    def text(self, *values: float) -> str:
        """Return a value, or the range between two, in the axis' unit as words have it: `20.13 ms`, `0 to 3 ms`."""
        numbers = " to ".join(dict.fromkeys(map(self._number, values)))
        return f"{numbers} {self.unit}" if self.unit else numbers

    def _number(self, value: float) -> str:
        return plain_number(value / self.divisor, grouped=True)

    def shown(self, values: Sequence[float]) -> list[float | None]:
        """Return values in the axis' unit, with the digits that can be told apart; None for what is not known."""
        return [rounded(value / self.divisor) for value in values]


def rounded(value: float) -> float | int | None:
    """Return a value with five digits that count, as short as JSON has it; None for what is no number."""
    if not math.isfinite(value):
        return None
    short = float(f"{value:.{_DIGITS}g}")
    return int(short) if short == int(short) else short


def seconds(field: str = "t", title: str = "time (s)") -> Spec:
    """Return the encoding of a time axis in seconds."""
    return {
        "field": field, "type": "quantitative",
        "axis": {"title": title, "format": "~g", "grid": False, "tickCount": 10},
        "scale": {"nice": False, "zero": False},
    }  # fmt: skip


def told(field: str, title: str, *, text: bool = False) -> Spec:
    """Return one line of a tooltip."""
    if text:
        return {"field": field, "title": title, "type": "nominal"}
    return {"field": field, "title": title, "type": "quantitative", "format": NUMBERS}


def known(field: str) -> Spec:
    """Return the transform that keeps the rows with a number in this field."""
    return {"filter": {"field": field, "valid": True}}


def coloured(name: str, names: Sequence[str], *, legend: Sequence[str]) -> Spec:
    """Return the colour of one of the names; each name has one colour in all charts with the same names."""
    return {
        "datum": name, "type": "nominal", "scale": {"domain": list(names)},
        "legend": {"title": None, "values": list(legend), "symbolOpacity": 1, "symbolType": "stroke"}
        if len(legend) > 1 else None,
    }  # fmt: skip


def zoomed() -> Spec:
    """Return the parameter that zooms the time axis with Ctrl and the wheel, and drags it; a double click resets."""
    return {
        "name": "zoom", "bind": "scales",
        "select": {"type": "interval", "encodings": ["x"], "zoom": "wheel![event.ctrlKey]"},
    }  # fmt: skip


def layered(layers: Sequence[Spec], *, height: int, **more: Any) -> Spec:
    """Return the specification of a chart of layers that is as wide as its place."""
    return {
        "$schema": SCHEMA, "width": "container", "height": height, "autosize": {"type": "fit-x", "contains": "padding"},
        "data": dict(ROWS), "layer": list(layers), **more,
    }  # fmt: skip
