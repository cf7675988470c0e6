"""Compares figures of detail mode with the hosts' own counters, in each trial; pure functions."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from perfcheck.model.detail import DetailStream, Kind
from perfcheck.model.observation import Observation
from perfcheck.model.record import CrossCheck

PCT: Final = 5.0
SLACK_SEGMENTS: Final = 3


def detail_checks(trial: int, stream: DetailStream, observations: Sequence[Observation]) -> Iterator[CrossCheck]:
    """Compare retransmissions, which are told whatever share of the packets is followed, with each host's counter.

    Nothing where only some flows were asked for. Two collectors open their windows within milliseconds.
    """
    if stream.filtered:
        return
    found = stream.events[(stream.events["kind"] == Kind.RETRANSMIT) & (stream.events["ns"] >= stream.start_ns)]
    for counted in (host for seen in observations for host in seen.host_counters):
        theirs = counted.window.get("Tcp.RetransSegs")
        if theirs is None or counted.host not in stream.hosts:
            continue
        number = stream.hosts.index(counted.host) + 1
        ours = int(found["segments"][found["host"] == number].sum())
        yield CrossCheck(
            name=f"detail.retrans_segs@{counted.host}", trial=trial, ours=ours, theirs=theirs,
            source=f"/proc/net/snmp of {counted.host}: Tcp.RetransSegs", tolerance_pct=PCT,
            agrees=abs(ours - theirs) <= max(PCT / 100 * theirs, SLACK_SEGMENTS),
        )  # fmt: skip
