"""The stream of events of a trial: stages of the packets that are followed, and alerts, with what led to them; pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Final

import numpy as np

from perfcheck.analyse.alerts import alerts_of
from perfcheck.analyse.crosscheck import TCP_COLLECTOR
from perfcheck.analyse.paths import Followed
from perfcheck.analyse.stages import STAGES, stage_ns
from perfcheck.model.catalogue import CATALOGUE
from perfcheck.model.detail import DetailStream, Kind
from perfcheck.model.event import Event, EventType
from perfcheck.model.flow import TcpSocket
from perfcheck.model.metric import Layer
from perfcheck.model.observation import Observation

_PER_PACKET: Final = len(STAGES)
_SENDING: Final = 4
"""So many stages are the sending host's."""


def events_of(observations: Sequence[Observation], followed: Followed | None = None) -> Iterator[Event]:
    """Return a trial's events: of the packets that detail mode followed, then alerts, each group in the order of time.

    A packet's events have consecutive numbers. An alert of a flow is related to the last event of the latest
    transmission of its bytes before, and to others of the flow (`alerts_of`).
    """
    number = 0
    if followed is not None:
        yield from _of_packets(followed)
        number = len(followed.packets) * _PER_PACKET
        for event in _refused(followed, number):
            number = event.number + 1
            yield event
    sockets = _sockets(observations)
    for seen in observations:
        if seen.events is not None:
            before = _nothing if followed is None else _Latest(followed).before
            yield from alerts_of(seen.events, sockets, number, before)


def _sockets(observations: Sequence[Observation]) -> tuple[TcpSocket, ...]:
    ordered = sorted(observations, key=lambda each: each.collector != TCP_COLLECTOR)
    return next((seen.tcp_sockets for seen in ordered if seen.tcp_sockets), ())


def _nothing(flow: int, seq: int, ns: int) -> tuple[int, ...]:
    del flow, seq, ns
    return ()


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


def _refused(followed: Followed, number: int) -> Iterator[Event]:
    """Return the packets that a driver refused for now."""
    stream = followed.stream
    for record in stream.events[(stream.events["kind"] == Kind.BUSY) & (stream.events["ns"] >= stream.start_ns)]:
        flow, seq, ns = int(record["flow"]), int(record["seq"]), int(record["ns"])
        yield Event(
            number=number, timestamp_ns=ns, flow=stream.flows.get(flow), layer=Layer.NIC, metric="nic.tx_busy",
            value=1.0, type=EventType.ALERT, related=_Latest(followed).before(flow, seq, ns),
            context={"kind": "tx_busy", "host": _host(stream, int(record["host"])), "hook": "tp_btf/net_dev_xmit",
                     "seq": seq, "bytes": int(record["length"])},
        )  # fmt: skip
        number += 1


class _Latest:
    """Finds what happened to bytes before a moment."""

    def __init__(self, followed: Followed) -> None:
        """Take the packets, which are in the order in which they were transmitted."""
        self._packets = followed.packets

    def before(self, flow: int, seq: int, ns: int) -> tuple[int, ...]:
        """Return the last event of the latest packet of the flow and first byte that was transmitted before."""
        packets = self._packets
        until = int(np.searchsorted(packets["transmitted_ns"], ns, side="right"))
        same = np.flatnonzero(
            (packets["flow"][:until] == flow) & (packets["seq"][:until] == seq) & packets["counts"][:until]
        )
        if not same.size:
            return ()
        packet = int(same[-1])
        one = packets[packet : packet + 1]
        places = [place for place, (_, begin, end) in enumerate(STAGES) if stage_ns(one, begin, end)[0] >= 0]
        return (packet * _PER_PACKET + places[-1],) if places else ()
