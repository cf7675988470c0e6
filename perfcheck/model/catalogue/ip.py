"""Metrics of the IP layer: routes, fragments, ICMP, neighbours and connection tracking of the hosts."""

from __future__ import annotations

from typing import Final

from perfcheck.model.catalogue.declare import NEITHER, Source, count, distribution, metric
from perfcheck.model.metric import MetricSpec

_LOOKUP: Final = Source(text="{}, {}", hooks=("fib_table_lookup", "fib6_table_lookup"), needs="routes")
_LOOKUP_TIME: Final = Source(
    text="fentry and fexit, or kprobe and kretprobe, of fib_table_lookup and fib6_table_lookup", needs="route times"
)
_CONNTRACK_TIME: Final = Source(
    text="fentry and fexit, or kprobe and kretprobe, of nf_conntrack_in", needs="conntrack times"
)
_SNMP: Final = Source(text="/proc/net/snmp and snmp6", needs="host")
_NEIGHBOUR: Final = Source(text="RTM_GETNEIGH", needs="netlink")
_CONNTRACK: Final = Source(text="IPCTNL_MSG_CT_GET_STATS_CPU", needs="conntrack")
_NEW: Final = Source(text="NFNLGRP_CONNTRACK_NEW, counted by a BPF socket filter", needs="conntrack")
_OVS: Final = Source(text="OVS_DP_CMD_GET: OVS_DP_ATTR_STATS", needs="ovs")
_TABLE: Final = Source(text="IPCTNL_MSG_CT_GET_STATS", needs="conntrack")
_DROPS: Final = Source(text="{}: reason", hooks=("kfree_skb",), needs="drops")

IP: Final[tuple[MetricSpec, ...]] = (
    count("ip.route_lookups", "routes looked up and found; connections look theirs up once", _LOOKUP, NEITHER),
    *distribution(
        "ip.route_lookup_us", "us", "p50 p99 max mean", "time to find a route, with the hooks' own", _LOOKUP_TIME,
        floor=0.2,
    ),
    count("ip.no_routes", "packets without a route, in or out", _SNMP),
    count("ip.forwarded", "packets forwarded", _SNMP, NEITHER),
    count("ip.discards", "packets discarded for want of memory or the like", _SNMP),
    count("ip.header_errors", "packets with a broken header, or that ran out of hops", _SNMP),
    count("ip.ect_packets", "packets received that could be marked (ECT(0), ECT(1))", _SNMP, NEITHER),
    count("ip.ce_packets", "packets received with ECN's CE mark", _SNMP),
    count("ip.frag_creates", "fragments made", _SNMP),
    count("ip.frag_fails", "packets too big to go on that were not to be fragmented", _SNMP),
    count("ip.reasm_oks", "packets that were put together again from fragments", _SNMP, NEITHER),
    count("ip.reasm_fails", "packets that could not be put together again", _SNMP),
    count("ip.icmp_errors_in", "ICMP errors received: unreachable, too big, out of hops", _SNMP),
    count("ip.icmp_errors_out", "ICMP errors sent: unreachable, too big, out of hops", _SNMP),
    count("ip.neighbours", "entries of the neighbour tables at the end", _NEIGHBOUR, NEITHER),
    count("ip.neighbours_failed", "neighbours that did not answer, or have not yet", _NEIGHBOUR),
    count("ip.conntrack_found", "addresses and ports that NAT wanted and found taken: all that kernels count as found",
          _CONNTRACK, NEITHER),
    count("ip.conntrack_new", "connections that the hosts began to track", _NEW, NEITHER),
    count("ip.conntrack_invalid", "packets that fitted no connection", _CONNTRACK),
    count("ip.conntrack_insert_failed", "connections that could not be put into the table", _CONNTRACK),
    count("ip.conntrack_drop", "packets dropped because their connection could not be tracked", _CONNTRACK),
    count("ip.conntrack_early_drop", "connections thrown out to make room for others", _CONNTRACK),
    count("ip.conntrack_error", "packets in which connection tracking found an error", _CONNTRACK),
    count("ip.conntrack_entries", "connections tracked, of each host at the fuller of begin and end, all hosts "
          "added up", _TABLE, NEITHER),
    metric("ip.conntrack_use_pct", "pct", "fill of the fullest host's table of connections, at begin or end; above 100 "
           "where nf_conntrack_max was lowered", _TABLE, floor=5.0, overruns=True),
    *distribution(
        "ip.conntrack_us", "us", "p50 p99 max mean", "time to track a packet's connection, with the hooks' own",
        _CONNTRACK_TIME, floor=0.2,
    ),
    count("ip.ovs_hits", "packets for which Open vSwitch's datapath had a flow", _OVS, NEITHER),
    count("ip.ovs_upcalls", "packets that Open vSwitch's datapath handed to user space for want of a flow", _OVS),
    count("ip.ovs_lost", "packets that Open vSwitch's datapath dropped since nobody took the upcall", _OVS),
    count("ip.ovs_flows", "flows of Open vSwitch's datapath at the end", _OVS, NEITHER),
    count("ip.drops_netfilter", "packets dropped by the packet filter (NETFILTER_DROP)", _DROPS),
    count("ip.drops_no_route", "packets dropped for want of a route (IP_OUTNOROUTES, IP_INNOROUTES)", _DROPS),
    count("ip.drops_too_big", "packets dropped as too big to go on (PKT_TOO_BIG)", _DROPS),
    count("ip.drops_rpfilter", "packets dropped because they came the wrong way (IP_RPFILTER)", _DROPS),
    count("ip.drops_neighbour", "packets dropped while or because a neighbour was not found (NEIGH_*)", _DROPS),
    count("ip.drops_fragment", "fragments dropped: late, doubled, too far apart (FRAG_*, DUP_FRAG)", _DROPS),
    count("ip.drops_checksum", "packets dropped for a wrong checksum of any layer (*_CSUM)", _DROPS),
)  # fmt: skip
