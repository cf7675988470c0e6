from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import pytest

from perfcheck.compare import (
    changed_conditions,
    decided_by,
    judge,
    judge_records,
    more_runs,
    planned_metrics,
    wanted_metrics,
)  # fmt: skip
from perfcheck.model.baseline import AcceptedChange, Baseline, BaselineLookup, BaselineSession, Difference
from perfcheck.model.catalogue import CATALOGUE
from perfcheck.model.catalogue.cost import is_cost
from perfcheck.model.metric import DecidedBy
from perfcheck.model.record import ComparisonRecord, RunRecord, TrialRecord
from perfcheck.model.scenario import Scenario
from perfcheck.model.verdict import Verdict
from perfcheck.testing import make_record, make_scenario

RTT = "tcp.rtt_us.p50"
GOODPUT = "app.throughput_bps"
JITTER = "udp.jitter_us"
QUIET = (20_000.0, 20_010.0, 19_990.0, 20_005.0, 19_995.0)
SLOW = (30_000.0, 30_010.0, 29_990.0, 30_005.0, 29_995.0)


def baseline(*sessions: Mapping[str, Sequence[float]], **changes: Any) -> Baseline:
    fields: dict[str, Any] = {
        "file": "baselines/example/base@x.yaml",
        "scenario": "example",
        "point": {},
        "workload": "w",
        "environment": {},
        "conditions": {},
        "sessions": tuple(
            BaselineSession(run_id=str(index), started_at=str(index), runs={k: tuple(v) for k, v in each.items()})
            for index, each in enumerate(sessions)
        ),
    }
    return Baseline(**(fields | changes))


def like(*sessions: Mapping[str, Sequence[float]]) -> BaselineLookup:
    return BaselineLookup(like=baseline(*sessions))


def other(*sessions: Mapping[str, Sequence[float]]) -> BaselineLookup:
    moved = (Difference(field="cpu.model", baseline="A", current="B"),)
    return BaselineLookup(other=baseline(*sessions), environment=moved)


def judged(
    record: RunRecord, lookup: BaselineLookup, scenario: Scenario | None = None, screened: int | None = None
) -> dict[str, ComparisonRecord]:
    return {each.metric: each for each in judge(scenario or make_scenario(), record, lookup, screened_runs=screened)}


def test_a_change_is_judged_with_its_figures() -> None:
    found = judged(make_record({RTT: SLOW}), like({RTT: QUIET}))[RTT]
    assert found.verdict is Verdict.REGRESSED
    assert (found.baseline, found.current) == (20_000.0, 30_000.0)
    assert found.change_pct == pytest.approx(50.0)
    assert found.interval_pct is not None
    assert found.interval_pct[0] < 50 < found.interval_pct[1]
    assert found.margin_pct == 5.0
    assert found.detectable_pct is not None
    assert 5.0 < found.detectable_pct < 6.0


def test_what_could_be_seen_is_what_fresh_runs_would_confirm_too() -> None:
    record, lookup = make_record({RTT: QUIET}), like({RTT: QUIET}, {RTT: QUIET})
    gated = judged(record, lookup)[RTT].detectable_pct
    (compared,) = [each for each in judge_records(record, lookup) if each.metric == RTT]
    assert gated is not None
    assert compared.detectable_pct is not None
    assert gated > compared.detectable_pct


def test_no_change_passes() -> None:
    found = judged(make_record({RTT: QUIET}), like({RTT: QUIET}, {RTT: QUIET}))
    assert found[RTT].verdict is Verdict.PASS


def test_only_compared_metrics_and_those_that_the_file_names_are_judged() -> None:
    values = dict.fromkeys((RTT, "tcp.rtt_us.p90", "tcp.rtt_us.mean", "tcp.mss_bytes"), QUIET)
    scenario = make_scenario(expect={"tcp.rtt_us.mean": "<= 60ms"}, tolerance_pct={"tcp.mss_bytes": 1.0})
    found = judged(make_record(values), like(values), scenario)
    assert found.keys() == {RTT, "tcp.rtt_us.mean", "tcp.mss_bytes"}
    assert set(wanted_metrics(make_scenario())) == {
        name for name, spec in CATALOGUE.items() if spec.compared and not is_cost(name)
    }


def test_the_scenarios_tolerance_counts() -> None:
    record, lookup = make_record({RTT: [x * 1.03 for x in QUIET]}), like({RTT: QUIET})
    assert judged(record, lookup)[RTT].verdict is Verdict.PASS
    strict = make_scenario(tolerance_pct={RTT: 1.0})
    assert judged(record, lookup, strict)[RTT].verdict is Verdict.REGRESSED


def test_a_metric_that_vanished_is_invalid_with_its_reason() -> None:
    record = make_record({GOODPUT: QUIET})
    found = judged(record, like({RTT: QUIET, GOODPUT: QUIET}))[RTT]
    assert found.verdict is Verdict.INVALID
    assert found.baseline == 20_000.0
    assert "did not measure it" in str(found.reason)
    blind = record.model_copy(update={"unavailable": {"tcp": "no kernel BTF"}})
    assert judged(blind, like({RTT: QUIET}))[RTT].reason == "no kernel BTF"


def test_a_metric_that_the_baseline_lacks_has_no_baseline() -> None:
    found = judged(make_record({RTT: QUIET, GOODPUT: QUIET}), like({RTT: QUIET}))[GOODPUT]
    assert (found.verdict, found.current) == (Verdict.NO_BASELINE, 20_000.0)
    assert "does not have it yet" in str(found.reason)


def test_without_a_baseline_every_metric_says_so() -> None:
    found = judged(make_record({RTT: QUIET}), BaselineLookup(missing="no baseline in baselines/example"))[RTT]
    assert (found.verdict, found.reason) == (Verdict.NO_BASELINE, "no baseline in baselines/example")


def test_invalid_trials_do_not_count() -> None:
    record = make_record({RTT: QUIET})
    broken = TrialRecord(index=9, metrics={RTT: 1e9}, valid=False, invalid_reason="link")
    record = record.model_copy(update={"trials": (*record.trials, *[broken] * 20)})
    assert judged(record, like({RTT: QUIET}))[RTT].verdict is Verdict.PASS


def test_a_tripped_metric_fails_only_by_fresh_runs() -> None:
    lookup = like(*[{RTT: QUIET}] * 3)
    unconfirmed = judged(make_record({RTT: SLOW}), lookup, screened=len(SLOW))[RTT]
    assert unconfirmed.verdict is Verdict.INCONCLUSIVE
    assert "no new run is valid" in str(unconfirmed.reason)
    confirmed = judged(make_record({RTT: SLOW * 2}), lookup, screened=len(SLOW))[RTT]
    assert confirmed.verdict is Verdict.REGRESSED
    cleared = judged(make_record({RTT: SLOW + QUIET}), lookup, screened=len(SLOW))[RTT]
    assert cleared.verdict is Verdict.PASS


def test_an_accepted_change_is_not_reported_again() -> None:
    known = baseline({RTT: QUIET}, {RTT: SLOW})
    accepted = replace(known, accepted=(AcceptedChange(metric=RTT, since="1", reason="moved"),))
    record = make_record({RTT: SLOW})
    assert judged(record, BaselineLookup(like=accepted))[RTT].verdict is Verdict.PASS
    assert judged(make_record({RTT: QUIET}), BaselineLookup(like=accepted))[RTT].verdict is Verdict.IMPROVED


# who decides


def test_on_another_machine_only_what_the_path_decides_is_compared() -> None:
    values = {RTT: QUIET, GOODPUT: QUIET}
    emulated = judged(make_record(values), other(values))
    assert {each.verdict for each in emulated.values()} == {Verdict.PASS}
    plain = make_scenario(links=[{"between": ["client", "server"], "loss": "1%"}])
    found = judged(make_record(values), other(values), plain)
    assert found[RTT].verdict is found[GOODPUT].verdict is Verdict.NO_BASELINE
    assert "cpu.model: A -> B" in str(found[RTT].reason)
    assert {each.verdict for each in judged(make_record(values), like(values), plain).values()} == {Verdict.PASS}


PATH, MACHINE = DecidedBy.PATH, DecidedBy.MACHINE


@pytest.mark.parametrize(
    ("link", "expected"),
    [
        ({"delay": "10ms", "rate": "100mbit"}, (PATH, PATH, PATH, MACHINE)),
        ({"delay": "10ms"}, (PATH, MACHINE, PATH, MACHINE)),
        ({"delay": "500us"}, (PATH, MACHINE, PATH, MACHINE)),
        ({"delay": "499us"}, (MACHINE, MACHINE, PATH, MACHINE)),
        ({"reverse": {"delay": "1ms"}}, (PATH, MACHINE, PATH, MACHINE)),
        ({"rate": "100mbit"}, (MACHINE, PATH, PATH, MACHINE)),
        ({"reverse": {"rate": "100mbit"}}, (MACHINE, MACHINE, PATH, MACHINE)),
        ({"loss": "1%"}, (MACHINE, MACHINE, PATH, MACHINE)),
        ({"loss": "0%", "delay": "0ms"}, (MACHINE, MACHINE, MACHINE, MACHINE)),
        ({}, (MACHINE, MACHINE, MACHINE, MACHINE)),
    ],
)
def test_who_decides_by_what_the_link_does(link: dict[str, Any], expected: tuple[DecidedBy, ...]) -> None:
    scenario = make_scenario(links=[{"between": ["client", "server"], **link}])
    names = (RTT, GOODPUT, "tcp.retrans_pct", JITTER)
    assert tuple(decided_by(CATALOGUE[name], scenario) for name in names) == expected


HOSTS: dict[str, Any] = {"a": {}, "r": {"router": True}, "b": {}, "c": {}}
ROUTED = [
    {"between": ["r", "a"], "delay": "5ms", "rate": "10mbit"},
    {"between": ["r", "b"]},
    {"between": ["r", "c"], "delay": "0ms"},
]


@pytest.mark.parametrize(
    ("traffic", "expected"),
    [
        ([{"iperf3": {"from": "a", "to": "b"}}], (PATH, PATH)),
        ([{"iperf3": {"from": "b", "to": "c"}}], (MACHINE, MACHINE)),
        ([{"iperf3": {"from": "a", "to": "b"}}, {"iperf3": {"from": "b", "to": "c"}}], (MACHINE, MACHINE)),
        ([{"iperf3": {"from": "a", "to": "b"}}, {"iperf3": {"from": "b", "to": "c", "background": True}}],
         (PATH, PATH)),
        ([{"command": {"host": "a", "run": "x", "server": {"host": "b", "run": "y", "port": 1}}}], (PATH, PATH)),
        ([{"command": {"host": "a", "run": "x"}}], (MACHINE, MACHINE)),
    ],
)  # fmt: skip
def test_only_the_measured_flows_links_decide(traffic: Any, expected: tuple[DecidedBy, ...]) -> None:
    scenario = make_scenario(hosts=HOSTS, links=ROUTED, traffic=traffic)
    assert tuple(decided_by(CATALOGUE[name], scenario) for name in (RTT, GOODPUT)) == expected


def test_two_stored_records_are_compared_without_the_scenario_file() -> None:
    values = {RTT: SLOW, GOODPUT: QUIET, "tcp.rtt_us.p90": SLOW}
    before = {RTT: QUIET, GOODPUT: QUIET, "tcp.rtt_us.p90": QUIET}
    found = {each.metric: each.verdict for each in judge_records(make_record(values), like(before))}
    assert found == {RTT: Verdict.REGRESSED, GOODPUT: Verdict.PASS}
    tolerant = judge_records(make_record(values), like(before), {RTT: 60.0, "tcp.rtt_us.p90": 1.0})
    assert {each.metric: each.verdict for each in tolerant} == {
        RTT: Verdict.PASS, "tcp.rtt_us.p90": Verdict.REGRESSED, GOODPUT: Verdict.PASS
    }  # fmt: skip


@pytest.mark.parametrize(
    ("decider", "verdict"), [("path", Verdict.PASS), ("machine", Verdict.NO_BASELINE), (None, Verdict.NO_BASELINE)]
)
def test_a_stored_record_tells_who_decided(decider: str | None, verdict: Verdict) -> None:
    record = make_record({RTT: QUIET})
    metric = record.metrics[RTT].model_copy(update={"decided_by": decider})
    record = record.model_copy(update={"metrics": {RTT: metric}})
    assert [each.verdict for each in judge_records(record, other({RTT: QUIET}))] == [verdict]


# more runs


def record_of(first: Sequence[float], fresh: Sequence[float]) -> RunRecord:
    return make_record({RTT: [*first, *fresh], GOODPUT: [*QUIET, *SLOW][: len(first) + len(fresh)]})


def test_a_tripped_metric_asks_for_fresh_runs_and_they_decide() -> None:
    lookup = like({RTT: QUIET, GOODPUT: QUIET})
    first = record_of(SLOW, [])
    wanted = more_runs(judge(make_scenario(), first, lookup), first, lookup)
    assert wanted is not None
    assert (wanted.metrics, wanted.runs) == ((RTT,), 5)
    stands = judged(record_of(SLOW, [*SLOW, 30_000.0]), lookup, screened=5)
    assert stands[RTT].verdict is Verdict.REGRESSED
    falls = judged(record_of(SLOW, [*QUIET, 20_000.0]), lookup, screened=5)
    assert falls[RTT].verdict is Verdict.PASS
    assert falls[RTT].reason == "5 runs showed a change, 6 new runs did not confirm it"


def test_a_metric_that_did_not_trip_is_not_judged_by_the_fresh_runs() -> None:
    lookup = like({RTT: QUIET, GOODPUT: QUIET})
    found = judged(record_of(SLOW, SLOW), lookup, screened=5)
    assert found[GOODPUT].verdict is Verdict.PASS


def test_nothing_tripped_asks_for_nothing() -> None:
    lookup = like({RTT: QUIET})
    record = make_record({RTT: QUIET})
    assert more_runs(judge(make_scenario(), record, lookup), record, lookup) is None
    nothing = BaselineLookup(missing="none")
    assert more_runs(judge(make_scenario(), record, nothing), record, nothing) is None


# planning and conditions


def test_what_will_be_compared_is_known_before_the_run() -> None:
    scenario = make_scenario()
    assert planned_metrics(scenario, like({RTT: QUIET, "tcp.mss_bytes": QUIET})) == (RTT,)
    without = planned_metrics(scenario, BaselineLookup(missing="none"))
    assert GOODPUT in without
    assert RTT in without
    assert JITTER not in without
    udp = make_scenario(traffic=[{"iperf3": {"from": "client", "to": "server", "protocol": "udp"}}])
    assert JITTER in planned_metrics(udp, BaselineLookup(missing="none"))
    assert RTT not in planned_metrics(udp, BaselineLookup(missing="none"))
    command = make_scenario(traffic=[{"command": {"host": "client", "run": "x"}}])
    assert GOODPUT not in planned_metrics(command, BaselineLookup(missing="none"))


def test_settings_that_changed_are_told() -> None:
    known = baseline({RTT: QUIET}, conditions={"links[0].loss": "0.1%", "links[0].delay": "10ms"})
    record = make_record({RTT: QUIET})
    now = {"links[0].loss": "1%", "links[0].delay": "10ms", "server.sysctl.x": "1"}
    record = record.model_copy(update={"scenario": record.scenario.model_copy(update={"conditions": now})})
    found = changed_conditions(record, BaselineLookup(like=known))
    assert found == {"links[0].loss": ("0.1%", "1%"), "server.sysctl.x": ("", "1")}
    assert changed_conditions(record, BaselineLookup(missing="none")) == {}
    newer = (Difference(field="kernel.release", baseline="6.1", current="6.12"),)
    elsewhere = changed_conditions(record, BaselineLookup(like=known, environment=newer))
    assert elsewhere == found | {"environment.kernel.release": ("6.1", "6.12")}
    assert str(Difference(field="a", baseline=None, current="1")) == "a: (none) -> 1"
