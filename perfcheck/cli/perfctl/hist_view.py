"""The report of `perfctl hist` as lines for people, at most 80 columns but for sentences."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from perfcheck.analyse.histogram import quantile
from perfcheck.live.bdp import TOLD, Paths, verdict
from perfcheck.live.both_sides import Medians, meanings
from perfcheck.live.dwell import Dwell
from perfcheck.live.flow_names import flow_text
from perfcheck.live.perspectives import QUANTITIES, RATE_QUANTITY, Perspectives, Quantity, Side
from perfcheck.live.short_values import ABSENT
from perfcheck.live.wording import count, watched
from perfcheck.model.flow import Histogram
from perfcheck.model.units import format_value, plain_number
from perfcheck.output.bars import bars

WIDTH: Final = 80
BAR_COLUMNS: Final = 20
SHARES: Final = {"p50": 0.5, "p90": 0.9, "p99": 0.99}
_LABEL: Final = 16
_CELL: Final = 9
_LABELS: Final = {Side.ACK: "ACK arrives", Side.SEND: "segment leaves"}
_PER_INTERVAL: Final = "per interval"
_TITLES: Final = {
    "rtt": "RTT (measured by each ACK)", "srtt": "smoothed RTT", "inflight": "in flight (segments)",
    "cwnd": "congestion window (segments)", "rate": "delivery rate (payload acknowledged, each flow and interval)",
}  # fmt: skip


@dataclass(slots=True, kw_only=True)
class Report:
    """What a run of `perfctl hist` has seen."""

    sides: tuple[Side, ...]
    seen: Perspectives
    paths: Paths
    dwell: Dwell
    seconds: float = 0.0
    intervals: int = 0
    most_flows: int = 0


def report_lines(report: Report) -> Iterator[str]:
    """Yield the whole report."""
    yield f"{watched(report.seconds, report.intervals)}: at most {count(report.most_flows, 'connection')} at a time"
    said = meanings(Medians.of(report.seen)) if len(report.sides) > 1 else {}
    shown = [quantity for quantity in QUANTITIES if _sides_of(report, quantity)]
    if not shown:
        yield "No samples: no connection that passes the filters had data acknowledged."
        return
    yield f"{'':<{_LABEL}}{''.join(f'{name:>{_CELL}}' for name in SHARES)}{'samples':>{_CELL}}"
    for quantity in shown:
        yield from _quantity(report, quantity)
        if quantity.name in said:
            yield from _wrapped(said[quantity.name])
    yield ""
    yield from verdict_lines(report.paths)
    yield from dwell_lines(report.dwell)


def _sides_of(report: Report, quantity: Quantity) -> Sequence[tuple[Side, Histogram]]:
    sides = report.sides[:1] if quantity is RATE_QUANTITY else report.sides
    return [(side, found) for side in sides if (found := report.seen.of(quantity, side)) is not None]


def _quantity(report: Report, quantity: Quantity) -> Iterator[str]:
    found = _sides_of(report, quantity)
    drawn, (low, high) = bars([one for _, one in found], BAR_COLUMNS)
    yield _TITLES[quantity.name]
    for (side, histogram), line in zip(found, drawn, strict=True):
        label = _PER_INTERVAL if quantity is RATE_QUANTITY else _LABELS[side]
        cells = "".join(f"{short(quantile(histogram, share), quantity.unit):>{_CELL}}" for share in SHARES.values())
        yield f"  {label:<{_LABEL - 2}}{cells}{short(histogram.count, 'segs'):>{_CELL}}  {line}".rstrip()
    left = f"{short(low, quantity.unit)}"
    right = f"{short(high, quantity.unit)}"
    yield f"{'':<{_LABEL + 4 * _CELL + 2}}{left}{right:>{max(BAR_COLUMNS - len(left), len(right) + 1)}}"


def short(value: float, unit: str) -> str:
    """Return a value in at most 8 characters."""
    if not math.isfinite(value):
        return ABSENT
    if unit == "segs":
        for factor, letter in ((1e9, "G"), (1e6, "M"), (1e4, "k")):
            if value >= factor:
                return f"{plain_number(value / (1000.0 if letter == 'k' else factor))}{letter}"
        return f"{math.floor(value)}"  # a bucket of one value is interpolated up to the next
    number, _, name = format_value(value, unit).replace(",", "").partition(" ")
    text = plain_number(float(number), 3)
    return f"{text}{name.replace('bit/s', 'b')}"


def verdict_lines(paths: Paths) -> Iterator[str]:
    """Yield the verdict on each of the connections that sent the most."""
    if not len(paths):
        return
    several = len({path.key.host for path in paths.largest(TOLD)}) > 1
    yield "In flight against the BDP (delivery rate x min RTT):"
    for path in paths.largest(TOLD):
        yield f"  {flow_text(path.key, with_host=several)}"
        yield from _wrapped(verdict(path).text)
    left = len(paths) - TOLD
    if left > 0:
        yield f"  and {left} more connection{'s' if left > 1 else ''}; filters choose others"


def dwell_lines(dwell: Dwell) -> Iterator[str]:
    """Yield the time in each congestion state."""
    shares = dwell.shares_pct()
    if shares:
        text = ", ".join(f"{name} {share:.1f} %" for name, share in shares.items())
        yield from textwrap.wrap(f"Time in each congestion state: {text}", WIDTH, subsequent_indent="  ")


def _wrapped(text: str) -> Iterator[str]:
    yield from textwrap.wrap(text, WIDTH, initial_indent="    ", subsequent_indent="    ", break_on_hyphens=False)
