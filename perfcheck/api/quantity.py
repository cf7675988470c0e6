"""Quantities with units for tests in Python: `ms(60)`, `mbit(5)`, `pct(0.5)`."""

from __future__ import annotations

import math
from functools import total_ordering
from typing import Final

from perfcheck.api.failure import is_mistake
from perfcheck.model.units import DURATION_NS, RATE_BPS, SIZE_BYTES, format_value

__tracebackhide__ = is_mistake
Number = int | float

_KINDS: Final = {
    "duration": DURATION_NS,
    "rate": {**RATE_BPS, "bps": 1},
    "size": {**SIZE_BYTES, "bytes": 1},
    "share": {"pct": 1},
}
_EXAMPLES: Final = {"duration": "ms(60)", "rate": "mbit(5)", "size": "kb(64)", "share": "pct(0.5)"}
_WRITTEN: Final = {"pct": "%", "bps": "bit", "bytes": "b"}


def kind_of(unit: str) -> str | None:
    """Return `duration`, `rate`, `size` or `share`; None for a unit that only counts (`packets`, `ratio`)."""
    return next((kind for kind, table in _KINDS.items() if unit in table), None)


@total_ordering
class Quantity:
    """A number with its unit; immutable. Made by `ms(60)` and its like, or by arithmetic with measured values.

    Quantities compare, add and subtract with quantities of the same kind, whatever their units; their quotient is
    a plain number. TypeError where the kinds differ, since no answer would be right.

    Example:
        >>> ms(1) + us(500)
        ms(1.5)
        >>> ms(1500) == s(1.5)
        True
        >>> mbit(10) / kbit(500)
        20.0
        >>> ms(1) < mbit(5)
        Traceback (most recent call last):
        TypeError: cannot compare a duration (1ms) with a rate (5mbit)
    """

    __slots__ = ("_number", "_unit")

    def __init__(self, number: Number, unit: str) -> None:
        """Take a finite number; `unit` is one of perfcheck's (`ms`, `mbit`, `kb`, `pct`) or a metric's own."""
        if isinstance(number, bool) or not isinstance(number, int | float) or not math.isfinite(number):
            raise TypeError(f"expected a finite number of {unit}, got {number!r}")
        self._number = number
        self._unit = unit

    @property
    def number(self) -> Number:
        """The number, in `unit`."""
        return self._number

    @property
    def unit(self) -> str:
        """The unit in which it was given: `ms`, `mbit`, `kb`, `pct`, or a metric's own such as `us` or `packets`."""
        return self._unit

    @property
    def notation(self) -> str:
        """The quantity as scenario files write it, e.g. `10ms`, `0.1%`."""
        number = self._number
        text = str(int(number)) if number == int(number) else repr(number)
        return f"{text}{_WRITTEN.get(self._unit, self._unit)}"

    @property
    def base(self) -> Number:
        """The number in the base unit of its kind: ns, bit/s, bytes, percent; as it is where it only counts."""
        kind = kind_of(self._unit)
        return self._number * _KINDS[kind][self._unit] if kind else self._number

    def to(self, unit: str) -> float:
        """Return the number in another unit of the same kind, e.g. `ms(60).to("us")` is 60000.0."""
        if unit == self._unit:
            return float(self._number)
        kind = kind_of(self._unit)
        if kind is None or unit not in _KINDS[kind]:
            raise TypeError(f"cannot convert {self._described()} to {unit}")
        return self._number * _KINDS[kind][self._unit] / _KINDS[kind][unit]

    def __eq__(self, other: object) -> bool:
        """Compare; TypeError for a quantity of another kind, which could never be equal."""
        found = self._comparable(other)
        return NotImplemented if found is None else self.base == found

    def __lt__(self, other: Quantity | Number) -> bool:
        """Compare with a quantity of the same kind."""
        found = self._comparable(other)
        return NotImplemented if found is None else self.base < found

    def __hash__(self) -> int:
        """Hash alike what is equal."""
        return hash((kind_of(self._unit) or self._unit, self.base))

    def __add__(self, other: Quantity) -> Quantity:
        """Add a quantity of the same kind; in this one's unit."""
        return Quantity(self._number + self._same_kind(other, "add"), self._unit)

    def __sub__(self, other: Quantity) -> Quantity:
        """Subtract a quantity of the same kind; in this one's unit."""
        return Quantity(self._number - self._same_kind(other, "subtract"), self._unit)

    def __mul__(self, factor: Number) -> Quantity:
        """Multiply by a plain number."""
        if isinstance(factor, bool) or not isinstance(factor, int | float):
            return NotImplemented
        return Quantity(self._number * factor, self._unit)

    __rmul__ = __mul__

    def __truediv__(self, other: Quantity | Number) -> Quantity | float:
        """Divide by a number, which gives a quantity, or by a quantity of the same kind, which gives a number."""
        if isinstance(other, Quantity):
            return self._number / self._same_kind(other, "divide")
        if isinstance(other, bool) or not isinstance(other, int | float):
            return NotImplemented
        return Quantity(self._number / other, self._unit)

    def __neg__(self) -> Quantity:
        """Return the opposite."""
        return Quantity(-self._number, self._unit)

    def __abs__(self) -> Quantity:
        """Return the quantity without its sign."""
        return Quantity(abs(self._number), self._unit)

    def __float__(self) -> float:
        """Return the number in its own unit."""
        return float(self._number)

    def __format__(self, spec: str) -> str:
        """Format the number with `spec`; without one, write the quantity as a person reads it."""
        return format(float(self._number), spec) if spec else str(self)

    def __str__(self) -> str:
        """Return e.g. `20.13 ms`, `5 Mbit/s`."""
        return format_value(self.to(own), own) if (own := _OWN.get(kind_of(self._unit) or "")) else self._described()

    def __repr__(self) -> str:
        """Return what made it, e.g. `ms(60)`."""
        number = self._number
        shown = int(number) if number == int(number) else number
        name = {"bps": "bit", "bytes": "b", "min": "minutes"}.get(self._unit, self._unit)
        return f"{name}({shown!r})" if kind_of(self._unit) else f"Quantity({shown!r}, {self._unit!r})"

    def _described(self) -> str:
        return self.notation if kind_of(self._unit) else f"{self._number:g} {self._unit}"

    def _what(self) -> str:
        """Say what it is, in messages."""
        return f"a {kind_of(self._unit) or 'number of ' + self._unit} ({self._described()})"

    def _comparable(self, other: object) -> Number | None:
        """Return the other in its kind's base unit; None for what is no quantity; TypeError for another kind."""
        if isinstance(other, Quantity):
            self._same_kind(other, "compare")
            return other.base
        if isinstance(other, int | float) and not isinstance(other, bool):
            kind = kind_of(self._unit)
            meant = f"; give it a unit, such as {_EXAMPLES[kind]}" if kind else ""
            raise TypeError(f"cannot compare {self._what()} with the bare number {other!r}{meant}")
        return None

    def _same_kind(self, other: object, verb: str) -> float:
        """Return the other's number in this one's unit; a number that counts has the same kind only in its own unit."""
        if not isinstance(other, Quantity):
            raise TypeError(f"cannot {verb} {self._what()} and {other!r}: expected a quantity of the same kind")
        if (kind_of(self._unit) or self._unit) != (kind_of(other.unit) or other.unit):
            joined = {"compare": "with", "subtract": "and", "add": "and", "divide": "by"}[verb]
            raise TypeError(f"cannot {verb} {self._what()} {joined} {other._what()}")
        return other.to(self._unit)


_OWN: Final = {"duration": "ns", "rate": "bps", "size": "bytes", "share": "pct"}


def ns(number: Number) -> Quantity:
    """Return a duration in nanoseconds."""
    return Quantity(number, "ns")


def us(number: Number) -> Quantity:
    """Return a duration in microseconds."""
    return Quantity(number, "us")


def ms(number: Number) -> Quantity:
    """Return a duration in milliseconds."""
    return Quantity(number, "ms")


def s(number: Number) -> Quantity:
    """Return a duration in seconds."""
    return Quantity(number, "s")


def minutes(number: Number) -> Quantity:
    """Return a duration in minutes (`min` in a scenario file)."""
    return Quantity(number, "min")


def bit(number: Number) -> Quantity:
    """Return a rate in bits per second."""
    return Quantity(number, "bit")


def kbit(number: Number) -> Quantity:
    """Return a rate in 1000 bits per second."""
    return Quantity(number, "kbit")


def mbit(number: Number) -> Quantity:
    """Return a rate in 10**6 bits per second."""
    return Quantity(number, "mbit")


def gbit(number: Number) -> Quantity:
    """Return a rate in 10**9 bits per second."""
    return Quantity(number, "gbit")


def b(number: Number) -> Quantity:
    """Return a size in bytes."""
    return Quantity(number, "b")


def kb(number: Number) -> Quantity:
    """Return a size in 1000 bytes."""
    return Quantity(number, "kb")


def mb(number: Number) -> Quantity:
    """Return a size in 10**6 bytes."""
    return Quantity(number, "mb")


def gb(number: Number) -> Quantity:
    """Return a size in 10**9 bytes."""
    return Quantity(number, "gb")


def kib(number: Number) -> Quantity:
    """Return a size in 1024 bytes."""
    return Quantity(number, "kib")


def mib(number: Number) -> Quantity:
    """Return a size in 2**20 bytes."""
    return Quantity(number, "mib")


def gib(number: Number) -> Quantity:
    """Return a size in 2**30 bytes."""
    return Quantity(number, "gib")


def pct(number: Number) -> Quantity:
    """Return a share in percent."""
    return Quantity(number, "pct")
