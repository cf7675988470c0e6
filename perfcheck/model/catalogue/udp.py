"""Metrics of UDP that the hosts' kernels count; app.py has those that generators report."""

from __future__ import annotations

from typing import Final

from perfcheck.model.catalogue.declare import NEITHER, OF_HOST, Source, count
from perfcheck.model.metric import MetricSpec

_SNMP: Final = Source(text="/proc/net/snmp and snmp6", needs="host", subjects=OF_HOST)
_QUEUE: Final = Source(text="{}", hooks=("udp_fail_queue_rcv_skb",), needs="drops")

UDP: Final[tuple[MetricSpec, ...]] = (
    count("udp.datagrams_in", "datagrams that the hosts' processes took from their sockets", _SNMP, NEITHER),
    count("udp.datagrams_out", "datagrams that the hosts sent", _SNMP, NEITHER),
    count("udp.in_errors", "datagrams that arrived but were not delivered, for any reason", _SNMP),
    count("udp.rcvbuf_errors", "datagrams dropped because the socket's receive buffer was full", _SNMP),
    count("udp.sndbuf_errors", "datagrams not sent because the send buffer was full", _SNMP),
    count("udp.csum_errors", "datagrams with a wrong checksum", _SNMP),
    count("udp.no_ports", "datagrams to a port without a socket", _SNMP),
    count("udp.rcvqueue_full", "datagrams that a socket had no room for", _QUEUE),
)  # fmt: skip
