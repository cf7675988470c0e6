"""Records as a text file for node_exporter: the same values, bounded, and nothing of a name unescaped."""

from __future__ import annotations

import stat
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families
from prometheus_programs import complaints

from perfcheck.errors import UsageError
from perfcheck.export.records import PrometheusOutput, RecordsSnapshot
from perfcheck.export.text import prometheus_text
from perfcheck.model.own_metric import OwnMetricRecord
from perfcheck.model.record import (
    ComparisonRecord,
    DiagnosisRecord,
    MetricRecord,
    PhaseRecord,
    RunRecord,
    ScenarioRef,
    SubjectRecord,
)
from perfcheck.model.subject import SubjectKind
from perfcheck.model.verdict import Verdict

Samples = dict[tuple[str, frozenset[tuple[str, str]]], float]


def _metric(value: float, unit: str) -> MetricRecord:
    return MetricRecord(value=value, unit=unit, per_trial=(value,))


def _record(name: str = "wan", verdict: Verdict = Verdict.PASS, **more: Any) -> RunRecord:
    metrics = {"tcp.rtt_us.p99": _metric(21500.0, "us"), "tcp.retrans_rto_segs": _metric(3.0, "segs")}
    return RunRecord(**{
        "run_id": "1", "scenario": ScenarioRef(name=name, digest="d", file="f.yaml"),
        "started_at": "2026-01-02T03:04:05+00:00", "environment": {}, "emulators": {}, "trials": (), "metrics": metrics,
        "diagnosis": (DiagnosisRecord(cause="shaper", confidence=0.75),), "verdict": verdict, **more,
    })  # fmt: skip


def _samples(*records: RunRecord, most: int = 1000) -> Samples:
    text = prometheus_text(RecordsSnapshot(records=records, most=most).series())
    assert complaints(text) == ""
    found: Samples = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            key = (sample.name, frozenset(sample.labels.items()))
            assert key not in found
            found[key] = sample.value
    return found


def _of(samples: Samples, family: str, **labels: str) -> float:
    return samples[f"perfcheck_{family}", frozenset(labels.items())]


def test_a_record_says_its_verdict_figures_and_causes() -> None:
    compared = ComparisonRecord(
        metric="tcp.rtt_us.p99", baseline=20000, current=21500, change_pct=7.5, detectable_pct=2.0,
        verdict=Verdict.REGRESSED,
    )  # fmt: skip
    own = {"bulk": SubjectRecord(kind=SubjectKind.TRAFFIC, metrics={"tcp.min_rtt_us": _metric(20000.0, "us")})}
    phases = {"after": PhaseRecord(begin_ns=1, metrics={"app.throughput_bps": _metric(8e6, "bps")})}
    found = _samples(_record(verdict=Verdict.REGRESSED, comparisons=(compared,), subjects=own, phases=phases))
    assert _of(found, "tcp_rtt_seconds", scenario="wan", stat="p99") == 0.0215
    assert _of(found, "tcp_retransmissions", scenario="wan", kind="rto") == 3
    assert _of(found, "tcp_min_rtt_seconds", scenario="wan", subject="bulk") == 0.02
    assert _of(found, "app_throughput_bytes_per_second", scenario="wan", phase="after") == 1e6
    assert _of(found, "verdict", scenario="wan", verdict="REGRESSED") == 1
    assert _of(found, "verdict", scenario="wan", verdict="PASS") == 0
    assert _of(found, "case_failed", scenario="wan") == 1
    assert _of(found, "diagnosis_probability_ratio", scenario="wan", cause="shaper") == 0.75
    assert _of(found, "diagnosis_probability_ratio", scenario="wan", cause="healthy") == 0
    assert _of(found, "change_ratio", scenario="wan", metric="tcp.rtt_us.p99") == 0.075
    assert _of(found, "detectable_change_ratio", scenario="wan", metric="tcp.rtt_us.p99") == 0.02
    assert _of(found, "comparison_verdict", scenario="wan", metric="tcp.rtt_us.p99", verdict="REGRESSED") == 1
    assert _of(found, "run_timestamp_seconds", scenario="wan") == 1767323045


def test_a_metric_of_an_application_has_a_family_of_its_own() -> None:
    own = OwnMetricRecord(unit="us", better="lower")
    scenario = ScenarioRef(name="wan", digest="d", file="f", own_metrics={"app.redis_get_us.p99": own})
    found = _samples(_record(scenario=scenario, metrics={"app.redis_get_us.p99": _metric(250.0, "us")}))
    assert _of(found, "app_redis_get_seconds", scenario="wan", stat="p99") == 0.00025


@pytest.mark.parametrize("name", ['a"} 1\nperfcheck_x 2', "\\", "\x1b[2J", "\u202ex", "a,b=c"])
def test_a_hostile_name_of_a_scenario_is_one_label(name: str) -> None:
    found = _samples(_record(name), _record("other"))
    assert len({dict(labels).get("scenario") for _, labels in found} - {None}) == 2
    assert not any("\x1b" in value or "\u202e" in value for _, labels in found for _, value in labels)


def test_series_are_bounded_and_what_is_left_out_is_counted() -> None:
    whole = len(_samples(_record(), _record("lan")))
    found = _samples(_record(), _record("lan"), most=40)
    assert len(found) == 41
    assert _of(found, "series_left_out") == whole - 41


def test_the_file_has_the_last_run_of_each_scenario(tmp_path: Path) -> None:
    path = tmp_path / "below" / "perfcheck.prom"
    output = PrometheusOutput(path)
    output.open()
    for record in (_record(), _record("lan"), _record(verdict=Verdict.FAIL)):
        output.write(record)
    output.close()
    text = path.read_text()
    assert 'perfcheck_verdict{scenario="wan",verdict="FAIL"} 1' in text
    assert 'perfcheck_verdict{scenario="wan",verdict="PASS"} 0' in text
    assert 'perfcheck_verdict{scenario="lan",verdict="PASS"} 1' in text
    assert stat.S_IMODE(path.stat().st_mode) == 0o644
    assert [one.name for one in path.parent.iterdir()] == [path.name]


@pytest.mark.parametrize(("name", "says"), [("perfcheck.txt", ".prom"), (".prom", ".prom"), ("folder.prom", "folder")])
def test_a_file_that_nobody_would_read_is_refused(tmp_path: Path, name: str, says: str) -> None:
    (tmp_path / "folder.prom").mkdir()
    with pytest.raises(UsageError, match=says):
        PrometheusOutput(tmp_path / name).open()
