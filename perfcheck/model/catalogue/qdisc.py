"""Metrics of the queues: those of the hosts' devices, and under `link_` those of the emulated links."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from perfcheck.model.catalogue.declare import NEITHER, OF_DIRECTION, OF_HOST, Source, count, distribution, metric
from perfcheck.model.metric import DecidedBy, MetricSpec, Phased

_DEPTH: Final = Source(text="{}: Qdisc.q.qlen, Qdisc.qstats.backlog", hooks=("qdisc_enqueue",), needs="qdisc")
_SOJOURN: Final = Source(text="{} to {}", hooks=("qdisc_enqueue", "qdisc_dequeue"), needs="qdisc")
_NETLINK: Final = Source(
    text="RTM_GETQDISC: TCA_STATS2 of root qdiscs", needs="netlink", subjects=(*OF_HOST, *OF_DIRECTION)
)
_DROPS: Final = Source(text="{}: reason", hooks=("kfree_skb",), needs="drops")
_LINK: Final = Source(
    text="the link emulator's own counts",
    needs="link",
    decided_by=DecidedBy.PATH,
    subjects=OF_DIRECTION,
)
_WHOLE: Final = replace(_LINK, phased=Phased.NEVER)
_WORST: Final = "of the device's queue with the longest total waiting time; an empty queue counts as 0"

QDISC: Final[tuple[MetricSpec, ...]] = (
    *distribution("qdisc.depth_packets", "packets", "p50 p90 p99 mean max", f"depth {_WORST}", _DEPTH, floor=2.0),
    *distribution("qdisc.depth_bytes", "bytes", "p50 p90 p99 mean max", f"depth {_WORST}", _DEPTH, floor=3000.0),
    *distribution(
        "qdisc.sojourn_us", "us", "p50 p90 p99 p999 mean max", f"time in the queue, {_WORST}", _SOJOURN, floor=200.0
    ),
    count("qdisc.packets", "packets that left the hosts' queues", _NETLINK, NEITHER),
    count("qdisc.drops", "packets that the hosts' queues dropped", _NETLINK),
    metric(
        "qdisc.drop_pct", "pct", "packets dropped, as a share of packets given to the hosts' "
        "queues", _NETLINK, floor=0.1
    ),
    count("qdisc.overlimits", "times that a queue delayed packets to keep its rate (overlimits)", _NETLINK, NEITHER),
    count("qdisc.requeues", "packets requeued because the device was busy", _NETLINK),
    count("qdisc.drops_full", "packets dropped by a full queue (QDISC_OVERLIMIT)", _DROPS),
    count("qdisc.drops_congested", "packets dropped by active queue management (QDISC_CONGESTED)", _DROPS),
    count("qdisc.drops_flow", "packets dropped because of the limit of their flow or band (FQ_*, CAKE_FLOOD)", _DROPS),
    count("qdisc.drops_unspecified", "packets dropped by a queue that gives no reason (QDISC_DROP)", _DROPS),
    count("qdisc.drops_filter", "packets dropped by a classifier (TC_EGRESS, TC_INGRESS)", _DROPS),
    count("qdisc.link_drops", "packets dropped by the emulated links' queues, warm-up included", _LINK),
    metric("qdisc.link_drop_pct", "pct",
           "packets dropped, as a share of packets given to the queue of the worst emulated link, warm-up included",
           _LINK, floor=0.1),
    metric("qdisc.link_queue_bytes.max", "bytes", "largest backlog of any emulated link's queue, warm-up included",
           _WHOLE, floor=3000.0),
)  # fmt: skip
