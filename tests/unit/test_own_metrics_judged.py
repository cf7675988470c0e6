"""An application's own metrics after the trial: summed up, asserted, compared, kept and shown as perfcheck's are."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any, Final
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perfcheck.analyse import subject_metrics, trial_metrics
from perfcheck.baseline import BaselineStore, HistoryStore, baseline_of, lookup_of
from perfcheck.cli import main
from perfcheck.compare import judge, planned_metrics, wanted_metrics
from perfcheck.diagnose import RuleSet, load_rules
from perfcheck.model.baseline import BaselineLookup
from perfcheck.model.catalogue import CATALOGUE
from perfcheck.model.catalogue_of import catalogue_of
from perfcheck.model.observation import TrafficReport
from perfcheck.model.record import RunRecord, TrialRecord
from perfcheck.model.scenario import Scenario
from perfcheck.model.verdict import Verdict
from perfcheck.output import ConsoleOutput, JunitOutput, read_records
from perfcheck.output.terminal import console_for
from perfcheck.runner import RunOptions
from perfcheck.runner.bench import judged
from perfcheck.runner.summary import expectation_records, summarise
from perfcheck.runner.trial import Trial
from perfcheck.scenario import load_text

P99: Final = "app.get_us.p99"
HITS: Final = "app.hits_count"
TEXT: Final = """\
scenario: cache
hosts: {client: {}, server: {}}
links: [{between: [client, server], delay: 10ms}]
traffic:
  - {name: one, command: &bench {host: client, run: bench, report: {format: json, metrics: {
       app.get_us.p99: {at: p99, unit: us, better: lower, margin: 10%},
       app.hits_count: {at: hits, unit: count, better: higher}}}}}
  - {name: two, command: *bench}
repeat: 3
expect: {app.get_us.p99: <= 2ms, app.get_us.p99@two: <= 2ms, app.hits_count: ">= 100"}
tolerance: {app.get_us.p99@one: 50%}
"""


@cache
def scenario() -> Scenario:
    (found,) = load_text(TEXT, "cache.yaml")
    return found


@cache
def rules() -> RuleSet:
    return load_rules()


def report(**metrics: float) -> TrafficReport:
    return TrafficReport(generator="command", flows=(), metrics=metrics, start_ns=0, end_ns=10**9)


def trial(index: int, one: dict[str, float], two: dict[str, float]) -> Trial:
    reports = (report(**one), report(**two))
    made = TrialRecord(
        index=index, metrics=trial_metrics(scenario(), reports, []),
        subjects=subject_metrics(scenario(), reports, []),
    )  # fmt: skip
    return Trial(record=made, cross_checks=(), observations=(), links=(), warnings=())


def record(p99_us: Sequence[float], hits: Sequence[float] = (60, 60, 60), **changes: Any) -> RunRecord:
    """Make the record of runs in which entry `one` has these figures, and `two` half of the time and as many hits."""
    trials = [
        trial(index, {P99: value, HITS: count}, {P99: value / 2, HITS: count})
        for index, (value, count) in enumerate(zip(p99_us, hits, strict=True))
    ]
    made = summarise(
        scenario=scenario(), trials=trials, rules=rules(), run_id="r", started_at="2024-01-02T03:04:05+00:00",
        environment={"cpu.model": "A", "emulators": ["netem"]}, emulators={}, unavailable={},
    )  # fmt: skip
    return judged(made, expectations=tuple(expectation_records(scenario(), made))).model_copy(update=changes)


def reread(found: RunRecord) -> RunRecord:
    return RunRecord.model_validate_json(found.to_json())


@given(st.lists(st.tuples(st.floats(0, 1e6), st.integers(0, 10**6)), min_size=2, max_size=2))
def test_counts_of_entries_add_up_and_of_anything_else_the_worst_counts(parts: list[tuple[float, int]]) -> None:
    reports = [report(**{P99: value, HITS: float(count)}) for value, count in parts]
    whole, subjects = trial_metrics(scenario(), reports, []), subject_metrics(scenario(), reports, [])
    assert whole[HITS] == sum(subjects[name][HITS] for name in ("one", "two"))
    assert whole[P99] == max(subjects[name][P99] for name in ("one", "two"))


def test_lines_of_expect_are_judged_on_the_run_and_on_an_entry() -> None:
    found = {line.metric: (line.actual, line.verdict) for line in record([3000, 3000, 3000]).expectations}
    assert found == {
        P99: (3000.0, Verdict.FAIL), f"{P99}@two": (1500.0, Verdict.PASS), HITS: (120.0, Verdict.PASS),
    }  # fmt: skip


def test_a_line_without_a_value_is_invalid_and_says_where_it_comes_from() -> None:
    bare = judged(record([1, 1, 1]).model_copy(update={"metrics": {}, "subjects": {}}))
    line = next(iter(expectation_records(scenario(), bare)))
    assert line.verdict is Verdict.INVALID
    assert "(the command's standard output)" in str(line.reason)


def test_what_is_compared_by_default_is_what_has_a_better() -> None:
    names = wanted_metrics(scenario())
    assert {P99, HITS, f"{P99}@one", f"{P99}@two"} <= set(names)
    assert {P99, HITS} <= set(planned_metrics(scenario(), BaselineLookup()))


def test_a_change_beyond_the_files_own_margin_regresses() -> None:
    before = [record([1000, 1001, 999], run_id=str(number)) for number in range(2)]
    now = record([1300, 1301, 1299])
    found = {each.metric: each for each in judge(scenario(), now, lookup_of(baseline_of(before[0]), now))}
    assert (found[P99].verdict, found[P99].margin_pct, found[P99].unit) == (Verdict.REGRESSED, 10.0, "us")
    assert found[f"{P99}@one"].verdict is Verdict.PASS, "its own tolerance is wider"
    fewer = record([1000, 1000, 1000], hits=(30, 30, 30))
    (hits,) = [
        each for each in judge(scenario(), fewer, lookup_of(baseline_of(before[0]), fewer)) if each.metric == HITS
    ]
    assert hits.verdict is Verdict.REGRESSED
    assert hits.change_pct == pytest.approx(-50.0)


def test_a_baseline_keeps_them(tmp_path: Path) -> None:
    store, found = BaselineStore(tmp_path), reread(record([1000, 1001, 999]))
    store.save(found)
    kept = store.load(scenario(), found.environment).found
    assert kept is not None
    assert kept.sessions_of(P99) == ((1000.0, 1001.0, 999.0),)
    assert kept.sessions_of(f"{P99}@two") == ((500.0, 500.5, 499.5),)


def test_a_record_tells_what_its_own_metrics_are_worth_without_the_file() -> None:
    found = reread(record([1000, 1000, 1000]))
    assert found.scenario.own_metrics[P99].model_dump() == {"unit": "us", "better": "lower", "margin_pct": 10.0}
    assert found == record([1000, 1000, 1000])


@pytest.mark.parametrize(("after", "status"), [(1300, 1), (1010, 0), (700, 0)])
def test_two_stored_records_are_compared_without_the_file(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], after: float, status: int
) -> None:
    for name, value in (("a", 1000.0), ("b", after)):
        (tmp_path / f"{name}.json").write_text(record([value, value + 1, value - 1]).to_json() + "\n")
    assert main(["compare", str(tmp_path / "a.json"), str(tmp_path / "b.json")]) == status
    said = capsys.readouterr().out
    assert P99 in said
    if status:
        assert "application: the application's own figure" in said


def test_a_tolerance_of_an_own_metric_counts_and_one_of_no_metric_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    files = [str(tmp_path / f"{name}.json") for name in "ab"]
    for file, value in zip(files, (1000.0, 1300.0), strict=True):
        Path(file).write_text(record([value, value + 1, value - 1]).to_json() + "\n")
    assert main(["compare", *files, "--tolerance", f"{P99}=90%"]) == 1, "an entry's figure has a tolerance of its own"
    assert main(["compare", *files, "--tolerance", f"{P99}=90%", "--tolerance", f"{P99}@two=90%"]) == 0
    assert main(["compare", *files, "--tolerance", "app.gets_us.p99=90%"]) == 2
    assert f"unknown metric 'app.gets_us.p99'; did you mean '{P99}'?" in capsys.readouterr().err


def test_junit_and_console_name_them(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = reread(record([3000, 3000, 3000]))
    output = JunitOutput(tmp_path / "junit.xml")
    console = ConsoleOutput(console_for())
    for each in (output, console):
        each.open()
        each.write(found)
        each.close()
    names = [case.get("name", "") for case in ElementTree.parse(tmp_path / "junit.xml").iter("testcase")]
    assert any(f"expect:{P99}" in name for name in names), names
    said = capsys.readouterr().out
    assert f"{P99} is 3 ms, expected <= 2ms" in said
    assert "3 ms" in said


def test_a_run_without_assertions_shows_them(capsys: pytest.CaptureFixture[str]) -> None:
    console = ConsoleOutput(console_for())
    console.open()
    console.write(record([3000, 3000, 3000]).model_copy(update={"expectations": (), "verdict": Verdict.PASS}))
    assert P99 in capsys.readouterr().out


def test_history_knows_which_way_they_get_better(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    store = HistoryStore(tmp_path)
    for number in range(24):
        value = 1000.0 if number < 12 else 2000.0
        moment = f"2024-01-{number + 1:02}T00:00:00+00:00"
        store.append(record([value + number % 3] * 3, run_id=f"{number:032x}", started_at=moment))
    (series,) = store.series(P99)
    assert (series.unit, series.better, len(series.values)) == ("us", "lower", 24)
    assert main(["history", P99, "--history", str(tmp_path)]) == 0
    assert "worse" in capsys.readouterr().out
    assert main(["history", "app.other_us.p99", "--history", str(tmp_path)]) == 2


def test_history_of_before_them_is_still_read(tmp_path: Path) -> None:
    import duckdb

    store = HistoryStore(tmp_path)
    file = store.append(record([1000.0] * 3))
    older = file.with_name(f"0-{file.name}")
    with duckdb.connect(":memory:") as database:
        database.execute(
            f"COPY (SELECT * EXCLUDE (better) REPLACE ('old' AS run_id) FROM read_parquet('{file}')) "  # noqa: S608
            f"TO '{older}' (FORMAT parquet)"
        )
    (series,) = store.series(P99)
    assert (len(series.values), series.better) == (2, "lower")
    file.unlink()
    (series,) = store.series(P99)
    assert (len(series.values), series.better) == (1, "")


def test_options_apply_to_them() -> None:
    chosen = RunOptions(tolerances=((P99, 33.0),)).applied_to(scenario())
    found = judge(chosen, record([1300] * 3), lookup_of(baseline_of(record([1000] * 3)), record([1300] * 3)))
    assert {each.metric: each.margin_pct for each in found}[P99] == 33.0


def test_a_record_cannot_declare_perfchecks_own_metrics_anew(tmp_path: Path) -> None:
    text = record([1000] * 3).to_json().replace(f'"{HITS}":{{"unit"', '"app.throughput_bps":{"unit"', 1)
    file = tmp_path / "r.json"
    file.write_text(text + "\n")
    (found,) = read_records(file)
    assert "app.throughput_bps" in found.scenario.own_metrics
    assert catalogue_of(found)["app.throughput_bps"] == CATALOGUE["app.throughput_bps"]


def test_a_changed_copy_of_a_record_has_the_figures_of_its_own_metrics() -> None:
    found = record([1000] * 3)
    assert P99 in found.figures
    assert P99 not in found.model_copy(update={"metrics": {}}).figures
    (first, *_) = found.trials
    assert first.figures[P99] == 1000.0
    assert first.model_copy(update={"metrics": {P99: 7.0}}).figures[P99] == 7.0
