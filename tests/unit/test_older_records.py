"""Records and baselines that older versions wrote (tests/golden/older) are read, compared and never misjudged.

The newer records that they are compared with are made here, from the older one's own figures.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from perfcheck.baseline import BaselineStore, HistoryStore, baseline_of, lookup_of
from perfcheck.baseline.document import parse
from perfcheck.cli import main
from perfcheck.compare import judge, planned_metrics
from perfcheck.model.record import MetricRecord, PhaseRecord, RunRecord, SubjectRecord, TrialPhase
from perfcheck.model.scenario import Expectation, Scenario
from perfcheck.model.subject import SubjectKind
from perfcheck.model.verdict import Verdict
from perfcheck.output import read_records
from perfcheck.testing import make_scenario

ROOT = Path(__file__).parents[2]
GOLDEN = ROOT / "tests/golden/older"
BEFORE_SUBJECTS = GOLDEN / "before-subjects.jsonl"
BEFORE_PHASES = GOLDEN / "before-phases.jsonl"
LATENCY, GOODPUT = "app.latency_us.p99", "app.throughput_bps"
RPC, LATE = f"{LATENCY}@rpc", f"{GOODPUT}@bulk/late"
OLDER = "is an older record, made before"


def older(path: Path) -> RunRecord:
    (record,) = read_records(path)
    return record


def newer(path: Path = BEFORE_SUBJECTS, **changes: Any) -> RunRecord:
    """Return an older record as this version writes it: with a subject, a phase and what the scenario asks of them."""
    record = older(path)
    metrics = {name: record.metrics[name] for name in (LATENCY, GOODPUT)}
    subjects = {name: SubjectRecord(kind=SubjectKind.TRAFFIC, metrics=metrics) for name in ("rpc", "bulk")}
    values = [{name: trial.metrics[name] for name in metrics} for trial in record.trials]
    trials = tuple(
        trial.model_copy(
            update={
                "subjects": dict.fromkeys(subjects, own),
                "phases": {"late": TrialPhase(metrics=own, subjects=dict.fromkeys(subjects, own), begin_ns=2 * 10**9)},
            }
        )
        for trial, own in zip(record.trials, values, strict=True)
    )
    asked = record.scenario.model_copy(update={"asked": (RPC, LATE)})
    phases = {"late": PhaseRecord(begin_ns=2 * 10**9, metrics=metrics, subjects=subjects)}
    fields = {
        "run_id": "f" * 32, "started_at": "2031-01-01T00:00:00+00:00", "scenario": asked, "trials": trials,
        "subjects": subjects, "phases": phases,
    }  # fmt: skip
    return record.model_copy(update=fields | changes)


def asking() -> Scenario:
    """Return a scenario of the records' workload that asks for a subject and a phase."""
    expect = tuple(
        Expectation.model_validate({"metric": key, "operator": "<=", "threshold": 1e12, "text": "<= 1000gbit"})
        for key in (RPC, LATE)
    )
    record = older(BEFORE_SUBJECTS)
    made = make_scenario(record.scenario.name, workload_digest=record.scenario.workload)
    return made.model_copy(update={"expect": expect})


def compared(folder: Path, before: RunRecord | Path, after: RunRecord | Path, *words: str) -> tuple[int, Path, Path]:
    paths = []
    for name, record in (("a", before), ("b", after)):
        path = folder / f"{name}.jsonl"
        path.write_text(record.read_text() if isinstance(record, Path) else record.to_json() + "\n")
        paths.append(path)
    return main(["compare", *map(str, paths), *words]), paths[0], paths[1]


def test_the_golden_records_lack_what_they_are_said_to() -> None:
    assert older(BEFORE_SUBJECTS).predates == ("subjects", "phases")
    assert older(BEFORE_PHASES).predates == ("phases",)
    assert RunRecord.model_validate_json(newer().to_json()).predates == ()
    # A record of today that has neither a subject nor a phase is none of the older ones.
    empty = newer(subjects={}, phases={})
    assert RunRecord.model_validate_json(empty.to_json()).predates == ()
    for path in (BEFORE_SUBJECTS, BEFORE_PHASES):
        text = path.read_text()
        assert '"phases"' not in text
        assert '"series"' not in text


@pytest.mark.parametrize("path", [BEFORE_SUBJECTS, BEFORE_PHASES], ids=["before subjects", "before phases"])
def test_an_older_record_has_no_figure_of_what_it_does_not_know(
    path: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    known = path == BEFORE_PHASES
    status, a, b = compared(tmp_path, path, newer(path), "--tolerance", f"{RPC}=5%", "--tolerance", f"{LATE}=5%")
    out = capsys.readouterr().out
    assert status == 0
    kinds = "phases" if known else "subjects and phases"
    assert f"{a}: older records, made before {kinds} had figures of their own" in out
    assert f"{b}: older records" not in out
    rows = {line.split()[1]: line.split()[-1] for line in out.splitlines() if line.startswith("requests-beside-bulk ")}
    assert rows[LATE] == "NO_BASELINE"
    assert rows[RPC] == ("PASS" if known else "NO_BASELINE")
    (told,) = [line for line in out.splitlines() if line.startswith("NO_BASELINE")]
    assert f"{a} {OLDER} {'phases' if known else 'subjects'} had figures of their own" in told
    # What both have is compared as ever.
    assert rows[GOODPUT] == rows[LATENCY] == "PASS"


@pytest.mark.parametrize("path", [BEFORE_SUBJECTS, BEFORE_PHASES], ids=["before subjects", "before phases"])
@pytest.mark.parametrize("asked", [(), ("--tolerance", f"{LATE}=5%")], ids=["by the other record", "by an option"])
def test_an_older_record_compared_with_a_newer_one_is_neither_passed_nor_invalid(
    path: Path, asked: tuple[str, ...], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    status, _, b = compared(tmp_path, newer(path), path, *asked)
    out = capsys.readouterr().out
    assert status == 0
    assert f"{b}: older records" in out
    (row,) = [line for line in out.splitlines() if line.split()[1:2] == [LATE]]
    assert row.split()[-1] == "NO_BASELINE"
    assert f"this run {OLDER}" in out
    assert "INVALID" not in out


def test_what_two_older_records_are_asked_is_answered_with_the_reason(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert compared(tmp_path, BEFORE_SUBJECTS, BEFORE_SUBJECTS, "--tolerance", f"{RPC}=5%")[0] == 0
    out = capsys.readouterr().out
    assert f"NO_BASELINE  requests-beside-bulk: {RPC}: this run {OLDER} subjects" in out


def test_a_regression_of_the_whole_run_is_still_one(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    record = newer()
    slow = MetricRecord(value=9e6, unit="bps", per_trial=(9e6, 9.1e6, 8.9e6), decided_by="path")
    trials = tuple(
        trial.model_copy(update={"metrics": {**trial.metrics, GOODPUT: value}})
        for trial, value in zip(record.trials, slow.per_trial, strict=True)
    )
    worse = record.model_copy(update={"metrics": {**record.metrics, GOODPUT: slow}, "trials": trials})
    assert compared(tmp_path, BEFORE_SUBJECTS, worse)[0] == 1
    assert "REGRESSED" in capsys.readouterr().out


def stored(folder: Path) -> BaselineStore:
    """Return a store with the older baseline, under the name that its environment has today."""
    record = older(BEFORE_SUBJECTS)
    probe = BaselineStore(folder / "probe").save(record)
    path = folder / "baselines" / record.scenario.name / probe.name
    path.parent.mkdir(parents=True)
    shutil.copy(GOLDEN / "before-subjects.baseline.yaml", path)
    return BaselineStore(folder / "baselines")


def test_an_older_baseline_answers_for_the_whole_run_only(tmp_path: Path) -> None:
    scenario, record = asking(), newer()
    lookup = stored(tmp_path).load(scenario, record.environment)
    assert lookup.like is not None, lookup.missing
    # pytest has a test of each of them, which says so.
    assert {GOODPUT, RPC, LATE} <= set(planned_metrics(scenario, lookup))
    found = {each.metric: each for each in judge(scenario, record, lookup)}
    assert found[GOODPUT].verdict is Verdict.PASS
    for key in (RPC, LATE):
        assert found[key].verdict is Verdict.NO_BASELINE
        assert "has figures of the whole run only" in str(found[key].reason)
        assert "the file is older than these" in str(found[key].reason)


def test_an_older_baseline_takes_a_newer_session(tmp_path: Path) -> None:
    scenario, record = asking(), newer()
    store = stored(tmp_path)
    store.save(record)
    lookup = store.load(scenario, record.environment)
    assert lookup.found is not None
    assert len(lookup.found.sessions_of(GOODPUT)) == 2
    assert len(lookup.found.sessions_of(RPC)) == len(lookup.found.sessions_of(LATE)) == 1
    found = {each.metric: each.verdict for each in judge(scenario, record, lookup)}
    assert found[RPC] is Verdict.PASS
    # A key that no session has is new, in a file that has others.
    other = asking().model_copy(update={"tolerance_pct": {f"{LATENCY}@bulk/late": 5.0}})
    (new,) = [each for each in judge(other, record, lookup) if each.metric == f"{LATENCY}@bulk/late"]
    assert new.verdict is Verdict.NO_BASELINE
    assert str(new.reason).endswith("does not have it yet")


def test_a_record_that_stands_for_a_baseline_says_its_age_also_to_a_scenario() -> None:
    """As a test in Python compares with a stored record."""
    scenario, record = asking(), newer()
    lookup = lookup_of(baseline_of(older(BEFORE_SUBJECTS), "a.jsonl"), record)
    reasons = {each.metric: each.reason for each in judge(scenario, record, lookup) if each.metric in (RPC, LATE)}
    assert reasons == dict.fromkeys((RPC, LATE), f"a.jsonl {OLDER} subjects had figures of their own")


@pytest.mark.parametrize("path", sorted((ROOT / "baselines").glob("*/*.yaml")), ids=lambda path: path.parent.name)
def test_committed_baselines_of_any_age_are_read(path: Path) -> None:
    found = parse(path.read_text(), str(path))
    assert found.scenario == path.parent.name
    assert found.sessions_of("app.throughput_bps") or found.sessions_of("app.connections_per_s") or found.metrics()
    assert not found.sessions_of("app.throughput_bps@nobody")


def test_older_and_newer_runs_are_one_history(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    store = HistoryStore(tmp_path / "history")
    for record in (older(BEFORE_SUBJECTS), older(BEFORE_PHASES), newer()):
        store.append(record)
    (whole,) = store.series(GOODPUT)
    assert len(whole.values) == 3
    (late,) = store.series(LATE)
    assert late.run_ids == ("f" * 32,)
    assert main(["history", GOODPUT, "--history", str(tmp_path / "history")]) == 0
    assert "requests-beside-bulk" in capsys.readouterr().out


@pytest.mark.parametrize("path", [BEFORE_SUBJECTS, BEFORE_PHASES], ids=["before subjects", "before phases"])
def test_show_says_why_an_older_record_has_nothing_to_draw(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["show", str(path)]) == 2
    told = capsys.readouterr().err
    assert "its records are older than time series" in told
    assert "--series PATH" in told


def test_every_part_of_an_older_record_comes_back(tmp_path: Path) -> None:
    """Reading it and writing it anew loses nothing of what it had."""
    for path in (BEFORE_SUBJECTS, BEFORE_PHASES):
        before = json.loads(path.read_text())
        copy = tmp_path / path.name
        copy.write_text(older(path).to_json() + "\n")
        after = json.loads(copy.read_text())
        assert {key: after[key] for key in before.keys() - {"trials", "scenario", "subjects", "diagnosis"}} == {
            key: before[key] for key in before.keys() - {"trials", "scenario", "subjects", "diagnosis"}
        }
        # What is new in a cause is empty.
        new = {"fix_first": "", "chain_rests_on": ""}
        assert after["diagnosis"] == [cause | new for cause in before["diagnosis"]]
        assert [trial["metrics"] for trial in after["trials"]] == [trial["metrics"] for trial in before["trials"]]
