"""What a traffic entry asked for and what it got, and how much of what is under way is its own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from perfcheck.model.metric import Metrics
from perfcheck.model.observation import TrafficReport
from perfcheck.model.traffic import ConnectionsSpec, HttpSpec, Iperf3Spec, SockperfSpec, TrafficSpec

ACHIEVED: Final = "app.achieved_pct"
INFLIGHT_SHARE: Final = "tcp.inflight_share_pct"
_UDP_DEFAULT_BPS: Final = 10**6
"""What iperf3 offers a UDP stream where nothing is said."""


def achieved(entries: Sequence[TrafficSpec], reports: Sequence[TrafficReport]) -> dict[str, float]:
    """Return `app.achieved_pct` of the measured entry that got the least of the rate it asked for.

    Nothing where none asks for a rate, or none that does was measured.
    """
    found = [
        share
        for entry, report in zip(entries, reports, strict=True)
        if not report.background and (share := _achieved_pct(entry, report.metrics)) is not None
    ]
    return {ACHIEVED: min(found)} if found else {}


def _achieved_pct(entry: TrafficSpec, metrics: Metrics) -> float | None:
    asked, got = _asked(entry)
    return min(100 * metrics[got] / asked, 100.0) if asked and got in metrics else None


def _asked(entry: TrafficSpec) -> tuple[float, str]:
    """Return the rate that an entry asks for, 0 where it asks for none, and the metric that tells what it got."""
    match entry.spec:
        case Iperf3Spec(protocol="udp") as spec:
            return spec.streams * (spec.rate_bps or _UDP_DEFAULT_BPS), "udp.throughput_bps"
        case Iperf3Spec() as spec:
            return spec.streams * (spec.rate_bps or 0), "app.throughput_bps"
        case HttpSpec() | SockperfSpec() as spec:
            return spec.rate_per_s or 0, "app.requests_per_s"
        case ConnectionsSpec() as spec:
            return spec.rate_per_s or 0, "app.connections_per_s"
        case _:
            return 0, ""


def inflight_shares(entries: Mapping[str, Metrics]) -> dict[str, float]:
    """Return each entry's share of all that is in flight on average, in per cent; entries without TCP have none."""
    amounts = {name: amount for name, metrics in entries.items() if (amount := _inflight_bytes(metrics)) is not None}
    whole = sum(amounts.values())
    return {name: 100 * amount / whole for name, amount in amounts.items()} if whole and len(amounts) > 1 else {}


def _inflight_bytes(metrics: Metrics) -> float | None:
    """Return the bytes in flight by Little's law: what is delivered a second, for the time of a round trip."""
    rate_bps, rtt_us = metrics.get("tcp.delivery_rate_bps"), metrics.get("tcp.rtt_us.mean")
    return None if rate_bps is None or rtt_us is None else rate_bps * rtt_us / 8e6
