"""Metrics of detail mode: the time that followed packets spent in each stage of their path (docs/detail.md)."""

from __future__ import annotations

from typing import Final

from perfcheck.model.catalogue.declare import NEITHER, Source, distribution, metric
from perfcheck.model.metric import DecidedBy, MetricSpec, Phased

_STATS: Final = "p50 p90 p99 p999 mean max"


def _between(text: str, *hooks: str, decided_by: DecidedBy = DecidedBy.MACHINE) -> Source:
    return Source(text=f"detail mode: {text}", hooks=hooks, needs="detail", decided_by=decided_by, phased=Phased.NEVER)


_OFFERED: Final = _between("{} to the one that copies the byte", "tcp_sendmsg_locked")
_HELD: Final = _between("{} to skb_mstamp_ns", "tcp_sendmsg_locked")
_OUTPUT: Final = _between("skb_mstamp_ns to {}", "net_dev_queue")
_QUEUED: Final = _between("{} to {}", "net_dev_queue", "net_dev_start_xmit")
_DRIVER: Final = _between("{} to {}", "net_dev_start_xmit", "net_dev_xmit")
# Which of several hooks a packet passes first is the driver's affair: none of them alone is needed.
_WIRE: Final = _between(
    "{} to tp_btf/netif_rx, napi_gro_receive_entry or netif_receive_skb", "net_dev_start_xmit",
    decided_by=DecidedBy.DELAY,
)  # fmt: skip
_BACKLOG: Final = _between("tp_btf/netif_rx or napi_gro_receive_entry to {}", "netif_receive_skb")
_INPUT: Final = _between("{} to {}", "netif_receive_skb", "tcp_probe")
_ORDER: Final = _between("{} to {}", "tcp_probe", "sk_data_ready")
_READ: Final = _between("{} to {}", "sk_data_ready", "sock_recv_length")
_WHOLE: Final = _between("{} to {}", "tcp_sendmsg_locked", "sock_recv_length", decided_by=DecidedBy.DELAY)
_ARRIVED: Final = _between("packets transmitted and received")

DETAIL: Final[tuple[MetricSpec, ...]] = (
    *distribution("app.oneway_us", "us", _STATS, "time from send() at one end to recv() at the other, of the packets "
                  "that were followed", _WHOLE, floor=200.0),
    *distribution("socket.tx_stage_us", "us", _STATS,
                  "time that the sending application waited for room in the send buffer and for the copy",
                  _OFFERED, floor=200.0),
    *distribution("tcp.tx_stage_us", "us", _STATS,
                  "time in the send buffer until TCP sent it: congestion window, receive window, pacing, TCP small "
                  "queues, recovery", _HELD, floor=200.0),
    *distribution("ip.tx_stage_us", "us", _STATS,
                  "time from TCP's send timestamp to the device's queue: rest of TCP's burst, IP, netfilter, "
                  "neighbour lookup", _OUTPUT, floor=50.0),
    *distribution("qdisc.tx_stage_us", "us", _STATS, "time in the device's queue, software segmentation included",
                  _QUEUED, floor=200.0),
    *distribution("nic.driver_us", "us", _STATS, "time that the sending device's driver took for one packet", _DRIVER,
                  floor=20.0),
    *distribution("nic.wire_us", "us", _STATS,
                  "time from the sending driver to the receiving device: the link and the hosts in between",
                  _WIRE, floor=200.0),
    *distribution("nic.rx_stage_us", "us", _STATS,
                  "time from the receiving device to the softirq that processes the packet", _BACKLOG, floor=200.0),
    *distribution("ip.rx_stage_us", "us", _STATS, "time from the softirq to TCP: IP, netfilter, and the socket's "
                  "backlog while the application holds it", _INPUT, floor=50.0),
    *distribution("tcp.rx_stage_us", "us", _STATS, "time in TCP until the data are in order and the application is "
                  "woken", _ORDER, floor=50.0),
    *distribution("socket.rx_stage_us", "us", _STATS, "time in the receive buffer until the application has read it",
                  _READ, floor=200.0),
    metric("nic.wire_loss_pct", "pct",
           "share of the followed packets that left the sending device but did not reach the receiving one, while "
           "later packets did", _ARRIVED, floor=0.1),
    metric("nic.followed_packets", "count", "packets whose path was followed", _ARRIVED, NEITHER),
)  # fmt: skip
