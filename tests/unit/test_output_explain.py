"""The text of a failure, line by line."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perfcheck.model.catalogue import CATALOGUE
from perfcheck.model.metric import Layer
from perfcheck.model.record import ComparisonRecord, DiagnosisRecord, ExpectationRecord
from perfcheck.model.verdict import Verdict
from perfcheck.output.cases import cases, unmeasured_case
from perfcheck.output.explain import LAYER_WORDS, WIDTH, Subject, background, details, headline
from perfcheck.testing import make_record

RTT = "tcp.rtt_us.p99"
GOODPUT = "app.throughput_bps"


def compared(metric: str, verdict: Verdict, baseline: float | None, current: float, **more: object) -> ComparisonRecord:
    fields = {"detectable_pct": 1.25, "margin_pct": 5.0} | more
    change = None if baseline is None else (current / baseline - 1) * 100
    return ComparisonRecord.model_validate(
        {"metric": metric, "baseline": baseline, "current": current, "change_pct": change, "verdict": verdict, **fields}
    )


REGRESSED = make_record(
    {RTT: (61e3, 61.2e3, 61.4e3), GOODPUT: (72e6,)},
    name="wan",
    comparisons=(
        compared(RTT, Verdict.REGRESSED, 46.7e3, 61.2e3, interval_pct=(29.0, 33.0), runs_needed=9),
        compared(GOODPUT, Verdict.REGRESSED, 94e6, 72e6, margin_pct=2.0),
        compared("tcp.min_rtt_us", Verdict.IMPROVED, 25e3, 20e3),
        compared("tcp.cwnd_segs.p50", Verdict.PASS, 100.0, 170.0),
        compared("tcp.rtt_us.p50", Verdict.PASS, 45e3, 46e3),
    ),
    diagnosis=(
        DiagnosisRecord(
            cause="bufferbloat", confidence=0.93, evidence_for=("queue delay 41 ms", "no loss"),
            evidence_against=("one CPU was busy",), chain=("deep queue", "high latency"), advice="Shorten the queue.",
        ),
    ),
    changed_conditions={"links[0].queue": ("1bdp", "4bdp"), "hosts.server.sysctl.x": ("", "1")},
    reproduce="perfcheck run scenarios/wan.yaml",
)  # fmt: skip


def test_an_actual_value_of_the_confirming_runs_is_not_called_the_median_of_all() -> None:
    confirmed = compared(RTT, Verdict.REGRESSED, 46.7e3, 61.3e3)
    shown = details(REGRESSED, Subject.of(REGRESSED, RTT, comparison=confirmed))
    assert "  actual     61.3 ms  (median of the runs that decided; all 3: 61 ms to 61.4 ms)" in shown.splitlines()


def test_a_regression_of_what_should_be_low() -> None:
    subject = Subject.of(REGRESSED, RTT, comparison=REGRESSED.comparisons[0])
    assert headline(REGRESSED, subject) == f"{RTT} went from 46.7 ms to 61.2 ms (+31.0 %), margin 5 %"
    assert details(REGRESSED, subject).splitlines() == [
        "  expected   at most 49.03 ms (baseline + 5 %)",
        "  actual     61.2 ms  (median of 3 runs, 61 ms to 61.4 ms)",
        "  baseline   46.7 ms",
        "  change     +31.0 %  (interval +29.0 % to +33.0 %)",
        "  margin     5 %; the smallest change that this run could detect is 1.2 %; 9 runs would decide it",
        "  layer      TCP (transport): round-trip time of delivered segments, p99",
    ]
    assert background(REGRESSED, subject).splitlines() == [
        "  cause      bufferbloat (93 %)",
        "  because    queue delay 41 ms",
        "             no loss",
        "  against it one CPU was busy",
        "  chain      deep queue -> high latency",
        "  advice     Shorten the queue.",
        "  also moved tcp.cwnd_segs.p50  100 -> 170  (+70.0 %)",
        "             app.throughput_bps  94 Mbit/s -> 72 Mbit/s  (-23.4 %, regressed)",
        "             tcp.min_rtt_us  25 ms -> 20 ms  (-20.0 %, improved)",
        "  conditions hosts.server.sysctl.x: not set -> 1",
        "             links[0].queue: 1bdp -> 4bdp",
        "  reproduce  perfcheck run scenarios/wan.yaml",
    ]


def test_a_regression_of_what_should_be_high_has_its_bound_below() -> None:
    subject = Subject.of(REGRESSED, GOODPUT, comparison=REGRESSED.comparisons[1])
    lines = details(REGRESSED, subject).splitlines()
    assert lines[0] == "  expected   at least 92.12 Mbit/s (baseline - 2 %)"
    assert lines[1] == "  actual     72 Mbit/s"


def test_an_expectation_shows_the_baseline_too_where_there_is_one() -> None:
    line = ExpectationRecord(metric=RTT, expected="<= 60ms", actual=61.2e3, verdict=Verdict.FAIL)
    alone = Subject.of(REGRESSED, RTT, expectation=line)
    assert headline(REGRESSED, alone) == f"{RTT} is 61.2 ms, expected <= 60ms"
    assert "baseline" not in details(REGRESSED, alone)
    both = details(REGRESSED, Subject.of(REGRESSED, RTT, expectation=line, comparison=REGRESSED.comparisons[0]))
    assert "  expected   <= 60ms\n" in both
    assert "  baseline   46.7 ms\n  change     +31.0 %" in both


def test_an_expectation_without_a_stored_baseline_says_why() -> None:
    line = ExpectationRecord(metric=RTT, expected="<= 60ms", actual=61.2e3, verdict=Verdict.FAIL)
    missing = compared(RTT, Verdict.NO_BASELINE, None, 61.2e3, reason="cpu_model: A -> B")
    text = details(REGRESSED, Subject.of(REGRESSED, RTT, expectation=line, comparison=missing))
    assert "  baseline   cpu_model: A -> B\n" in text
    assert "change" not in text


def test_a_diagnosis() -> None:
    line = ExpectationRecord(metric="diagnosis", expected="healthy", actual="bufferbloat", verdict=Verdict.FAIL)
    subject = Subject.of(REGRESSED, "diagnosis", expectation=line)
    assert headline(REGRESSED, subject) == "diagnosed bufferbloat (93 %), expected healthy"
    assert details(REGRESSED, subject) == "  expected   healthy\n  actual     bufferbloat (93 %)"


def test_no_cause_is_said() -> None:
    assert background(make_record()) == "  cause      none found: the diagnosis is healthy"


def test_at_most_six_other_metrics_are_named_the_largest_change_first() -> None:
    names = [name for name in CATALOGUE if name.startswith("tcp.")][:9]
    record = make_record(
        comparisons=tuple(compared(name, Verdict.REGRESSED, 100.0, 110.0 + n) for n, name in enumerate(names))
    )
    lines = background(record).splitlines()[1:]
    assert len(lines) == 7
    assert lines[0].startswith(f"  moved      {names[8]}  ")
    assert lines[6] == "             ... and 3 more"


@pytest.mark.parametrize(
    ("change_pct", "margin_pct", "detectable_pct", "verdict", "told"),
    [
        (4.0, 5.0, 1.0, Verdict.PASS, False),
        (6.0, 5.0, 1.0, Verdict.PASS, True),
        (6.0, 5.0, 7.0, Verdict.INCONCLUSIVE, False),
        (None, 5.0, None, Verdict.NO_BASELINE, False),
        (60.0, 5.0, 1.0, Verdict.INVALID, False),
        (-6.0, None, None, Verdict.PASS, True),
    ],
)
def test_moved_is_beyond_margin_and_noise(
    change_pct: float | None, margin_pct: float | None, detectable_pct: float | None, verdict: Verdict, told: bool
) -> None:
    other = ComparisonRecord(
        metric=GOODPUT, baseline=1e6, current=1e6, change_pct=change_pct, margin_pct=margin_pct,
        detectable_pct=detectable_pct, verdict=verdict,
    )  # fmt: skip
    assert ("moved" in background(make_record(comparisons=(other,)))) is told


def test_every_layer_has_words() -> None:
    assert set(LAYER_WORDS) == set(Layer)


def test_the_reason_of_what_was_not_measured_keeps_all_its_lines() -> None:
    reason = "iperf3 failed\nunable to connect\nstill not"
    text = unmeasured_case(
        "wan", f"expect:{RTT}", reason, file="wan.yaml", line=3, reproduce="perfcheck run wan.yaml"
    ).text
    assert text.splitlines() == [
        "could not measure: iperf3 failed", "",
        "  because    unable to connect", "             still not",
        "  reproduce  perfcheck run wan.yaml", "  at         wan.yaml:3",
    ]  # fmt: skip


@given(
    advice=st.text(st.characters(codec="ascii", categories=["L", "Zs"]), max_size=400),
    file=st.text("abc/ ", min_size=1, max_size=200),
)
def test_prose_is_wrapped_and_places_and_commands_are_not(advice: str, file: str) -> None:
    record = make_record(
        expectations=(ExpectationRecord(metric=RTT, expected="<= 1ms", actual=2e3, verdict=Verdict.FAIL),),
        diagnosis=(DiagnosisRecord(cause="jitter", confidence=0.5, advice=advice),),
        reproduce=f"perfcheck run {file}".rstrip(),
    )
    lines = cases(record)[0].text.splitlines()
    assert f"  reproduce  perfcheck run {file}".rstrip() in lines
    prose = [line for line in lines if not line.startswith("  reproduce")]
    assert all(len(line) <= WIDTH or " " not in line.strip()[11:] for line in prose)
    shown = " ".join(line[13:] for line in prose[prose.index("  cause      jitter (50 %)") + 1 : -1])
    assert shown.replace(" ", "") == advice.replace(" ", "")


def test_a_plain_pass_has_no_text() -> None:
    (case,) = cases(make_record())
    assert case.text == ""


def test_what_did_not_recover_is_told_in_words_in_place_of_a_value() -> None:
    why = "bulk did not recover before the traffic ended in 2 of 3 runs"
    line = ExpectationRecord(
        metric="app.recovery_ms@bulk/after", expected="<= 500ms", actual=None, verdict=Verdict.FAIL, reason=why
    )
    against = ComparisonRecord(
        metric="app.recovery_ms@bulk/after", baseline=300.0, current=None, change_pct=None, detectable_pct=None,
        verdict=Verdict.REGRESSED, reason=why, unit="ms",
    )  # fmt: skip
    expected, regressed = cases(make_record(expectations=(line,), comparisons=(against,), verdict=Verdict.FAIL))
    assert expected.headline == f"app.recovery_ms@bulk/after: {why}, expected <= 500ms"
    assert f"actual     {why}" in expected.details
    assert regressed.headline == f"app.recovery_ms@bulk/after: {why}, baseline 300 ms"
    assert f"actual     {why}" in regressed.details
    assert "change" not in regressed.details


def test_the_command_for_virtme_ng_stays_on_one_line_to_be_copied() -> None:
    line = "vng --run /home/kim/src/linux --memory 4G -- /opt/perfcheck/.venv/bin/perfcheck run " + "x" * 120
    shown = background(REGRESSED.model_copy(update={"virtme": line})).splitlines()
    assert shown[-2:] == ["  reproduce  perfcheck run scenarios/wan.yaml", f"  virtme-ng  {line}"]
