"""What holds of every chain: it is a way through the graph, all of it was seen, and no time contradicts its order."""

from __future__ import annotations

from itertools import pairwise
from typing import Final

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from perfcheck.diagnose import load_rules
from perfcheck.diagnose.causality import State
from perfcheck.diagnose.chains import chain_of, states_seen
from perfcheck.diagnose.correlation import name_of
from perfcheck.diagnose.evaluation import Reading
from perfcheck.diagnose.sightings import LEAST_TO_CONTRADICT, sightings
from perfcheck.model.event import Event, EventType
from perfcheck.model.flow import FlowKey, Protocol
from perfcheck.model.metric import Layer

CAUSALITY: Final = load_rules().causality
MS: Final = 1_000_000
INTERVAL_NS: Final = 100 * MS
CAUSES: Final = ("cpu_contention", "softirq_contention", "queue_overflow", "mtu_blackhole", "random_loss", "shaper")
KEY: Final = FlowKey(
    protocol=Protocol.TCP, host="client", local="198.18.0.1", local_port=4000, remote="198.18.0.2", remote_port=80
)
ALERTS: Final = (
    ("qdisc.drops_full", {"kind": "drop"}),
    ("ip.drops_netfilter", {"kind": "drop"}),
    ("ip.drops_too_big", {"kind": "drop"}),
    ("tcp.ca_state_events", {"kind": "ca_state", "state": "Recovery"}),
    ("tcp.retrans_segs", {"kind": "retransmission", "retransmission": "fast"}),
    ("tcp.rto_events", {"kind": "rto"}),
    ("cpu.runq_delay_us", {"kind": "cpu_wait"}),
    ("socket.rcvqueue_full", {"kind": "receive_queue_full"}),
    ("cpu.runq_wait_pct", {"kind": "anomaly", "change": "up"}),
    ("nic.rx_softirq_pct", {"kind": "anomaly", "change": "up"}),
    ("tcp.lost_segs", {"kind": "anomaly", "change": "up"}),
    ("tcp.cwnd_segs", {"kind": "anomaly", "change": "down"}),
    ("app.throughput_bps", {"kind": "anomaly", "change": "down"}),
    ("app.latency_us.p99", {"kind": "anomaly", "change": "up"}),
)
FIGURES: Final = {
    "qdisc.drops": (0.0, 9.0), "tcp.retrans_segs": (0.0, 9.0), "tcp.recovery_events": (0.0, 4.0),
    "tcp.rto_events": (0.0, 4.0), "tcp.state_loss_pct": (0.0, 40.0), "tcp.state_recovery_pct": (0.0, 40.0),
    "tcp.bdp_use_pct": (20.0, 97.0), "tcp.limited_app_pct": (0.0, 80.0), "app.achieved_pct": (50.0, 100.0),
    "cpu.runq_delay_us.mean": (20.0, 9000.0), "cpu.runq_delay_us.p99": (900.0, 90_000.0),
    "nic.rx_softirq_delay_us.p99": (3.0, 20_000.0), "socket.rcvqueue_full": (0.0, 5.0),
}  # fmt: skip

Drawn = tuple[tuple[str, dict[str, str]], int, int]
"""Metric and context of an alert, its ms, and for how many ms it lasted."""
METRICS: Final = st.fixed_dictionaries({}, optional={name: st.sampled_from(pair) for name, pair in FIGURES.items()})
TOLD: Final = st.lists(st.tuples(st.sampled_from(ALERTS), st.integers(0, 3000), st.integers(1, 60)), max_size=40)


def events_of(drawn: list[Drawn]) -> list[Event]:
    ordered = sorted(drawn, key=lambda one: one[1])
    return [
        Event(
            number=number, timestamp_ns=at_ms * MS, layer=Layer(metric.partition(".")[0]), metric=metric,
            flow=None if context["kind"] in ("anomaly", "cpu_wait") else KEY, type=EventType.ALERT,
            value=lasted_ms * 1000.0, metrics={"tcp.srtt_us": 20_000},
            context={"host": "client", "seq": 1000, "bytes": 500, **context},
        )
        for number, ((metric, context), at_ms, lasted_ms) in enumerate(ordered)
    ]  # fmt: skip


def moments(state: State, events: list[Event], *, changes: bool) -> list[tuple[int, int]]:
    """Return begin and end of each event, or of each change of a series, that shows a state."""
    return [
        (one.timestamp_ns - round(one.value * 1000) * (one.metric == "cpu.runq_delay_us"), one.timestamp_ns)
        for one in events
        if state.is_told_by(name_of(one)) and (one.context["kind"] == "anomaly") is changes
    ]


def contradicted(one: State, other: State, events: list[Event]) -> bool:
    """Whether all that shows `other` ended before anything showed `one`, as far as the times can tell."""
    first, then = moments(one, events, changes=False), moments(other, events, changes=False)
    if first and then:
        return len(first) >= LEAST_TO_CONTRADICT and max(end for _, end in then) < min(begin for begin, _ in first)
    first += moments(one, events, changes=True)
    then += moments(other, events, changes=True)
    return bool(first and then) and max(end for _, end in then) + INTERVAL_NS < min(end for _, end in first)


@settings(max_examples=150, deadline=None)
@given(METRICS, TOLD, st.sampled_from(CAUSES))
def test_a_chain_is_a_way_through_the_graph_whose_order_no_time_contradicts(
    metrics: dict[str, float], drawn: list[Drawn], cause: str
) -> None:  # fmt: skip
    events = events_of(drawn)
    found = sightings(CAUSALITY, events, {"events", "series"}, INTERVAL_NS)
    states = states_seen(CAUSALITY, Reading(metrics=metrics), found)
    chain = chain_of(cause, CAUSALITY, states, found)
    if chain is None:
        return
    names = [step.state.name for step in chain.steps]
    assert len(set(names)) == len(names), "a state leads to itself"
    assert all(any(edge.then == other for edge in CAUSALITY.after[one]) for one, other in pairwise(names))
    assert chain.first.cause is not None or chain.first.name in found.counts
    for step in chain.steps:
        assert step.seen is bool(states[step.state.name]) or step.state.cause == cause
        assert states[step.state.name] is not False or step.state.cause == cause, "a state without evidence"
        assert step.lag_ns is None or step.lag_ns >= 0
    timed = [step.state for step in chain.steps if step.state.name in found.counts]
    assert not [(one.name, other.name) for one, other in pairwise(timed) if contradicted(one, other, events)]


def test_the_graph_has_no_circle_and_each_edge_leads_to_what_comes_later_in_it() -> None:
    place = {name: number for number, name in enumerate(CAUSALITY.states)}
    assert all(place[edge.first] < place[edge.then] for edge in CAUSALITY.edges)


def chain_text(events: list[Event], metrics: dict[str, float], cause: str) -> list[str]:
    found = sightings(CAUSALITY, events, {"events", "series"}, INTERVAL_NS)
    chain = chain_of(cause, CAUSALITY, states_seen(CAUSALITY, Reading(metrics=metrics), found), found)
    return [] if chain is None else [step.text for step in chain.steps]


def told(*kinds: int, at_ms: tuple[int, ...], first: int = 0) -> list[Event]:
    drawn = [(ALERTS[kind], moment + place, 1) for moment in at_ms for place, kind in enumerate(kinds)]
    return [
        Event(
            number=first + number, timestamp_ns=one.timestamp_ns, flow=one.flow, layer=one.layer, metric=one.metric,
            value=one.value, type=one.type, metrics=one.metrics, context=one.context,
        )
        for number, one in enumerate(events_of(drawn))
    ]  # fmt: skip


def test_losses_before_a_fault_began_are_no_step_of_its_chain() -> None:
    """Slow start ends with a cut; two seconds later large packets vanish, and only the timer notices."""
    before = told(3, 4, at_ms=(800,))
    after = told(1, at_ms=(3000, 3001, 3002), first=10) + told(5, at_ms=(3400,), first=20)
    metrics = {"tcp.retrans_segs": 9.0, "tcp.recovery_events": 1.0, "tcp.rto_events": 1.0, "tcp.state_loss_pct": 40.0,
               "tcp.state_recovery_pct": 1.0, "tcp.bdp_use_pct": 40.0}  # fmt: skip
    expected = ["mtu_blackhole", "loss", "rto (+398.0 ms)", "low throughput"]
    assert chain_text([*before, *after], metrics, "mtu_blackhole") == expected
    assert "cwnd cut" in chain_text([*before, *told(1, at_ms=(799,), first=5)], metrics, "mtu_blackhole")[2]


def test_a_lag_that_only_series_tell_is_said_to_an_interval() -> None:
    metrics = {"app.latency_us.p99": 90_000.0, "app.latency_us.p50": 1000.0}
    for at_ms, said in ((100, "late answers (within 100 ms)"), (400, "late answers (about +400.0 ms)")):
        events = told(8, at_ms=(3000,)) + told(13, at_ms=(3000 + at_ms,), first=9)
        assert chain_text(events, metrics, "cpu_contention") == ["cpu_contention", said]


def test_a_symptom_that_began_before_what_should_have_led_to_it_is_none_of_its_effects() -> None:
    metrics = {"tcp.rto_events": 1.0, "tcp.retrans_segs": 2.0, "tcp.retrans_fast_segs": 0.0,
               "tcp.retrans_tlp_segs": 0.0, "tcp.state_loss_pct": 40.0, "tcp.recovery_events": 0.0,
               "tcp.state_recovery_pct": 0.0, "tcp.bdp_use_pct": 40.0}  # fmt: skip
    lost = told(1, at_ms=(3000, 3001, 3002)) + told(5, at_ms=(3600,), first=20)
    expected = ["mtu_blackhole", "loss", "low throughput (within 100 ms)"]
    assert chain_text([*lost, *told(12, at_ms=(3100,), first=30)], metrics, "mtu_blackhole") == expected
    later = [*lost, *told(12, at_ms=(3700,), first=30)]
    assert chain_text(later, metrics, "mtu_blackhole")[2:] == ["rto (+598.0 ms)", "low throughput (within 100 ms)"]


def test_waits_for_a_cpu_because_of_softirqs_are_not_told_as_a_lack_of_cpus() -> None:
    metrics = {"cpu.runq_wait_pct": 80.0, "cpu.runq_delay_us.mean": 120.0, "cpu.runq_delay_us.p99": 6700.0,
               "app.achieved_pct": 60.0}  # fmt: skip
    assert chain_text([], metrics, "softirq_contention") == ["softirq_contention", "processes wait", "low throughput"]


def test_an_effect_during_a_long_wait_follows_from_it() -> None:
    """The event of a wait is told when it ends; buffers fill while it lasts."""
    wait = events_of([(ALERTS[6], at_ms, 60) for at_ms in (1000, 1500, 2000)])
    full = [one for at_ms in (970, 1470, 1970) for one in told(7, at_ms=(at_ms,), first=at_ms)]
    found = sightings(CAUSALITY, [*wait, *full], {"events"})
    assert found.lags_ns["cpu wait", "receive buffer full"] == pytest.approx(30 * MS)
