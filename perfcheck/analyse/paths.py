"""Joins the records of detail mode into packets' paths through both hosts, by flow and range of sequence numbers.

A packet is the unit that the sending host's device received (`net_dev_start_xmit`). At every other station, the
record that covers its last byte belongs to it. GSO splits super-packets and GRO merges packets, so a station may
have seen the packet as a part of a longer one. If a byte was sent more than once, each arrival belongs to the
latest transmission that can have arrived by then. Pure functions.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from perfcheck.analyse.ranges import NONE, Ints, TimedRanges, unwrapped
from perfcheck.model.detail import DetailStream, Kind
from perfcheck.model.flow import Protocol

Records = npt.NDArray[Any]

STATIONS: Final = (
    "offered", "written", "sent", "queued", "transmitted", "received", "softirq", "tcp", "ready", "read",
)  # fmt: skip
"""Moments of a packet in the order in which it passes them; `transmitted` is there for every one."""
PATH: Final = np.dtype(
    [("flow", "u8"), ("position", "i8"), ("seq", "u4"), ("length", "u4"), ("segments", "u2"), ("id", "u2"),
     ("ifindex", "u4"), ("driver_ns", "u4"), ("attempt", "u2"), ("source", "u1"), ("target", "u1"),
     ("duplicate", "?"), ("lost", "?"), ("counts", "?"), *((f"{name}_ns", "i8") for name in STATIONS)]
)  # fmt: skip
"""One packet. Moments are CLOCK_MONOTONIC, 0: not seen there. `attempt` is 0 for the first transmission of its last
byte. `source` and `target` are numbers of hosts, 0: not known. `duplicate`: it brought nothing new. `lost`: it
never arrived, though one sent later did. `counts`: it was sent within the window and is of the share that was
followed all the time."""
_FASTEST: Final = 0.9
"""No packet is taken to have been faster than this share of the flow's fastest."""
_LEAST_LOTS: Final = 1 << 32
_SAMPLE_BITS: Final = 16  # PC_SAMPLE_BITS
_GOLDEN: Final = np.uint64(0x9E3779B97F4A7C15)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Followed:
    """All packets of a trial's followed flows, in the order in which they were transmitted."""

    stream: DetailStream
    packets: Records


def follow(stream: DetailStream, *, within_hosts: bool = False) -> Followed:
    """Join a trial's records; `within_hosts`: those of a host that talks to itself, too."""
    parts = list(_by_flow(stream, within_hosts=within_hosts))
    packets = np.concatenate(parts) if parts else np.zeros(0, PATH)
    packets = packets[np.argsort(packets["transmitted_ns"], kind="stable")]
    return Followed(stream=stream, packets=packets)


def arrivals(stream: DetailStream) -> Followed:
    """Join the records of flows that are seen at the receiving host alone, each in the order of arrival.

    A packet is what the host's device, or else its softirq, took up; `transmitted_ns` is 0. `attempt` is how often its
    last byte had come before.
    """
    parts = [
        _named(stream, flow, "received", _FlowJoin(records, udp=_is_udp(stream, flow)).arrivals())
        for flow, records in _grouped(stream)
        if not (records["kind"] == Kind.TX_NIC).any()
    ]
    return Followed(stream=stream, packets=np.concatenate(parts) if parts else np.zeros(0, PATH))


def _by_flow(stream: DetailStream, *, within_hosts: bool) -> Iterator[Records]:
    for flow, records in _grouped(stream):
        joined = _FlowJoin(records, udp=_is_udp(stream, flow), within_hosts=within_hosts)
        yield _named(stream, flow, "transmitted", joined.packets())


def _grouped(stream: DetailStream) -> Iterator[tuple[int, Records]]:
    """Yield each flow with its records of stations."""
    events = stream.events
    events = events[(events["flow"] != 0) & (events["kind"] >= Kind.WRITE) & (events["kind"] <= Kind.READ)]
    order = np.argsort(events["flow"], kind="stable")
    grouped = events[order]
    if not len(grouped):
        return
    flows, starts = np.unique(grouped["flow"], return_index=True)
    yield from zip(flows.tolist(), np.split(grouped, starts[1:]), strict=True)


def _is_udp(stream: DetailStream, flow: int) -> bool:
    key = stream.flows.get(flow)
    return key is not None and key.protocol is Protocol.UDP


def _named(stream: DetailStream, flow: int, station: str, packets: Records) -> Records:
    """Return a flow's packets with its number, and whether they count by the time at a station."""
    moment = packets[f"{station}_ns"]
    if station == "received":
        moment = np.where(moment > 0, moment, packets["softirq_ns"])
    packets["flow"] = flow
    packets["counts"] = (
        (moment >= stream.start_ns)
        & (moment <= stream.end_ns)
        & (lots_of(packets, udp=_is_udp(stream, flow)) < stream.share * _LEAST_LOTS)
    )
    return packets


class _FlowJoin:
    """One direction of one flow; `records` in the order of time."""

    def __init__(self, records: Records, *, udp: bool, within_hosts: bool = False) -> None:
        self._records = records
        self._within_hosts = within_hosts
        # A datagram's fingerprint is no position: each is a range of one.
        self._position: Ints = records["seq"].astype(np.int64) if udp else unwrapped(records["seq"])
        self._length = np.minimum(records["length"], 1).astype(np.int64) if udp else records["length"].astype(np.int64)
        self._source = self._host(Kind.WRITE, Kind.TX_QUEUE, last=False)
        self._target = self._host(Kind.READ, Kind.RX_TCP, Kind.RX_IP, last=True)

    def _host(self, *kinds: Kind, last: bool) -> int:
        """Return the host of the first of these kinds that there is: hosts in between only forward."""
        for kind in kinds:
            found = np.flatnonzero(self._records["kind"] == kind)
            if found.size:
                return int(self._records["host"][found[-1 if last else 0]])
        return NONE

    def _of(self, kind: Kind, host: int) -> Ints:
        return np.flatnonzero((self._records["kind"] == kind) & (self._records["host"] == host))

    def _ranges(self, chosen: Ints) -> TimedRanges:
        start = self._position[chosen]
        return TimedRanges(start, start + self._length[chosen], self._records["ns"][chosen])

    def packets(self) -> Records:
        """Return the direction's packets, in the order in which they were transmitted."""
        sent = self._of(Kind.TX_NIC, self._source)
        sent = sent[np.argsort(self._records["ns"][sent], kind="stable")]
        made = np.zeros(len(sent), PATH)
        for name in ("seq", "length", "segments", "id", "ifindex"):
            made[name] = self._records[name][sent]
        made["source"], made["target"] = max(self._source, 0), max(self._target, 0)
        made["driver_ns"] = self._records["value"][sent]
        made["position"] = self._position[sent]
        made["transmitted_ns"] = self._records["ns"][sent]
        last = made["position"] + self._length[sent] - 1
        if len(made):
            self._sending(made, last)
            self._receiving(made, last)
        return made

    def _sending(self, made: Records, last: Ints) -> None:
        chosen = self._of(Kind.TX_QUEUE, self._source)
        found = self._ranges(chosen).latest(last, made["transmitted_ns"])
        made["queued_ns"] = _taken(self._records["ns"][chosen], found)
        # A pacing queue is told when to send: that lies ahead of the queue.
        clock = _taken(self._records["sent_ns"][chosen], found)
        made["sent_ns"] = np.minimum(clock, made["queued_ns"])
        chosen = self._of(Kind.WRITE, self._source)
        ns, start = self._records["ns"][chosen], self._position[chosen]
        reach = np.maximum.accumulate(start + self._length[chosen])
        made["written_ns"] = _taken(ns, np.searchsorted(start, last, side="right") - 1, reach, last)
        made["offered_ns"] = _taken(ns, np.searchsorted(reach, last, side="right"))
        for name in ("written_ns", "offered_ns"):
            made[name][made[name] > made["transmitted_ns"]] = 0
        made["sent_ns"] = np.where(made["sent_ns"] > 0, np.maximum(made["sent_ns"], made["written_ns"]), 0)

    def _receiving(self, made: Records, last: Ints) -> None:
        if self._target == NONE or (self._target == self._source and not self._is_within()):
            return
        device, softirq = self._of(Kind.RX_NIC, self._target), self._of(Kind.RX_IP, self._target)
        first, arrivals = ("received_ns", device) if device.size else ("softirq_ns", softirq)
        made["attempt"], made[first] = self._arrived(made, last, arrivals)
        self._through(made, last, device.size > 0)
        came = made[first] > 0
        if came.any():
            latest = made["transmitted_ns"][came].max()
            made["lost"] = ~came & (made["transmitted_ns"] < latest)

    def _is_within(self) -> bool:
        """Whether the host has a socket at the receiving end, too: it talks to itself, by the loopback device."""
        return self._within_hosts and self._of(Kind.RX_TCP, self._target).size > 0

    def arrivals(self) -> Records:
        """Return what came to the target, in the order in which it came."""
        device, softirq = self._of(Kind.RX_NIC, self._target), self._of(Kind.RX_IP, self._target)
        chosen = device if device.size else softirq
        made = np.zeros(len(chosen), PATH)
        for name in ("seq", "length", "segments", "id", "ifindex"):
            made[name] = self._records[name][chosen]
        made["target"] = max(self._target, 0)
        made["position"] = self._position[chosen]
        ns = self._records["ns"][chosen]
        made["received_ns" if device.size else "softirq_ns"] = ns
        last = made["position"] + self._length[chosen] - 1
        if len(made):
            made["attempt"] = self._ranges(chosen).before(last, ns)
            self._through(made, last, device.size > 0)
        return made

    def _through(self, made: Records, last: Ints, by_device: bool) -> None:
        """Fill in the stations from the softirq on."""
        if by_device:
            self._next(made, "softirq_ns", "received_ns", self._of(Kind.RX_IP, self._target), last)
        self._next(made, "tcp_ns", "softirq_ns", self._of(Kind.RX_TCP, self._target), last)
        self._passed(made, "ready_ns", "tcp_ns", Kind.READY, last)
        self._passed(made, "read_ns", "ready_ns", Kind.READ, last)
        made["duplicate"] = (made["tcp_ns"] > 0) & self._had_before(made["tcp_ns"], last)

    def _next(self, made: Records, name: str, before: str, chosen: Ints, last: Ints) -> None:
        """Inside a host packets keep their order: where none was dropped, they are those of the next station in turn.

        Otherwise what a station sees is the packet that came to the one before it last.
        """
        came = np.flatnonzero(made[before] > 0)
        start_ns, byte = made[before][came], last[came]
        sent, seen = TimedRanges(made["position"][came], byte + 1, start_ns), self._ranges(chosen)
        all_there = sent.covering(byte) == seen.covering(byte)
        in_turn = seen.nth(byte, sent.before(byte, start_ns))
        ns = _taken(self._records["ns"][chosen], np.where(all_there, in_turn, seen.earliest(byte, start_ns)))
        own = all_there | (sent.latest(byte, ns) == np.arange(len(came)))
        made[name][came] = np.where(own & (ns >= start_ns), ns, 0)

    def _passed(self, made: Records, name: str, before: str, kind: Kind, last: Ints) -> None:
        """Everything before a position has passed: the first that lies beyond the last byte counts."""
        chosen = self._of(kind, self._target)
        end = np.maximum.accumulate(self._position[chosen]) if chosen.size else self._position[chosen]
        ns = _taken(self._records["ns"][chosen], np.searchsorted(end, last, side="right"))
        made[name] = np.where((made[before] > 0) & (ns >= made[before]), ns, 0)

    def _had_before(self, tcp_ns: Ints, last: Ints) -> npt.NDArray[np.bool_]:
        """Whether what arrived at these moments was there already."""
        chosen = self._of(Kind.READY, self._target)
        if not chosen.size:
            return np.zeros(len(last), np.bool_)
        end = np.maximum.accumulate(self._position[chosen])
        ns = _taken(self._records["ns"][chosen], np.searchsorted(end, last, side="right"))
        return (ns > 0) & (ns < tcp_ns)

    def _arrived(self, made: Records, last: Ints, chosen: Ints) -> tuple[Ints, Ints]:
        """Return how often each one's last byte had been sent before, and when it arrived (0: it did not)."""
        sent_ns = made["transmitted_ns"]
        sendings = TimedRanges(made["position"], last + 1, sent_ns)
        arrivals, ns = self._ranges(chosen), self._records["ns"][chosen].astype(np.int64)
        found = arrivals.earliest(last, sent_ns)
        alone = (found != NONE) & (sendings.covering(last) == 1)
        least = int(_FASTEST * (ns[found[alone]] - sent_ns[alone]).min()) if alone.any() else 0
        found = arrivals.earliest(last, sent_ns + least)
        arrived = _taken(ns, found)
        own = sendings.latest(last, arrived - least) == np.arange(len(made))
        return sendings.before(last, sent_ns), np.where(own, arrived, 0)


def _taken(values: npt.NDArray[Any], index: Ints, reach: Ints | None = None, last: Ints | None = None) -> Ints:
    """Return values by index, 0 where there is none; or where what is known does not reach as far."""
    inside = (index >= 0) & (index < len(values))
    if not len(values):
        return np.zeros(len(index), np.int64)
    place = np.where(inside, index, 0)
    if reach is not None and last is not None:
        inside &= reach[place] > last
    return np.where(inside, values[place].astype(np.int64), 0)


def _mix(hashed: npt.NDArray[np.uint64], value: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint64]:
    """As mix() of bpf/detail.bpf.c."""
    hashed = (hashed ^ value) * _GOLDEN
    return hashed ^ hashed >> np.uint64(32)


def lots_of(packets: Records, *, udp: bool) -> npt.NDArray[np.uint64]:
    """Return the lot (0 to 2^32 - 1) of each one's last byte, as lot_of() of bpf/detail.bpf.c.

    It needs the fields `flow`, `seq` and `length`.
    """
    seq = packets["seq"].astype(np.uint64)
    last = (seq + packets["length"].astype(np.uint64) - np.uint64(1)) & np.uint64(0xFFFFFFFF)
    bucket = seq if udp else last >> np.uint64(_SAMPLE_BITS)
    return _mix(packets["flow"], bucket) >> np.uint64(32)
