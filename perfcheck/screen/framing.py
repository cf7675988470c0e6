"""Makes frames of intervals, in their order: alerts, the diagnosis and bottlenecks are found here."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Final

import numpy as np

from perfcheck.analyse.histogram import statistics
from perfcheck.analyse.stages import STAGES
from perfcheck.live.alerts import Alert, AlertState, AlertWatch, UserBounds
from perfcheck.live.bottleneck import NAMES, bottlenecks
from perfcheck.live.connections import with_rates_of
from perfcheck.live.flow_names import flow_text
from perfcheck.live.grouping import rtt_of
from perfcheck.live.observation import figures_of
from perfcheck.live.recent_diagnosis import RecentDiagnosis
from perfcheck.live.totals import Totals
from perfcheck.model.flow_table import FlowTable
from perfcheck.model.interval import Interval
from perfcheck.model.units import probability_text
from perfcheck.screen.frame import Frame, Headline, Judgement, Stage, compact, keys_of

OnAlerts = Callable[[Sequence[Alert], Interval], None]
TROUBLED_EVERY: Final = 5
CALM_EVERY: Final = 20
"""Intervals between two judgements at least, with alerts and without."""
MOST_SHARE: Final = 0.005
"""Of the time, for judging: where it takes long, it is done more seldom."""
JUDGED_FIRST: Final = 3
MOST_EVENTS: Final = 100
"""Of the kernel's events, kept with an interval."""
MOST_ALERTS: Final = 40
RTT: Final = "rtt_us"
"""Column of a frame beside those of `COLUMNS`: each connection's RTT, of samples or smoothed."""


class FrameMaker:
    """Takes the intervals of one reading; what needs several of them is kept here, and is bounded."""

    def __init__(
        self, *, bounds: UserBounds | None = None, part: bool = False, on_alerts: OnAlerts | None = None
    ) -> None:
        """Take the user's bounds of alerts, and whether only a part of the machine's flows is watched."""
        self._watch = AlertWatch(bounds)
        self._diagnosis = RecentDiagnosis(part=part)
        self._on_alerts = on_alerts
        self._judgement: Judgement | None = None
        self._since_judged = 0
        self._cost_s = 0.0
        self.totals = Totals()
        self._index = 0

    def skim(self, interval: Interval) -> None:
        """Take an interval that is not shown, since what comes later rests on it."""
        self._watch.observe(interval)
        self._diagnosis.keep(interval)
        self._index += 1

    def frame(self, interval: Interval) -> Frame:
        """Take an interval and return what is shown of it."""
        self.totals.add(interval)
        alerts = self._watch.observe(interval)
        if self._on_alerts is not None and alerts:
            self._on_alerts(alerts, interval)
        self._judge(interval, alerts)
        found = bottlenecks(interval.flows)
        flows = _with_rtt(with_rates_of(compact(interval.flows), interval.seconds))
        keys = keys_of(interval.flows)
        codes = np.full(len(keys), len(NAMES) - 1, np.int8)
        for code, name in enumerate(NAMES):
            codes[found.names == name] = code
        made = Frame(
            index=self._index, number=interval.number, begin_ns=interval.begin_ns, end_ns=interval.end_ns,
            epoch_ns=interval.epoch_ns, flows=flows, keys=keys, order=np.argsort(keys, kind="stable").astype(np.int32),
            limits=codes, limit_pct=found.shares_pct.astype(np.float32), headline=_headline(interval),
            accounting=interval.accounting, alerts=alerts[:MOST_ALERTS], judgement=self._judgement,
            stages=tuple(_stages(interval)), lacks=interval.lacks, events=tuple(_events(interval)),
        )  # fmt: skip
        self._index += 1
        return made

    def _judge(self, interval: Interval, alerts: Sequence[Alert]) -> None:
        """Judge the last intervals, sooner where something is wrong."""
        self._diagnosis.keep(interval)
        self._since_judged += 1
        calm = not any(alert.state is not AlertState.CLEARED for alert in alerts)
        every = max(CALM_EVERY if calm else TROUBLED_EVERY, math.ceil(self._cost_s / (MOST_SHARE * interval.seconds)))
        if self._since_judged < (every if self._judgement else JUDGED_FIRST):
            return
        self._since_judged, begun_s = 0, time.thread_time()
        causes = self._diagnosis.judged()
        # The first one loads the rules, which none after it does.
        self._cost_s = time.thread_time() - begun_s if self._judgement else 0.0
        if causes:
            self._judgement = Judgement(
                text=", ".join(f"{one.cause} {probability_text(one.confidence)}" for one in causes[:3]),
                causes=tuple(causes), number=interval.number, looks=self._diagnosis.looks,
            )  # fmt: skip


def _with_rtt(flows: FlowTable) -> FlowTable:
    return FlowTable(columns={**flows.columns, RTT: rtt_of(flows)}, hosts=flows.hosts)


def _headline(interval: Interval) -> Headline:
    figures = figures_of(interval)
    return Headline(
        flows=figures.flows, opened=figures.opened, ended=figures.ended, send_bps=figures.send_bps,
        receive_bps=figures.receive_bps, retrans_pct=figures.retrans_pct,
        rtt_p50_us=figures.rtt.get("p50", math.nan), rtt_p99_us=figures.rtt.get("p99", math.nan),
    )  # fmt: skip


def _stages(interval: Interval) -> Iterator[Stage]:
    for name, *_ in STAGES:
        stats = statistics(interval.histograms.get(name))
        p50 = stats.get("p50", interval.metrics.get(f"{name}.p50", math.nan))
        p99 = stats.get("p99", interval.metrics.get(f"{name}.p99", math.nan))
        if math.isfinite(p50):
            yield Stage(name=name, p50_us=p50, p99_us=p99)


def _events(interval: Interval) -> Iterator[tuple[str, str]]:
    """Yield the flow and the words of the interval's first events."""
    for event in interval.events[:MOST_EVENTS]:
        words = [str(event.context.get("kind", event.metric))]
        words += [str(event.context[name]) for name in ("retransmission", "state", "reason") if name in event.context]
        yield ("" if event.flow is None else flow_text(event.flow), " ".join(words))
