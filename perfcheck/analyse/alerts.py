"""What the events collector told of a trial, as events of the one stream, with what led to each; pure."""

from __future__ import annotations

import heapq
import ipaddress
import struct
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

import numpy as np

from perfcheck.analyse.histogram import merge, statistics
from perfcheck.model.event import Event, EventCount, EventKind, EventStream, EventType, ListenOverflow
from perfcheck.model.flow import FlowKey, Protocol, TcpSocket, flow_id
from perfcheck.model.metric import Layer

MOST_RELATED: Final = 16
_REMEMBERED: Final = 256
"""Events of a flow that later ones may be related to."""
_PROTOCOLS: Final = {6: Protocol.TCP, 17: Protocol.UDP}
_CA_STATES: Final = ("Open", "Disorder", "CWR", "Recovery", "Loss")
_RETRANSMISSIONS: Final = ("fast", "rto", "tlp", "syn", "synack")
_TCP_STATES: Final = (
    "none", "ESTABLISHED", "SYN_SENT", "SYN_RECV", "FIN_WAIT1", "FIN_WAIT2", "TIME_WAIT", "CLOSE", "CLOSE_WAIT",
    "LAST_ACK", "LISTEN", "CLOSING", "NEW_SYN_RECV",
)  # fmt: skip
_BEFORE_CLOSE: Final = frozenset({"ESTABLISHED", "SYN_SENT", "SYN_RECV", "CLOSE_WAIT", "NEW_SYN_RECV"})
_SEQUENCE: Final = 1 << 32
_KINDS: Final[Mapping[EventKind, tuple[str, str]]] = {
    EventKind.RETRANSMISSION: ("tcp.retrans_segs", "tp_btf/tcp_retransmit_skb"),
    EventKind.RTO: ("tcp.rto_events", "tp_btf/tcp_cong_state_set"),
    EventKind.CA_STATE: ("tcp.ca_state_events", "tp_btf/tcp_cong_state_set"),
    EventKind.DROP: ("ip.drops_other", "tp_btf/kfree_skb"),
    EventKind.RECEIVE_QUEUE_FULL: ("socket.rcvqueue_full", "tp_btf/sock_rcvqueue_full"),
    EventKind.RESET_RECEIVED: ("tcp.resets", "tp_btf/tcp_receive_reset"),
    EventKind.RESET_SENT: ("tcp.resets_sent", "tp_btf/tcp_send_reset"),
    EventKind.CPU_WAIT: ("cpu.runq_delay_us", "tp_btf/sched_switch"),
    EventKind.LISTEN_OVERFLOW: ("socket.listen_overflows", "/proc/net/netstat: TcpExt.ListenOverflows"),
}
_CAUSES: Final[Mapping[str, str]] = {
    "qdisc.drops_full": "queue_overflow", "qdisc.drops_congested": "queue_overflow",
    "qdisc.drops_flow": "queue_overflow", "nic.drops_ring_full": "queue_overflow",
    "nic.drops_backlog": "softirq_contention", "socket.drops_rcvbuf": "slow_reader",
    "socket.rcvqueue_full": "slow_reader", "udp.rcvqueue_full": "slow_reader", "ip.drops_too_big": "mtu_blackhole",
    "cpu.runq_delay_us": "cpu_contention", "socket.listen_overflows": "accept_backlog",
}  # fmt: skip
"""What an event of a metric is evidence of. A packet that netfilter drops says nothing of why."""

Before = Callable[[int, int, int], tuple[int, ...]]
"""Returns the numbers of the events that the bytes of a flow (hash, first byte) had before a moment."""


@dataclass(slots=True)
class _Flow:
    """What is remembered of a flow, both directions: its round trip, and its latest events."""

    rtt_us: float = 0.0
    events: deque[tuple[int, int]] = field(default_factory=lambda: deque(maxlen=_REMEMBERED))
    """Moment and number."""
    drops: deque[tuple[int, int, int, int, str | None]] = field(default_factory=lambda: deque(maxlen=_REMEMBERED))
    """Hash of the direction, first byte, length, number and cause."""


def alerts_of(stream: EventStream, sockets: Sequence[TcpSocket], first: int, before: Before) -> Iterator[Event]:
    """Return the trial's alerts in the order of time, numbered from `first`, then the sum of each kind.

    An event is related to those of the same flow within one round trip before it, and a retransmission to the drop of
    its bytes, whenever that was. `before` says what else led to it.
    """
    flows = {key: _Flow(rtt_us=rtt_us) for key, rtt_us in _round_trips(sockets).items()}
    number = first
    for one in _in_order(stream, before):
        yield _related(one, number, flows)
        number += 1
    for kind, count in stream.counts.items():
        yield _sum_of(kind, count, number, stream)
        number += 1


@dataclass(frozen=True, slots=True, kw_only=True)
class _Raw:
    """An event that does not have its number yet, and what relates it to others."""

    ns: int
    kind: EventKind
    metric: str
    value: float
    flow: FlowKey | None = None
    hashed: int = 0
    seq: int = 0
    length: int = 0
    srtt_us: int = 0
    metrics: Mapping[str, float] = field(default_factory=dict)
    context: Mapping[str, str | int | float] = field(default_factory=dict)
    cause: str | None = None
    before: tuple[int, ...] = ()


def _in_order(stream: EventStream, before: Before) -> Iterator[_Raw]:
    left_out = _left_out(stream)
    told = (_raw(stream, record, left_out[place], before) for place, record in enumerate(stream.records))
    return heapq.merge(told, map(_overflow, stream.overflows), key=lambda one: one.ns)


def _related(one: _Raw, number: int, flows: dict[str, _Flow]) -> Event:
    related, cause = list(one.before), one.cause
    if one.flow is not None:
        known = flows.setdefault(flow_id(one.flow), _Flow())
        known.rtt_us = float(one.srtt_us) or known.rtt_us
        if one.kind is EventKind.RETRANSMISSION:
            same = (drop for drop in known.drops if drop[0] == one.hashed)
            dropped = [drop for drop in same if (one.seq - drop[1]) % _SEQUENCE < drop[2]]
            related += [drop[3] for drop in dropped[-1:]]
            cause = dropped[-1][4] if dropped else None
        begin_ns = one.ns - known.rtt_us * 1000
        recent = [other for ns, other in known.events if ns >= begin_ns]
        related += recent[-MOST_RELATED:]
        known.events.append((one.ns, number))
        if one.kind is EventKind.DROP:
            known.drops.append((one.hashed, one.seq, max(one.length, 1), number, cause))
    return Event(
        number=number, timestamp_ns=one.ns, flow=one.flow, layer=Layer(one.metric.partition(".")[0]),
        metric=one.metric, value=one.value, type=EventType.ALERT, metrics=one.metrics, context=one.context,
        related=tuple(dict.fromkeys(related)), cause=cause,
    )  # fmt: skip


def _sum_of(kind: EventKind, count: EventCount, number: int, stream: EventStream) -> Event:
    metric, hook = _KINDS[kind]
    end_ns = int(stream.records["ns"][-1]) if len(stream.records) else stream.start_ns
    end_ns = max(end_ns, stream.start_ns, *(one.ns for one in stream.overflows[-1:]))
    return Event(
        number=number, timestamp_ns=end_ns, flow=None, layer=Layer(metric.partition(".")[0]), metric=metric,
        value=float(count.seen), type=EventType.SUMMARY,
        context={
            "kind": kind.label, "hook": hook, "told": count.told, "sampled_out": count.sampled_out, "lost": count.lost,
            "share_pct": round(count.share_pct, 3),
        },
    )  # fmt: skip


def _round_trips(sockets: Sequence[TcpSocket]) -> dict[str, float]:
    """Return the median round trip of each connection that has one, by the flow's id."""
    found: dict[str, float] = {}
    for socket in sockets:
        median_us = statistics(merge([socket.rtt_us])).get("p50")
        if median_us is not None:
            name = flow_id(socket.key)
            found[name] = max(median_us, found.get(name, 0.0))
    return found


def _left_out(stream: EventStream) -> list[int]:
    """Return how many events of its kind and CPU were not told just before each record."""
    records = stream.records
    order = np.lexsort((records["ordinal"], records["cpu"], records["kind"]))
    ordinals = records["ordinal"][order].astype(np.int64)
    begins = np.ones(len(order), bool)
    begins[1:] = np.diff(records["kind"][order].astype(np.int64)) != 0
    begins[1:] |= np.diff(records["cpu"][order].astype(np.int64)) != 0
    left_out = np.zeros(len(order), np.int64)
    left_out[order] = ordinals - np.where(begins, 0, np.concatenate(([0], ordinals[:-1] + 1))[: len(order)])
    return [int(count) for count in left_out]


def _overflow(one: ListenOverflow) -> _Raw:
    metric, hook = _KINDS[EventKind.LISTEN_OVERFLOW]
    port = {} if one.port is None else {"port": one.port}
    return _Raw(
        ns=one.ns, kind=EventKind.LISTEN_OVERFLOW, metric=metric, value=float(one.count), cause=_CAUSES[metric],
        context={"kind": EventKind.LISTEN_OVERFLOW.label, "host": one.host, "hook": hook, **port},
    )  # fmt: skip


def _raw(stream: EventStream, record: np.void, left_out: int, before: Before) -> _Raw:
    kind = EventKind(int(record["kind"]))
    metric, hook = _KINDS[kind]
    number, value = int(record["host"]), int(record["value"])
    host = stream.hosts[number - 1] if 0 < number <= len(stream.hosts) else ""
    context: dict[str, str | int | float] = {"kind": kind.label, "host": host, "hook": hook}
    amount, cause = 1.0, None
    flow = _flow_of(record, host)
    if flow is not None:
        context |= {"seq": int(record["seq"]), "bytes": int(record["length"])}
    match kind:
        case EventKind.RETRANSMISSION:
            amount = float(max(int(record["segments"]), 1))
            context["retransmission"] = _named(_RETRANSMISSIONS, value)
        case EventKind.RTO:
            context["state"] = _named(_CA_STATES, int(record["before"]))
        case EventKind.CA_STATE:
            context |= {"state": _named(_CA_STATES, value), "before": _named(_CA_STATES, int(record["before"]))}
        case EventKind.DROP:
            metric = stream.drop_metrics.get(value, metric)
            reason = stream.reasons.get(value, str(value))
            context["reason"] = reason
            cause = "accept_backlog" if reason == "TCP_LISTEN_OVERFLOW" else _CAUSES.get(metric)
        case EventKind.RECEIVE_QUEUE_FULL:
            context["rcvbuf_bytes"] = value
            if flow is None and int(record["protocol"]):
                metric, context["hook"] = "udp.rcvqueue_full", "tp_btf/udp_fail_queue_rcv_skb"
                context["port"] = int(record["target_port"])
            cause = _CAUSES[metric]
        case EventKind.RESET_RECEIVED | EventKind.RESET_SENT:
            context["state"] = _named(_TCP_STATES, value)
            cause = "connection_reset" if context["state"] in _BEFORE_CLOSE else None
        case _:
            amount = float(value)
            context |= {"pid": int(record["pid"]), "comm": b"".join(record["comm"].tolist()).decode(errors="replace")}
            cause = _CAUSES[metric]
    if left_out:
        context["sampled_out"] = left_out
    ns, hashed, seq = int(record["ns"]), int(record["flow"]), int(record["seq"])
    return _Raw(
        ns=ns, kind=kind, metric=metric, value=amount, flow=flow, hashed=hashed, seq=seq, length=int(record["length"]),
        srtt_us=int(record["srtt_us"]), metrics=_gauges(record), context=context, cause=cause,
        before=before(hashed, seq, ns) if hashed else (),
    )  # fmt: skip


def _gauges(record: np.void) -> dict[str, float]:
    """Return what the flow's socket had at the moment; nothing where none was at hand."""
    if not int(record["cwnd_segs"]):
        return {}
    names = {"tcp.srtt_us": "srtt_us", "tcp.cwnd_segs": "cwnd_segs", "tcp.inflight_segs": "inflight_segs"}
    return {metric: float(record[member]) for metric, member in names.items()}


def _named(names: Sequence[str], number: int) -> str:
    return names[number] if number < len(names) else str(number)


def _flow_of(record: np.void, host: str) -> FlowKey | None:
    """Return the event's flow, its source as `local`; None where it has none."""
    if not int(record["flow"]) or int(record["protocol"]) not in _PROTOCOLS:
        return None
    return FlowKey(
        protocol=_PROTOCOLS[int(record["protocol"])], host=host, local=_address(record["source"]),
        local_port=int(record["source_port"]), remote=_address(record["target"]),
        remote_port=int(record["target_port"]),
    )  # fmt: skip


def _address(halves: np.void) -> str:
    """Return the text of a `struct pc_address`: halves as in the packet, IPv4 in the first four bytes of `low`."""
    high, low = int(halves["high"]), int(halves["low"])
    if not high and low < _SEQUENCE:
        return str(ipaddress.IPv4Address(struct.pack("<I", low)))
    return str(ipaddress.IPv6Address(struct.pack("<QQ", high, low)))
