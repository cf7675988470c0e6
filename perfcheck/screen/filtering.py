"""What the user types after `/`: words that a row's texts must hold, and bounds of its figures."""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Mapping
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

    def passing(self, rows: Rows) -> Mask:
        """Return which rows pass."""
        passed = np.ones(len(rows), np.bool_)
        for one in self.conditions:
            passed &= _met(one, rows) ^ one.negated
        return passed


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


def _met(one: Condition, rows: Rows) -> Mask:
    if one.sign == ":":
        return _has_text(one, rows)
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


def _has_text(one: Condition, rows: Rows) -> Mask:
    wanted = one.text
    names = _searched(rows) if not one.name else (TEXTS[one.name],)
    found = np.zeros(len(rows), np.bool_)
    for name in names:
        if name == "bottleneck":
            codes = [code for code, each in enumerate(NAMES) if wanted in each]
            found |= np.isin(rows.values["limit"], codes)
        elif not _is_grouped(rows) or name == "group":
            text: Callable[[str, int], str] = rows.text
            left = np.flatnonzero(~found)
            found[left] = [wanted in text(name, row).lower() for row in left.tolist()]
    return found


def _searched(rows: Rows) -> tuple[str, ...]:
    return ("group", "bottleneck") if _is_grouped(rows) else ("bottleneck", "process", "remote", "local", "netns")


def _is_grouped(rows: Rows) -> bool:
    return "connections" in rows.values
