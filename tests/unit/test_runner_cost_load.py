"""The cost of loads, from what a guest reports."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perfcheck.errors import LabError, TrafficError
from perfcheck.kernels.job import StepReport
from perfcheck.model.scenario import Scenario
from perfcheck.runner.cost_load import LoadCost, costs_of, counts_of, load_steps, loads_of, metrics_of
from perfcheck.runner.guest_lab import lab_steps, lay_out_in_guest, programs_of

NETSTAT = "Tcp: InSegs OutSegs\nTcp: {segments} 9\nUdp: InDatagrams NoPorts\nUdp: {segments} 0\n"


def scenario(*loads: tuple[str, int, int], hosts: dict[str, object] | None = None) -> Scenario:
    return Scenario.model_validate({
        "name": "cost", "file": "cost.yaml",
        "hosts": hosts or {"client": {}, "server": {}}, "links": [{"between": ["client", "server"]}],
        "traffic": [
            {"load": {"from": "client", "to": "server", "kind": kind, "count": count, "size": f"{size}b"}}
            for kind, count, size in loads
        ],
        "measure": {"mode": "cost"},
    })  # fmt: skip


def done(text: str = "") -> StepReport:
    return StepReport(status=0, took_ns=1, output=text.encode())


def looked(segments: int) -> StepReport:
    return done("@file /proc/net/snmp\n" + NETSTAT.format(segments=segments))


def drove(units: int, run_ns: int) -> StepReport:
    return done(f"units {units}\nbytes 0\nns 5\nrun_ns {run_ns}\n")


def reported(one: Scenario, run_ns: Sequence[int]) -> list[StepReport]:
    """Return what a guest reports where each run of each load takes so long, one segment a unit."""
    loads = loads_of(one)
    reports = [done()] * (1 + 2 * len(loads))
    times = iter(run_ns)
    for load in loads:
        for count in counts_of(load):
            reports += [looked(100), drove(count, next(times)), looked(100 + count)]
    return reports


def test_the_full_run_counts_and_the_one_before_does_not() -> None:
    one = scenario(("requests", 1000, 100))
    costs = costs_of(one, reported(one, [999_999, 4_000_000]))
    assert costs == {
        "load-1": LoadCost(kind="requests", instructions=1_000_000, units=1000, bytes_sent=100_000, segments=1000)
    }
    assert metrics_of(costs) == {"cpu.insns_per_request": 1000.0}


def test_each_kind_is_counted_for_its_own_unit() -> None:
    one = scenario(("stream", 100, 1000), ("connections", 100, 100), ("datagrams", 320, 100))
    found = metrics_of(costs_of(one, reported(one, [1, 4_000_000, 1, 8_000_000, 1, 3_200_000])))
    assert found == {
        "cpu.insns_per_byte": 1_000_000 / 100_000, "cpu.insns_per_connection": 20_000.0,
        "cpu.insns_per_segment": (1_000_000 + 800_000) / (100 + 320),
    }  # fmt: skip


@given(st.lists(st.tuples(st.integers(64, 10_000), st.integers(4, 10**9)), min_size=1, max_size=4))
def test_the_whole_is_the_sum_of_its_parts(loads: list[tuple[int, int]]) -> None:
    one = scenario(*(("requests", count, 100) for count, _ in loads))
    costs = costs_of(one, reported(one, [each for _, run_ns in loads for each in (1, run_ns)]))
    whole = metrics_of(costs)["cpu.insns_per_request"] * sum(count for count, _ in loads)
    assert whole == pytest.approx(sum(cost.instructions for cost in costs.values()))
    parts = [metrics_of({name: cost})["cpu.insns_per_request"] for name, cost in costs.items()]
    assert min(parts) * (1 - 1e-9) <= metrics_of(costs)["cpu.insns_per_request"] <= max(parts) * (1 + 1e-9)


@given(st.integers(64, 10**7))
def test_datagrams_come_in_whole_bursts(count: int) -> None:
    (load,) = loads_of(scenario(("datagrams", count, 100)))
    assert all(each % 32 == 0 and 0 < each <= count for each in counts_of(load))


@pytest.mark.parametrize(
    ("drive", "error", "said"),
    [
        (drove(999, 5), TrafficError, "a load of 1000 requests reported 999"),
        (done("nothing of use"), TrafficError, "reported nothing"),
        (drove(1000, -1), LabError, "CONFIG_SCHEDSTATS"),
    ],
)
def test_what_was_not_measured_is_said(drive: StepReport, error: type[Exception], said: str) -> None:
    one = scenario(("requests", 1000, 100))
    reports = reported(one, [1, 1])
    reports[-2] = drive
    with pytest.raises(error, match=said):
        costs_of(one, reports)


def test_a_guest_that_stopped_in_the_middle_is_no_cost() -> None:
    one = scenario(("requests", 1000, 100))
    with pytest.raises(LabError, match="did not report all runs"):
        costs_of(one, reported(one, [1, 1])[:-1])
    two = scenario(("stream", 64, 100))
    unmoved = [*reported(two, [1, 1])[:-1], looked(100)]
    with pytest.raises(LabError, match="counted no segments"):
        costs_of(two, unmoved)


def test_the_lab_in_a_guest_is_the_labs_own_plan() -> None:
    hosts: dict[str, object] = {
        "client": {"congestion": "bbr"},
        "server": {"sysctl": {"net.ipv4.tcp_sack": 0}, "setup": ["nft add table ip 't x'"]},
    }
    one = scenario(("requests", 1000, 100), hosts=hosts)
    topology = lay_out_in_guest(one)
    words = [step.arguments for step in lab_steps(topology)]
    assert ("nft", "add", "table", "ip", "t x") in words
    assert ("/proc/sys/net/ipv4/tcp_sack", "0") in words
    assert ("/proc/sys/net/ipv4/tcp_congestion_control", "bbr") in words
    assert programs_of(one) == ("nft",)
    assert any(topology.address_towards("server", "client") in step.arguments for step in load_steps(one, topology))
