"""What a live run's intervals add up to, as families of Prometheus: counters and histograms over the run, gauges now.

Counters are there with 0 from the first interval on, so that no increase is missed. A gauge without a value in the last
interval is absent: it would be a lie. What is known of each namespace or interface has no series without that label,
so that sums count nothing twice.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

import numpy as np
import numpy.typing as npt

from perfcheck.export import own_families as own
from perfcheck.export.buckets import Accumulated, rounded
from perfcheck.export.cgroups import CgroupNames
from perfcheck.export.family import Family, Kind
from perfcheck.export.figures import Figures
from perfcheck.export.label_sets import DEFAULT_MOST, LabelRows, LabelSets
from perfcheck.export.names import histogram_place, is_counted, live_place
from perfcheck.export.snapshot import Labels, Series, label_text, labels_of
from perfcheck.live.bottleneck import NAMES, Mask, bottlenecks
from perfcheck.live.observation import connect_histogram
from perfcheck.model.catalogue import CATALOGUE
from perfcheck.model.causes import CAUSES
from perfcheck.model.flow_table import FlowTable
from perfcheck.model.interval import Interval
from perfcheck.version import VERSION

MOST_TEXTS: Final = 32
"""Values of the label `what`: things that are left out or not measured."""
_CONNECT: Final = "tcp.handshake_us"
_LEAST_US: Final = 32.0
"""Where the classic buckets of round trips begin; times within the machine begin at 1 us."""
_LEAST: Final = {"segs": 2.0, "packets": 2.0, "bytes": 64.0}
_NUMBERS: Final = re.compile(r"\d+")
_WITHOUT_FLOWS: Final = ("tcp.connections", "app.throughput_bps", "tcp.delivery_rate_bps")
"""Gauges that are 0 where there is no connection."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """What `perfctl observe` found in an interval; `causes` are of the diagnosis that was made in it, if one was."""

    raised: tuple[str, ...] = ()
    active: tuple[str, ...] = ()
    causes: Mapping[str, float] | None = None


NOTHING: Final = Found()


@dataclass(frozen=True, slots=True, kw_only=True)
class Exported:
    """A whole run up to one interval; `flows` None: no labels of connections were asked for."""

    plain: tuple[Series, ...]
    flows: LabelRows | None = None

    def series(self) -> Iterator[Series]:
        """Yield all families, each once."""
        yield from self.plain
        if self.flows is not None:
            yield from self.flows.series()


@dataclass(slots=True, kw_only=True)
class _Causes:
    values: Mapping[str, float] = field(default_factory=dict)
    at_s: float = 0.0


class Exporter:
    """Adds intervals up; what it returns is never changed by what follows."""

    def __init__(
        self, *, kinds: Sequence[str] = (), most: int = DEFAULT_MOST, rules: Sequence[str] | None = None,
        cgroup_name: CgroupNames | None = None,
    ) -> None:  # fmt: skip
        """Take the kinds of `--labels` with their bound, and the alert rules' names (None: nobody watches them)."""
        self._kinds, self._most, self._rules = tuple(kinds), most, rules
        self._cgroup_name = cgroup_name or CgroupNames()
        self._figures: Figures | None = None
        self._sets: LabelSets | None = None
        self._counters: dict[Family, dict[Labels, float]] = {}
        self._gauges: dict[Family, dict[Labels, float]] = {}
        self._histograms: dict[Family, Accumulated] = {}
        self._shed: dict[str, float] = {}
        self._lacking: dict[str, float] = {}
        self._diagnosed = _Causes()

    def take(self, interval: Interval, found: Found = NOTHING) -> Exported:
        """Add an interval, and return how everything stands after it."""
        figures = self._figures or self._begin(interval)
        self._gauges = {}
        self._add_figures(figures, interval)
        self._add_histograms(interval)
        limits = bottlenecks(interval.flows).places
        for labels, rows in figures.hosts(interval.flows):
            self._add_flows(interval.flows, limits, rows, labels_of(labels))
        self._add_account(interval)
        if self._rules is not None:
            self._add_found(found, interval)
        left_out = figures.interfaces_left_out
        if self._sets is not None:
            self._sets.add(interval.flows, limits, interval.end_ns)
            left_out += self._sets.left_out
        self._gauges[own.LEFT_OUT] = {(): float(left_out)}
        return self.exported()

    def exported(self, *, up: bool = True) -> Exported:
        """Return how everything stands; `up` False: no interval will follow."""
        gauges: dict[Family, dict[Labels, float]] = {
            own.UP: {(): float(up)},
            own.BUILD_INFO: {(("version", VERSION),): 1.0},
            **self._gauges,
        }
        plain = {**gauges, **self._counters}
        values = (Series(family=family, values=tuple(rows.items())) for family, rows in plain.items())
        histograms = (
            Series(family=family, histograms=(((), one),)) for family, one in self._histograms.items()
        )  # fmt: skip
        return Exported(plain=(*values, *histograms), flows=None if self._sets is None else self._sets.rows())

    def _begin(self, interval: Interval) -> Figures:
        several = max(len(interval.hosts), len(interval.flows.hosts)) > 1
        self._figures = Figures(several=several)
        if self._kinds:
            self._sets = LabelSets(self._kinds, self._most, cgroup_name=self._cgroup_name, several=several)
        for labels, _ in self._figures.hosts(interval.flows):
            for metric, spec in CATALOGUE.items():
                if "tcp" in spec.needs and is_counted(metric):
                    self._add(metric, labels, 0.0)
        return self._figures

    def _add_figures(self, figures: Figures, interval: Interval) -> None:
        for labels, _ in figures.hosts(interval.flows):
            for metric in _WITHOUT_FLOWS:
                self._add(metric, labels, 0.0)
        for metric, labels, value in figures.of(interval):
            self._add(metric, labels, value)

    def _add(self, metric: str, labels: Mapping[str, str], value: float) -> None:
        place = live_place(metric)
        if place is None or place.family.kind is Kind.HISTOGRAM or not np.isfinite(value):
            return
        whose = (*labels.items(), *place.labels.items())
        if place.family.kind is Kind.COUNTER:
            self._count(place.family, whose, max(value, 0.0) * place.scale)
        else:
            self._gauges.setdefault(place.family, {})[whose] = rounded(value * place.scale)

    def _count(self, family: Family, labels: Labels, more: float) -> None:
        rows = self._counters.setdefault(family, {})
        rows[labels] = rows.get(labels, 0.0) + more

    def _add_histograms(self, interval: Interval) -> None:
        for name, histogram in {**interval.histograms, _CONNECT: connect_histogram(interval)}.items():
            place = histogram_place(name)
            family = own.SEND_SIDE.get(name) if place is None else place.family
            if family is None:
                continue
            before = self._histograms.get(family)
            if before is None:
                scale = 1e-6 if histogram.unit == "us" else 1.0
                before = Accumulated(scale=scale, least=_least(name, histogram.unit))
            self._histograms[family] = before.plus(histogram)

    def _add_flows(self, flows: FlowTable, limits: npt.NDArray[np.intp], rows: Mask, labels: Labels) -> None:
        self._count(own.ACKED_BYTES, labels, float(flows["bytes_acked"][rows].sum(dtype=np.uint64)))
        self._count(own.RECEIVED_BYTES, labels, float(flows["bytes_received"][rows].sum(dtype=np.uint64)))
        gauges = self._gauges.setdefault(own.BOTTLENECK, {})
        for name, number in zip(NAMES, np.bincount(limits[rows], minlength=len(NAMES)).tolist(), strict=True):
            gauges[(*labels, ("bottleneck", name))] = float(number)

    def _add_account(self, interval: Interval) -> None:
        told = interval.accounting
        for family, more in (
            (own.INTERVALS, 1), (own.OPENED, told.opened), (own.CLOSED, told.ended), (own.LOST, told.lost),
            (own.REFUSED, told.refused),
        ):  # fmt: skip
            self._count(family, (), float(more))
        for family, value in (
            (own.CPU, told.cpu_pct / 100), (own.BPF_CPU, told.bpf_pct / 100), (own.INTERVAL_SECONDS, interval.seconds),
            (own.LAST_INTERVAL, (interval.end_ns + interval.epoch_ns) / 1e9),
        ):  # fmt: skip
            self._gauges[family] = {(): value}
        for family, known, now in (
            (own.SHED, self._shed, told.shed),
            (own.NOT_MEASURED, self._lacking, interval.lacks),
        ):
            _mark(known, now)
            self._gauges[family] = {(("what", what),): value for what, value in known.items()}

    def _add_found(self, found: Found, interval: Interval) -> None:
        for rule in self._rules or ():
            labels = (("rule", rule),)
            self._count(own.ALERTS, labels, float(found.raised.count(rule)))
            self._gauges.setdefault(own.ALERT_ACTIVE, {})[labels] = float(found.active.count(rule))
        if found.causes is not None:
            self._diagnosed = _Causes(values=found.causes, at_s=(interval.end_ns + interval.epoch_ns) / 1e9)
        self._gauges[own.CAUSE] = {
            (("cause", cause),): float(self._diagnosed.values.get(cause, 0.0)) for cause in CAUSES
        }  # fmt: skip
        self._gauges[own.DIAGNOSED] = {(): self._diagnosed.at_s}


def _least(name: str, unit: str) -> float:
    if unit != "us":
        return _LEAST.get(unit, 1.0)
    return _LEAST_US if name.startswith("tcp.") else 1.0


def _mark(known: dict[str, float], now: Iterable[str]) -> None:
    """Set what holds now to 1 and all else that ever did to 0; numbers in texts would make each of them a new one."""
    for what in known:
        known[what] = 0.0
    for text in now:
        what = label_text(_NUMBERS.sub("N", text))
        if what in known or len(known) < MOST_TEXTS:
            known[what] = 1.0
