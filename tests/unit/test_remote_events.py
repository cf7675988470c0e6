"""Events of two machines as one stream: by one clock, each with its own host, and without the ssh connection."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import numpy as np
from told_records import CLIENT, MS, START_NS, TO_CLIENT, TO_SERVER, stream, told

from perfcheck.agent.own_connection import without_connection
from perfcheck.analyse import events_of
from perfcheck.model.event import Event, EventCount, EventKind, EventStream, EventType, ListenOverflow
from perfcheck.model.observation import Observation
from perfcheck.remote.clock import Offset
from perfcheck.remote.events import events_by_our_clock, joined_events
from perfcheck.remote.observations import by_our_clock, joined

AHEAD_NS = 7 * 10**12
AHEAD = Offset(least_ns=AHEAD_NS - 10, most_ns=AHEAD_NS + 10, at_ns=0)
DROPPED = told(EventKind.DROP, 1, CLIENT, TO_SERVER, seq=1000, length=500, value=8, cpu=1)


def machine(host: str, found: EventStream) -> EventStream:
    return replace(found, hosts=(host,))


def alerts(found: EventStream | None) -> list[Event]:
    every = events_of([Observation(collector="events", events=found)])
    return [event for event in every if event.type is EventType.ALERT]


def test_what_one_machine_dropped_leads_to_what_the_other_sent_again() -> None:
    here = machine("a", stream(told(EventKind.RETRANSMISSION, 3, seq=1000, length=500, srtt_us=10_000, cwnd_segs=9)))
    there = machine("b", stream(DROPPED))
    later = events_by_our_clock(_later(there), AHEAD)
    drop, again = alerts(joined_events([here, later]))
    assert (drop.context["host"], again.context["host"]) == ("b", "a")
    assert (drop.timestamp_ns, again.timestamp_ns) == (START_NS + MS, START_NS + 3 * MS)
    assert drop.number in again.related
    assert again.cause == "queue_overflow"


def _later(found: EventStream) -> EventStream:
    records = found.records.copy()
    records["ns"] += AHEAD_NS
    overflows = tuple(replace(one, ns=one.ns + AHEAD_NS) for one in found.overflows)
    return replace(found, records=records, start_ns=found.start_ns + AHEAD_NS, overflows=overflows)


def test_all_times_of_a_stream_are_by_our_clock() -> None:
    found = machine("b", stream(DROPPED, overflows=(ListenOverflow(ns=START_NS + 5, host="b", count=1),)))
    seen = by_our_clock(Observation(collector="events", events=_later(found)), AHEAD).events
    assert seen is not None
    for name in found.records.dtype.names or ():
        assert np.array_equal(seen.records[name], found.records[name]), name
    assert (seen.start_ns, seen.overflows) == (found.start_ns, found.overflows)


def test_a_cpu_of_one_machine_is_not_the_others() -> None:
    first = machine("a", stream(told(EventKind.RTO, 1, ordinal=0), told(EventKind.RTO, 2, ordinal=1)))
    other = machine("b", stream(told(EventKind.RTO, 3, ordinal=5)))
    found = alerts(joined_events([first, other]))
    assert [event.context.get("sampled_out") for event in found] == [None, None, 5]


def test_counts_add_up_and_each_kernels_own_reasons_are_told() -> None:
    first = machine("a", stream(DROPPED))
    counts = {EventKind.DROP: EventCount(seen=9, told=1, lost=2), EventKind.RTO: EventCount(seen=1, told=0)}
    other = replace(
        machine("b", stream(DROPPED)), counts=counts, reasons={8: "NO_SOCKET"}, drop_metrics={8: "socket.drops_rcvbuf"}
    )  # fmt: skip
    joint = joined_events([first, other, machine("c", stream())])
    assert joint is not None
    assert joint.counts[EventKind.DROP] == EventCount(seen=10, told=2, lost=2)
    assert joint.counts[EventKind.RTO] == EventCount(seen=1, told=0)
    told_of = {event.context["host"]: (event.context["reason"], event.metric) for event in alerts(joint)}
    assert told_of == {"a": ("QDISC_OVERLIMIT", "qdisc.drops_full"), "b": ("NO_SOCKET", "socket.drops_rcvbuf")}


def test_observations_of_machines_bring_their_events_together() -> None:
    parts = [[Observation(collector="events", events=machine(host, stream(DROPPED)))] for host in ("a", "b")]
    (seen,) = joined(parts)
    assert Counter(event.context["host"] for event in alerts(seen.events)) == {"a": 1, "b": 1}
    (nothing,) = joined([[Observation(collector="tcp")], [Observation(collector="tcp")]])
    assert nothing.events is None


def test_the_connection_to_the_agent_has_no_events() -> None:
    waited = told(EventKind.CPU_WAIT, 2, flow=0, value=12_000)
    own = stream(DROPPED, told(EventKind.RTO, 2, flow=TO_CLIENT), told(EventKind.DROP, 3, flow=0, value=8), waited)
    counts = {**own.counts, EventKind.DROP: EventCount(seen=7, told=2)}
    seen = Observation(collector="events", events=replace(own, counts=counts))
    found = without_connection(seen, ("198.18.0.2", 80, "198.18.0.1", 4000)).events
    assert found is not None
    assert found.records["kind"].tolist() == [EventKind.CPU_WAIT, EventKind.DROP]
    assert found.counts == {EventKind.DROP: EventCount(seen=6, told=1), EventKind.CPU_WAIT: EventCount(seen=1, told=1)}
    assert without_connection(seen, ("198.18.0.2", 81, "198.18.0.1", 4000)).events.counts == counts  # type: ignore[union-attr]
    assert without_connection(seen, None) is seen
