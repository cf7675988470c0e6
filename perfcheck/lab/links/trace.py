"""Traces of rates and delays: two formats, read into what the relay replays."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any, Final

from perfcheck.model.units import parse_duration_ns, parse_rate_bps

UNCHANGED: Final = "-"
_MS: Final = 1_000_000
Row = tuple[int, int | None, int | None]


def read_trace(path: str) -> dict[str, Any]:
    """Read a trace file; ValueError says `FILE:LINE: what is wrong`.

    Lines of whole numbers are mahimahi's: each a time in ms at which 1504 bytes may leave, and
    the last one's time is the length after which all repeats. Else a line is `AT RATE DELAY` with
    units, `-` where one does not change (or does not matter, in all lines), such as `2s 10mbit
    20ms`; a last line `repeat 5s` makes it begin again. `#` begins a comment.

    The result is what `impair.plan.WayPlan` takes as `trace`.
    """
    try:
        text = Path(path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as problem:
        raise ValueError(f"{path}: cannot be read: {problem}") from None
    lines = [(number, line.partition("#")[0].split()) for number, line in enumerate(text.splitlines(), start=1)]
    lines = [(number, words) for number, words in lines if words]
    if not lines:
        raise ValueError(f"{path}: the trace is empty")
    try:
        if all(len(words) == 1 and words[0].isascii() and words[0].isdigit() for _, words in lines):
            return _mahimahi(lines)
        return _steps(lines)
    except _LineError as wrong:
        raise ValueError(f"{path}:{wrong.line}: {wrong}") from None


class _LineError(ValueError):
    def __init__(self, line: int, text: str) -> None:
        super().__init__(text)
        self.line = line


def _mahimahi(lines: Sequence[tuple[int, list[str]]]) -> dict[str, Any]:
    times = [(number, int(words[0])) for number, words in lines]
    for (_, before), (number, time) in pairwise(times):
        if time < before:
            raise _LineError(number, f"the time {time} is before the line above ({before})")
    if times[-1][1] == 0:
        raise _LineError(times[-1][0], "a trace must be longer than 0 ms")
    return {"opportunities": {"at_ns": [time * _MS for _, time in times], "repeat_ns": times[-1][1] * _MS}}


def _steps(lines: Sequence[tuple[int, list[str]]]) -> dict[str, Any]:
    repeat_ns = None
    if lines[-1][1][0] == "repeat":
        number, words = lines[-1]
        repeat_ns = _repeat(number, words)
        lines = lines[:-1]
    rows = list(_rows(lines))
    if repeat_ns is not None and rows and repeat_ns <= rows[-1][0]:
        raise _LineError(lines[-1][0], "this step would come after the trace has begun again")
    trace: dict[str, Any] = {}
    for name, unit, place in (("rate", "bps", 1), ("delay", "ns", 2)):
        column = [(row[0], row[place]) for row in rows if row[place] is not None]
        if column:
            if column[0][0] != 0:
                raise _LineError(lines[0][0], f"the first line must say the {name}, since a later one does")
            trace[name] = {
                "at_ns": [at for at, _ in column], unit: [value for _, value in column], "repeat_ns": repeat_ns,
            }  # fmt: skip
    if not trace:
        raise _LineError(lines[0][0] if lines else 1, "the trace changes neither rate nor delay")
    return trace


def _repeat(number: int, words: Sequence[str]) -> int:
    if len(words) != 2:
        raise _LineError(number, "expected `repeat` and a duration, such as repeat 5s")
    return _quantity(number, parse_duration_ns, words[1])


def _rows(lines: Sequence[tuple[int, list[str]]]) -> Iterator[Row]:
    before = -1
    for number, words in lines:
        if len(words) != 3:
            raise _LineError(number, f"expected `AT RATE DELAY` such as 2s 10mbit 20ms, got {' '.join(words)!r}")
        at = _quantity(number, parse_duration_ns, words[0])
        if before < 0 < at:
            raise _LineError(number, "the first line must begin at 0s")
        if at <= before:
            raise _LineError(number, f"{words[0]} is not after the line above")
        before = at
        rate = None if words[1] == UNCHANGED else _quantity(number, parse_rate_bps, words[1])
        delay = None if words[2] == UNCHANGED else _quantity(number, parse_duration_ns, words[2])
        yield at, rate, delay


def _quantity(number: int, parse: Callable[[object], int], text: str) -> int:
    try:
        return parse(text)
    except ValueError as wrong:
        raise _LineError(number, str(wrong)) from None
