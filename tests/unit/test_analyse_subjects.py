"""Subjects add up to the whole: entries by a fluid model of their flows, hosts and directions by their counts."""

from __future__ import annotations

from typing import Any, Final

import pytest
from fluid import Flow, World
from hypothesis import given, settings
from hypothesis import strategies as st

from perfcheck.analyse import subject_metrics, trial_metrics
from perfcheck.model.catalogue import CATALOGUE
from perfcheck.model.observation import LinkReport, Observation, TrafficReport
from perfcheck.model.scenario import subjects_of
from perfcheck.model.subject import SubjectKind
from perfcheck.model.traffic import entry_names
from perfcheck.testing import make_scenario

SECOND: Final = 10
MBIT: Final = 10**6
COUNTS: Final = frozenset(name for name, spec in CATALOGUE.items() if spec.counter) | {
    "tcp.connections", "app.errors", "app.timeouts", "app.resets", "udp.datagrams",
}  # fmt: skip


@st.composite
def flows(draw: st.DrawFn) -> Flow:
    source, target = draw(st.permutations(["a", "b", "c"]).map(lambda order: order[:2]))
    return Flow(
        generator=draw(st.sampled_from(["iperf3", "http", "sockperf"])), source=source, target=target,
        start_step=draw(st.integers(0, 4 * SECOND)), steps=draw(st.integers(SECOND, 8 * SECOND)),
        cap_bps=draw(st.sampled_from([float("inf"), 3.0 * MBIT])), background=draw(st.integers(0, 4)) == 0,
    )  # fmt: skip


worlds = st.builds(
    World, rates_bps=st.just(((20 * MBIT, 20 * MBIT), (10 * MBIT, 10 * MBIT))),
    flows=st.lists(flows(), min_size=1, max_size=4).map(tuple), warmup_steps=st.sampled_from([0, 7]),
).map(World.run)  # fmt: skip


@given(worlds)
@settings(max_examples=60, deadline=None)
def test_the_counts_of_measured_entries_add_up_to_the_run(world: World) -> None:
    scenario, reports = world.scenario(), world.reports()
    whole = trial_metrics(scenario, reports, [world.observation()])
    found = subject_metrics(scenario, reports, [world.observation()])
    measured = [
        found.get(name, {}) for name, entry in zip(entry_names(scenario.traffic), scenario.traffic, strict=True)
        if not entry.background
    ]  # fmt: skip
    for name in COUNTS & whole.keys():
        assert sum(entry.get(name, 0.0) for entry in measured) == pytest.approx(whole[name]), name


@given(worlds)
@settings(max_examples=60, deadline=None)
def test_no_entry_has_a_figure_that_it_cannot_have(world: World) -> None:
    scenario, reports = world.scenario(), world.reports()
    found = subject_metrics(scenario, reports, [world.observation()])
    assert found.keys() <= subjects_of(scenario).keys()
    for name, metrics in found.items():
        for metric, value in metrics.items():
            assert subjects_of(scenario)[name] in CATALOGUE[metric].subjects
            assert value >= 0
            most = CATALOGUE[metric].most
            assert most is None or value <= most * (1 + 1e-9), metric
    shares = [metrics["tcp.inflight_share_pct"] for metrics in found.values() if "tcp.inflight_share_pct" in metrics]
    assert not shares or sum(shares) == pytest.approx(100)


@given(worlds)
@settings(max_examples=30, deadline=None)
def test_a_single_entry_is_the_run(world: World) -> None:
    if len(world.flows) > 1 or world.flows[0].background:
        return
    scenario, reports = world.scenario(), world.reports()
    whole = trial_metrics(scenario, reports, [world.observation()])
    (name,) = entry_names(scenario.traffic)
    own = {key: value for key, value in whole.items() if SubjectKind.TRAFFIC in CATALOGUE[key].subjects}
    assert subject_metrics(scenario, reports, [world.observation()]).get(name, {}) == own


def report(**more: Any) -> TrafficReport:
    return TrafficReport(generator="iperf3", flows=(), metrics={}, start_ns=0, end_ns=10**9, **more)


def test_hosts_have_their_own_counts_and_directions_those_of_the_interface_that_sends_into_them() -> None:
    scenario = make_scenario(links=[{"between": ["client", "server"], "rate": "10mbit"}])
    seen = Observation(
        collector="host",
        by_host={"client": {"ip.discards": 2.0}, "server": {"ip.discards": 3.0, "nic.tx_drops": 4.0}},
        by_interface={("client", "eth0"): {"qdisc.drops": 7.0}},
    )  # fmt: skip
    links = [
        LinkReport(link=0, way="forward", emulator="relay", received=100, delivered=90, dropped_queue=10),
        LinkReport(link=0, way="reverse", emulator="relay", received=50, delivered=50),
    ]
    found = subject_metrics(scenario, [report()], [seen], links, {("client", "eth0"): "client>server"})
    assert (found["client"]["ip.discards"], found["server"]["ip.discards"]) == (2, 3)
    assert found["server"]["nic.tx_drops"] == 4
    assert found["client>server"]["qdisc.drops"] == 7
    assert (found["client>server"]["qdisc.link_drops"], found["server>client"]["qdisc.link_drops"]) == (10, 0)


@pytest.mark.parametrize(
    ("traffic", "metrics", "achieved"),
    [
        ({"http": {"from": "client", "to": "server", "rate": 30}}, {"app.requests_per_s": 20.0}, 200 / 3),
        ({"http": {"from": "client", "to": "server", "rate": 30}}, {"app.requests_per_s": 31.0}, 100.0),
        ({"http": {"from": "client", "to": "server"}}, {"app.requests_per_s": 31.0}, None),
        ({"iperf3": {"from": "client", "to": "server", "rate": "5mbit", "streams": 2}},
         {"app.throughput_bps": 5e6}, 50.0),
        ({"iperf3": {"from": "client", "to": "server", "protocol": "udp"}}, {"udp.throughput_bps": 0.25e6}, 25.0),
        ({"iperf3": {"from": "client", "to": "server"}}, {"app.throughput_bps": 5e6}, None),
    ],
)  # fmt: skip
def test_what_an_entry_asked_for_and_did_not_get_is_a_figure(
    traffic: dict[str, Any], metrics: dict[str, float], achieved: float | None
) -> None:
    scenario = make_scenario(traffic=[traffic])
    made = TrafficReport(generator="http", flows=(), metrics=metrics, start_ns=0, end_ns=10**9)
    assert trial_metrics(scenario, [made], []).get("app.achieved_pct") == (
        None if achieved is None else pytest.approx(achieved)
    )
