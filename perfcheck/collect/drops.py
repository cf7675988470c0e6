"""Why packets of the lab's hosts were dropped, in whatever layer: bpf/drops.bpf.c and bpf/socket.bpf.c.

The numbers of `enum skb_drop_reason` change with every kernel; its BTF tells them, once for each.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import Any, Final

import numpy.typing as npt

from perfcheck.collect import cache
from perfcheck.collect.layer import BpfCollector, Seen
from perfcheck.model.observation import Scope

EVENTS: Final[Mapping[str, tuple[str, str]]] = {
    "sock_rcvqueue_full": ("socket.rcvqueue_full", "queue_full"),
    "udp_fail_queue_rcv_skb": ("udp.rcvqueue_full", "datagrams"),
    "sock_exceed_buf_limit": ("socket.memory_refused", "no_memory"),
}
"""Tracepoints that say themselves what happened: metric, and member of `pc_refusals`."""
OPTIONAL: Final = tuple(EVENTS)
TARGETS: Final = ("kfree_skb", *EVENTS)
PREFIX: Final = "SKB_DROP_REASON_"
METRICS: Final[Mapping[str, tuple[str, ...]]] = {
    "socket.drops_rcvbuf": ("SOCKET_RCVBUFF", "SOCKET_BACKLOG", "PROTO_MEM"),
    "socket.drops_no_socket": ("NO_SOCKET",),
    "ip.drops_netfilter": ("NETFILTER_DROP",),
    "ip.drops_no_route": ("IP_OUTNOROUTES", "IP_INNOROUTES"),
    "ip.drops_too_big": ("PKT_TOO_BIG",),
    "ip.drops_rpfilter": ("IP_RPFILTER",),
    "ip.drops_neighbour": ("NEIGH_CREATEFAIL", "NEIGH_FAILED", "NEIGH_QUEUEFULL", "NEIGH_DEAD"),
    "ip.drops_fragment": ("DUP_FRAG", "FRAG_REASM_TIMEOUT", "FRAG_TOO_FAR"),
    "ip.drops_checksum": ("IP_CSUM", "TCP_CSUM", "UDP_CSUM", "ICMP_CSUM", "SKB_CSUM"),
    "qdisc.drops_full": ("QDISC_OVERLIMIT",),
    "qdisc.drops_congested": ("QDISC_CONGESTED", "DUALPI2_STEP_DROP"),
    "qdisc.drops_flow": ("FQ_BAND_LIMIT", "FQ_HORIZON_LIMIT", "FQ_FLOW_LIMIT", "CAKE_FLOOD"),
    "qdisc.drops_unspecified": ("QDISC_DROP",),
    "qdisc.drops_filter": ("TC_EGRESS", "TC_INGRESS"),
    "nic.drops_ring_full": ("FULL_RING",),
    "nic.drops_backlog": ("CPU_BACKLOG",),
    "nic.drops_not_ready": ("DEV_READY", "DEV_HDR"),
    "nic.drops_xdp": ("XDP",),
}
"""Which reasons make up which metric; a reason that the running kernel does not tell apart counts nowhere."""


class DropsCollector(BpfCollector):
    """Counts packets that the kernel freed undelivered, of the scope's namespaces."""

    def __init__(self) -> None:
        """Nothing is loaded before `open`."""
        super().__init__("drops", TARGETS, optional=OPTIONAL)
        self._reasons: Mapping[str, int] = {}

    def open(self) -> None:
        """Load and attach; Unavailable where the kernel gives no reasons (before 5.17)."""
        super().open()
        self._reasons = drop_reasons()

    def forget(self, scope: Scope) -> None:
        """Begin at 0."""
        del scope
        for name in ("drops", "refusals"):
            self.programs.view(name)[:] = 0

    def read(self, length_ns: int) -> Seen:
        """Give the counts of all hosts together."""
        del length_ns
        counts = self.programs.view("drops")["reasons"].sum(axis=0, dtype="u8")
        refused = self.programs.view("refusals")[0]
        events = {
            metric: float(refused[member])
            for target, (metric, member) in EVENTS.items()
            if target not in self.programs.missing
        }
        return Seen(metrics=by_metric(counts, self._reasons) | events)


def by_metric(counts: npt.NDArray[Any], reasons: Mapping[str, int]) -> dict[str, float]:
    """Sum counts (indexed by the reason's number) to metrics; one none of whose reasons the kernel knows is absent."""
    found = {}
    for metric, names in METRICS.items():
        known = [reasons[name] for name in names if name in reasons and reasons[name] < len(counts) - 1]
        if known:
            found[metric] = float(sum(int(counts[number]) for number in known))
    return found


@functools.cache
def drop_reasons() -> Mapping[str, int]:
    """Give the running kernel's drop reasons by name, without the common prefix."""
    wanted = [PREFIX + name for names in METRICS.values() for name in names]
    return {name.removeprefix(PREFIX): value for name, value in cache.enumerators("drop-reasons", wanted).items()}
