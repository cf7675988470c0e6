"""Metrics of detail mode: the time that followed packets spent in each stage of their way (docs/detail.md)."""

from __future__ import annotations

from typing import Final

from perfcheck.model.catalogue.declare import NEITHER, Source, count, distribution, metric
from perfcheck.model.metric import DecidedBy, MetricSpec

_STATS: Final = "p50 p90 p99 p999 mean max"


def _between(hook: str, decided_by: DecidedBy = DecidedBy.MACHINE) -> Source:
    return Source(hook=f"detail mode: {hook}", needs="detail", decided_by=decided_by)


_OFFERED: Final = _between("tp_btf/tcp_sendmsg_locked to the one that copies the byte")
_HELD: Final = _between("tp_btf/tcp_sendmsg_locked to skb_mstamp_ns")
_OUTPUT: Final = _between("skb_mstamp_ns to tp_btf/net_dev_queue")
_QUEUED: Final = _between("tp_btf/net_dev_queue to tp_btf/net_dev_start_xmit")
_DRIVER: Final = _between("tp_btf/net_dev_start_xmit to tp_btf/net_dev_xmit")
_WIRE: Final = _between(
    "tp_btf/net_dev_start_xmit to tp_btf/netif_rx, napi_gro_receive_entry or netif_receive_skb", DecidedBy.DELAY
)
_BACKLOG: Final = _between("tp_btf/netif_rx or napi_gro_receive_entry to tp_btf/netif_receive_skb")
_INPUT: Final = _between("tp_btf/netif_receive_skb to tp_btf/tcp_probe")
_ORDER: Final = _between("tp_btf/tcp_probe to tp_btf/sk_data_ready")
_READ: Final = _between("tp_btf/sk_data_ready to tp_btf/sock_recv_length")
_WHOLE: Final = _between("tp_btf/tcp_sendmsg_locked to tp_btf/sock_recv_length", DecidedBy.DELAY)
_DROPPED: Final = _between("tp_btf/kfree_skb: reason")
_ARRIVED: Final = _between("packets transmitted and received")

DETAIL: Final[tuple[MetricSpec, ...]] = (
    *distribution("app.oneway_us", "us", _STATS, "time from send() at one end to recv() at the other, of the packets "
                  "that were followed", _WHOLE, floor=200.0),
    *distribution("socket.tx_stage_us", "us", _STATS, "time that the sending application waited for room in its "
                  "socket, and for the copy", _OFFERED, floor=200.0),
    *distribution("tcp.tx_stage_us", "us", _STATS, "time in the send buffer until TCP sent it: congestion window, "
                  "receiver's window, pacing, small queues, recovery", _HELD, floor=200.0),
    *distribution("ip.tx_stage_us", "us", _STATS, "time from TCP's clock to the device's queue: the rest of TCP's "
                  "burst, IP, netfilter, neighbour", _OUTPUT, floor=50.0),
    *distribution("qdisc.tx_stage_us", "us", _STATS, "time in the device's queue, software segmentation included",
                  _QUEUED, floor=200.0),
    *distribution("nic.driver_us", "us", _STATS, "time that the sending device's driver took for one packet", _DRIVER,
                  floor=20.0),
    *distribution("nic.wire_us", "us", _STATS, "time from the sending driver to the receiving device: the link, and "
                  "hosts in between", _WIRE, floor=200.0),
    *distribution("nic.rx_stage_us", "us", _STATS, "time from the receiving device to the softirq that takes the "
                  "packet up", _BACKLOG, floor=200.0),
    *distribution("ip.rx_stage_us", "us", _STATS, "time from the softirq to TCP: IP, netfilter, and the socket's "
                  "backlog while the application holds it", _INPUT, floor=50.0),
    *distribution("tcp.rx_stage_us", "us", _STATS, "time in TCP until the data are in order and the application is "
                  "woken", _ORDER, floor=50.0),
    *distribution("socket.rx_stage_us", "us", _STATS, "time in the receive buffer until the application has read it",
                  _READ, floor=200.0),
    metric("nic.wire_loss_pct", "pct", "share of the followed packets that left the sending device and never reached "
           "the receiving one, though later ones did", _ARRIVED, floor=0.1),
    count("ip.drops_other", "packets dropped for a reason that no other metric counts", _DROPPED),
    metric("nic.followed_packets", "count", "packets whose way was followed", _ARRIVED, NEITHER),
)  # fmt: skip
