"""What connections looked like when ACKs arrived and when segments left: distributions over a whole run.

The ACK side is sampled where an ACK delivers something, before TCP has taken it up. The send side is sampled where a
segment with data leaves TCP; what is in flight then includes that segment. Both know the smoothed RTT, so that they
can be compared; a measured RTT belongs to an ACK alone.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

import numpy as np
import numpy.typing as npt

from perfcheck.analyse.histogram import merge
from perfcheck.collect.base import histogram
from perfcheck.model.flow import Histogram
from perfcheck.model.flow_table import FlowTable
from perfcheck.model.interval import Interval

RATE: Final = "tcp.send_bps"
_RATE_STEP_BPS: Final = 1000.0
"""The finest difference of rates: the scale reaches 4 Tbit/s then."""


class Side(StrEnum):
    """At which moments a connection was looked at."""

    ACK = "rx"
    SEND = "tx"


@dataclass(frozen=True, slots=True, kw_only=True)
class Quantity:
    """One quantity; `ack` and `send` are the names of its histograms in an interval, None where a side has none."""

    name: str
    unit: str
    ack: str | None
    send: str | None

    def of(self, side: Side) -> str | None:
        """Return the name of its histogram on a side."""
        return self.ack if side is Side.ACK else self.send


RTT: Final = Quantity(name="rtt", unit="us", ack="tcp.rtt_us", send=None)
SRTT: Final = Quantity(name="srtt", unit="us", ack="tcp.srtt_us", send="tcp.send_srtt_us")
INFLIGHT: Final = Quantity(name="inflight", unit="segs", ack="tcp.inflight_segs", send="tcp.send_inflight_segs")
CWND: Final = Quantity(name="cwnd", unit="segs", ack="tcp.cwnd_segs", send="tcp.send_cwnd_segs")
RATE_QUANTITY: Final = Quantity(name="rate", unit="bps", ack=RATE, send=RATE)
QUANTITIES: Final = (RTT, SRTT, INFLIGHT, CWND, RATE_QUANTITY)


@dataclass(slots=True, kw_only=True)
class Perspectives:
    """Histograms by name, summed up over intervals; `unmergeable` are names whose buckets changed on the way."""

    histograms: dict[str, Histogram] = field(default_factory=dict)
    unmergeable: set[str] = field(default_factory=set)

    def add(self, interval: Interval) -> Mapping[str, Histogram]:
        """Add an interval; return its own histograms."""
        own = dict(self._own(interval))
        for name, found in own.items():
            before = self.histograms.get(name)
            if before is None or not before.count:
                self.histograms[name] = found
                continue
            try:
                self.histograms[name] = merge((before, found)) or before
            except ValueError:
                self.unmergeable.add(name)
        return own

    def _own(self, interval: Interval) -> Iterator[tuple[str, Histogram]]:
        for quantity in QUANTITIES:
            for name in (quantity.ack, quantity.send):
                if name is not None and name != RATE and name in interval.histograms:
                    yield name, interval.histograms[name]
        yield RATE, rates_of(interval.flows)

    def of(self, quantity: Quantity, side: Side) -> Histogram | None:
        """Return a quantity's distribution on a side; None where nothing was sampled."""
        name = quantity.of(side)
        found = None if name is None else self.histograms.get(name)
        return found if found is not None and found.count else None


def senders(flows: FlowTable) -> npt.NDArray[np.bool_]:
    """Return which connections had data acknowledged, more than they received."""
    return (flows["bytes_acked"] > 0) & (flows["bytes_acked"] >= flows["bytes_received"])


def rates_of(flows: FlowTable) -> Histogram:
    """Return the distribution of the connections' delivery rates: payload acknowledged in the interval, per second."""
    scale = tuple(_RATE_STEP_BPS * edge for edge in histogram.edges(histogram.BUCKETS))
    rates = flows["send_bps"][senders(flows)]
    rates = rates[np.isfinite(rates)]
    return histogram.of_values("bps", scale, np.maximum(rates, 0.0))
