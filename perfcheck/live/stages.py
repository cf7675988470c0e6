"""Where packets' time went on a live machine, which may see one end of a flow or both; pure functions."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from perfcheck.analyse.paths import STATIONS, Followed, Records, arrivals, follow
from perfcheck.analyse.stages import STAGES, WAY, stage_ns
from perfcheck.collect.base import histogram
from perfcheck.model.detail import DetailStream
from perfcheck.model.flow import FlowKey, Histogram
from perfcheck.model.flow_filter import FlowFilter

_SENDING: Final = 4
"""So many of the stages are the sending host's; then comes the wire."""
Passes = Callable[[FlowKey], bool]
DRIVER: Final = "nic.driver_us"


class Role(StrEnum):
    """Which part of the way was seen."""

    SENT = "sent"
    RECEIVED = "received"
    WHOLE = "whole"


_STAGES: Final = {Role.SENT: STAGES[:_SENDING], Role.RECEIVED: STAGES[_SENDING + 1 :], Role.WHOLE: (*STAGES, WAY)}


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class StageTimes:
    """One stage of packets of one role: its metric's name without the stat, and each packet's time in us."""

    role: Role
    name: str
    us: npt.NDArray[np.float64]

    def histogram(self) -> Histogram:
        """Return the times as a log-linear histogram, in us."""
        return histogram.of_values("us", _scale(), self.us)

    def quantile(self, share: float) -> float:
        """Return a quantile of the times themselves."""
        return float(np.quantile(self.us, share))


@dataclass(frozen=True, slots=True, kw_only=True)
class SlowPacket:
    """One packet that took long; `stages_us` are in the order of the way, those alone that were seen.

    `begin_ns` is when it was at the first of the stations that were seen. `attempt` is 0 for the first transmission.
    """

    role: Role
    flow: FlowKey | None
    begin_ns: int
    total_us: float
    seq: int
    length_bytes: int
    attempt: int
    stages_us: tuple[tuple[str, float], ...]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Packets:
    """The packets that were followed, by the part of their way that was seen."""

    stream: DetailStream
    by_role: dict[Role, Records]

    @property
    def followed(self) -> int:
        """How many were followed, as packets on the wire."""
        return sum(int(packets["segments"].sum()) for packets in self.by_role.values())

    def times(self) -> Sequence[StageTimes]:
        """Return the times of each stage of each role, in the order of the way; those alone that were seen."""
        found = []
        for role, packets in self.by_role.items():
            for name, begin, end in _STAGES[role]:
                spent = stage_ns(packets, begin, end)
                found.append(StageTimes(role=role, name=name, us=spent[spent >= 0] / 1000))
            if role is not Role.RECEIVED:
                found.append(StageTimes(role=role, name=DRIVER, us=packets["driver_ns"] / 1000))
        return [each for each in found if len(each.us)]

    def lost(self) -> int:
        """Return how many packets left and never arrived, though some before and after them did.

        Before a flow's first arrival nobody may have looked at the receiving end yet.
        """
        packets = self.by_role.get(Role.WHOLE)
        if packets is None:
            return 0
        number = 0
        for flow in np.unique(packets["flow"][packets["lost"]]):
            own = packets[packets["flow"] == flow]
            there = own["transmitted_ns"][(own["softirq_ns"] > 0) | (own["received_ns"] > 0)]
            number += int((own["lost"] & (own["transmitted_ns"] > there.min())).sum())
        return number

    def slowest(self, most: int) -> Sequence[SlowPacket]:
        """Return the packets that took longest from the first station to the last that were seen, slowest first."""
        found = [each for role, packets in self.by_role.items() for each in self._slowest(role, packets, most)]
        return sorted(found, key=lambda each: -each.total_us)[:most]

    def _slowest(self, role: Role, packets: Records, most: int) -> Sequence[SlowPacket]:
        begin, total = spans_ns(packets)
        chosen = np.argsort(-total, kind="stable")[:most]
        stages = [(name, stage_ns(packets[chosen], first, last).tolist()) for name, first, last in STAGES]
        return [
            SlowPacket(
                role=role, flow=self.stream.flows.get(int(packets["flow"][row])), begin_ns=int(begin[row]),
                total_us=float(total[row]) / 1000, seq=int(packets["seq"][row]),
                length_bytes=int(packets["length"][row]), attempt=int(packets["attempt"][row]),
                stages_us=tuple((name, ns[number] / 1000) for name, ns in stages if ns[number] >= 0),
            )
            for number, row in enumerate(chosen.tolist())
        ]  # fmt: skip


def spans_ns(packets: Records) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Return when each packet was at its first station, and how long it took to its last one."""
    moments = np.stack([packets[f"{name}_ns"] for name in STATIONS])
    seen = moments > 0
    first = np.where(seen, moments, np.iinfo(np.int64).max).min(axis=0)
    last = moments.max(axis=0)
    first = np.where(seen.any(axis=0), first, 0)
    return first, last - first


def packets_of(stream: DetailStream, passes: Passes) -> Packets:
    """Return the packets of flows that pass; those that were not followed all the time are left out."""
    followed, arrived = follow(stream, within_hosts=True), arrivals(stream)
    sent = _passing(followed, passes)
    whole = _both_ends(sent)
    parts = {Role.WHOLE: sent[whole], Role.SENT: sent[~whole], Role.RECEIVED: _passing(arrived, passes)}
    return Packets(stream=stream, by_role={role: packets for role, packets in parts.items() if len(packets)})


def _passing(followed: Followed, passes: Passes) -> Records:
    packets = followed.packets[followed.packets["counts"]]
    flows = np.unique(packets["flow"])
    chosen = [flow for flow in flows.tolist() if (key := followed.stream.flows.get(flow)) is not None and passes(key)]
    passed: Records = packets[np.isin(packets["flow"], np.array(chosen, np.uint64))]
    return passed


def _both_ends(packets: Records) -> npt.NDArray[np.bool_]:
    """Return which packets are of flows that were seen at the receiving end, too."""
    there = (packets["softirq_ns"] > 0) | (packets["received_ns"] > 0)
    return np.isin(packets["flow"], np.unique(packets["flow"][there]))


def passing(wanted: FlowFilter) -> Passes:
    """Return whether data of a flow passes a filter: the filter's ends are a socket's, data goes out or comes in."""

    def passes(key: FlowKey) -> bool:
        return wanted.passes_ends(key) or wanted.passes_ends(turned(key))

    return passes


def turned(key: FlowKey) -> FlowKey:
    """Return the flow's other direction."""
    return FlowKey(
        protocol=key.protocol, host=key.host, local=key.remote, local_port=key.remote_port, remote=key.local,
        remote_port=key.local_port,
    )  # fmt: skip


@functools.cache
def _scale() -> tuple[float, ...]:
    """Return edges in us that are whole ns: up to 4 s."""
    return tuple(edge / 1000 for edge in histogram.edges(histogram.BUCKETS))


def short_name(metric: str) -> str:
    """Return a stage's name as tables have it: `qdisc.tx`, `nic.wire`."""
    return metric.removesuffix("_us").removesuffix("_stage")


def share_of(part: StageTimes, of: Sequence[StageTimes]) -> float:
    """Return which part of the time of all stages of a role, in percent, was spent in one."""
    own: list[Any] = [each.us.sum() for each in of if each.role is part.role and each.name not in {WAY[0], DRIVER}]
    whole = float(sum(own))
    return 100 * float(part.us.sum()) / whole if whole else 0.0
