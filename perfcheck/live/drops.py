"""Drops of an interval: which metrics count them, and each drop once."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

LAYERS: Final = ("qdisc", "nic", "ip", "socket")
TOTALS: Final[Mapping[str, tuple[str, ...]]] = {
    "qdisc": ("qdisc.drops",),
    "nic": ("nic.rx_drops", "nic.tx_drops"),
    "ip": (),
    "socket": ("socket.drops",),
}
"""What the kernel counts for a layer by itself; the drops by reason are the same packets, seen at another place."""
INTENDED: Final = frozenset({
    "ip.drops_netfilter", "qdisc.drops_filter", "nic.drops_xdp", "socket.drops_no_socket", "ip.drops_other",
})  # fmt: skip
"""Drops that somebody decided, or of packets that nobody asked for: shown, and no reason for an alert.

A healthy machine has them all day: scans of closed ports, multicast of others, segments that came twice.
"""
_BY_REASON: Final = tuple(f"{layer}.drops_" for layer in LAYERS)


def drops_of(metrics: Mapping[str, float]) -> dict[str, float]:
    """Return the interval's drops by metric, the most first, without those that are 0.

    Where a layer's reasons are known they are listed; a total of the kernel's is listed for what it has more.
    """
    found = {name: count for name, count in metrics.items() if name.startswith(_BY_REASON) and count > 0}
    for layer, names in TOTALS.items():
        by_reason = sum(count for name, count in found.items() if name.startswith(f"{layer}."))
        total = sum(metrics.get(name, 0.0) for name in names)
        if total > by_reason:
            found[f"{layer}.drops"] = total - by_reason
    return dict(sorted(found.items(), key=lambda one: (-one[1], one[0])))


def harmful_drops(metrics: Mapping[str, float]) -> dict[str, float]:
    """Return the interval's drops that count for alerts."""
    return harmful(drops_of(metrics))


def harmful(drops: Mapping[str, float]) -> dict[str, float]:
    """Return those of some drops that nobody intended."""
    return {name: count for name, count in drops.items() if name not in INTENDED}


def packets_of(metrics: Mapping[str, float]) -> float:
    """Return the packets that interfaces sent and received; 0 where they are not watched."""
    return metrics.get("nic.tx_packets", 0.0) + metrics.get("nic.rx_packets", 0.0)


def place_of(metric: str, reason: str = "") -> str:
    """Return where or why a packet was dropped, in words: the metric's own, and the kernel's reason."""
    words = PLACES.get(metric, f"({metric})")
    return f"{words} ({reason})" if reason else words


PLACES: Final[Mapping[str, str]] = {
    "qdisc.drops": "in a queue", "qdisc.drops_full": "in a full queue",
    "qdisc.drops_congested": "by active queue management", "qdisc.drops_flow": "at a queue's limit of a flow",
    "qdisc.drops_unspecified": "in a queue", "qdisc.drops_filter": "by a classifier", "nic.drops": "in an interface",
    "nic.drops_ring_full": "in a device's full ring", "nic.drops_backlog": "in a CPU's full backlog",
    "nic.drops_not_ready": "in a device that is down", "nic.drops_xdp": "by an XDP program",
    "ip.drops_netfilter": "by the packet filter", "ip.drops_no_route": "for lack of a route",
    "ip.drops_too_big": "as too big for the next link", "ip.drops_rpfilter": "by reverse path filtering",
    "ip.drops_neighbour": "for lack of a neighbour's address", "ip.drops_fragment": "as fragments",
    "ip.drops_checksum": "for a wrong checksum", "ip.drops_other": "for another reason",
    "socket.drops": "in a socket", "socket.drops_rcvbuf": "in a full receive buffer",
    "socket.drops_no_socket": "where no socket listens",
}  # fmt: skip
