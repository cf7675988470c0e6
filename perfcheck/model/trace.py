"""Traces of rates and delays: two formats, read into what the relay replays."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise
from typing import Annotated, Any, Final

from pydantic import BeforeValidator, Field

from perfcheck.model.quantities import Frozen, parse_at_ns, parse_link_delay_ns, parse_rate_or_outage_bps
from perfcheck.model.units import shown

UNCHANGED: Final = "-"
_MS: Final = 1_000_000
Row = tuple[int, int | None, int | None]


MAX_BYTES: Final = 8_000_000
MAX_STEPS: Final = 100_000
MAX_OPPORTUNITIES: Final = 1_000_000
MAX_MS: Final = 3_600_000
"""No traffic is longer than an hour."""


class Trace(Frozen):
    """A file to replay: its name in the scenario file, where that leads, and the digest of what was in it.

    `path` and `sha256` are empty where the file was not looked for.
    """

    name: str
    path: str = ""
    sha256: str = ""


def parse_trace_name(value: object) -> object:
    """Take a file's name as a trace that was not looked for yet."""
    if isinstance(value, Trace):
        return value
    if not isinstance(value, str) or not value:
        raise ValueError(f"expected a file's name such as lte.trace, got {shown(value)}")
    return Trace(name=value)


TraceField = Annotated[
    Trace, BeforeValidator(parse_trace_name, json_schema_input_type=Annotated[str, Field(min_length=1)])
]


def parse_trace(content: bytes) -> dict[str, Any]:
    """Parse what a trace file holds; ValueError says `line N: what was expected`, and nothing of the content.

    The file may be any that its name led to: what is in it is nobody's business.

    Lines of whole numbers are mahimahi's: each a time in ms at which 1504 bytes may leave, and
    the last one's time is the length after which all repeats. Else a line is `AT RATE DELAY` with
    units, `-` where one does not change (or does not matter, in all lines), such as `2s 10mbit
    20ms`; a last line `repeat 5s` makes it begin again. `#` begins a comment.

    The result is what the relay's plan takes as `trace`.
    """
    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise ValueError(f"line {line}: expected UTF-8 text") from None
    numbered = ((number, line.partition("#")[0].split()) for number, line in enumerate(text.split("\n"), start=1))
    lines = [(number, words) for number, words in numbered if words]
    if not lines:
        raise ValueError("the trace is empty")
    try:
        if all(len(words) == 1 and words[0].isascii() and words[0].isdigit() for _, words in lines):
            return _mahimahi(lines)
        return _steps(lines)
    except _LineError as wrong:
        raise ValueError(f"line {wrong.line}: {wrong}") from None


class _LineError(ValueError):
    def __init__(self, line: int, text: str) -> None:
        super().__init__(text)
        self.line = line


def _mahimahi(lines: Sequence[tuple[int, list[str]]]) -> dict[str, Any]:
    if len(lines) > MAX_OPPORTUNITIES:
        raise _LineError(lines[MAX_OPPORTUNITIES][0], f"expected at most {MAX_OPPORTUNITIES:,} lines of this kind")
    times = [(number, _milliseconds(number, words[0])) for number, words in lines]
    for (_, before), (number, time) in pairwise(times):
        if time < before:
            raise _LineError(number, "expected a time that is not before that of the line above")
    if times[-1][1] == 0:
        raise _LineError(times[-1][0], "a trace must be longer than 0 ms")
    return {"opportunities": {"at_ns": [time * _MS for _, time in times], "repeat_ns": times[-1][1] * _MS}}


def _milliseconds(number: int, word: str) -> int:
    time = int(word) if len(word) <= len(str(MAX_MS)) else MAX_MS + 1
    if time > MAX_MS:
        raise _LineError(number, f"expected a time in ms, at most {MAX_MS}")
    return time


def _steps(lines: Sequence[tuple[int, list[str]]]) -> dict[str, Any]:
    repeat_ns = None
    if lines[-1][1][0] == "repeat":
        number, words = lines[-1]
        repeat_ns = _repeat(number, words)
        lines = lines[:-1]
    if len(lines) > MAX_STEPS:
        raise _LineError(lines[MAX_STEPS][0], f"expected at most {MAX_STEPS:,} lines of this kind")
    rows = list(_rows(lines))
    if repeat_ns is not None and rows and repeat_ns <= rows[-1][0]:
        raise _LineError(lines[-1][0], "this step comes after the trace's end; see `repeat`")
    trace: dict[str, Any] = {}
    for name, unit, place in (("rate", "bps", 1), ("delay", "ns", 2)):
        column = [(row[0], row[place]) for row in rows if row[place] is not None]
        if column:
            if column[0][0] != 0:
                raise _LineError(lines[0][0], f"the first line must give the {name}, because a later line gives one")
            trace[name] = {
                "at_ns": [at for at, _ in column], unit: [value for _, value in column], "repeat_ns": repeat_ns,
            }  # fmt: skip
    if not trace:
        raise _LineError(lines[0][0] if lines else 1, "the trace changes neither rate nor delay")
    return trace


def _repeat(number: int, words: Sequence[str]) -> int:
    if len(words) != 2:
        raise _LineError(number, "expected `repeat` and a duration, such as repeat 5s")
    return _quantity(number, parse_at_ns, words[1])


def _rows(lines: Sequence[tuple[int, list[str]]]) -> Iterator[Row]:
    before = -1
    for number, words in lines:
        if len(words) != 3:
            raise _LineError(number, "expected `AT RATE DELAY` such as 2s 10mbit 20ms")
        at = _quantity(number, parse_at_ns, words[0])
        if before < 0 < at:
            raise _LineError(number, "the first line must begin at 0s")
        if at <= before:
            raise _LineError(number, "expected a time after that of the line above")
        before = at
        rate = None if words[1] == UNCHANGED else _quantity(number, parse_rate_or_outage_bps, words[1])
        delay = None if words[2] == UNCHANGED else _quantity(number, parse_link_delay_ns, words[2])
        yield at, rate, delay


def _quantity(number: int, parse: Callable[[object], int], text: str) -> int:
    try:
        return parse(text)
    except ValueError as wrong:
        raise _LineError(number, str(wrong).partition(", got ")[0]) from None
