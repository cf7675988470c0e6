"""The console: tables, a record, progress."""

from __future__ import annotations

import io
import re
from typing import Literal

import pytest
from rich.console import Console

from perfcheck.model.record import ComparisonRecord, DiagnosisRecord, ExpectationRecord, RunRecord
from perfcheck.model.verdict import Verdict
from perfcheck.output import ConsoleOutput, ConsoleProgress
from perfcheck.output.progress import LineProgress
from perfcheck.output.rows import Row, plain_pct, shared_remarks
from perfcheck.output.table import plain_table, plain_tally, styled_table
from perfcheck.testing import make_record, make_scenario, make_unmeasured_record

RTT = "tcp.rtt_us.p99"

ROWS = (
    Row(scenario="wan[cc=bbr]", metric=RTT, value="61.2 ms", against="<= 60ms", verdict="FAIL"),
    Row(scenario="wan[cc=bbr]", metric="app.errors", value="0", against="0", change="+0.0 %", detectable="1 %",
        verdict="PASS"),
    Row(scenario="lan", metric="diagnosis", value="bufferbloat", against="healthy", verdict="FAIL"),
)  # fmt: skip


def console(*, terminal: bool, width: int = 100) -> Console:
    system: Literal["standard"] | None = "standard" if terminal else None
    return Console(file=io.StringIO(), force_terminal=terminal, width=width, color_system=system, _environ={})


def written(target: Console) -> str:
    assert isinstance(target.file, io.StringIO)
    return target.file.getvalue()


def uncoloured(text: str) -> str:
    return re.sub(r"\x1b\[[0-9;]*m", "", text)


def test_the_plain_table_names_the_scenario_on_every_line() -> None:
    assert plain_table(ROWS).splitlines() == [
        "scenario     metric                value  against  change  detectable  verdict",
        "wan[cc=bbr]  tcp.rtt_us.p99      61.2 ms  <= 60ms                      FAIL",
        "wan[cc=bbr]  app.errors                0        0  +0.0 %         1 %  PASS",
        "lan          diagnosis       bufferbloat  healthy                      FAIL",
    ]


def test_the_table_of_a_terminal_has_the_same_cells_below_the_scenarios() -> None:
    shown = console(terminal=True)
    shown.print(styled_table(ROWS), soft_wrap=True, highlight=False)
    assert uncoloured(written(shown)).splitlines() == [
        "metric                  value  against  change  detectable  verdict",
        "wan[cc=bbr]",
        "  tcp.rtt_us.p99      61.2 ms  <= 60ms                      FAIL",
        "  app.errors                0        0  +0.0 %         1 %  PASS",
        "lan",
        "  diagnosis       bufferbloat  healthy                      FAIL",
    ]
    assert "\x1b[1;31mFAIL\x1b[0m" in written(shown)
    assert "\x1b[32mPASS\x1b[0m" in written(shown)


def test_a_table_of_a_regression_fits_80_columns() -> None:
    row = Row(scenario="wan", metric="app.throughput_bps", value="71.55 Mbit/s", against="94.12 Mbit/s",
              change="-24.5 %", detectable="0.31 %", verdict="INCONCLUSIVE")  # fmt: skip
    assert max(len(line) for line in styled_table([row]).plain.splitlines()) <= 84


def test_intervals_have_a_column_where_there_are_any_and_the_terminal_is_wide() -> None:
    rows = [ROWS[0], Row(scenario="wan", metric=RTT, change="+1.0 %", interval="-0.5 to +2.5 %", verdict="PASS")]
    assert "  -0.5 to +2.5 %  " in plain_table(rows)
    assert "interval" in styled_table(rows, 120).plain
    assert "interval" not in styled_table(rows, 80).plain


def test_an_empty_table_is_its_heading() -> None:
    assert plain_table(()).split() == ["scenario", "metric", "value", "against", "change", "detectable", "verdict"]
    assert plain_tally(()) == ""


@pytest.fixture
def regressed() -> RunRecord:
    compared = [
        ComparisonRecord(
            metric=metric, baseline=baseline, current=current, change_pct=(current / baseline - 1) * 100,
            detectable_pct=1.0, margin_pct=5.0, verdict=Verdict.REGRESSED,
        )
        for metric, baseline, current in ((RTT, 46.7e3, 61.2e3), ("app.throughput_bps", 94e6, 72e6))
    ]  # fmt: skip
    return make_record(
        {RTT: (61.2e3,), "app.throughput_bps": (72e6,)}, name="wan",
        expectations=(ExpectationRecord(metric=RTT, expected="<= 70ms", actual=61.2e3, verdict=Verdict.PASS),),
        comparisons=tuple(compared),
        diagnosis=(DiagnosisRecord(cause="bufferbloat", confidence=0.93, advice="Shorten the queue."),),
        changed_conditions={"links[0].queue": ("1bdp", "4bdp")},
        verdict=Verdict.REGRESSED, reproduce="perfcheck run scenarios/wan.yaml", lost_events=2,
    )  # fmt: skip


def test_a_record_is_a_table_its_failures_and_once_what_they_share(regressed: RunRecord) -> None:
    shown = console(terminal=False)
    output = ConsoleOutput(shown)
    output.open()
    output.write(regressed)
    output.write(make_unmeasured_record("no iperf3", name="lan", reproduce="perfcheck run scenarios/lan.yaml"))
    output.write(make_unmeasured_record("no iperf3", name="man"))
    output.close()
    output.close()
    assert (
        written(shown)
        == """\
wan: scenarios/wan.yaml
scenario  metric                  value    against   change  detectable  verdict
wan       tcp.rtt_us.p99        61.2 ms    <= 70ms                       PASS
wan       tcp.rtt_us.p99        61.2 ms    46.7 ms  +31.0 %         1 %  REGRESSED
wan       app.throughput_bps  72 Mbit/s  94 Mbit/s  -23.4 %         1 %  REGRESSED
diagnosis: bufferbloat (93 %)
2 events were lost; counts may be too low by up to that number

FAILED  wan: tcp.rtt_us.p99 went from 46.7 ms to 61.2 ms (+31.0 %), margin 5 %
  expected   at most 49.03 ms (baseline + 5 %)
  actual     61.2 ms
  baseline   46.7 ms
  change     +31.0 %
  margin     5 %; the smallest change that this run could detect is 1 %
  layer      TCP (transport): round-trip time of delivered segments, p99

FAILED  wan: app.throughput_bps went from 94 Mbit/s to 72 Mbit/s (-23.4 %), margin 5 %
  expected   at least 89.3 Mbit/s (baseline - 5 %)
  actual     72 Mbit/s
  baseline   94 Mbit/s
  change     -23.4 %
  margin     5 %; the smallest change that this run could detect is 1 %
  layer      application: goodput at the receiver after the warm-up, all measured flows

  cause      bufferbloat (93 %)
  advice     Shorten the queue.
  moved      tcp.rtt_us.p99  46.7 ms -> 61.2 ms  (+31.0 %, regressed)
             app.throughput_bps  94 Mbit/s -> 72 Mbit/s  (-23.4 %, regressed)
  conditions links[0].queue: 1bdp -> 4bdp
  note       2 events were lost; counts may be too low by up to that number
  reproduce  perfcheck run scenarios/wan.yaml

lan: scenarios/lan.yaml

ERROR  lan: could not measure: no iperf3
  reproduce  perfcheck run scenarios/lan.yaml

ERROR  man: could not measure: no iperf3
3 scenarios: 2 REGRESSED, 2 INVALID, 1 PASS
"""
    )


def test_a_record_that_asserts_nothing_shows_what_a_baseline_would_hold() -> None:
    shown = console(terminal=False)
    output = ConsoleOutput(shown)
    output.open()
    output.write(make_record({RTT: (46e3,), "tcp.rttvar_us": (5.0,)}, name="bare"))
    output.close()
    assert (
        written(shown)
        == """\
bare: scenarios/bare.yaml
scenario  metric          value  against  change  detectable  verdict
bare      measured        1 run                               PASS
bare      tcp.rtt_us.p99  46 ms
diagnosis: healthy (90 %)

1 scenario: 1 PASS
"""
    )


def test_an_invalid_record_shows_no_values() -> None:
    shown = console(terminal=False)
    output = ConsoleOutput(shown)
    output.open()
    output.write(make_record({RTT: (46e3,)}, verdict=Verdict.INVALID, invalid_reason="link 0 was late"))
    output.close()
    assert written(shown) == (
        "example: scenarios/example.yaml\n\nERROR  example: could not measure: link 0 was late\n\n"
        "1 scenario: 1 INVALID\n"
    )


def test_matrix_points_are_no_markup() -> None:
    shown = console(terminal=True)
    record = make_record({RTT: (46e3,)}, name="wan")
    output = ConsoleOutput(shown)
    output.open()
    output.write(record.model_copy(update={"scenario": record.scenario.model_copy(update={"point": {"a": "bold"}})}))
    output.close()
    assert "wan[a=bold]" in uncoloured(written(shown))


def test_lines_of_progress_tell_each_scenario_and_then_only_now_and_then() -> None:
    lines: list[str] = []
    now = [0.0]
    progress = LineProgress(lines.append, clock=lambda: now[0])
    wan, lan = make_scenario("wan"), make_scenario("lan")
    for seconds, scenario, text in (
        (0, wan, "attaching"), (0.5, wan, "run 1 of 2"), (3, wan, "run 2 of 2"), (3.1, lan, "attaching"),
        (3.2, wan, "again"),
    ):  # fmt: skip
        now[0] = seconds
        progress.stage(scenario, text, 0, 2)
    assert lines == [
        "perfcheck: wan [0/2] attaching", "perfcheck: wan [0/2] run 2 of 2", "perfcheck: lan [0/2] attaching",
        "perfcheck: wan [0/2] again",
    ]  # fmt: skip


def test_the_bar_is_one_line_that_is_erased() -> None:
    shown = console(terminal=True, width=60)
    with ConsoleProgress(shown) as progress:
        progress.stage(make_scenario("a" * 63), "run 1 of 2, with a long explanation that does not fit", 0, 2)
        progress.stage(make_scenario("wan"), "run 2 of 2", 1, 2)
        assert "1/2 run 2 of 2" in uncoloured(written(shown))
        assert "\n" not in written(shown)
    assert written(shown).rstrip().endswith("\x1b[2K")


def test_without_a_terminal_progress_is_lines() -> None:
    shown = console(terminal=False)
    with ConsoleProgress(shown) as progress:
        progress.stage(make_scenario("wan"), "run 1 of 2", 0, 2)
        progress.clear()
    assert written(shown) == "perfcheck: wan [0/2] run 1 of 2\n"


@pytest.mark.parametrize(("share_pct", "text"), [(1.14, "1.1 %"), (42.0, "42 %"), (99.6, "100 %"), (3312.0, "3300 %")])
def test_a_percentage_has_two_digits_that_count_and_no_exponent(share_pct: float, text: str) -> None:
    assert plain_pct(share_pct) == text


def test_a_remark_on_many_scenarios_is_made_once() -> None:
    assert shared_remarks([("one", "late"), ("two", "busy"), ("three", "late")]) == ("one, three: late", "two: busy")
    assert shared_remarks([(f"s{number}", "other kernel") for number in range(9)]) == ("9 scenarios: other kernel",)
