"""What the core costs at rest by the kernel's own accounts, and what it sheds where that is too much."""

from __future__ import annotations

import math
import statistics
import time
from typing import Final

import pytest
from collect_lab import Pair, transfer
from resting import LOOK_S, LOOKS, Mode, attached, calls_since, program_accounts, rested

from perfcheck.collect import shedding
from perfcheck.ebpf.run_stats import RunClock
from perfcheck.model.budget import Budget, Spending
from perfcheck.model.observation import Observation
from perfcheck.model.verdict import Verdict
from perfcheck.runner import Runner, RunOptions
from perfcheck.runner.budget import SUMMARY_PCT
from perfcheck.scenario import load_text

SETTLED_S: Final = 7.0
"""So long it takes to shed twice."""
LOADED_S: Final = 1.6
"""Eight looks of the core at its cost, of which three in a row have it shed."""


def test_at_rest_all_layers_in_summary_mode_stay_within_the_budget_or_shed() -> None:
    found = rested("summary", SUMMARY_PCT, SETTLED_S)
    shed = [name for name, *_ in found.spent["shed"]]
    assert min(found.programs_pct) > 0, "the kernel times no programs"
    # What it takes is for `make bench-overhead` to tell: a slow machine sheds, which is as it should be.
    assert statistics.median(found.theirs_pct) <= SUMMARY_PCT or shed, found
    if not shed:
        assert {"tcp", "cpu", "nic", "qdisc", "socket"} <= set(found.programs)
        assert {"cpu", "nic"} <= set(found.loaded)
        # Where the kernel refuses iterators over maps (EPERM), sock_diag looks at the sockets instead.
        assert all(found.programs[name] for name in {"cpu", "nic", "socket"} & set(found.loaded))
    assert found.spent["rest_s"] == pytest.approx(SETTLED_S + LOOKS * LOOK_S, abs=1.5)


def test_what_the_core_says_of_its_cost_is_what_the_kernel_says() -> None:
    found = rested("both", 100.0, settled_s=1.0)  # what attaching and the first looks have cost is no part of resting
    assert not found.spent["shed"]
    ours_pct = 100 * found.spent["rest_cpu_s"] / found.spent["rest_s"]
    assert ours_pct == pytest.approx(statistics.median(found.theirs_pct), rel=0.25, abs=0.1)


def test_the_record_has_every_program_that_is_loaded_and_what_its_maps_take(pair: Pair) -> None:
    others = set(program_accounts())
    # All calls are timed, however many they are.
    with attached("both", Budget(cpu_pct=100.0), clock=RunClock(often=math.inf)) as core:
        outer = program_accounts()
        core.begin(pair.scope())
        inner = program_accounts()
        one, two = pair.connect()
        with one, two:
            transfer(one, two, 3_000_000)
        least = calls_since(inner, others)
        loaded = set(program_accounts()) - others
        seen = core.end()
        # The filters of connection tracking are gone by now.
        most = calls_since(outer, others)
    costs = [cost for each in seen for cost in each.overhead.programs]
    # Connection tracking's filter is loaded once a host, and is one line of the record.
    filters = [cost for cost in costs if cost.program == "conntrack/ct_new"]
    assert len(loaded) == len(costs) + len(filters)
    assert least > 1000
    assert least <= sum(cost.calls for cost in costs) <= most + sum(cost.calls for cost in filters)
    with_maps = {each.collector for each in seen if each.overhead.map_bytes}
    assert {each.collector for each in seen if each.overhead.programs} == with_maps


def shed(pair: Pair, budget: Budget, mode: Mode) -> tuple[Spending, dict[str, Observation]]:
    """Rest, with a core that looks at its cost every 0.1 s; what counts here is shed in less than half of the time."""
    with attached(mode, budget, window_s=0.1) as core:
        core.begin(pair.scope())
        time.sleep(6.0)
        seen = {one.collector: one for one in core.end()}
        again = core.spending
        core.begin(pair.scope())
        assert {one.collector for one in core.end()} == {
            name for name in seen if name not in {one.collector for one in again.shed if one.stopped}
        }, "what was stopped did not stay so"
    return again, seen


def test_with_a_tiny_budget_detail_goes_first_then_looks_then_programs_and_it_is_told(pair: Pair) -> None:
    spent, seen = shed(pair, Budget(cpu_pct=0.01), "both")
    order = [(one.collector, one.stopped) for one in spent.shed]
    assert order[0] == ("detail", False)
    stopped = [name for name, stop in order if stop]
    assert stopped[0] == "detail"
    first_other = next(index for index, (name, _) in enumerate(order) if name != "detail")
    assert all(name != "detail" for name, _ in order[first_other:])
    assert {("sockdiag", False), ("socket", False), ("socket", True)} <= set(order)
    assert seen["detail"].detail is None
    assert (seen["socket"].metrics, seen["socket"].socket_buffers) == ({}, ())
    # Where the kernel refuses iterators over maps, it has no programs and takes time in user space only.
    cost = seen["socket"].overhead
    assert cost.programs or cost.user_cpu_s > 0, "what it cost until then is told all the same"
    assert "tcp" not in stopped
    assert all("more than its budget of 0.01 %" in one.why for one in spent.shed)


def test_the_default_budget_leaves_a_loaded_core_alone_and_a_hard_one_does_not(pair: Pair) -> None:
    found = {}
    for always in (False, True):
        with attached("summary", Budget(cpu_pct=0.01, always=always), window_s=0.2) as core:
            core.begin(pair.scope())
            one, two = pair.connect()
            end_s = time.monotonic() + LOADED_S
            with one, two:
                while time.monotonic() < end_s:
                    transfer(one, two, 1_000_000)
            core.end()
        found[always] = core.spending
    assert not found[False].shed
    assert found[True].shed
    assert "while the traffic ran" in found[True].shed[0].why


SCENARIO = """
scenario: frugal
hosts: {client: {congestion: cubic}, server: {congestion: cubic}}
links: [{between: [client, server], delay: 2ms}]
traffic: [{iperf3: {from: client, to: server, rate: 4mbit, duration: 4s}}]
repeat: 1
measure: {mode: both, budget: 0.01%}
expect: {nic.wire_us.p50: ">= 1ms", tcp.rtt_us.p50: "<= 100ms"}
"""


def test_a_run_past_its_budget_says_what_it_shed_and_leaves_open_what_rested_on_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # Each look of a second sheds: detail mode first follows fewer packets, then none.
    monkeypatch.setattr(shedding, "SUSTAINED", 1)
    (scenario,) = load_text(SCENARIO, "frugal.yaml")
    with Runner.create(RunOptions()) as runner:
        record = runner.run(scenario.model_copy(update={"repeat": 2}))
        assert record.verdict is Verdict.INCONCLUSIVE, record.invalid_reason
        lines = {line.metric: line for line in record.expectations}
        assert lines["tcp.rtt_us.p50"].verdict is Verdict.PASS
        assert lines["nic.wire_us.p50"].verdict is Verdict.INCONCLUSIVE
        assert "detail was stopped" in str(lines["nic.wire_us.p50"].reason)
        assert record.overhead["shed"][0]["collector"] == "detail"
        assert any(
            "detail was stopped" in text and "more than its budget of 0.01 %" in text for text in record.warnings
        )
