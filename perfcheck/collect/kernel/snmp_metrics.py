"""Metrics of the socket, UDP and IP layers from the hosts' own protocol counters, after the warm-up."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from perfcheck.model.observation import HostCounters

_SOURCES: Final[Mapping[str, tuple[str, ...]]] = {
    "socket.listen_overflows": ("TcpExt.ListenOverflows",),
    "socket.listen_drops": ("TcpExt.ListenDrops",),
    "socket.rcv_pruned": ("TcpExt.PruneCalled",),
    "socket.rcv_collapsed": ("TcpExt.TCPRcvCollapsed",),
    "socket.backlog_drops": ("TcpExt.TCPBacklogDrop",),
    "socket.rcvq_drops": ("TcpExt.TCPRcvQDrop",),
    "socket.zero_windows": ("TcpExt.TCPToZeroWindowAdv",),
    "udp.datagrams_in": ("Udp.InDatagrams", "Udp6InDatagrams"),
    "udp.datagrams_out": ("Udp.OutDatagrams", "Udp6OutDatagrams"),
    "udp.in_errors": ("Udp.InErrors", "Udp6InErrors"),
    "udp.rcvbuf_errors": ("Udp.RcvbufErrors", "Udp6RcvbufErrors"),
    "udp.sndbuf_errors": ("Udp.SndbufErrors", "Udp6SndbufErrors"),
    "udp.csum_errors": ("Udp.InCsumErrors", "Udp6InCsumErrors"),
    "udp.no_ports": ("Udp.NoPorts", "Udp6NoPorts"),
    "ip.no_routes": ("Ip.OutNoRoutes", "IpExt.InNoRoutes", "Ip6OutNoRoutes", "Ip6InNoRoutes"),
    "ip.forwarded": ("Ip.ForwDatagrams", "Ip6OutForwDatagrams"),
    "ip.discards": ("Ip.InDiscards", "Ip.OutDiscards", "Ip6InDiscards", "Ip6OutDiscards"),
    "ip.header_errors": ("Ip.InHdrErrors", "Ip6InHdrErrors"),
    "ip.ect_packets": ("IpExt.InECT0Pkts", "IpExt.InECT1Pkts", "Ip6InECT0Pkts", "Ip6InECT1Pkts"),
    "ip.ce_packets": ("IpExt.InCEPkts", "Ip6InCEPkts"),
    "ip.frag_creates": ("Ip.FragCreates", "Ip6FragCreates"),
    "ip.frag_fails": ("Ip.FragFails", "Ip6FragFails"),
    "ip.reasm_oks": ("Ip.ReasmOKs", "Ip6ReasmOKs"),
    "ip.reasm_fails": ("Ip.ReasmFails", "Ip6ReasmFails"),
    "ip.icmp_errors_in": (
        "Icmp.InDestUnreachs", "Icmp.InTimeExcds", "Icmp6InDestUnreachs", "Icmp6InPktTooBigs", "Icmp6InTimeExcds",
    ),
    "ip.icmp_errors_out": (
        "Icmp.OutDestUnreachs", "Icmp.OutTimeExcds", "Icmp6OutDestUnreachs", "Icmp6OutPktTooBigs",
        "Icmp6OutTimeExcds",
    ),
}  # fmt: skip
"""Counters that make up a metric; one that a kernel does not have (IPv6) adds nothing."""


def metrics_of(hosts: Sequence[HostCounters]) -> dict[str, float]:
    """Add up all hosts' counters; a metric none of whose counters exists is absent."""
    windows = [host.window for host in hosts]
    found: dict[str, float] = {}
    for metric, names in _SOURCES.items():
        values = [window[name] for window in windows for name in names if name in window]
        if values:
            found[metric] = float(sum(values))
    return found
