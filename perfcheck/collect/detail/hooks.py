"""The hooks of detail mode's stations, and what takes the place of tracepoints that older kernels do not have."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import Final

from perfcheck.collect.base.availability import by_another, lacking
from perfcheck.ebpf.image import Image
from perfcheck.system.checks import Check

SUBSTITUTES: Final[Mapping[str, str]] = MappingProxyType({
    "tcp_sendmsg_locked": "fentry/tcp_sendmsg_locked",
    "sk_data_ready": "fentry/sock_def_readable",
    "sock_recv_length": "fexit/tcp_recvmsg",
})  # fmt: skip
"""Functions where a tracepoint of Linux 6.3, or of 6.16 (`tcp_sendmsg_locked`), would be."""
OPTIONAL: Final = (
    *SUBSTITUTES, *SUBSTITUTES.values(), "netif_rx", "napi_gro_receive_entry", "tcp_retransmit_skb",
    "tcp_cong_state_set", "kfree_skb", "sock_rcvqueue_full", "udp_fail_queue_rcv_skb", "sched_switch",
)  # fmt: skip
"""Stations and anomalies that a kernel may lack: paths and the stream of events then lack them, too."""
_FIX: Final = "use a newer kernel, or one that traces functions (fentry), such as Debian's"


def chosen(image: Image) -> Image:
    """Leave out each tracepoint that the kernel does not have, and functions where it has the tracepoint."""
    have = {program.name for program in image.programs if program.btf_id}
    left_out = {function if tracepoint in have else tracepoint for tracepoint, function in SUBSTITUTES.items()}
    return replace(image, programs=tuple(one for one in image.programs if one.name not in left_out))


def parts(loaded: Collection[str]) -> tuple[Check, ...]:
    """Name detail mode's metrics that the programs which are loaded do not give, or give by functions."""
    absent = [one for one, function in SUBSTITUTES.items() if one not in loaded and function not in loaded]
    instead = {one: function for one, function in SUBSTITUTES.items() if function in loaded}
    return (*lacking("detail", absent, _FIX), *by_another("detail", instead))
