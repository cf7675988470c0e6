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
"""Which reasons make up which metric; a reason that the running kernel does not tell apart counts nowhere."""


LABEL: Final = "drop-reasons"
ENUMERATORS: Final = tuple(PREFIX + name for names in METRICS.values() for name in names)


@functools.cache
def drop_reasons() -> Mapping[str, int]:
    """Return the running kernel's drop reasons by name, without the common prefix."""
    known = cache.numbers(LABEL, ENUMERATORS, lambda names: cache.kernel_types().enumerators(names))
    return {name.removeprefix(PREFIX): value for name, value in known.items()}
