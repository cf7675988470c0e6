"""Intervals of a machine with made-up traffic: a healthy day and night, and five kinds of trouble."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from perfcheck.collect.base.histogram import RTT_BUCKETS, edges
from perfcheck.model.event import Event
from perfcheck.model.flow import Histogram
from perfcheck.model.flow_table import AF_INET, FlowTable
from perfcheck.model.interval import Accounting, Interval

S: Final = 1_000_000_000
EPOCH_NS: Final = 1_700_000_000 * S
FLOWS: Final = 8
BUCKETS: Final = RTT_BUCKETS
EDGES: Final = edges(BUCKETS)
_MIDDLES: Final = (np.asarray(EDGES[1:]) + np.asarray(EDGES[:-1])) / 2
TROUBLES: Final = ("rtt-tail", "retransmissions", "connect-time", "drop-burst", "loss-state")


def histogram_of(values: npt.NDArray[Any]) -> Histogram:
    """Return the histogram of some RTT."""
    counts, _ = np.histogram(values, EDGES)
    return _filled(counts)


def _filled(counts: npt.NDArray[Any]) -> Histogram:
    found = np.flatnonzero(counts)
    low, high = (EDGES[found[0]], EDGES[found[-1] + 1]) if found.size else (0.0, 0.0)
    return Histogram(
        unit="us", edges=EDGES, counts=tuple(counts.tolist()), minimum=low, maximum=high,
        total=float(counts @ _MIDDLES),
    )  # fmt: skip


def table(rows: int = FLOWS, **columns: object) -> FlowTable:
    """Return a table of flows 10.0.0.1:40000+row -> 10.0.0.2:443, with these columns."""
    found = FlowTable.empty(rows, {1: ""})
    local, remote = (np.frombuffer(socket.inet_aton(each) + bytes(12), "V16")[0] for each in ("10.0.0.1", "10.0.0.2"))
    found["cookie"][:] = np.arange(1, rows + 1)
    found["netns"][:], found["family"][:], found["local"][:], found["remote"][:] = 1, AF_INET, local, remote
    found["local_port"][:], found["remote_port"][:] = 40000 + np.arange(rows), 443
    for name, values in columns.items():
        found[name][:] = values
    return found


def interval(
    number: int, flows: FlowTable | None = None, *, seconds: float = 1.0, rtt: Histogram | None = None,
    metrics: dict[str, float] | None = None, events: tuple[Event, ...] = (), accounting: Accounting | None = None,
    hosts: dict[str, dict[str, float]] | None = None,
) -> Interval:  # fmt: skip
    """Return one interval; the first begins at 1 s."""
    length_ns = round(seconds * S)
    begin_ns = S + number * length_ns
    return Interval(
        number=number, begin_ns=begin_ns, end_ns=begin_ns + length_ns, epoch_ns=EPOCH_NS,
        flows=table() if flows is None else flows, metrics=metrics or {}, events=events,
        accounting=accounting or Accounting(), histograms={} if rtt is None else {"tcp.rtt_us": rtt}, hosts=hosts or {},
    )  # fmt: skip


@dataclass(slots=True)
class Traffic:
    """A server's day in intervals of `seconds`, made at once.

    It begins at an hour of the day; `trouble` begins at interval `from_interval`.
    """

    intervals: int
    seconds: float = 10.0
    seed: int = 1
    trouble: str | None = None
    from_interval: int = 0
    from_hour: float = 0.0
    _made: dict[str, npt.NDArray[Any]] = field(default_factory=dict)

    def __iter__(self) -> Iterator[Interval]:
        """Yield the intervals."""
        self._make()
        for number in range(self.intervals):
            troubled = self.trouble is not None and number >= self.from_interval
            yield self._interval(number, self.trouble if troubled else None)

    def _make(self) -> None:
        rng = np.random.default_rng(self.seed)
        n, flows, seconds = self.intervals, FLOWS, self.seconds
        hour = (self.from_hour + np.arange(n) * seconds / 3600) % 24
        load = np.clip(np.sin((hour - 6) / 24 * 2 * np.pi) + 0.6, 0, None)  # idle at night
        share = np.full((n, 1), 0.001) * rng.lognormal(0, 0.7, (n, 1))
        sent = rng.poisson(np.repeat(load[:, None], flows, 1) * 200 * seconds * rng.exponential(1, (n, flows)))
        # Most retransmissions come single, some as a burst of one flow: an overfull queue that cleared by itself.
        again = rng.poisson(sent * share) + rng.poisson(30, (n, flows)) * (rng.random((n, flows)) < 0.0005)
        rto = rng.random((n, flows)) < 0.0005
        self._made = {
            "samples": rng.poisson(load * 300 * seconds) * (rng.random(n) > 0.02),
            "slow": np.where(rng.random(n) < 0.002, 8.0, rng.lognormal(0, 0.15, n)),
            "sent": sent, "again": np.minimum(again, sent), "loss_us": rto * rng.integers(200_000, 900_000, rto.shape),
            "busy_us": np.minimum(sent * 500, round(seconds * 1e6)), "connects": rng.poisson(load * seconds),
            "drops": rng.poisson(0.3, n) + rng.poisson(1500, n) * (rng.random(n) < 1e-4 * seconds),
        }  # fmt: skip
        self._made["rng"] = np.array(rng, dtype=object)

    def _interval(self, number: int, trouble: str | None) -> Interval:
        made = {name: values[number] for name, values in self._made.items() if name != "rng"}
        rng: np.random.Generator = self._made["rng"].item()
        rtt = self._rtt(rng, int(made["samples"]), float(made["slow"]), tail=trouble == "rtt-tail")
        again, sent, busy, loss = made["again"], made["sent"], made["busy_us"], made["loss_us"]
        if trouble == "retransmissions":
            again = rng.binomial(sent, 0.03)
        if trouble == "loss-state":
            loss = np.maximum(busy * 0.3, 1)
        length_ns = round(self.seconds * S)
        end_ns = S + (number + 1) * length_ns
        opened = min(int(made["connects"]), FLOWS)
        times = rng.lognormal(np.log(25_000), 0.3, FLOWS) + 1_000_000 * (rng.random(FLOWS) < 0.001)
        if trouble == "connect-time":
            times = times + 200_000
        established = np.where(np.arange(FLOWS) < opened, end_ns - 1, 0)
        flows = table(
            FLOWS, data_segs_out=sent, segs_out=sent, retrans_segs=again, busy_us=busy, state_loss_us=loss,
            bytes_acked=sent * 1448, established_ns=established, handshake_us=np.where(established, times, np.nan),
            rtt_count=made["samples"] // FLOWS, min_rtt_us=18_000,
        )  # fmt: skip
        drops = 500 * self.seconds * rng.lognormal(0, 0.3) if trouble == "drop-burst" else float(made["drops"])
        return interval(number, flows, seconds=self.seconds, rtt=rtt, metrics={"qdisc.drops_full": drops})

    @staticmethod
    def _rtt(rng: np.random.Generator, samples: int, slow: float, *, tail: bool) -> Histogram:
        if not samples:
            return _filled(np.zeros(BUCKETS, int))
        values = rng.lognormal(np.log(20_000), 0.3, min(samples, 500)) * slow
        values[rng.random(values.size) < 0.004] *= 6
        if tail:
            values[rng.random(values.size) < 0.05] *= 20
        return histogram_of(values)
