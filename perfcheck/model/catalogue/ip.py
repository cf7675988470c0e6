"""Metrics of the IP layer: routes, fragments, ICMP, neighbours and connection tracking of the hosts."""

from __future__ import annotations

from typing import Final

from perfcheck.model.catalogue.declare import NEITHER, OF_HOST, Source, count, distribution, metric
from perfcheck.model.metric import MetricSpec

_LOOKUP: Final = Source(text="{}, {}", hooks=("fib_table_lookup", "fib6_table_lookup"), needs="routes")
_LOOKUP_TIME: Final = Source(
    text="fentry and fexit, or kprobe and kretprobe, of fib_table_lookup and fib6_table_lookup", needs="route times"
)
_CONNTRACK_TIME: Final = Source(
    text="fentry and fexit, or kprobe and kretprobe, of nf_conntrack_in", needs="conntrack times"
)
_SNMP: Final = Source(text="/proc/net/snmp and snmp6", needs="host", subjects=OF_HOST)
_NEIGHBOUR: Final = Source(text="RTM_GETNEIGH", needs="netlink", subjects=OF_HOST)
_CONNTRACK: Final = Source(text="IPCTNL_MSG_CT_GET_STATS_CPU", needs="conntrack")
_NEW: Final = Source(text="NFNLGRP_CONNTRACK_NEW, counted by a BPF socket filter", needs="conntrack")
_OVS: Final = Source(text="OVS_DP_CMD_GET: OVS_DP_ATTR_STATS", needs="ovs")
_TABLE: Final = Source(text="IPCTNL_MSG_CT_GET_STATS", needs="conntrack")
_DROPS: Final = Source(text="{}: reason", hooks=("kfree_skb",), needs="drops")

IP: Final[tuple[MetricSpec, ...]] = (
    count("ip.route_lookups", "successful route lookups; a connection looks up its route once", _LOOKUP, NEITHER),
    *distribution(
        "ip.route_lookup_us", "us", "p50 p99 max mean", "time of a route lookup, including the time of the "
        "hooks", _LOOKUP_TIME,
        floor=0.2,
    ),
    count("ip.no_routes", "packets without a route, in or out", _SNMP),
    count("ip.forwarded", "packets forwarded", _SNMP, NEITHER),
    count("ip.discards", "packets discarded, for example for lack of memory", _SNMP),
    count("ip.header_errors", "packets with an invalid header or an expired hop limit (TTL)", _SNMP),
    count("ip.ect_packets", "ECN-capable packets received (ECT(0), ECT(1))", _SNMP, NEITHER),
    count("ip.ce_packets", "packets received with ECN's CE mark", _SNMP),
    count("ip.frag_creates", "fragments created", _SNMP),
    count("ip.frag_fails", "packets too big for the next link that must not be fragmented", _SNMP),
    count("ip.reasm_oks", "packets reassembled from fragments", _SNMP, NEITHER),
    count("ip.reasm_fails", "packets that could not be reassembled", _SNMP),
    count("ip.icmp_errors_in", "ICMP errors received: unreachable, packet too big, time exceeded", _SNMP),
    count("ip.icmp_errors_out", "ICMP errors sent: unreachable, packet too big, time exceeded", _SNMP),
    count("ip.neighbours", "entries of the neighbour tables at the end", _NEIGHBOUR, NEITHER),
    count("ip.neighbours_failed", "neighbours that did not answer, or have not answered yet", _NEIGHBOUR),
    count("ip.conntrack_found",
          "address and port pairs that NAT wanted but that were in use (the kernel's counter found)",
          _CONNTRACK, NEITHER),
    count("ip.conntrack_new", "connections that the hosts' connection tracking created", _NEW, NEITHER),
    count("ip.conntrack_invalid", "packets that match no connection (invalid)", _CONNTRACK),
    count("ip.conntrack_insert_failed", "connections that could not be inserted into the table", _CONNTRACK),
    count("ip.conntrack_drop", "packets dropped because their connection could not be tracked", _CONNTRACK),
    count("ip.conntrack_early_drop", "connections evicted to make room for others (early_drop)", _CONNTRACK),
    count("ip.conntrack_error", "packets in which connection tracking found an error", _CONNTRACK),
    count("ip.conntrack_entries",
          "tracked connections, summed over the hosts; for each host the larger of begin and end", _TABLE, NEITHER),
    metric("ip.conntrack_use_pct", "pct",
           "use of the connection table at begin or end, of the host with the highest; above 100 if "
           "nf_conntrack_max was lowered", _TABLE, floor=5.0, overruns=True),
    *distribution(
        "ip.conntrack_us", "us", "p50 p99 max mean", "time to track the connection of a packet, including the time "
        "of the hooks",
        _CONNTRACK_TIME, floor=0.2,
    ),
    count("ip.ovs_hits", "packets for which Open vSwitch's datapath had a flow", _OVS, NEITHER),
    count("ip.ovs_upcalls",
          "packets that Open vSwitch's datapath sent to user space because it had no flow for them (upcalls)", _OVS),
    count("ip.ovs_lost", "packets that Open vSwitch's datapath dropped because the upcall failed", _OVS),
    count("ip.ovs_flows", "flows of Open vSwitch's datapath at the end", _OVS, NEITHER),
    count("ip.drops_netfilter", "packets dropped by the packet filter (NETFILTER_DROP)", _DROPS),
    count("ip.drops_no_route", "packets dropped for lack of a route (IP_OUTNOROUTES, IP_INNOROUTES)", _DROPS),
    count("ip.drops_too_big", "packets dropped because they were too big for the next link (PKT_TOO_BIG)", _DROPS),
    count("ip.drops_rpfilter", "packets dropped by reverse path filtering (IP_RPFILTER)", _DROPS),
    count("ip.drops_neighbour", "packets dropped because a neighbour was not resolved (NEIGH_*)", _DROPS),
    count("ip.drops_fragment", "fragments dropped: late, duplicate, too far apart (FRAG_*, DUP_FRAG)", _DROPS),
    count("ip.drops_checksum", "packets dropped for a wrong checksum of any layer (*_CSUM)", _DROPS),
    count("ip.drops_other", "packets dropped for a reason that no other metric counts", _DROPS),
)  # fmt: skip
