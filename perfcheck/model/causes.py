"""The causes that a diagnosis may name, the most specific first."""

from __future__ import annotations

from typing import Final

CAUSES: Final = (
    "healthy", "random_loss", "queue_overflow", "policer", "shaper", "bufferbloat", "ecn_marking", "path_latency",
    "jitter", "reordering", "receive_window", "slow_reader", "send_buffer", "application_limited", "congestion_window",
    "cpu_contention", "softirq_contention", "mtu_blackhole", "syn_loss", "accept_backlog", "conntrack_full",
    "cross_traffic", "connection_reset", "unknown",
)  # fmt: skip

HEALTHY: Final = "healthy"
"""A run without any harmful cause."""
UNKNOWN: Final = "unknown"
"""Something is wrong that none of the other causes explains."""
