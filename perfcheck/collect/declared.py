"""All collectors, as they declare themselves, and which files of bpf/ are compiled as one text for them.

Texts are small enough to be compiled side by side, and few enough to be worth it: one that does nothing takes some
30 ms, so that there are as many as keep two CPUs busy alike. What belongs to one layer stays together.
"""

from __future__ import annotations

from types import MappingProxyType
from typing import Final

from perfcheck.collect.base.declaration import SUMMARY, Declaration, Group, Layers, Mode

TCP_TEXT: Final[Group] = ("connections.bpf.c", "tcp.bpf.c")
SEND_SIDE_TEXT: Final[Group] = (*TCP_TEXT, "sendside.bpf.c")
"""TCP's, and what runs at each segment that is sent: where a live machine is asked for it."""
TRAFFIC_TEXT: Final[Group] = ("scope.bpf.c", "socket.bpf.c", "ip.bpf.c", "qdisc.bpf.c", "drops.bpf.c")
MACHINE_TEXT: Final[Group] = ("scope.bpf.c", "nic.bpf.c", "cpu.bpf.c")
TIMES_TEXT: Final[Group] = ("scope.bpf.c", "times.bpf.c")
"""Of use where the kernel traces functions."""
DETAIL_TEXT: Final[Group] = ("scope.bpf.c", "detail.bpf.c", "packets.bpf.c", "streams.bpf.c")
EVENTS_TEXT: Final[Group] = ("scope.bpf.c", "events.bpf.c")

TCP: Final = Declaration(
    name="tcp", layers=frozenset({"tcp"}), group=TCP_TEXT,
    hooks=("tcp_probe", "tcp_retransmit_skb", "inet_sock_set_state", "bpf_sk_storage_map", "tcp"),
    optional=("tcp_cong_state_set", "tcp_receive_reset", "tcp_send_reset"),
)  # fmt: skip
SOCKDIAG: Final = Declaration(name="sockdiag", layers=frozenset({"tcp"}))
HOST: Final = Declaration(name="host", layers=frozenset({"socket", "tcp", "udp", "ip"}))
SOCKET: Final = Declaration(
    name="socket", layers=frozenset({"socket"}), modes=SUMMARY, group=TRAFFIC_TEXT,
    hooks=("inet_sock_set_state", "bpf_sk_storage_map"), may_stop=True,
)  # fmt: skip
DROPS: Final = Declaration(
    name="drops", layers=frozenset({"socket", "udp", "ip", "qdisc", "nic"}), modes=SUMMARY, group=TRAFFIC_TEXT,
    hooks=("kfree_skb",), optional=("sock_rcvqueue_full", "udp_fail_queue_rcv_skb", "sock_exceed_buf_limit"),
    may_stop=True,
)  # fmt: skip
ROUTES: Final = Declaration(
    name="routes", layers=frozenset({"ip"}), modes=SUMMARY, group=TRAFFIC_TEXT, hooks=("fib_table_lookup",),
    optional=("fib6_table_lookup",), may_stop=True,
)  # fmt: skip
ROUTE_TIMES: Final = Declaration(
    name="route times", layers=frozenset({"ip"}), modes=SUMMARY, group=TIMES_TEXT, hooks=("fib_table_lookup",),
    optional=("fib6_table_lookup",), functions=True, may_stop=True,
)  # fmt: skip
CONNTRACK: Final = Declaration(name="conntrack", layers=frozenset({"ip"}))
CONNTRACK_TIMES: Final = Declaration(
    name="conntrack times", layers=frozenset({"ip"}), modes=SUMMARY, group=TIMES_TEXT, hooks=("nf_conntrack_in",),
    functions=True, may_stop=True,
)  # fmt: skip
OVS: Final = Declaration(name="ovs", layers=frozenset({"ip"}))
QDISC: Final = Declaration(
    name="qdisc", layers=frozenset({"qdisc"}), modes=SUMMARY, group=TRAFFIC_TEXT,
    hooks=("qdisc_enqueue", "qdisc_dequeue"), may_stop=True,
)  # fmt: skip
NETLINK: Final = Declaration(name="netlink", layers=frozenset({"ip", "qdisc", "nic"}))
NIC: Final = Declaration(
    name="nic", layers=frozenset({"nic"}), modes=SUMMARY, group=MACHINE_TEXT,
    hooks=("softirq_exit", "softirq_entry", "softirq_raise", "napi_poll"), may_stop=True,
)  # fmt: skip
CPU: Final = Declaration(
    name="cpu", layers=frozenset({"cpu"}), modes=SUMMARY, group=MACHINE_TEXT, hooks=("sched_switch",), may_stop=True
)
MACHINE: Final = Declaration(name="machine", layers=frozenset({"nic", "cpu"}))
DETAIL: Final = Declaration(
    name="detail", modes=frozenset({"detail", "both"}), group=DETAIL_TEXT,
    hooks=("net_dev_queue", "netif_receive_skb", "net_dev_start_xmit", "net_dev_xmit", "tcp_probe"),
    optional=(
        "netif_rx", "napi_gro_receive_entry", "tcp_retransmit_skb",
    ),
    # Functions where a tracepoint of Linux 6.3, or of 6.16 (`tcp_sendmsg_locked`), would be.
    instead=MappingProxyType({
        "tcp_sendmsg_locked": "fentry/tcp_sendmsg_locked",
        "sk_data_ready": "fentry/sock_def_readable",
        "sock_recv_length": "fexit/tcp_recvmsg",
    }),
    may_stop=True,
)  # fmt: skip
EVENTS: Final = Declaration(
    name="events", group=EVENTS_TEXT, hooks=("tcp_retransmit_skb",),
    optional=(
        "tcp_retransmit_synack", "tcp_cong_state_set", "tcp_receive_reset", "tcp_send_reset", "kfree_skb",
        "sock_rcvqueue_full", "udp_fail_queue_rcv_skb", "sched_switch",
    ),
    may_stop=True, on_request=True,
)  # fmt: skip

ALL: Final[tuple[Declaration, ...]] = (
    TCP, SOCKDIAG, HOST, SOCKET, DROPS, ROUTES, ROUTE_TIMES, CONNTRACK, CONNTRACK_TIMES, OVS, QDISC, NETLINK, NIC, CPU,
    MACHINE, DETAIL, EVENTS,
)  # fmt: skip
"""In the order in which they are begun and told."""


def texts(layers: Layers, mode: Mode, *, events: bool = False) -> tuple[Group, ...]:
    """Return what these layers need compiled in a mode, without the optional times of functions."""
    wanted = [one for one in ALL if one.serves(layers, mode) and (events or not one.on_request)]
    needed = [one.group for one in wanted if one.group and not one.functions]
    return tuple(dict.fromkeys(needed))
