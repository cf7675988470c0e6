"""Intervals as InfluxDB's line protocol: the figures of each interval, in base units, by the names of `names.py`.

    perfctl_tcp,host=web1 rtt_seconds_p99=0.0215,retransmissions_fast=3 1767225600000000000

Counts are those of the interval, not totals. What several things have is told apart by tags, never by names of fields.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from typing import Final

import numpy as np

from perfcheck.export.exporter import NOTHING, Found
from perfcheck.export.family import LIVE
from perfcheck.export.figures import Figures
from perfcheck.export.label_sets import LabelRows
from perfcheck.export.names import live_place, split
from perfcheck.export.snapshot import Labels, label_text
from perfcheck.export.text import number_text
from perfcheck.live.bottleneck import NAMES, bottlenecks
from perfcheck.model.catalogue import CATALOGUE
from perfcheck.model.interval import Interval

Fields = Mapping[str, float]
_BEFORE_SPECIAL: Final = re.compile(r"\\+(?=[,= ]|$)")
_SPECIAL: Final = re.compile(r"([,= ])")
_FLOW_FIELDS: Final = ("acked_bytes", "received_bytes", "retrans_segments")


class InfluxLines:
    """Makes the lines of one interval after the other; `host` is the tag that tells machines apart."""

    def __init__(self, host: str) -> None:
        """Take the machine's name."""
        self._host = host
        self._figures: Figures | None = None

    def of(self, interval: Interval, rows: LabelRows | None = None, found: Found = NOTHING) -> Iterator[str]:
        """Yield the lines of an interval; `rows` are the label sets, where labels were asked for."""
        if self._figures is None:
            self._figures = Figures(several=max(len(interval.hosts), len(interval.flows.hosts)) > 1)
        at_ns = interval.end_ns + interval.epoch_ns
        for (measurement, labels), fields in self._measured(self._figures, interval).items():
            yield from self._line(measurement, labels, fields, at_ns)
        limits = bottlenecks(interval.flows).places
        for whose, own in self._figures.hosts(interval.flows):
            numbers = np.bincount(limits[own], minlength=len(NAMES)).tolist()
            for name, number in zip(NAMES, numbers, strict=True):
                labels = (*whose.items(), ("bottleneck", name))
                yield from self._line("bottleneck", labels, {"connections": float(number)}, at_ns)
        for rule in sorted({*found.raised, *found.active}):
            counts = {"raised": float(found.raised.count(rule)), "active": float(found.active.count(rule))}
            yield from self._line("alert", (("rule", label_text(rule)),), counts, at_ns)
        for cause, probability in (found.causes or {}).items():
            yield from self._line("cause", (("cause", label_text(cause)),), {"probability_ratio": probability}, at_ns)
        yield from self._line("self", (), _of_self(interval), at_ns)
        for one in rows.now if rows is not None else ():
            fields = dict(zip(_FLOW_FIELDS, map(float, one.counts), strict=True))
            fields |= {"connections": float(one.connections), "rtt_seconds": one.rtt_us * 1e-6}
            yield from self._line("flow", one.labels, {**fields, "cwnd_segments": one.cwnd_segs}, at_ns)

    @staticmethod
    def _measured(figures: Figures, interval: Interval) -> dict[tuple[str, Labels], dict[str, float]]:
        found: dict[tuple[str, Labels], dict[str, float]] = {}
        for metric, whose, value in figures.of(interval):
            place = live_place(metric)
            if place is not None:
                layer = CATALOGUE[metric].layer.value
                name = field_of(metric)
                found.setdefault((layer, tuple(whose.items())), {})[name] = value * place.scale
        return found

    def _line(self, measurement: str, labels: Labels, fields: Fields, at_ns: int) -> Iterator[str]:
        line = line_of(f"{LIVE}{measurement}", (("host", label_text(self._host)), *labels), fields, at_ns)
        if line is not None:
            yield line


def field_of(metric: str) -> str:
    """Return the name of a metric's field: that of its family without prefix, layer and `_total`, then its labels."""
    place = live_place(metric)
    if place is None:
        raise KeyError(metric)
    layer = CATALOGUE[metric].layer.value
    name = place.family.name.removeprefix(LIVE).removesuffix("_total").removeprefix(f"{layer}_")
    more = [value for label, value in place.labels.items() if label != "layer"] or [split(metric)[1]]
    return "_".join([name, *(one for one in more if one)])


def line_of(measurement: str, labels: Labels, fields: Fields, at_ns: int) -> str | None:
    """Return one line; None where no field has a number. A tag without a value is left out: the protocol has none."""
    known = {name: value for name, value in fields.items() if math.isfinite(value)}
    if not known:
        return None
    tags = "".join(f",{escaped(name)}={escaped(value)}" for name, value in labels if value)
    values = ",".join(f"{escaped(name)}={number_text(value)}" for name, value in known.items())
    return f"{escaped(measurement)}{tags} {values} {at_ns}"


def escaped(text: str) -> str:
    r"""Return a name or a tag's value as the protocol takes it: `,`, `=` and blanks behind a backslash.

    A backslash of the text's own before one of them, or at its end, would escape what follows: it is written twice.
    """
    doubled = _BEFORE_SPECIAL.sub(lambda found: found[0] * 2, text.replace("\n", r"\n"))
    return _SPECIAL.sub(r"\\\1", doubled)


def _of_self(interval: Interval) -> Fields:
    told = interval.accounting
    return {
        "interval_seconds": interval.seconds, "cpu_ratio": told.cpu_pct / 100, "bpf_cpu_ratio": told.bpf_pct / 100,
        "connections_opened": float(told.opened), "connections_closed": float(told.ended),
        "lost_events": float(told.lost), "refused_connections": float(told.refused),
        "acked_bytes": float(interval.flows["bytes_acked"].sum()),
        "received_bytes": float(interval.flows["bytes_received"].sum()),
    }  # fmt: skip
