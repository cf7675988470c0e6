"""A measured value that knows its unit, its runs and its record: what `record["tcp.rtt_us.p99"]` is."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from perfcheck.api.failure import is_mistake
from perfcheck.api.quantity import Number, Quantity

if TYPE_CHECKING:
    from perfcheck.api.record import Record

__tracebackhide__ = is_mistake
_HOLDS: Final = {
    "<": lambda own, other: own < other,
    "<=": lambda own, other: own <= other,
    ">": lambda own, other: own > other,
    ">=": lambda own, other: own >= other,
    "==": lambda own, other: own == other,
    "!=": lambda own, other: own != other,
}
MIRRORED: Final = {"<": ">", "<=": ">=", ">": "<", ">=": "<=", "==": "==", "!=": "!="}


class Measured(Quantity):
    """One metric of a record: the median of its runs, in the metric's unit.

    Compares with quantities of its kind (`ms(60)`), with other measured values, and with bare numbers, which are
    taken to be in the metric's own unit, since its name carries it. TypeError for a quantity of another kind.
    Arithmetic gives plain quantities: `record["tcp.rtt_us.p99"] - record["tcp.rtt_us.p50"] < ms(5)`.
    """

    __slots__ = ("_name", "_per_trial", "_record")

    def __init__(self, name: str, value: float, unit: str, per_trial: tuple[float, ...], record: Record) -> None:
        """Take the metric's name, its median and the runs' own values in `unit`, and the record that it is of."""
        super().__init__(value, unit)
        self._name = name
        self._per_trial = per_trial
        self._record = record

    @property
    def name(self) -> str:
        """The metric's name, e.g. `tcp.rtt_us.p99`."""
        return self._name

    @property
    def value(self) -> float:
        """The median of the runs, in the metric's own unit (`unit`)."""
        return float(self.number)

    @property
    def per_trial(self) -> tuple[float, ...]:
        """The value of each run that counts, in the metric's own unit."""
        return self._per_trial

    @property
    def record(self) -> Record:
        """The record that it is of."""
        return self._record

    def holds(self, operator: str, other: object) -> bool | None:
        """Whether `self OPERATOR other`; None where the other is neither quantity nor number."""
        if isinstance(other, int | float) and not isinstance(other, bool):
            return bool(_HOLDS[operator](self.number, other))
        found = self._comparable(other)
        return None if found is None else bool(_HOLDS[operator](self.base, found))

    def expected(self, operator: str, other: object) -> str:
        """Return what was expected as an `expect` line says it, e.g. `<= 60ms`."""
        if isinstance(other, Measured):
            return f"{operator} {other} ({other.name} of {other.record.label})"
        return f"{operator} {other.notation if isinstance(other, Quantity) else other}"

    def _judged(self, operator: str, other: object) -> bool:
        held = self.holds(operator, other)
        if held:
            # A comparison that does not hold is no failure yet: it may stand in an `if`.
            self._record.note_passed(self, operator, other)
        return NotImplemented if held is None else held

    def __lt__(self, other: Quantity | Number) -> bool:
        """Compare."""
        return self._judged("<", other)

    def __le__(self, other: Quantity | Number) -> bool:
        """Compare."""
        return self._judged("<=", other)

    def __gt__(self, other: Quantity | Number) -> bool:
        """Compare."""
        return self._judged(">", other)

    def __ge__(self, other: Quantity | Number) -> bool:
        """Compare."""
        return self._judged(">=", other)

    def __eq__(self, other: object) -> bool:
        """Compare."""
        return self._judged("==", other)

    def __ne__(self, other: object) -> bool:
        """Compare."""
        return self._judged("!=", other)

    __hash__ = Quantity.__hash__

    def __repr__(self) -> str:
        """Return e.g. `tcp.rtt_us.p99 = 46.7 ms`."""
        return f"{self._name} = {self}"


class Cause(str):
    """The most probable cause's name: a text that knows its record, for the message where it is not as expected."""

    __slots__ = ("record",)

    record: Record

    def __new__(cls, name: str, record: Record) -> Cause:
        """Make the text."""
        made = super().__new__(cls, name)
        made.record = record
        return made
