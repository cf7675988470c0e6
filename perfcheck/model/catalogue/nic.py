"""Metrics of the network cards: the hosts' interfaces, and the softirqs that serve all of the machine's."""

from __future__ import annotations

from typing import Final

from perfcheck.model.catalogue.declare import NEITHER, OF_HOST, Source, count, distribution, metric
from perfcheck.model.metric import MetricSpec

_DELAY: Final = Source(text="{} to {}", hooks=("softirq_raise", "softirq_entry"), needs="nic", host_wide=True)
_RUN: Final = Source(text="{} to {}", hooks=("softirq_entry", "softirq_exit"), needs="nic", host_wide=True)
_POLL: Final = Source(
    text="{}: devices of the hosts, and the CPUs' backlogs that serve all",
    hooks=("napi_poll",),
    needs="nic",
    host_wide=True,
)
_BUSY: Final = Source(text="RTM_GETQDISC: requeues", needs="netlink", subjects=OF_HOST)
_LINK: Final = Source(text="RTM_GETLINK: IFLA_STATS64", needs="netlink", subjects=OF_HOST)
_LANES: Final = Source(text="RTM_GETQDISC: qdiscs under mq", needs="netlink", subjects=OF_HOST)
_OFFLOADS: Final = Source(text="ETHTOOL_GFEATURES (ethtool -k)", needs="netlink", subjects=OF_HOST)
_DRIVER: Final = Source(text="ETHTOOL_GSTATS (ethtool -S), by the counters' names", needs="netlink", subjects=OF_HOST)
_DROPS: Final = Source(text="{}: reason", hooks=("kfree_skb",), needs="drops")
_INTERRUPTS: Final = Source(text="/proc/stat: intr", needs="machine", host_wide=True)
_SOFTIRQS: Final = Source(text="/proc/softirqs", needs="machine", host_wide=True)
_SOFTNET: Final = Source(text="/proc/net/softnet_stat", needs="machine", host_wide=True)


def _softirq(way: str, what: str) -> tuple[MetricSpec, ...]:
    vector = f"NET_{way.upper()}"
    return (
        *distribution(f"nic.{way}_softirq_delay_us", "us", "p50 p99 p999 mean max",
                      f"delay from raising {vector} to its start: how late {what}", _DELAY, floor=200.0),
        *distribution(f"nic.{way}_softirq_run_us", "us", "p50 p99 mean max", f"duration of one run of {vector}",
                      _RUN, floor=500.0),
        metric(f"nic.{way}_softirq_pct", "pct", f"share of its time that the busiest CPU spent in {vector}", _RUN,
               floor=5.0),
        count(f"nic.{way}_softirqs", f"runs of {vector}", _SOFTIRQS, NEITHER),
    )  # fmt: skip


NIC: Final[tuple[MetricSpec, ...]] = (
    *_softirq("rx", "packets are received"),
    *_softirq("tx", "sent packets are freed and stopped queues resume"),
    metric("nic.softirqs_timed_pct", "pct",
           "share of the time in which runs of NET_RX and NET_TX were timed: a random sample if BPF programs would "
           "run more than 50,000 times per "
                                            "second", _RUN, NEITHER),
    count("nic.napi_polls", "polls of devices and backlogs for received packets", _POLL, NEITHER),
    metric("nic.napi_full_pct", "pct", "share of polls that used their whole budget", _POLL, floor=5.0),
    *distribution("nic.napi_work_packets", "packets", "p50 p99 mean max", "packets that one poll received", _POLL,
                  NEITHER),
    count("nic.softnet_processed", "packets that the CPUs received", _SOFTNET, NEITHER),
    count("nic.softnet_dropped", "packets dropped because a CPU's backlog was full", _SOFTNET),
    count("nic.softnet_squeezed",
          "times that receiving stopped because its budget or time was used up (time_squeeze)", _SOFTNET),
    metric("nic.interrupts_per_s", "per_s", "interrupts served", _INTERRUPTS, NEITHER),
    count("nic.rx_packets", "packets that the hosts' interfaces received", _LINK, NEITHER),
    count("nic.tx_packets", "packets that the hosts' interfaces sent", _LINK, NEITHER),
    metric("nic.tx_packet_bytes.mean", "bytes",
           "mean size of packets given to interfaces; above the MTU, the interfaces split them (segmentation "
           "offload)", _LINK, NEITHER),
    count("nic.rx_drops", "received packets that the hosts' interfaces dropped", _LINK),
    count("nic.tx_drops", "packets to be sent that the hosts' interfaces dropped", _LINK),
    count("nic.rx_errors", "receive errors of the hosts' interfaces", _LINK),
    count("nic.tx_errors", "transmit errors of the hosts' interfaces", _LINK),
    metric("nic.rx_packet_bytes.mean", "bytes",
           "mean size of packets that interfaces delivered; above the MTU, they were merged (GRO) or not split by "
           "the peer", _LINK, NEITHER),
    count("nic.rx_queues", "receive queues of the hosts' interface with the most receive queues", _LINK, NEITHER),
    metric("nic.tx_queue_busiest_pct", "pct",
           "share of packets in the busiest transmit queue, of the interface with the most uneven use of several "
           "queues", _LANES, floor=10.0),
    *(
        metric(f"nic.offload_{name}_pct", "pct", f"share of the hosts' interfaces with {what} on", _OFFLOADS,
               NEITHER)
        for name, what in (
            ("tso", "TCP segmentation offload"), ("gso", "generic segmentation offload"),
            ("gro", "generic receive offload"), ("tx_csum", "checksumming of sent packets"),
            ("rx_csum", "checking of received packets"),
        )
    ),
    count("nic.tx_queues", "transmit queues of the hosts' interface with the most transmit queues", _LINK, NEITHER),
    count("nic.tx_busy", "times that an interface of the hosts was too busy to take a packet (NETDEV_TX_BUSY, or its "
          "queue stopped)", _BUSY),
    count("nic.driver_drops", "packets dropped by drivers of the hosts' interfaces", _DRIVER),
    count("nic.driver_errors", "errors counted by drivers of the hosts' interfaces", _DRIVER),
    count("nic.drops_ring_full", "packets dropped because a device's ring was full (FULL_RING)", _DROPS),
    count("nic.drops_backlog", "packets dropped because the receiving CPU's backlog was full (CPU_BACKLOG)", _DROPS),
    count("nic.drops_not_ready", "packets dropped because a device was down or not set up (DEV_READY, DEV_HDR)",
          _DROPS),
    count("nic.drops_xdp", "packets dropped by XDP programs", _DROPS),
)  # fmt: skip
