"""The stream of events of a trial: each stage of each packet, and anomalies with the events that led to them; pure."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

import numpy as np

from perfcheck.analyse.paths import Followed
from perfcheck.analyse.stages import STAGES, stage_ns
from perfcheck.model.catalogue import CATALOGUE
from perfcheck.model.detail import DetailStream, Kind
from perfcheck.model.event import Event
from perfcheck.model.metric import Layer

_PER_PACKET: Final = len(STAGES)
_SENDING: Final = 4
"""So many stages are the sending host's."""
_ANOMALIES: Final = {
    Kind.RETRANSMIT: ("tcp.retrans_segs", "tp_btf/tcp_retransmit_skb"),
    Kind.RTO: ("tcp.rto_events", "tp_btf/tcp_cong_state_set"),
    Kind.DROP: ("ip.drops_other", "tp_btf/kfree_skb"),
    Kind.RCVQ_FULL: ("socket.rcvqueue_full", "tp_btf/sock_rcvqueue_full"),
    Kind.BUSY: ("nic.tx_busy", "tp_btf/net_dev_xmit"),
    Kind.RUNQ: ("cpu.runq_delay_us", "tp_btf/sched_switch"),
}
_CA_STATES: Final = ("Open", "Disorder", "CWR", "Recovery", "Loss")


def events_of(followed: Followed) -> Iterator[Event]:
    """Return the events of the packets that count, and all anomalies of the window, each group in the order of time.

    A packet's events have consecutive numbers; an anomaly of a flow is related to the last event of the latest
    transmission of its bytes before.
    """
    yield from _of_packets(followed)
    yield from _anomalies(followed)


def _of_packets(followed: Followed) -> Iterator[Event]:
    stream = followed.stream
    packets = followed.packets
    columns = [
        (name, Layer(name.partition(".")[0]), _hook(name), place < _SENDING,
         stage_ns(packets, begin, end).tolist(), _ends(packets, end).tolist())
        for place, (name, begin, end) in enumerate(STAGES)
    ]  # fmt: skip
    rows = zip(
        packets["counts"].tolist(), packets["flow"].tolist(), packets["seq"].tolist(), packets["length"].tolist(),
        packets["attempt"].tolist(), packets["source"].tolist(), packets["target"].tolist(), strict=True,
    )  # fmt: skip
    for number, (counts, flow, seq, length, attempt, source, target) in enumerate(rows):
        if not counts:
            continue
        key = stream.flows.get(flow)
        hosts = _host(stream, source), _host(stream, target)
        before: tuple[int, ...] = ()
        for place, (name, layer, hook, sending, spent, ended) in enumerate(columns):
            if spent[number] < 0:
                continue
            event = number * _PER_PACKET + place
            yield Event(
                number=event, timestamp_ns=ended[number], flow=key, layer=layer, metric=name,
                value=spent[number] / 1000, related=before,
                context={"host": hosts[0 if sending else 1], "hook": hook, "packet": number, "seq": seq,
                         "bytes": length, "attempt": attempt},
            )  # fmt: skip
            before = (event,)


def _hook(name: str) -> str:
    return CATALOGUE[f"{name}.p50"].source.removeprefix("detail mode: ")


def _ends(packets: Any, end: str) -> Any:
    moments = packets[f"{end}_ns"]
    return np.where(moments > 0, moments, packets["softirq_ns"]) if end == "received" else moments


def _host(stream: DetailStream, number: int) -> str:
    return stream.hosts[number - 1] if 0 < number <= len(stream.hosts) else ""


def _anomalies(followed: Followed) -> Iterator[Event]:
    stream = followed.stream
    found = stream.events[(stream.events["kind"] >= Kind.RETRANSMIT) & (stream.events["ns"] >= stream.start_ns)]
    number = len(followed.packets) * _PER_PACKET
    for record in found:
        kind = Kind(int(record["kind"]))
        metric, hook = _ANOMALIES[kind]
        value = 1.0
        context: dict[str, str | int | float] = {"host": _host(stream, int(record["host"])), "hook": hook}
        if kind is Kind.RUNQ:
            value = float(record["value"])
            context["pid"] = int(record["seq"])
        else:
            context |= {"seq": int(record["seq"]), "bytes": int(record["length"])}
        if kind is Kind.DROP:
            reason = int(record["value"])
            metric = stream.drop_metrics.get(reason, metric)
            context["reason"] = stream.reasons.get(reason, str(reason))
        if kind is Kind.RETRANSMIT:
            context["state"] = _CA_STATES[min(int(record["value"]), len(_CA_STATES) - 1)]
            value = float(max(int(record["segments"]), 1))
        if kind is Kind.RCVQ_FULL:
            context["rcvbuf_bytes"] = int(record["value"])
        if kind is Kind.RCVQ_FULL and int(record["protocol"]):
            metric = "udp.rcvqueue_full"
            context["port"] = context.pop("seq")
        yield Event(
            number=number, timestamp_ns=int(record["ns"]), flow=stream.flows.get(int(record["flow"])),
            layer=Layer(metric.partition(".")[0]), metric=metric, value=value, context=context,
            related=_before(followed, record),
        )  # fmt: skip
        number += 1


def _before(followed: Followed, record: np.void) -> tuple[int, ...]:
    """Return the last event of the latest packet of the same flow and first byte that was transmitted before."""
    if not int(record["flow"]):
        return ()
    packets = followed.packets
    until = int(np.searchsorted(packets["transmitted_ns"], record["ns"], side="right"))
    same = np.flatnonzero(
        (packets["flow"][:until] == record["flow"]) & (packets["seq"][:until] == record["seq"])
        & packets["counts"][:until]
    )  # fmt: skip
    if not same.size:
        return ()
    packet = int(same[-1])
    one = packets[packet : packet + 1]
    places = [place for place, (_, begin, end) in enumerate(STAGES) if stage_ns(one, begin, end)[0] >= 0]
    return (packet * _PER_PACKET + places[-1],) if places else ()
