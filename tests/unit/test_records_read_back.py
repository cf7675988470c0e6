"""A record that was written is read again as it was: from JSON, by older and newer readers, from the history."""

from __future__ import annotations

import json
import math
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import duckdb
import pytest
from any_records import records
from hypothesis import given, settings
from hypothesis import strategies as st

from perfcheck.baseline import HistoryStore
from perfcheck.compare.metric import compare_metric
from perfcheck.errors import RecordError
from perfcheck.model.catalogue import CATALOGUE
from perfcheck.model.record import RunRecord, TrialPhase, TrialRecord
from perfcheck.output import read_records
from perfcheck.output.cases import cases
from perfcheck.testing import make_record

FEW: Final = settings(max_examples=25, deadline=None)
JUDGING: Final = {"expectations", "comparisons", "unavailable", "invalid_reason"}
"""Optional fields that say how a record was judged."""
VIEW: Final = Path(__file__).parents[2] / "dashboards/history-view.sql"


def read_back(*texts: str) -> tuple[RunRecord, ...]:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "records.jsonl"
        path.write_text("\n".join(texts))
        return read_records(path)


@FEW
@given(records())
def test_a_record_is_read_as_it_was_written(record: RunRecord) -> None:
    text = record.to_json()
    assert text.isascii()
    assert len(text.splitlines()) == 1
    json.loads(text, parse_constant=pytest.fail)
    (found,) = read_back(text)
    assert found.figures == record.figures
    assert found.comparisons == record.comparisons or "\\\\ud800" in text
    assert [(case.name, case.status) for case in cases(found)] == [(case.name, case.status) for case in cases(record)]


@FEW
@given(records())
def test_a_record_without_an_optional_field_is_read_and_judged_alike(record: RunRecord) -> None:
    whole = json.loads(record.to_json())
    fields = {field.alias or name for name, field in RunRecord.model_fields.items() if not field.is_required()}
    statuses = [case.status for case in cases(record)]
    for name in sorted(fields & whole.keys()):
        (found,) = read_back(json.dumps({key: value for key, value in whole.items() if key != name}))
        assert found.metrics == record.metrics
        if name not in JUDGING:
            assert [case.status for case in cases(found)] == statuses, name


@pytest.mark.parametrize("place", [(), ("scenario",), ("trials", 0), ("metrics", "app.throughput_bps")])
def test_a_field_of_a_newer_perfcheck_is_named_and_told_to_be_one(place: Sequence[str | int]) -> None:
    whole = json.loads(make_record().to_json())
    part = whole
    for step in place:
        part = part[step]
    part["weather"] = "fine"
    with pytest.raises(RecordError) as caught:
        read_back(json.dumps(whole))
    told = str(caught.value)
    assert ".".join(map(str, (*place, "weather"))) in told
    assert "unknown field" in told
    assert "newer perfcheck" in told


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_a_trial_without_a_number_is_written_without_it(value: float) -> None:
    metrics = {"tcp.rtt_us.p50": value, "app.throughput_bps": 8e6}
    phase = TrialPhase(metrics=metrics, subjects={"bulk": metrics})
    trial = TrialRecord(index=0, metrics=metrics, subjects={"bulk": metrics}, phases={"after": phase})
    (found,) = read_back(make_record(trials=(trial,)).to_json())
    assert set(found.trials[0].figures) == {
        "app.throughput_bps", "app.throughput_bps@bulk", "app.throughput_bps/after", "app.throughput_bps@bulk/after",
    }  # fmt: skip


@settings(max_examples=12, deadline=None)
@given(records())
def test_the_history_has_each_figure_with_its_unit(record: RunRecord) -> None:
    with tempfile.TemporaryDirectory() as folder:
        HistoryStore(Path(folder)).append(record)
        with duckdb.connect(":memory:") as database:
            database.execute(VIEW.read_text().replace("/var/lib/perfcheck/history", folder))
            rows = database.execute(
                "SELECT metric, subject, unit, value, trials, verdict FROM perfcheck_history"
            ).fetchall()
    found = {name: row for name, subject, *row in rows if subject == "whole run"}
    if not record.trials:
        assert rows == []
        return
    assert found == {
        name: [one.unit, one.value, len(record.trials), record.verdict.value] for name, one in record.metrics.items()
    }


RUNS: Final = st.lists(st.floats(0, 1e12) | st.floats(1e-3, 10), min_size=1, max_size=6)


@settings(max_examples=150, deadline=None)
@given(st.lists(RUNS, min_size=1, max_size=3), RUNS, st.sampled_from(list(CATALOGUE)), st.none() | st.floats(0, 50))
def test_the_interval_of_a_change_has_the_change_in_it(
    before: list[list[float]], after: list[float], metric: str, tolerance: float | None
) -> None:
    found = compare_metric(CATALOGUE[metric], before, after, tolerance_pct=tolerance)
    if found.interval_pct is not None and found.change_pct is not None:
        low, high = found.interval_pct
        slack = 1e-9 * max(1.0, abs(found.change_pct))
        assert low - slack <= found.change_pct <= high + slack
    told = (found.change_pct, found.detectable_pct, found.detectable, found.margin_pct, *(found.interval_pct or ()))
    assert all(value is None or math.isfinite(value) for value in told)
    assert found.detectable_pct is None or found.detectable_pct >= 0


def test_a_tolerance_of_next_to_nothing_is_judged() -> None:
    found = compare_metric(CATALOGUE["app.throughput_bps"], [[0.0, 1.0, 1.0]], [0.0] * 3, tolerance_pct=1e-197)
    assert found.runs_needed is None
