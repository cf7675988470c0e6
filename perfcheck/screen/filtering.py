"""What the user types after `/`: words that a row's texts must hold, and bounds of its figures."""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

import numpy as np
import numpy.typing as npt

from perfcheck.errors import UsageError
from perfcheck.live.bottleneck import NAMES
from perfcheck.model.units import parse_in_unit, shown
from perfcheck.screen.framing import RTT
from perfcheck.screen.rows import Rows

Mask = npt.NDArray[np.bool_]
TEXTS: Final[Mapping[str, str]] = {
    "remote": "remote", "local": "local", "process": "process", "netns": "netns", "cc": "congestion",
    "bottleneck": "bottleneck", "group": "group",
}  # fmt: skip
"""Names of texts that may stand before `:`, and the columns that have them."""
FIGURES: Final[Mapping[str, tuple[str, str]]] = {
    "out": ("send_bps", "bps"), "in": ("receive_bps", "bps"), "rtt": (RTT, "us"), "p99": ("rtt_p99_us", "us"),
    "cwnd": ("cwnd_segs", "count"), "retr": ("retrans_segs", "count"), "sendq": ("sendq_bytes", "bytes"),
    "recvq": ("recvq_bytes", "bytes"), "port": ("port", "count"), "pid": ("pid", "count"),
}  # fmt: skip
"""Names of figures that may stand before `<`, `>` or `=`, with their columns and units."""
EXAMPLES: Final = "443  iperf3  remote:10.0.0.  rtt>20ms  out>1mbit  !idle"
MOST_CHARACTERS: Final = 200
_WORD: Final = re.compile(r"(?P<name>[A-Za-z0-9]+)(?P<sign>[:<>=])(?P<value>.+)")
_BARE_PREFIX: Final = re.compile(r"[A-Za-z][A-Za-z0-9]*")


@dataclass(frozen=True, slots=True, kw_only=True)
class Condition:
    """One word: a text that is to be found (`name` empty: in any text), or a bound of a figure."""

    name: str
    sign: Literal[":", "<", ">", "="]
    text: str = ""
    number: float = 0.0
    negated: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class RowFilter:
    """All conditions must hold; `text` is what the user typed."""

    text: str = ""
    conditions: tuple[Condition, ...] = ()

    def passing(self, rows: Rows, found: FoundTexts | None = None) -> Mask:
        """Return which rows pass; `found` is what was found in the rows of the intervals before."""
        found = found or FoundTexts()
        passed = np.ones(len(rows), np.bool_)
        for one in self.conditions:
            passed &= _met(one, rows, found) ^ one.negated
        found.keep()
        return passed


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Looked:
    """What a condition found in the texts of connections, which `whose` sorts; another process makes new texts."""

    whose: npt.NDArray[Any]
    found: Mask


class FoundTexts:
    """What conditions found in the last rows: to make the texts of all connections each second is dear.

    A connection's ends never change, and its process seldom: only texts of what is new are looked at.
    """

    def __init__(self) -> None:
        """Nothing was looked at yet."""
        self._last: dict[Condition, _Looked] = {}
        self._now: dict[Condition, _Looked] = {}

    def of(self, one: Condition, rows: Rows, look: Callable[[Sequence[int]], Mask]) -> Mask:
        """Return which rows have the text; `look` says so of rows that were not there, or had another process."""
        whose = _whose(rows)
        found = np.zeros(len(whose), np.bool_)
        known = np.zeros(len(whose), np.bool_)
        last = self._last.get(one)
        if last is not None and len(last.whose):
            place = np.minimum(np.searchsorted(last.whose["key"], whose["key"]), len(last.whose) - 1)
            known = last.whose[place] == whose
            found[known] = last.found[place[known]]
        new = np.flatnonzero(~known)
        found[new] = look(new.tolist())
        order = np.argsort(whose["key"], kind="stable")
        self._now[one] = _Looked(whose=whose[order], found=found[order])
        return found

    def keep(self) -> None:
        """Keep what was found in the rows of this interval, and no more."""
        self._last, self._now = self._now, {}


def _whose(rows: Rows) -> npt.NDArray[Any]:
    values = rows.values
    columns = {"key": rows.keys, "pid": values["pid"], "comm": values["comm"]}
    whose = np.empty(len(rows), [(name, column.dtype) for name, column in columns.items()])
    for name, column in columns.items():
        whose[name] = column
    return whose


def parse_filter(text: str) -> RowFilter:
    """Return the filter that a text says; UsageError tells what is wrong with it."""
    if len(text) > MOST_CHARACTERS:
        raise UsageError(f"the filter has {len(text)} characters; at most {MOST_CHARACTERS} are allowed")
    return RowFilter(text=text.strip(), conditions=tuple(map(_condition, text.split())))


def _condition(word: str) -> Condition:
    negated, body = word.startswith("!"), word.removeprefix("!")
    if not body:
        raise UsageError("'!' needs a word after it, such as !idle")
    match = _WORD.fullmatch(body)
    if match is None or (match["sign"] == ":" and match["name"].lower() not in TEXTS and not _is_name(match["name"])):
        if body[-1] in "<>" or (body[-1] == "=" and _BARE_PREFIX.fullmatch(body[:-1])):
            raise UsageError(f"{shown(word)}: the value is missing, as in rtt>20ms")
        return Condition(name="", sign=":", text=body.lower(), negated=negated)
    name, sign, value = match["name"].lower(), match["sign"], match["value"]
    if sign == ":":
        if name not in TEXTS:
            raise UsageError(f"{shown(name)}: unknown name{_nearest(name, TEXTS)}; known: {', '.join(TEXTS)}")
        return Condition(name=name, sign=":", text=value.lower(), negated=negated)
    if name not in FIGURES:
        raise UsageError(f"{shown(name)}: unknown figure{_nearest(name, FIGURES)}; known: {', '.join(FIGURES)}")
    try:
        number = parse_in_unit(value, FIGURES[name][1])
    except ValueError as problem:
        raise UsageError(f"{name}: {problem}") from None
    return Condition(name=name, sign=_sign(sign), number=number, negated=negated)


def _sign(sign: str) -> Literal["<", ">", "="]:
    return "<" if sign == "<" else ">" if sign == ">" else "="


def _is_name(text: str) -> bool:
    """Return whether what stands before a colon is meant as a name; an address of IPv6 is not."""
    return re.fullmatch(r"[0-9a-fA-F]{1,4}", text) is None and _BARE_PREFIX.fullmatch(text) is not None


def _nearest(name: str, known: Mapping[str, Any]) -> str:
    near = difflib.get_close_matches(name, known, n=1)
    return f", did you mean {near[0]}?" if near else ""


def _met(one: Condition, rows: Rows, found: FoundTexts) -> Mask:
    if one.sign == ":":
        return _has_text(one, rows, found)
    column = FIGURES[one.name][0]
    if column == "port":
        if "remote_port" not in rows.values:
            return np.ones(len(rows), np.bool_)
        return _bounded(rows.values["remote_port"], one) | _bounded(rows.values["local_port"], one)
    if column not in rows.values:
        return np.ones(len(rows), np.bool_)
    return _bounded(rows.values[column], one)


def _bounded(values: npt.NDArray[Any], one: Condition) -> Mask:
    """Return which values are within a bound; what is absent is not. Equal is to seven digits."""
    with np.errstate(invalid="ignore"):
        if one.sign == "=":
            return np.isclose(values.astype(np.float64), one.number, rtol=1e-6, atol=0)
        found: Mask = values < one.number if one.sign == "<" else values > one.number
        return found


def _has_text(one: Condition, rows: Rows, found: FoundTexts) -> Mask:
    names = _searched(rows) if not one.name else (TEXTS[one.name],)
    has = np.zeros(len(rows), np.bool_)
    if "bottleneck" in names:
        has |= np.isin(rows.values["limit"], [code for code, each in enumerate(NAMES) if one.text in each])
    if not _is_grouped(rows):
        steady = tuple(name for name in names if name not in {"bottleneck", "group"})
        return has | found.of(one, rows, lambda new: _told(one.text, steady, rows, new)) if steady else has
    if "group" in names:
        has |= _told(one.text, ("group",), rows, range(len(rows)))
    return has


def _told(wanted: str, names: Sequence[str], rows: Rows, of: Sequence[int]) -> Mask:
    """Return which of these rows have the wanted text in one of those columns."""
    return np.array([any(wanted in rows.text(name, row).lower() for name in names) for row in of], np.bool_)


def _searched(rows: Rows) -> tuple[str, ...]:
    return ("group", "bottleneck") if _is_grouped(rows) else ("bottleneck", "process", "remote", "local", "netns")


def _is_grouped(rows: Rows) -> bool:
    return "connections" in rows.values
