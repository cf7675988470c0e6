"""The charts of the report of runs: what is drawn is what was recorded, and a page of many is bounded."""

from __future__ import annotations

import json
import math
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from report_runs import (
    RTT,
    curve,
    default_curves,
    failed_record,
    flat,
    phased_record,
    run_record,
    section,
    texts,
    with_events,
    with_series,
)

from perfcheck.model.record import RunRecord, SeriesRecord
from perfcheck.report.document import Bullets, Chart, Document, Paragraph
from perfcheck.report.run import Given, Source, run_document
from perfcheck.report.run.budget import VALUES
from perfcheck.report.sound import require_sound


def document_of(*records: RunRecord, baseline: RunRecord | None = None, folder: Path = Path()) -> Document:
    beside = {} if baseline is None else {records[0].scenario.name: Source(record=baseline)}
    sources = [Source(record=record, folder=folder) for record in records]
    made = run_document(Given(sources=sources, baselines=beside))
    require_sound(made)
    return made


def chart_of(document: Document, name: str) -> Chart:
    return next(chart for chart in document.charts() if chart.name.endswith(name))


def numbers(chart: Chart, column: str) -> list[float]:
    return [float(value) for value in chart.columns[column] if value is not None]


@settings(max_examples=10, deadline=None)
@given(st.lists(st.floats(0, 1e9, allow_subnormal=False), min_size=1, max_size=700), st.integers(1, 2))
def test_what_is_drawn_is_within_what_was_sampled(values: list[float], scenarios: int) -> None:
    with TemporaryDirectory() as folder:
        records = [
            with_series(run_record(f"s{number}", number, entries=("bulk",)), Path(folder) / f"{number}.parquet",
                        [curve("bulk", RTT, values)], trials=1)
            for number in range(scenarios)
        ]  # fmt: skip
        document = document_of(*records)
    for number in range(1, scenarios + 1):
        chart = chart_of(document, f"r{number}-course-tcp-rtt-us-p99")
        means = numbers(chart, "mean0")
        unit = {"s": 1e6, "ms": 1e3, "us": 1, "ns": 1e-3}[
            chart.spec["layer"][0]["encoding"]["y"]["axis"]["title"].rpartition("(")[2].rstrip(")")
        ]
        low, high = min(values), max(values)
        assert means
        assert all(low * (1 - 1e-4) <= value * unit <= high * (1 + 1e-4) for value in means)
        if "high0" in chart.columns:
            assert math.isclose(max(numbers(chart, "high0")) * unit, high, rel_tol=1e-4)
            assert math.isclose(min(numbers(chart, "low0")) * unit, low, rel_tol=1e-4, abs_tol=1e-12)
        else:
            assert math.isclose(max(means) * unit, high, rel_tol=1e-4)


def test_samples_are_drawn_as_they_are_where_there_is_room(tmp_path: Path) -> None:
    values = [20_000.0 + 10 * place for place in range(40)]
    record = with_series(run_record(entries=("bulk",)), tmp_path / "s.parquet", [curve("bulk", RTT, values)], trials=1)
    chart = chart_of(document_of(record), "course-tcp-rtt-us-p99")
    assert chart.columns["mean0"] == [value / 1000 for value in values]
    assert chart.columns["t"] == [round((place + 1) / 10, 1) for place in range(40)]
    assert "low0" not in chart.columns


def test_the_worst_trial_of_what_failed_is_drawn(tmp_path: Path) -> None:
    record = with_series(failed_record(), tmp_path / "s.parquet")
    blocks = section(document_of(record), "-courses").blocks
    assert isinstance(blocks[0], Paragraph)
    assert blocks[0].text.startswith("Drawn is trial 3 of 3, the one with the worst tcp.rtt_us.p99")


def test_phases_are_bands_and_counted_events_are_marks(tmp_path: Path) -> None:
    record = with_series(phased_record(), tmp_path / "s.parquet")
    chart = chart_of(document_of(record), "course-tcp-rtt-us-p99")
    assert [value for value in chart.columns["named"] if value is not None] == ["before", "after"]
    assert [value for value in chart.columns["from"] if value is not None] == [0, 1]
    assert chart.columns["phase"][0] == "before"
    assert chart.columns["phase"][29] == "after"
    assert [value for value in chart.columns["events"] if value is not None] == ["2 drops at client>server"]


def event(number: int, kind: str, ns: int, run: str, host: str = "client") -> str:
    context = {"kind": kind, "host": host, "run": run, "trial": 0}
    return json.dumps({"number": number, "timestamp_ns": ns, "type": "alert", "context": context})


def test_events_have_a_row_for_each_kind_and_host(tmp_path: Path) -> None:
    record = with_series(run_record(), tmp_path / "s.parquet")
    lines = [event(number, "rto", 10**9 + number * 10**7, record.run_id) for number in range(5)]
    lines += [event(9, "drop", 2 * 10**9, record.run_id, "server"), event(10, "rto", 10**9, "f" * 32)]
    chart = chart_of(document_of(with_events(record, tmp_path / "e.jsonl", lines)), "-events")
    counts: dict[object, float] = {}
    for kind, count in zip(chart.columns["kind"], chart.columns["count"], strict=True):
        counts[kind] = counts.get(kind, 0) + float(count or 0)
    assert counts == {"rto at client": 5, "drop at server": 1}


def test_files_are_found_beside_the_record(tmp_path: Path) -> None:
    record = with_series(run_record(), tmp_path / "s.parquet")
    moved = record.model_copy(update={"series": SeriesRecord(file="/somewhere/else/s.parquet", interval_ms=100.0)})
    assert list(document_of(moved, folder=tmp_path).charts())


@pytest.mark.parametrize(("content", "said"), [(None, "are not there"), (b"PAR1 no", "cannot be read")])
def test_a_file_that_is_missing_or_damaged_is_told(tmp_path: Path, content: bytes | None, said: str) -> None:
    path = tmp_path / "s.parquet"
    if content is not None:
        path.write_bytes(content)
    record = run_record().model_copy(update={"series": SeriesRecord(file=str(path), interval_ms=100.0)})
    blocks = section(document_of(record), "-courses").blocks
    assert said in repr(blocks)


def test_damaged_events_are_told(tmp_path: Path) -> None:
    record = with_series(run_record(), tmp_path / "s.parquet")
    lines = [f'{{"alert": "{record.run_id}"}}']
    assert "the events cannot be read" in texts(document_of(with_events(record, tmp_path / "e.jsonl", lines)))


def test_of_many_subjects_those_with_the_largest_values_are_drawn_and_the_rest_is_said(tmp_path: Path) -> None:
    names = tuple(f"flow-{number:02}" for number in range(20))
    record = run_record(entries=names)
    curves = [curve(name, RTT, [1000.0 * (number + 1)] * 30) for number, name in enumerate(names)]
    document = document_of(with_series(record, tmp_path / "s.parquet", curves, trials=1))
    chart = chart_of(document, "course-tcp-rtt-us-p99")
    assert all(name in chart.summary for name in names[-6:])
    assert all(name not in chart.summary for name in names[:-6])
    bullets = [block for block in flat(section(document, "-courses").blocks) if isinstance(block, Bullets)]
    assert "the 6 of 20 subjects" in bullets[0].items[0]


def test_all_charts_together_are_bounded(tmp_path: Path) -> None:
    names = tuple(f"flow{number}" for number in range(8))
    shown = run_record(entries=names)
    path = tmp_path / "s.parquet"
    with_series(shown, path, [*default_curves(shown, 2000)], trials=1)
    records = [
        run_record(f"s{number}", 1, entries=names).model_copy(
            update={"series": SeriesRecord(file=str(path), interval_ms=100.0)}
        )
        for number in range(12)
    ]
    drawn = sum(chart.values for chart in document_of(*records).charts() if "course" in chart.name)
    assert 10_000 < drawn <= VALUES


def test_distributions_are_of_this_run_beside_the_baseline(tmp_path: Path) -> None:
    slow = [curve("bulk", RTT, [30_000.0] * 10 + [60_000.0] * 10)]
    record = with_series(run_record(entries=("bulk",)), tmp_path / "s.parquet", slow)
    before = with_series(
        run_record(number=7, entries=("bulk",)), tmp_path / "b.parquet", [curve("bulk", RTT, [20_000.0] * 20)]
    )
    chart = chart_of(document_of(record, baseline=before), "spread-tcp-rtt-us-p99")
    assert (
        chart.summary
        == "baseline: 60 values, median 20 ms, largest 20 ms; this run: 60 values, median 45 ms, largest 60 ms"
    )
    last = {
        side: share for side, share, mark in zip(
            chart.columns["side"], chart.columns["share"], chart.columns["percentile"], strict=True
        ) if mark is None
    }  # fmt: skip
    assert last == {"baseline": 100, "this run": 100}


def test_of_one_metric_each_subject_has_a_distribution_of_its_own_name(tmp_path: Path) -> None:
    record = with_series(run_record(), tmp_path / "s.parquet")
    before = with_series(run_record(number=7), tmp_path / "b.parquet")
    names = [chart.name for chart in document_of(record, baseline=before).charts() if "-spread-" in chart.name]
    assert names == ["r1-spread-tcp-rtt-us-p99", "r1-spread-tcp-rtt-us-p99-2"]


def test_the_scale_of_trials_does_not_make_noise_look_like_a_change() -> None:
    record = failed_record()
    chart = next(chart for chart in document_of(record).charts() if "-trials-" in chart.name)
    low, high = chart.spec["layer"][0]["encoding"]["x"]["scale"]["domain"]
    assert high - low >= 0.1 * high
    assert numbers(chart, "value")
    assert all(low <= value <= high for value in numbers(chart, "value"))
