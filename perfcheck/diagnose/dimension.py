"""Dimensions of the quantities in rule conditions, so that milliseconds are never compared with bytes.

All arithmetic is done in bits, nanoseconds and fractions of 1. Things that are counted (segments,
events, connections) are pure numbers, so `tcp.cwnd_segs.p50 * tcp.mss_bytes` is a size.
"""

from __future__ import annotations

from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from perfcheck.model.units import DURATION_NS, RATE_BPS, SIZE_BYTES, format_value, plain_number

_GBIT_PER_BIT: Final = 1e-9
"""1 bit/s in bits a nanosecond."""


class DimensionMismatch(ValueError):  # noqa: N818 - it says what is wrong, the loader says where
    """Two quantities were added or compared that cannot be."""


@dataclass(frozen=True, slots=True)
class Dimension:
    """Powers of data and time.

    `percent` marks a share that is written in %, `bare` a number that was written without any
    unit; both are without data and time.
    """

    data: int = 0
    time: int = 0
    percent: bool = False
    bare: bool = False

    @property
    def pure(self) -> bool:
        """Whether it is a plain number, a share included."""
        return not self.data and not self.time

    def __mul__(self, other: Dimension) -> Dimension:
        """Return the dimension of a product; a share times a bare number stays a share."""
        data, time = self.data + other.data, self.time + other.time
        percent = self.percent is not other.percent and self.pure and other.pure and (self.bare or other.bare)
        return Dimension(data, time, percent=percent, bare=self.bare and other.bare)

    def __truediv__(self, other: Dimension) -> Dimension:
        """Return the dimension of a quotient; a share over a bare number stays a share."""
        data, time = self.data - other.data, self.time - other.time
        return Dimension(data, time, percent=self.percent and other.bare, bare=self.bare and other.bare)

    def joined(self, other: Dimension, doing: str) -> Dimension:
        """Return the dimension of a sum, a minimum or the sides of a comparison, or raise DimensionMismatch.

        `doing` names the operation in the message, e.g. `compare`.
        """
        if (self.data, self.time) != (other.data, other.time):
            raise DimensionMismatch(_mismatch(self, other, doing))
        if (self.percent and other.bare) or (other.percent and self.bare):
            raise DimensionMismatch(f"cannot {doing} a percentage and a number without unit: write it as 5%")
        return Dimension(
            self.data, self.time, percent=self.percent and other.percent, bare=self.bare and other.bare
        )  # fmt: skip

    def __str__(self) -> str:
        """Return the name that messages use."""
        if self.pure:
            return "a percentage" if self.percent else "a number without unit" if self.bare else "a number"
        names = {(0, 1): "a time", (1, 0): "a size", (1, -1): "a rate"}
        return names.get((self.data, self.time), f"a quantity in bit^{self.data} s^{self.time}")

    def show(self, base_value: float) -> str:
        """Return a value in base units as a person reads it, e.g. 2e7 ns as `20 ms`."""
        base_value = float(f"{base_value:.12g}")  # without the dust of binary fractions
        if self.pure:
            return format_value(base_value * 100, "pct") if self.percent else _number(base_value)
        if (self.data, self.time) == (0, 1):
            return format_value(base_value, "ns")
        if (self.data, self.time) == (1, 0):
            return format_value(base_value / 8, "bytes")
        if (self.data, self.time) == (1, -1):
            return format_value(float(f"{base_value / _GBIT_PER_BIT:.12g}"), "bps")
        return f"{base_value * 10.0 ** (-9 * self.time):.4g} bit^{self.data} s^{self.time}"


def _mismatch(left: Dimension, right: Dimension, doing: str) -> str:
    bare, other = (left, right) if left.bare else (right, left)
    if bare.bare:
        example = {(0, 1): "30ms", (1, 0): "256kb", (1, -1): "100mbit"}.get((other.data, other.time), "30ms")
        return f"cannot {doing} {other} and a number without unit: give the number its unit, such as {example}"
    return f"cannot {doing} {left} and {right}"


def _number(value: float) -> str:
    return plain_number(value, grouped=True)


TIME: Final = Dimension(time=1)
SIZE: Final = Dimension(data=1)
RATE: Final = Dimension(data=1, time=-1)
PERCENT: Final = Dimension(percent=True)
NUMBER: Final = Dimension()
BARE: Final = Dimension(bare=True)

_OF_METRICS: Final = MappingProxyType(
    {unit: (TIME, float(factor)) for unit, factor in DURATION_NS.items()}
    | {"bps": (RATE, _GBIT_PER_BIT), "bytes": (SIZE, 8.0), "pct": (PERCENT, 0.01)}
)


def metric_dimension(unit: str) -> tuple[Dimension, float]:
    """Return the dimension of a catalogue unit and its factor to base units; every unknown unit counts things."""
    return _OF_METRICS.get(unit, (NUMBER, 1.0))


def literal_quantity(number: float, unit: str) -> tuple[Dimension, float] | None:
    """Return dimension and value in base units of a literal such as `30ms`, or None for an unknown unit.

    The arithmetic is that of a metric's value, so that `x_us > 30ms` is exact at 30000 us.
    """
    if unit in DURATION_NS:
        return TIME, number * DURATION_NS[unit]
    if unit in RATE_BPS:
        return RATE, number * RATE_BPS[unit] * _GBIT_PER_BIT
    if unit in SIZE_BYTES:
        return SIZE, number * SIZE_BYTES[unit] * 8.0
    if unit == "%":
        return PERCENT, number * 0.01
    return None


LITERAL_UNITS: Final = (*DURATION_NS, *RATE_BPS, *SIZE_BYTES, "%")
"""Units that a literal may have, as in scenario files."""
