"""What limits each connection of an interval, by the names of model/causes.py, with the share that this rests on.

It looks at one connection's own figures, so it is a first answer; the diagnosis joins layers and both ends.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from perfcheck.model.flow_table import FlowTable

IDLE: Final = "idle"
HEALTHY: Final = "healthy"
NAMES: Final = (
    IDLE, "slow_reader", "receive_window", "send_buffer", "random_loss", "queue_overflow", "ecn_marking",
    "application_limited", "congestion_window", "bufferbloat", HEALTHY,
)  # fmt: skip
"""Every name that a row may have; but for the idle, the earlier one wins where several fit."""
UNREAD_PCT: Final = 30.0
"""Of the receive buffer: more unread data means that the application reads too slowly (rule `unread`)."""
LIMITED_PCT: Final = 20.0
"""Of the busy time, in which a window or a buffer limited (rule `waits-for-the-receive-window`)."""
WINDOW_USE_PCT: Final = 70.0
"""Of the own receive window, which arrives in each round trip."""
LOST_PCT: Final = 1.0
MARKED_PCT: Final = 5.0
BUSY_PCT: Final = 50.0
"""Less of the time with data to send, and the application is what limits."""
FULL_WINDOW_PCT: Final = 80.0
"""Of the congestion window in flight."""
QUEUE_PCT: Final = 50.0
"""Of the round trip beyond the smallest: the path's queue is what makes it long."""
_LEAST_LOST: Final = 2
_STANDING_QUEUE_US: Final = 20_000.0

Values = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Bottlenecks:
    """One name of `NAMES`, its place there, and one share in percent (0 to 100) for each row of a table."""

    names: npt.NDArray[Any]
    places: npt.NDArray[np.intp]
    shares_pct: Values


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Shares:
    """The shares of each row, 0 to 100 percent; 0 where they are not known."""

    busy: Values
    rwnd: Values
    sndbuf: Values
    retransmitted: Values
    marked: Values
    unread: Values
    window_used: Values
    in_flight: Values
    queued: Values


def bottlenecks(flows: FlowTable) -> Bottlenecks:
    """Return each connection's bottleneck, and the share that it rests on."""
    shares = shares_of(flows)
    moved = _of(flows, "bytes_acked") + _of(flows, "bytes_received") + _of(flows, "data_segs_out") > 0
    waiting = (_of(flows, "sendq_bytes") > 0) | (_of(flows, "recvq_bytes") > 0) | (_of(flows, "busy_us") > 0)
    sends = _of(flows, "bytes_acked") >= _of(flows, "bytes_received")
    busy = shares.busy >= BUSY_PCT
    # A zero window is one that the other application does not empty.
    closed = (shares.rwnd > LIMITED_PCT) & (flows["snd_wnd_bytes"] == 0)
    lost = (shares.retransmitted > LOST_PCT) & (_of(flows, "retrans_segs") >= _LEAST_LOST)
    queued = shares.queued > QUEUE_PCT
    full = busy & sends & (shares.in_flight >= FULL_WINDOW_PCT)
    standing = queued & (_of(flows, "srtt_us") - _of(flows, "min_rtt_us") > _STANDING_QUEUE_US)
    window = np.where(sends, shares.rwnd > LIMITED_PCT, shares.window_used >= WINDOW_USE_PCT)
    chosen: list[tuple[Mask, Values]] = [
        (~(moved | waiting), 100 - shares.busy),
        ((shares.unread > UNREAD_PCT) | closed, np.maximum(shares.unread, np.where(closed, shares.rwnd, 0))),
        (window & (shares.rwnd >= shares.sndbuf), np.where(sends, shares.rwnd, shares.window_used)),
        (shares.sndbuf > LIMITED_PCT, shares.sndbuf),
        (lost & ~queued, shares.retransmitted),
        (lost, shares.retransmitted),
        (shares.marked > MARKED_PCT, shares.marked),
        (sends & ~busy, 100 - shares.busy),
        (full & ~queued, shares.in_flight),
        (full & standing, shares.queued),
    ]
    conditions = [condition for condition, _ in chosen]
    worst = np.max([shares.unread, shares.rwnd, shares.sndbuf, shares.retransmitted, shares.marked], axis=0)
    places = np.select(conditions, range(len(conditions)), default=len(NAMES) - 1)
    return Bottlenecks(
        names=np.array(NAMES)[places],
        places=places,
        shares_pct=np.clip(np.select(conditions, [share for _, share in chosen], default=100 - worst), 0, 100),
    )


def shares_of(flows: FlowTable) -> Shares:
    """Return what the bottlenecks rest on."""
    busy_us = _of(flows, "busy_us")
    srtt_us, min_rtt_us = _of(flows, "srtt_us"), _of(flows, "min_rtt_us")
    segments = np.where(flows["data_segs_out"] > 0, flows["data_segs_out"], flows["segs_out"])
    inflight = np.where(np.isfinite(flows["inflight_mean_segs"]), flows["inflight_mean_segs"], flows["inflight_segs"])
    arriving = _of(flows, "receive_bps") / 8 * min_rtt_us / 1e6
    return Shares(
        busy=_share(busy_us, _of(flows, "elapsed_us")),
        rwnd=_share(_of(flows, "rwnd_limited_us"), busy_us), sndbuf=_share(_of(flows, "sndbuf_limited_us"), busy_us),
        retransmitted=_share(_of(flows, "retrans_segs"), _finite(segments)),
        marked=_share(_of(flows, "delivered_ce_segs"), _of(flows, "delivered_segs")),
        unread=_share(_of(flows, "recvq_bytes"), _of(flows, "rcvbuf_bytes")),
        window_used=_share(arriving, _of(flows, "rcv_wnd_bytes")),
        in_flight=_share(_finite(inflight), _of(flows, "cwnd_segs")),
        queued=_share(np.where(min_rtt_us > 0, np.maximum(srtt_us - min_rtt_us, 0), 0), srtt_us),
    )  # fmt: skip


def bdp_bytes(flows: FlowTable) -> Values:
    """Return each connection's bandwidth-delay product: delivery rate x smallest RTT; NaN where one is not known.

    What is in flight says nothing of the path: a queue or a window makes it.
    """
    sent = flows["bytes_acked"] >= flows["bytes_received"]
    measured = np.where(flows["delivery_rate_bps"] > 0, flows["delivery_rate_bps"], flows["send_bps"])
    rate = _finite(np.where(sent, measured, flows["receive_bps"]))
    product: Values = rate / 8 * _of(flows, "min_rtt_us") / 1e6
    product[product <= 0] = np.nan
    return product


def _of(flows: FlowTable, name: str) -> Values:
    return _finite(flows[name])


def _finite(column: npt.NDArray[Any]) -> Values:
    """Return a column of non-negative finite numbers; what is absent is 0."""
    found: Values = np.nan_to_num(column.astype(np.float64), nan=0.0, posinf=0.0, neginf=0.0)
    return np.clip(found, 0.0, _LARGEST)


_LARGEST: Final = 2.0**64
"""Beyond any count; products of two such numbers are still finite."""


def _share(part: Values, whole: Values) -> Values:
    """Return parts of wholes in percent, at most 100; 0 where the whole is."""
    found = np.zeros(len(whole))
    with np.errstate(over="ignore"):
        np.divide(part, whole, out=found, where=whole > 0)
    return np.clip(100 * found, 0, 100)
