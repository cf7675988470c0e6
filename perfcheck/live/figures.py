"""Catalogue metrics of the TCP layer from a table of connections: what `analyse/tcp.py` makes of a trial's sockets.

A machine sees one end of most connections. An end that sent more payload than it received in the interval is a sender;
metrics of senders are those ends' alone. There is no scenario: the path's rate is not known, and `bdp_use_pct` absent.
`app.throughput_bps` is payload that was acknowledged or received, whichever end is here, of each connection once.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from perfcheck.analyse.histogram import statistics
from perfcheck.model.catalogue import CATALOGUE
from perfcheck.model.flow import Histogram
from perfcheck.model.flow_table import FlowTable
from perfcheck.model.metric import Ends

_STATES: Final = ("open", "disorder", "cwr", "recovery", "loss")
_SHARES: Final = (
    ("tcp.retrans_pct", "retrans_segs", "data_segs_out"), ("tcp.lost_pct", "lost_segs", "data_segs_out"),
    ("tcp.ce_pct", "delivered_ce_segs", "delivered_segs"),
)  # fmt: skip
_MEDIANS: Final = ("rttvar_us", "ssthresh_segs", "mss_bytes")
_GREATEST: Final = ("snd_wnd_bytes", "reordering_segs")
Array = npt.NDArray[Any]
_TURN: Final = np.uint64(0x9E3779B97F4A7C15)


def tcp_figures(flows: FlowTable, histograms: Mapping[str, Histogram], seconds: float) -> dict[str, float]:
    """Return the metrics of an interval's connections; nothing where there was none."""
    if not len(flows):
        return {}
    found = {"tcp.connections": float(len(flows))}
    moved = flows["segs_out"] > 0
    sends = flows["bytes_acked"] >= flows["bytes_received"]
    senders, receivers = flows.where(moved & sends), flows.where(moved & ~sends)
    found |= dict(_sums(flows, senders, receivers))
    found |= dict(_handshakes(flows))
    for name, histogram in histograms.items():
        found |= {
            f"{name}.{stat}": value
            for stat, value in statistics(histogram).items()
            if f"{name}.{stat}" in CATALOGUE and histogram.count
        }
    found["app.throughput_bps"] = _goodput_bps(flows, seconds)
    if len(senders):
        found |= dict(_of_senders(senders, seconds, found.get("tcp.rtt_us.p50")))
    return found


def again_pct(again: float, sent: float) -> float:
    """Return the share of data segments that were sent again; NaN where none was sent.

    The two are counted by different hooks, so that at an interval's edge one may run ahead of the other. And the
    kernel counts a FIN that is sent again, but no FIN as a segment with data.
    """
    return min(100 * again / sent, 100.0) if sent else math.nan


def _sums(flows: FlowTable, senders: FlowTable, receivers: FlowTable) -> Iterator[tuple[str, float]]:
    ends = {Ends.SENDERS: senders, Ends.RECEIVERS: receivers, Ends.BOTH: flows}
    for spec in CATALOGUE.values():
        if spec.counter and spec.counter in flows.columns:
            yield spec.name, float(ends[spec.ends][spec.counter].sum(dtype=np.uint64))
    yield "tcp.resets", float((flows["resets"] > 0).sum())


def _handshakes(flows: FlowTable) -> Iterator[tuple[str, float]]:
    """Of connections that were opened in the interval: those whose whole life is within it."""
    fresh = flows["handshake_us"][flows["established_ns"] > 0]
    fresh = fresh[~np.isnan(fresh)]
    if fresh.size:
        p50, p99 = np.quantile(fresh, (0.5, 0.99))
        yield from (("tcp.handshake_us.p50", float(p50)), ("tcp.handshake_us.p99", float(p99)))
        yield "tcp.handshake_us.max", float(fresh.max())


def _of_senders(senders: FlowTable, seconds: float, median_us: float | None) -> Iterator[tuple[str, float]]:
    for name, part, whole in _SHARES:
        below = float(senders[whole].sum())
        if below:
            yield name, min(100 * float(senders[part].sum()) / below, 100.0)
    yield from _times(senders)
    min_rtt = senders["min_rtt_us"]
    least_us = float(np.nanmin(min_rtt)) if (~np.isnan(min_rtt)).any() else None
    rate_bps = 8 * float(senders["bytes_acked"].sum()) / seconds if seconds else 0.0
    yield "tcp.delivery_rate_bps", rate_bps
    if least_us is not None:
        yield "tcp.min_rtt_us", least_us
        yield "tcp.bdp_bytes", rate_bps * least_us / 8e6
        if median_us is not None and least_us > 0:
            yield "tcp.queue_delay_us", max(median_us - least_us, 0.0)
            yield "tcp.rtt_inflation_ratio", median_us / least_us
    yield from _gauges(senders)
    each = senders["bytes_acked"].astype(np.float64)
    if len(each) > 1 and each.any():
        yield "tcp.fairness_ratio", float(each.sum() ** 2 / (len(each) * (each * each).sum()))


def _times(senders: FlowTable) -> Iterator[tuple[str, float]]:
    """Shares of the senders' time; parts never exceed the whole (`collect/tcp/columns.py` sees to that)."""
    whole = float(senders["elapsed_us"].sum())
    if not whole:
        return
    for state in _STATES:
        yield f"tcp.state_{state}_pct", 100 * float(senders[f"state_{state}_us"].sum()) / whole
    busy, rwnd, sndbuf = (float(senders[f"{name}_us"].sum()) for name in ("busy", "rwnd_limited", "sndbuf_limited"))
    yield "tcp.limited_rwnd_pct", 100 * rwnd / whole
    yield "tcp.limited_sndbuf_pct", 100 * sndbuf / whole
    yield "tcp.limited_cwnd_pct", 100 * max(busy - rwnd - sndbuf, 0.0) / whole
    yield "tcp.limited_app_pct", 100 * max(whole - busy, 0.0) / whole


def _gauges(senders: FlowTable) -> Iterator[tuple[str, float]]:
    for name in (*_MEDIANS, *_GREATEST):
        known = senders[name][~np.isnan(senders[name])]
        if known.size:
            yield f"tcp.{name}", float(np.median(known) if name in _MEDIANS else known.max())
    paced = senders["pacing_rate_bps"][~np.isnan(senders["pacing_rate_bps"])]
    if paced.size:
        yield "tcp.pacing_rate_bps", float(paced.sum())


def _goodput_bps(flows: FlowTable, seconds: float) -> float:
    """Payload of all connections; of one whose two ends are both here the receiving end counts."""
    if not seconds:
        return 0.0
    out, into = float(flows["bytes_acked"].sum()), float(flows["bytes_received"].sum())
    both = _seen_at_both_ends(flows)
    doubled = float(flows["bytes_acked"][both].sum()) if both.any() else 0.0
    return 8 * (out + into - doubled) / seconds


def _seen_at_both_ends(flows: FlowTable) -> npt.NDArray[np.bool_]:
    """Return of which rows another row is the other end; a hash finds the few that are compared byte by byte."""
    ends = flows.ends()
    near, far = (_hashed(ends[end]) for end in ("local", "remote"))
    found = np.isin(far * _TURN + near, near * _TURN + far)
    maybe = np.flatnonzero(found)
    pairs = list(zip(ends["local"][maybe].tolist(), ends["remote"][maybe].tolist(), strict=True))
    known = set(pairs)
    found[maybe] = [(far, near) in known for near, far in pairs]
    return found


def _hashed(ends: Array) -> npt.NDArray[np.uint64]:
    raw = np.ascontiguousarray(ends).view("u1").reshape(len(ends), -1)
    padded = np.zeros((len(ends), 24), np.uint8)
    padded[:, : raw.shape[1]] = raw
    words = padded.view(np.uint64)
    mixed: npt.NDArray[np.uint64] = (words[:, 0] * _TURN + words[:, 1]) * _TURN + words[:, 2]
    return mixed ^ (mixed >> np.uint64(29))
