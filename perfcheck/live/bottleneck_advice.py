"""What to do about each bottleneck that a connection may have."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

ADVICE: Final[Mapping[str, str]] = {
    "slow_reader": "the receiving application does not read fast enough: profile it, or give it more threads",
    "receive_window": "the receiver's buffer limits: raise net.ipv4.tcp_rmem there, or do not set SO_RCVBUF",
    "send_buffer": "the sender's buffer limits: raise net.ipv4.tcp_wmem here, or do not set SO_SNDBUF",
    "random_loss": "packets are lost without a queue: check the link's errors (`ip -s link`), cables and radio",
    "queue_overflow": "a queue on the path overflows: pace (fq), use BBR, or find the queue with `perfctl diagnose`",
    "ecn_marking": "the path marks packets before it drops them: it is full, or its marking threshold is low",
    "application_limited": "the application offers less than the path carries: nothing in TCP makes it faster",
    "congestion_window": "the congestion window limits: losses keep it small (RETRANS), or the connection is too young "
    "or too often idle to have opened it (net.ipv4.tcp_slow_start_after_idle, the route's initcwnd)",
    "bufferbloat": "a standing queue makes round trips long: use fq_codel or CAKE at the bottleneck, or BBR",
}
"""What to do about a bottleneck of `bottleneck.NAMES`; what is not here needs nothing."""
