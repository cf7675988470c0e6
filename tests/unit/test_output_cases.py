"""A record taken apart into cases: every verdict's status, names, places."""

from __future__ import annotations

from typing import Any

import pytest

from perfcheck.model.record import ComparisonRecord, ExpectationRecord, RunRecord, TrialRecord
from perfcheck.model.verdict import Verdict
from perfcheck.output.case_lines import line_of_case
from perfcheck.output.cases import Case, Status, cases, expectation_names, failures, unmeasured_case, untrusted
from perfcheck.output.properties import case_properties, environment_properties
from perfcheck.output.rows import (
    Row,
    changes_of,
    circumstances,
    collapsed,
    needs,
    notes,
    remarks,
    scenario_label,
    tally,
)
from perfcheck.testing import make_record

RTT = "tcp.rtt_us.p99"


def expectation(verdict: Verdict, actual: float | None = 46e3, metric: str = RTT) -> ExpectationRecord:
    return ExpectationRecord(metric=metric, expected="<= 60ms", actual=actual, verdict=verdict)


def comparison(verdict: Verdict, reason: str | None = None, current: float | None = 46e3) -> ComparisonRecord:
    return ComparisonRecord(
        metric=RTT, baseline=40e3, current=current, change_pct=15.0, detectable_pct=1.0, verdict=verdict,
        margin_pct=5.0, reason=reason,
    )  # fmt: skip


def record_of(*parts: ExpectationRecord | ComparisonRecord, **changes: Any) -> RunRecord:
    return make_record(
        {RTT: (45e3, 46e3, 47e3)},
        expectations=tuple(part for part in parts if isinstance(part, ExpectationRecord)),
        comparisons=tuple(part for part in parts if isinstance(part, ComparisonRecord)),
        **changes,
    )


def only(record: RunRecord, *, strict: bool = False) -> Case:
    (case,) = cases(record, strict=strict)
    return case


@pytest.mark.parametrize(
    ("part", "status", "strict"),
    [
        (expectation(Verdict.PASS), Status.PASSED, Status.PASSED),
        (expectation(Verdict.FAIL), Status.FAILED, Status.FAILED),
        (expectation(Verdict.INVALID, None), Status.ERROR, Status.ERROR),
        (comparison(Verdict.PASS), Status.PASSED, Status.PASSED),
        (comparison(Verdict.IMPROVED), Status.PASSED, Status.PASSED),
        (comparison(Verdict.INCONCLUSIVE), Status.PASSED, Status.PASSED),
        (comparison(Verdict.REGRESSED), Status.FAILED, Status.FAILED),
        (comparison(Verdict.NO_BASELINE), Status.SKIPPED, Status.FAILED),
        (comparison(Verdict.INVALID, current=None), Status.ERROR, Status.ERROR),
    ],
)
def test_status_of_each_verdict(part: ExpectationRecord | ComparisonRecord, status: Status, strict: Status) -> None:
    record = record_of(part)
    assert only(record).status is status
    assert only(record, strict=True).status is strict


@pytest.mark.parametrize("unavailable", [{"tcp": "no BTF"}, {RTT: "no BTF"}])
@pytest.mark.parametrize("part", [expectation(Verdict.INVALID, None), comparison(Verdict.INVALID, current=None)])
def test_a_missing_collector_is_unavailable_and_not_an_error(
    part: ExpectationRecord | ComparisonRecord, unavailable: dict[str, str]
) -> None:
    record = record_of(part, unavailable=unavailable)
    case = only(record)
    assert case.status is Status.SKIPPED
    assert case.row.verdict == "UNAVAILABLE"
    assert only(record, strict=True).status is Status.FAILED


def test_the_collector_of_another_metric_explains_nothing() -> None:
    record = record_of(expectation(Verdict.INVALID, None), unavailable={"iperf3": "not installed"})
    assert only(record).status is Status.ERROR


def test_an_untrusted_run_is_one_error_whatever_it_asserts() -> None:
    case = only(record_of(verdict=Verdict.INVALID, invalid_reason="only 1 of 6 runs count"))
    assert (case.status, case.name) == (Status.ERROR, "measured")
    assert case.headline == "could not measure: only 1 of 6 runs count"


def test_a_run_with_one_unmeasured_metric_is_trusted() -> None:
    assert untrusted(record_of(expectation(Verdict.INVALID, None), verdict=Verdict.INVALID)) is None
    assert untrusted(record_of(expectation(Verdict.PASS), verdict=Verdict.INVALID)) == "the run is invalid"


def test_a_run_that_asserts_nothing_is_one_case_that_passes() -> None:
    trials = tuple(TrialRecord(index=index, metrics={}, valid=index != 1) for index in range(3))
    case = only(record_of(trials=trials))
    assert (case.status, case.name, case.row.value) == (Status.PASSED, "measured", "2 runs")


def test_cases_stand_in_the_order_of_the_file_then_comparisons_with_their_lines() -> None:
    record = record_of(
        expectation(Verdict.PASS),
        ExpectationRecord(metric="diagnosis", expected="healthy", actual="healthy", verdict=Verdict.PASS),
        comparison(Verdict.PASS),
    )
    lines = {"scenario": 3, "expect": 13, f"expect.{RTT}": 14, "expect.diagnosis": 15}
    assert [(case.name, case.line) for case in cases(record, lines=lines)] == [
        (f"expect:{RTT}", 14), ("diagnosis", 15), (f"baseline:{RTT}", 14),
    ]  # fmt: skip
    assert [case.line for case in cases(record)] == [None, None, None]


@pytest.mark.parametrize(
    ("name", "line"),
    [
        (f"expect:{RTT}", 14), (f"expect:{RTT}:<=60ms", 14), ("expect:app.errors", 3), ("diagnosis", 15),
        (f"baseline:{RTT}", 21), (f"ab:{RTT}", 21), ("baseline:app.errors", 3), ("measured", 3),
    ],
)  # fmt: skip
def test_a_compared_metrics_line_is_its_tolerance_and_what_has_no_line_is_at_the_scenarios_name(
    name: str, line: int
) -> None:
    lines = {"scenario": 3, "expect": 13, f"expect.{RTT}": 14, "expect.diagnosis": 15, f"tolerance.{RTT}": 21}
    assert line_of_case(name, lines) == line
    assert line_of_case(name, {}) is None


def test_a_metric_with_two_lines_has_two_names() -> None:
    names = expectation_names([(RTT, "<= 60ms"), (RTT, ">= 20ms"), ("app.errors", "== 0"), ("diagnosis", "healthy")])
    assert names == (f"expect:{RTT}:<=60ms", f"expect:{RTT}:>=20ms", "expect:app.errors", "diagnosis")


def test_failures_are_what_failed_or_could_not_be_measured() -> None:
    record = record_of(expectation(Verdict.FAIL), comparison(Verdict.IMPROVED))
    error = unmeasured_case("lan", "measured", "no iperf3", file="lan.yaml")
    assert [case.name for case in failures([*cases(record), error])] == [f"expect:{RTT}", "measured"]


def test_the_label_is_the_one_of_the_scenario() -> None:
    record = make_record()
    point = {"server.sysctl.net.ipv4.tcp_congestion_control": "bbr", "repeat": "2"}
    at_point = record.model_copy(update={"scenario": record.scenario.model_copy(update={"point": point})})
    assert scenario_label(at_point) == "example[tcp_congestion_control=bbr,repeat=2]"


def test_properties_carry_full_digits_and_leave_out_what_is_not_there() -> None:
    record = record_of(comparison(Verdict.NO_BASELINE).model_copy(update={"baseline": None, "change_pct": None}))
    found = dict(case_properties(only(record), record))
    assert found["perfcheck.actual"] == "46000.0"
    assert found[RTT] == "46000.0"
    assert found["perfcheck.verdict"] == "NO_BASELINE"
    assert not {"perfcheck.baseline", "perfcheck.change_pct"} & set(found)


def test_the_environment_is_flattened() -> None:
    nested = {"kernel": "6.1", "cpu": {"model": "Fast", "flags": ["a", "b"]}, "virtual": None}
    assert list(environment_properties(nested)) == [
        ("environment.kernel", "6.1"), ("environment.cpu.model", "Fast"), ("environment.cpu.flags", "a, b"),
        ("environment.virtual", "None"),
    ]  # fmt: skip


def row(verdict: str, metric: str = RTT, scenario: str = "wan", note: str = "") -> Row:
    return Row(scenario=scenario, metric=metric, verdict=verdict, note=note)


def test_the_tally_counts_the_worst_first() -> None:
    rows = [row("PASS"), row("NO_BASELINE"), row("PASS"), row("FAIL"), row("")]
    assert tally(rows) == (("FAIL", 1), ("NO_BASELINE", 1), ("PASS", 2))


def test_notes_join_metrics_that_share_a_reason_and_are_bounded() -> None:
    rows = [row("NO_BASELINE", "a", note="why"), row("PASS", "b", note="why"), row("NO_BASELINE", "c", note="why"),
            row("INVALID", "d", note="other")]  # fmt: skip
    assert notes(rows) == ("INVALID  wan: d: other", "NO_BASELINE  wan: a, c: why")
    many = [row("INVALID", scenario=f"s{number}", note="why") for number in range(30)]
    assert len(notes(many, most=12)) == 12
    assert notes(many, most=12)[-1] == "... and 19 more"


def test_only_rows_of_one_scenario_and_one_reason_are_collapsed() -> None:
    same = [row("INVALID", "a", note="why"), row("INVALID", "b", note="why")]
    assert [each.metric for each in collapsed(same)] == ["2 assertions"]
    different = [row("INVALID", "a", note="why"), row("INVALID", "b", note="else"), row("PASS", "c"), row("PASS", "d"),
                 row("INVALID", "a", scenario="lan", note="else")]  # fmt: skip
    assert collapsed(different) == tuple(different)


def test_remarks_name_lost_events_disagreements_and_dropped_runs() -> None:
    from perfcheck.model.record import CrossCheck

    checks = tuple(
        CrossCheck(name="bytes", trial=1, ours=100.0, theirs=theirs, source="iperf3", tolerance_pct=1, agrees=agrees)
        for theirs, agrees in ((120.0, False), (100.0, True))
    )
    trials = (
        TrialRecord(index=0, metrics={}),
        TrialRecord(index=1, metrics={}, valid=False, invalid_reason="link 0 late"),
    )
    record = make_record(lost_events=3, cross_checks=checks, trials=trials, warnings=("iperf3 is CPU-bound",))
    assert remarks(record) == (
        "3 events were lost; counts may be too low by up to that number",
        "cross-check bytes, run 2: measured 100, iperf3 says 120 (tolerance 1 %)",
        "1 of 2 runs do not count: link 0 late (run 2)",
        "iperf3 is CPU-bound",
    )


# what a comparison could see


def test_a_row_has_the_interval_and_a_verdict_in_doubt_how_many_runs_would_settle_it() -> None:
    doubtful = comparison(Verdict.INCONCLUSIVE, "beyond the margin").model_copy(
        update={"interval_pct": (-2.0, 31.25), "runs_needed": 14}
    )
    case = only(record_of(doubtful))
    assert case.row.interval == "-2.0 to +31.2 %"
    assert case.row.note == "beyond the margin; 14 runs per side would decide it"
    assert only(record_of(doubtful, sides=("file", "nic tso=off"))).row.note.endswith("14 pairs would decide it")
    assert dict(case.properties)["runs_needed"] == "14"


def test_at_a_baseline_of_0_the_smallest_change_is_a_value() -> None:
    zero = comparison(Verdict.PASS).model_copy(
        update={"metric": "tcp.retrans_pct", "baseline": 0.0, "detectable_pct": None, "detectable": 0.123}
    )
    assert only(record_of(zero)).row.detectable == "at 0.123 %"
    assert only(record_of(comparison(Verdict.PASS))).row.detectable == "1 %"


def test_what_noise_hides_is_told_with_what_would_show_it() -> None:
    blunt = comparison(Verdict.PASS).model_copy(update={"detectable_pct": 12.5})
    runs = blunt.model_copy(update={"metric": "tcp.min_rtt_us", "runs_needed": 14})
    (line,) = needs(record_of(runs, blunt))
    assert line.startswith("to detect a change of twice the margin, measure more runs per side for tcp.min_rtt_us 14; ")
    assert line.endswith(f"; and more sessions in the baseline, or a wider margin, for {RTT} (12 %)")
    assert "more pairs for tcp.min_rtt_us 14" in needs(record_of(runs, sides=("a", "b")))[0]
    assert needs(record_of(comparison(Verdict.PASS))) == ()
    assert needs(record_of(blunt.model_copy(update={"verdict": Verdict.REGRESSED}))) == ()


def test_two_sides_are_named_with_all_in_which_they_differ() -> None:
    changed = {"hosts.client.congestion": ("cubic", "bbr"), "environment.net.core.rmem_max": ("", "1")}
    record = record_of(comparison(Verdict.PASS), sides=("file", "congestion bbr"), changed_conditions=changed)
    first, second, third = circumstances(record)
    assert first == "A: file"
    assert second.startswith("B: congestion bbr  (3 interleaved pairs")
    assert third == "differ in hosts.client.congestion: cubic -> bbr; environment.net.core.rmem_max: not set -> 1"
    assert circumstances(record_of(comparison(Verdict.PASS))) == ()


def test_what_is_not_as_in_the_baseline_is_told_even_where_nothing_failed() -> None:
    changed = {"environment.kernel.release": ("6.1", "6.12"), "links[0].loss": ("", "1%")}
    record = record_of(comparison(Verdict.PASS), changed_conditions=changed)
    assert circumstances(record) == (
        "changed since the baseline: links[0].loss: not set -> 1%; environment.kernel.release: 6.1 -> 6.12",
    )
    many = {f"environment.{number:02}": ("a", "b") for number in range(20)}
    shown = changes_of(record_of(comparison(Verdict.PASS), changed_conditions=many))
    assert (len(shown), shown[-1]) == (12, "and 9 more")
