"""No figure above what the path, the time or the whole allows, whatever the traffic: by a fluid model of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from fluid import EPOCH_NS, STEP_NS, Flow, S, World
from hypothesis import example, given, settings
from hypothesis import strategies as st
from scipy.optimize import linprog

from perfcheck.analyse import bound_checks, timed, trial_metrics
from perfcheck.analyse.spans import length_ns, union, within
from perfcheck.model.catalogue import CATALOGUE
from perfcheck.model.observation import TrafficReport
from perfcheck.model.record import CrossCheck
from perfcheck.model.topology import TrafficPath, data_path, highest_rates, together_bps
from perfcheck.testing import make_scenario

MBIT = 10**6
SECOND = S // STEP_NS
SLACK = 1 + 1e-9

hosts = st.permutations(["a", "b", "c"]).map(lambda order: order[:2])
rates = st.tuples(*[st.integers(1, 40).map(lambda mbit: mbit * MBIT)] * 2)


@st.composite
def flows(draw: st.DrawFn) -> Flow:
    generator = draw(st.sampled_from(["iperf3", "iperf3", "iperf3", "http", "sockperf", "command"]))
    source, target = draw(hosts)
    limited = generator == "iperf3" and draw(st.booleans())
    return Flow(
        generator=generator, source=source, target=target, start_step=draw(st.integers(0, 8 * SECOND)),
        steps=draw(st.integers(1, 10 * SECOND)), reverse=generator == "iperf3" and draw(st.booleans()),
        protocol=draw(st.sampled_from(["tcp", "tcp", "udp"])) if generator == "iperf3" else "tcp",
        cap_bps=draw(st.sampled_from([float("inf"), 3.0 * MBIT])),
        limit_bytes=draw(st.integers(1, 4_000_000)) if limited else float("inf"),
        background=draw(st.integers(0, 5)) == 0,
    )  # fmt: skip


worlds = st.builds(
    World, rates_bps=st.tuples(rates, rates), flows=st.lists(flows(), min_size=1, max_size=4).map(tuple),
    warmup_steps=st.sampled_from([0, 7, SECOND, 4 * SECOND]),
).map(World.run)  # fmt: skip


def most_bps(world: World, measured: Sequence[Flow]) -> float:
    """The most that the flows' paths carry together, by linear programming over the rates of links."""
    crossed = sorted({each for flow in measured for each in flow.crossed})
    uses = [[float(each in flow.crossed) for flow in measured] for each in crossed]
    solved = linprog([-1.0] * len(measured), A_ub=uses, b_ub=[world.rate(each) for each in crossed], method="highs")
    assert solved.fun is not None
    return float(-solved.fun)


def checks_of(world: World, reports: Sequence[TrafficReport], metrics: dict[str, float]) -> list[CrossCheck]:
    seen = [world.observation()]
    return list(bound_checks(0, world.scenario(), timed(reports, seen), metrics, cpus=2))


THIRDS = Flow(generator="iperf3", source="a", target="b", start_step=0, steps=15)
"""Three of them move 833.3 bytes each in a step of the slowest link."""


@given(worlds)
@example(World(rates_bps=((MBIT, MBIT), (MBIT, MBIT)), flows=(THIRDS,) * 3, warmup_steps=7).run())
@settings(max_examples=150, deadline=None)
def test_no_figure_exceeds_what_path_time_and_whole_allow(world: World) -> None:
    reports = world.reports()
    found = trial_metrics(world.scenario(), reports, [world.observation()])
    measured = [flow for flow in world.flows if not flow.background]
    if "app.throughput_bps" in found:
        assert found["app.throughput_bps"] <= most_bps(world, measured) * SLACK
    if "udp.throughput_bps" in found:
        datagrams = [flow for flow in measured if flow.protocol == "udp"]
        assert found["udp.throughput_bps"] <= most_bps(world, datagrams) * SLACK
        assert found["udp.throughput_bps"] <= found["app.throughput_bps"] * SLACK or len(datagrams) < len(measured)
    streams = [flow for flow in measured if flow.generator == "iperf3" and flow.protocol == "tcp"]
    if "tcp.delivery_rate_bps" in found:
        assert found["tcp.delivery_rate_bps"] <= most_bps(world, streams) * SLACK
        assert found["tcp.bdp_use_pct"] <= 100 * SLACK
        assert found["tcp.pacing_rate_bps"] <= sum(world.rate(flow.crossed[0]) for flow in streams) * SLACK
        assert found.get("tcp.fairness_ratio", 1.0) <= SLACK
        assert found["tcp.bdp_bytes"] <= most_bps(world, streams) * found["tcp.min_rtt_us"] / 8e6 * 2
    asking = [flow for flow in measured if flow.generator in {"http", "sockperf"}]
    if "app.requests_per_s" in found:
        assert found["app.requests_per_s"] <= len(asking) * S / STEP_NS * SLACK
    for name, value in found.items():
        most = CATALOGUE[name].most
        assert value >= 0, name
        assert most is None or value <= most * SLACK, name
    for layer in ("limited", "state"):
        assert sum(value for name, value in found.items() if name.startswith(f"tcp.{layer}_")) <= 100 * SLACK


@given(worlds)
@settings(max_examples=100, deadline=None)
def test_checks_agree_with_what_links_carried(world: World) -> None:
    reports = world.reports()
    metrics = trial_metrics(world.scenario(), reports, [world.observation()])
    assert [check for check in checks_of(world, reports, metrics) if not check.agrees] == []


@given(world=worlds, factor=st.floats(1.5, 4.0))
@settings(max_examples=60, deadline=None)
def test_more_than_a_link_carries_disagrees(world: World, factor: float) -> None:
    """Whatever is beyond a link's rate, by what really moved, is told by the check of that direction."""
    reports = [
        replace(report, arrivals=tuple(
            replace(each, size_bytes=round(each.size_bytes * factor)) for each in report.arrivals
        ))
        for report in world.reports()
    ]  # fmt: skip
    metrics = trial_metrics(world.scenario(), reports, [world.observation()])
    for check in checks_of(world, reports, metrics):
        if check.name.startswith("app.throughput_bps@"):
            slack_bps = 8 * MBIT  # a round trip's worth over the shortest time
            assert check.agrees or check.ours > check.theirs
            assert not check.agrees or check.ours <= check.theirs * 1.01 + slack_bps


def two_flows(**second: Any) -> World:
    one = Flow(generator="iperf3", source="a", target="b", start_step=0, steps=5 * SECOND)
    return World(
        rates_bps=((20 * MBIT, 20 * MBIT), (20 * MBIT, 20 * MBIT)),
        flows=(one, replace(one, **({"start_step": 3 * SECOND} | second))), warmup_steps=SECOND,
    ).run()  # fmt: skip


def throughput(world: World) -> dict[str, float]:
    return trial_metrics(world.scenario(), world.reports(), [world.observation()])


def test_two_flows_one_after_the_other_fill_a_link_and_no_more() -> None:
    found = throughput(two_flows())
    assert found["app.throughput_bps"] == pytest.approx(20 * MBIT, rel=1e-3)
    assert found["tcp.delivery_rate_bps"] == pytest.approx(20 * MBIT, rel=1e-3)
    assert found["tcp.bdp_use_pct"] == pytest.approx(100, rel=1e-3)


def test_without_the_kernels_clock_the_sum_is_the_same_to_a_few_hundredths() -> None:
    world = two_flows()
    found = trial_metrics(world.scenario(), world.reports(), [])
    assert found["app.throughput_bps"] == pytest.approx(20 * MBIT, rel=0.03)


def test_flows_in_opposite_directions_add_up_to_both() -> None:
    world = two_flows(start_step=0, reverse=True)
    found = throughput(world)
    assert found["app.throughput_bps"] == pytest.approx(40 * MBIT, rel=1e-3)
    assert found["tcp.bdp_use_pct"] == pytest.approx(100, rel=1e-3)
    rates_of = {check.name: (check.ours, check.theirs) for check in checks_of(world, world.reports(), found)}
    for way in ("a>b", "b>a"):
        assert rates_of[f"app.throughput_bps@{way}"] == pytest.approx((20 * MBIT, 20 * MBIT), rel=1e-3)


def test_a_gap_between_two_flows_is_no_time_of_either() -> None:
    found = throughput(two_flows(start_step=20 * SECOND))
    assert found["app.throughput_bps"] == pytest.approx(20 * MBIT, rel=1e-3)


def test_background_traffic_is_in_the_check_of_its_link_and_not_in_the_metric() -> None:
    world = two_flows(background=True, start_step=0)
    found = throughput(world)
    assert found["app.throughput_bps"] == pytest.approx(10 * MBIT, rel=1e-3)
    checks = {check.name: check for check in checks_of(world, world.reports(), found)}
    assert checks["app.throughput_bps@a>b"].ours == pytest.approx(20 * MBIT, rel=1e-3)


def test_a_command_says_a_rate_for_its_whole_time() -> None:
    found = throughput(two_flows(generator="command"))
    assert found["app.throughput_bps"] == pytest.approx(20 * MBIT, rel=1e-3)


def test_the_rate_of_http_is_that_of_the_direction_of_its_answers() -> None:
    flow = Flow(generator="http", source="a", target="b", start_step=0, steps=2 * SECOND)
    world = World(rates_bps=((MBIT, 20 * MBIT), (MBIT, MBIT)), flows=(flow,), warmup_steps=0).run()
    found = throughput(world)
    (check,) = [one for one in checks_of(world, world.reports(), found) if one.name.startswith("app.")]
    assert check.name == "app.throughput_bps@b>a"
    assert check.theirs == 20 * MBIT
    assert check.ours == pytest.approx(20 * MBIT, rel=0.05)


@pytest.mark.parametrize(
    ("metrics", "name"),
    [
        ({"udp.loss_pct": 150.0, "cpu.busiest_pct": 99.0}, "udp.loss_pct"),
        ({"tcp.queue_delay_us": -3.0, "tcp.rtt_us.p50": 9.0}, "tcp.queue_delay_us"),
        ({"tcp.limited_rwnd_pct": 60.0, "tcp.limited_app_pct": 60.0}, "tcp.limited_*_pct"),
        ({"tcp.resets": 3.0, "tcp.connections": 1.0}, "tcp.resets"),
        ({"tcp.retrans_fast_segs": 6.0, "tcp.retrans_rto_segs": 6.0, "tcp.retrans_tlp_segs": 0.0,
          "tcp.retrans_segs": 10.0},
         "tcp.retrans_fast_segs + tcp.retrans_rto_segs + tcp.retrans_tlp_segs"),
        ({"cpu.busy_pct": 150.0, "cpu.emulator_busy_pct": 60.0}, "cpu.busy_pct"),
        ({"tcp.bdp_use_pct": 150.0, "tcp.delivery_rate_bps": 150e6}, "tcp.delivery_rate_bps"),
    ],
)  # fmt: skip
def test_what_is_more_than_its_whole_disagrees_by_name(metrics: dict[str, float], name: str) -> None:
    report = TrafficReport(generator="command", flows=(), metrics={}, start_ns=0, end_ns=10 * S)
    checks = list(bound_checks(7, make_scenario(), [report], metrics, cpus=2))
    assert [check.name for check in checks if not check.agrees] == [name]
    assert {check.trial for check in checks} == {7}


def test_buffers_and_cpus_may_exceed_100_and_shares_may_not() -> None:
    overrunning = {"socket.snd_use_pct.max": 110.0, "socket.accept_queue_pct.max": 100.8, "cpu.busy_pct": 180.0}
    assert all(check.agrees for check in bound_checks(0, make_scenario(), [], overrunning, cpus=2))
    assert {spec.most for spec in CATALOGUE.values() if spec.unit == "pct" and not spec.overruns} == {100.0}


@given(st.lists(st.tuples(hosts, st.booleans()), min_size=1, max_size=6), st.tuples(rates, rates))
@settings(max_examples=60, deadline=None)
def test_what_paths_carry_together_is_never_less_than_linear_programming_finds(
    ends: list[tuple[list[str], bool]], rates_bps: tuple[tuple[int, int], tuple[int, int]]
) -> None:
    carried = tuple(
        Flow(generator="iperf3", source=here, target=there, start_step=0, steps=1, reverse=reverse)
        for (here, there), reverse in ends
    )
    world = World(rates_bps=rates_bps, flows=carried, warmup_steps=0)
    scenario = world.scenario()
    paths = [path for flow in carried if (path := data_path(scenario, *flow.data)) is not None]
    together = together_bps(paths, highest_rates(scenario))
    assert together == pytest.approx(most_bps(world, carried))


def test_a_path_without_a_rate_has_no_bound() -> None:
    scenario = make_scenario(links=[{"between": ["client", "server"], "delay": "1ms"}])
    path = data_path(scenario, "client", "server")
    assert isinstance(path, TrafficPath)
    assert together_bps([path], highest_rates(scenario)) is None
    assert data_path(scenario, "client", "elsewhere") is None


@given(st.lists(st.tuples(st.integers(0, 50), st.integers(0, 50)), max_size=10))
def test_a_union_covers_each_moment_once(spans: list[tuple[int, int]]) -> None:
    joined = union(spans)
    moments = {moment for begin, end in spans for moment in range(begin, end)}
    assert length_ns(joined) == len(moments)
    assert all(within(begin, end, joined) for begin, end in spans if begin < end)
    assert np.all(np.diff([edge for span in joined for edge in span]) > 0)


def test_arrivals_of_the_model_begin_where_it_begins() -> None:
    (first, _) = timed(two_flows().reports(), [two_flows().observation()])
    assert first.arrivals[0].begin_ns == EPOCH_NS
    assert first.measured_ns == (EPOCH_NS + S, EPOCH_NS + 5 * S)
