"""What `perfctl observe` shows of an interval, and of a whole run; pure."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

import numpy as np

from perfcheck.analyse.histogram import merge, statistics
from perfcheck.collect.base.histogram import BUCKETS, edges, of_values
from perfcheck.live.alerts.readers import connect_times_us, data_again
from perfcheck.live.drops import drops_of, harmful
from perfcheck.live.figures import again_pct
from perfcheck.live.retransmissions import Retransmission, shares_kept, words_of
from perfcheck.live.totals import Totals
from perfcheck.model.event import Event, EventType
from perfcheck.model.flow import Histogram
from perfcheck.model.interval import Interval
from perfcheck.model.metric import Layer

KINDS: Final = ("fast", "rto", "tlp", "syn")
"""Of retransmissions, as the columns of the table name them."""
FIRST_NUMBER: Final = 1 << 40
"""Of the events that the command makes itself: the collectors' begin at 0."""
_RTT: Final = "tcp.rtt_us"


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """One interval; times are NaN where nothing was measured.

    `retransmitted` are segments, of `sent` data segments; `by_kind` has those of each kind, SYN beside them. `drops`
    are by metric. `kept_pct` is the share of the events of each kind that was kept, where that is below 100.
    """

    rtt: Mapping[str, float]
    connects: int
    connect_p50_us: float
    connect_p99_us: float
    sent: int
    retransmitted: int
    by_kind: Mapping[str, int]
    drops: Mapping[str, float]
    flows: int
    opened: int
    ended: int
    send_bps: float
    receive_bps: float
    kept_pct: Mapping[str, float]

    @property
    def retrans_pct(self) -> float:
        """The share of data segments that were sent again; NaN where none was sent."""
        return again_pct(self.retransmitted, self.sent)

    @property
    def dropped(self) -> float:
        """The drops that nobody intended."""
        return sum(harmful(self.drops).values())

    def metrics(self) -> dict[str, float]:
        """Return the figures by the names of the catalogue, without those that have no value."""
        found = {f"{_RTT}.{name}": value for name, value in self.rtt.items()} | {
            "tcp.handshake_us.p50": self.connect_p50_us, "tcp.handshake_us.p99": self.connect_p99_us,
            "tcp.retrans_segs": float(self.retransmitted), "tcp.retrans_pct": self.retrans_pct,
            **{f"tcp.retrans_{kind}_segs": float(count) for kind, count in self.by_kind.items()},
            "tcp.data_segs_out": float(self.sent), **self.drops, "tcp.connections": float(self.flows),
            "send_bps": self.send_bps, "receive_bps": self.receive_bps, "connects": float(self.connects),
            "opened": float(self.opened), "ended": float(self.ended),
        }  # fmt: skip
        return {name: value for name, value in found.items() if math.isfinite(value)}


def figures_of(interval: Interval) -> Figures:
    """Return what is shown of an interval."""
    flows = interval.flows
    connects = connect_times_us(interval)
    p50, p99 = (float(np.quantile(connects, share)) if connects.size else math.nan for share in (0.5, 0.99))
    seconds = interval.seconds or math.nan
    return Figures(
        rtt=statistics(interval.histograms.get(_RTT)), connects=int(connects.size), connect_p50_us=p50,
        connect_p99_us=p99, sent=int(flows["data_segs_out"].sum()), retransmitted=int(data_again(flows).sum()),
        by_kind={kind: int(flows[f"retrans_{kind}_segs"].sum()) for kind in KINDS}, drops=drops_of(interval.metrics),
        flows=len(flows), opened=interval.accounting.opened, ended=interval.accounting.ended,
        send_bps=8 * float(flows["bytes_acked"].sum()) / seconds,
        receive_bps=8 * float(flows["bytes_received"].sum()) / seconds,
        kept_pct={kind: share for kind, share in shares_kept(interval.events).items() if share < 100},
    )  # fmt: skip


def connect_histogram(interval: Interval) -> Histogram:
    """Return the distribution of the handshakes' times of connections that were established in the interval."""
    return of_values("us", edges(BUCKETS), connect_times_us(interval))


def interval_event(interval: Interval, figures: Figures, number: int, diagnosis: str = "") -> Event:
    """Return an interval as an event of type summary."""
    value = figures.rtt.get("p99", math.nan)
    metrics = figures.metrics()
    name, value = ("tcp.retrans_segs", float(figures.retransmitted)) if math.isnan(value) else (f"{_RTT}.p99", value)
    account = interval.accounting
    return Event(
        number=number, timestamp_ns=interval.end_ns, flow=None, layer=Layer.TCP, metric=name, value=value,
        type=EventType.SUMMARY, metrics=metrics,
        context={
            "kind": "interval", "interval": interval.number, "seconds": round(interval.seconds, 6),
            "refused": account.refused, "lost": account.lost, "cpu_pct": round(account.cpu_pct, 3),
            **{f"kept_pct_{kind}": share for kind, share in figures.kept_pct.items()},
            **({"shed": "; ".join(account.shed)} if account.shed else {}),
            **({"diagnosis": diagnosis} if diagnosis else {}),
        },
    )  # fmt: skip


def retransmission_event(one: Retransmission, number: int) -> Event:
    """Return what was found about a retransmission as an event of type detail."""
    found: dict[str, str | int | float] = {
        "kind": "retransmission_cause", "retransmission": one.kind, "behind": one.behind.value,
        "text": words_of(one), "same_segment": int(one.same_segment), "off_cpu_before_us": one.off_cpu_before_us,
        "off_cpu_after_us": one.off_cpu_after_us, "receive_queue_full": int(one.receive_queue_full),
        "drops_kept_pct": one.drops_kept_pct,
    }  # fmt: skip
    if one.send_queue_full is not None:
        found["send_queue_full"] = int(one.send_queue_full)
    if one.drop is not None:
        found |= {"drop": one.drop.metric, "place": one.place, "drop_host": one.host}
    if one.pid:
        found |= {"pid": one.pid, "comm": one.comm}
    related = (one.event.number,) if one.drop is None else (one.event.number, one.drop.number)
    return Event(
        number=number, timestamp_ns=one.event.timestamp_ns, flow=one.event.flow, layer=Layer.TCP,
        metric="tcp.retrans_segs", value=float(one.segments), type=EventType.DETAIL, metrics=one.event.metrics,
        context=found, related=related, cause=one.event.cause,
    )  # fmt: skip


def totals_event(totals: WatchTotals, number: int, undelivered: int) -> Event:
    """Return a whole run as an event of type summary."""
    return Event(
        number=number, timestamp_ns=totals.end_ns, flow=None, layer=Layer.TCP, metric="tcp.retrans_segs",
        value=float(totals.retrans_segs), type=EventType.SUMMARY, metrics=totals.metrics(),
        context={
            "kind": "run", "seconds": round(totals.seconds, 6), "intervals": totals.intervals,
            "refused": totals.refused, "lost": totals.lost, "cpu_pct": round(totals.cpu_pct, 3),
            "alerts_raised": sum(totals.raised.values()), "alerts_undelivered": undelivered,
            **{f"raised_{name}": count for name, count in totals.raised.items()},
            **({"shed": "; ".join(totals.shed)} if totals.shed else {}),
            **({"lacks": "; ".join(f"{name}: {why}" for name, why in totals.lacks.items())} if totals.lacks else {}),
        },
    )  # fmt: skip


@dataclass(slots=True, kw_only=True)
class WatchTotals(Totals):
    """A whole run of `perfctl observe`, added up: connect times, kinds of retransmissions, drops and alerts, too."""

    connect: Histogram | None = None
    by_kind: Counter[str] = field(default_factory=Counter)
    drops: Counter[str] = field(default_factory=Counter)
    raised: Counter[str] = field(default_factory=Counter)
    behind: Counter[str] = field(default_factory=Counter)
    lacks: Mapping[str, str] = field(default_factory=dict)

    @property
    def connects(self) -> int:
        """How many connect times were measured."""
        return self.connect.count if self.connect is not None else 0

    def take(self, interval: Interval, figures: Figures) -> None:
        """Add an interval and what is shown of it."""
        self.add(interval)
        self.connect = merge(one for one in (self.connect, connect_histogram(interval)) if one is not None)
        self.by_kind.update(figures.by_kind)
        for name, count in figures.drops.items():
            self.drops[name] += round(count)
        self.lacks = interval.lacks or self.lacks

    def metrics(self) -> dict[str, float]:
        """Return the totals by the names of the catalogue."""
        found = {f"{_RTT}.{name}": value for name, value in statistics(self.rtt_us).items()}
        connect = statistics(self.connect)
        found |= {f"tcp.handshake_us.{name}": connect[name] for name in ("p50", "p99", "max") if name in connect}
        if self.data_segs_out:
            found["tcp.retrans_pct"] = self.retrans_pct
        return found | {
            "tcp.retrans_segs": float(self.retrans_segs), "tcp.data_segs_out": float(self.data_segs_out),
            **{f"tcp.retrans_{kind}_segs": float(count) for kind, count in self.by_kind.items()},
            **{name: float(count) for name, count in self.drops.items()}, "connects": float(self.connects),
            "opened": float(self.opened), "ended": float(self.ended), "tcp.bytes_acked": float(self.bytes_acked),
            "tcp.bytes_received": float(self.bytes_received),
        }  # fmt: skip
