"""Times as the screen says and reads them: of day, since the shown moment, or an interval's number."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

from perfcheck.errors import UsageError
from perfcheck.model.units import parse_duration_ns, shown

_OF_DAY: Final = re.compile(r"(\d{1,2}):(\d{2})(?::(\d{2})(\.\d{1,6})?)?")
_SECOND_NS: Final = 1_000_000_000
EXAMPLES: Final = "14:03:22  -30s  +5min  #120"


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """The time that can be looked at, from the first interval's end to the last one's, as time of day in ns."""

    first_ns: int
    last_ns: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Clock:
    """How times are read: a recording may come from anywhere, so its times are in UTC; live ones are local."""

    utc: bool

    def _at(self, at_ns: int) -> datetime:
        return datetime.fromtimestamp(at_ns / 1e9, UTC).astimezone(UTC if self.utc else None)

    def text(self, at_ns: int, *, tenths: bool = False) -> str:
        """Return a time of day; of a recording, with the date."""
        moment = self._at(at_ns)
        part = f".{moment.microsecond // 100_000}" if tenths else ""
        return f"{moment:%Y-%m-%d %H:%M:%S}{part} UTC" if self.utc else f"{moment:%H:%M:%S}{part}"

    def moment(self, text: str, span: Span, here_ns: int) -> int:
        """Return the time of day that a text means; UsageError where it is none, or outside of what there is."""
        text = text.strip()
        if text[:1] in {"+", "-"}:
            try:
                step = parse_duration_ns(text[1:])
            except ValueError:
                raise UsageError(f"expected a time after {text[0]} such as {text[0]}30s, got {shown(text)}") from None
            return min(max(here_ns + (step if text[0] == "+" else -step), span.first_ns), span.last_ns)
        match = _OF_DAY.fullmatch(text)
        if match is None:
            raise UsageError(f"expected a time such as {EXAMPLES.replace('  ', ', ')}, got {shown(text)}")
        hour, minute, second = (int(part or 0) for part in match.groups()[:3])
        if hour > 23 or minute > 59 or second > 59:
            raise UsageError(f"{shown(text)} is no time of day; hours end at 23, minutes and seconds at 59")
        micros = round(float(f"0{match[4]}") * 1e6) if match[4] else 0
        return self._within(timedelta(hours=hour, minutes=minute, seconds=second, microseconds=micros), text, span)

    def _within(self, of_day: timedelta, text: str, span: Span) -> int:
        first, last = (self._at(ns) for ns in (span.first_ns, span.last_ns))
        day = first.replace(hour=0, minute=0, second=0, microsecond=0)
        for days in range((last - first).days + 3):
            at_ns = round((day + timedelta(days=days) + of_day).timestamp() * _SECOND_NS)
            if span.first_ns - _SECOND_NS <= at_ns <= span.last_ns + _SECOND_NS:
                return min(max(at_ns, span.first_ns), span.last_ns)
        raise UsageError(
            f"{shown(text)} is not between {self.text(span.first_ns)} and {self.text(span.last_ns)}, which can be seen"
        )


def number_of(text: str) -> int | None:
    """Return the interval's number of `#120`; None where the text is no number of an interval."""
    found = re.fullmatch(r"#\s*(\d{1,9})", text.strip())
    return None if found is None else int(found[1])
