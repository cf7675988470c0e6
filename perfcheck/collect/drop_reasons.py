"""The kernel's reasons to drop a packet (enum skb_drop_reason), and the metrics that each belongs to.

Their numbers change with every kernel and are read from its BTF.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import Final

from perfcheck.ebpf import cache

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
"""Which reasons make up which metric."""
OTHER: Final = "ip.drops_other"
"""All other reasons, and those that the running kernel does not tell apart."""

LABEL: Final = "drop-reasons"
ENUMERATORS: Final = tuple(PREFIX + name for names in METRICS.values() for name in names)


@functools.cache
def drop_reasons() -> Mapping[str, int]:
    """Return the running kernel's drop reasons by name, without the common prefix."""
    known = cache.numbers(LABEL, ENUMERATORS, lambda names: cache.kernel_types().enumerators(names))
    return {name.removeprefix(PREFIX): value for name, value in known.items()}


def reason_metrics(reasons: Mapping[str, int]) -> dict[int, str]:
    """Return the metric that counts each reason, by the reason's number."""
    return {reasons[name]: metric for metric, names in METRICS.items() for name in names if name in reasons}


MORE_LABEL: Final = "event-reasons"
MORE_ENUMERATORS: Final = (
    *ENUMERATORS,
    *(
        PREFIX + name
        for name in (
            "NOT_SPECIFIED", "SOCKET_CLOSE", "SOCKET_FILTER", "PKT_TOO_SMALL", "OTHERHOST", "IP_INHDR",
            "UNICAST_IN_L2_MULTICAST", "XFRM_POLICY", "IP_NOPROTO", "TCP_AUTH_HDR", "TCP_FLAGS", "TCP_ABORT_ON_DATA",
            "TCP_ZEROWINDOW", "TCP_OLD_DATA", "TCP_OVERWINDOW", "TCP_OFOMERGE", "TCP_RFC7323_PAWS",
            "TCP_RFC7323_PAWS_ACK", "TCP_RFC7323_TW_PAWS", "TCP_RFC7323_TSECR", "TCP_LISTEN_OVERFLOW",
            "TCP_OLD_SEQUENCE", "TCP_INVALID_SEQUENCE", "TCP_INVALID_END_SEQUENCE", "TCP_INVALID_ACK_SEQUENCE",
            "TCP_RESET", "TCP_INVALID_SYN", "TCP_CLOSE", "TCP_FASTOPEN", "TCP_OLD_ACK", "TCP_TOO_OLD_ACK",
            "TCP_ACK_UNSENT_DATA", "TCP_OFO_QUEUE_PRUNE", "TCP_OFO_DROP", "BPF_CGROUP_EGRESS", "IPV6DISABLED",
            "NEIGH_HH_FILLFAIL", "SECURITY_HOOK", "UNHANDLED_PROTO", "SKB_GSO_SEG", "SKB_UCOPY_FAULT", "NOMEM",
            "HDR_TRUNC", "TAP_FILTER", "TAP_TXFILTER", "INVALID_PROTO", "IP_INADDRERRORS", "IP_LOCAL_SOURCE",
            "IP_INVALID_SOURCE", "IP_LOCALNET", "IP_INVALID_DEST", "TCP_MINTTL", "QUEUE_PURGE", "PFMEMALLOC",
            "BRIDGE_INGRESS_STP_STATE", "RECURSION_LIMIT",
        )
    ),
)  # fmt: skip
"""Reasons that no metric counts, and that an event names all the same."""


@functools.cache
def all_reasons() -> Mapping[str, int]:
    """Return the reasons that events name, as `drop_reasons` does; of others an event has the number."""
    known = cache.numbers(MORE_LABEL, MORE_ENUMERATORS, lambda names: cache.kernel_types().enumerators(names))
    return {name.removeprefix(PREFIX): value for name, value in known.items()}
