"""What `perfcheck show` marks on the time of a run: phases and alerts, as far as the record has them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from perfcheck.cli import main
from perfcheck.errors import RecordError
from perfcheck.model.record import EventsRecord, PhaseRecord, RunRecord, SeriesRecord, TrialPhase
from perfcheck.model.series import Curve
from perfcheck.output.alerts import MAX_LINE, Alert, read_alerts
from perfcheck.output.chart import MARGIN, Axis, axis_lines, marks, phase_names
from perfcheck.output.series import SeriesFile
from perfcheck.testing import make_record

SECOND = 10**9
BEGAN_NS = 400 * SECOND


def event(kind: str, seconds: float, **changes: Any) -> str:
    context = {"kind": kind, "host": "client", "run": "ab12", "scenario": "example", "trial": 0}
    whole = {"timestamp_ns": BEGAN_NS + round(seconds * SECOND), "type": "alert", "context": context}
    return json.dumps(whole | changes)


def run_of(folder: Path, events: list[str] | None, **changes: Any) -> RunRecord:
    """Write ten seconds of series, and events; the record names both, as if they had been written elsewhere."""
    t_ns = np.arange(1, 101, dtype=np.int64) * (SECOND // 10)
    file = SeriesFile(folder / "s.parquet")
    curve = Curve(subject="rpc", metric="app.latency_us.p99", t_ns=t_ns, values=np.arange(100.0))
    file.write([curve], run_id="ab12", trial=0)
    file.close()
    if events is not None:
        (folder / "e.jsonl").write_text("".join(f"{line}\n" for line in events))
    record = make_record({"app.latency_us.p99": (1.0,)})
    trial = record.trials[0].model_copy(
        update={
            "began_ns": BEGAN_NS,
            "phases": {"before": TrialPhase(begin_ns=SECOND), "outage": TrialPhase(begin_ns=5 * SECOND)},
        }
    )
    fields = {
        "run_id": "ab12", "trials": (trial,), "series": SeriesRecord(file="elsewhere/s.parquet", interval_ms=100),
        "events": None if events is None else EventsRecord(file="elsewhere/e.jsonl"),
        "phases": {
            name: PhaseRecord(begin_ns=begin_s * SECOND, metrics={})
            for name, begin_s in (("before", 1), ("outage", 3), ("after", 8))
        },
    }  # fmt: skip
    return record.model_copy(update=fields | changes)


def shown(record: RunRecord, folder: Path, capsys: pytest.CaptureFixture[str], status: int = 0) -> list[str]:
    path = folder / "runs.jsonl"
    path.write_text(record.to_json() + "\n")
    assert main(["show", str(path)]) == status
    out = capsys.readouterr()
    return (out.out if status == 0 else out.err).splitlines()


def seconds_of(line: str, mark: str) -> list[float]:
    """Return the times of a mark in a line; 72 columns of a file's hundred are ten seconds."""
    columns = 100 - MARGIN - 1
    return [(place - MARGIN) * 10 / columns for place, each in enumerate(line) if each == mark]


def test_phases_and_alerts_are_where_they_were(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    others = {"run": "cd34", "trial": 0, "kind": "drop", "host": "client"}
    events = [
        event("rto", 2.0), event("rto", 6.0), event("receive_queue_full", 9.0), event("drop", 4.0, type="summary"),
        event("drop", 4.0, type="detail"), event("drop", 4.0, context=others),
        event("drop", 4.0, context=others | {"run": "ab12", "trial": 1}),
    ]  # fmt: skip
    lines = shown(run_of(tmp_path, events), tmp_path, capsys)
    (rto,) = [line for line in lines if line.startswith("client") and " rto " in line]
    assert seconds_of(rto, "▲") == pytest.approx([2.0, 6.0], abs=0.15)
    (full,) = [line for line in lines if "receive queue full" in line]
    assert seconds_of(full, "▲") == pytest.approx([9.0], abs=0.15)
    assert not any("drop" in line for line in lines)
    names = [line for line in lines if "outage" in line]
    assert len(names) == 2
    # The trial's own begins: it says that the outage was late; of the last phase it says nothing.
    assert seconds_of(names[0], "┊") == pytest.approx([1.0, 5.0, 8.0], abs=0.15)


def test_a_record_of_before_phases_and_events_is_drawn_without_them(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    record = run_of(tmp_path, None)
    older = json.loads(record.to_json())
    for key in ("subjects", "phases", "events"):
        del older[key]
    for trial in older["trials"]:
        del trial["subjects"], trial["phases"], trial["began_ns"]
    path = tmp_path / "older.jsonl"
    path.write_text(json.dumps(older) + "\n")
    assert main(["show", str(path)]) == 0
    out = capsys.readouterr().out
    assert "app.latency_us.p99" in out
    assert "▲" not in out
    assert "┊" not in out


def test_a_run_without_any_event_has_left_no_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    record = run_of(tmp_path, [])
    (tmp_path / "e.jsonl").unlink()
    assert "events: no elsewhere/e.jsonl; a run without any leaves none" in shown(record, tmp_path, capsys)


@pytest.mark.parametrize(
    "line",
    [
        '"alert" ab12', '{"alert": "ab12"}', '["alert", "ab12"]', "[" * 20_000 + '"alert" ab12',
        event("rto", 1.0, timestamp_ns="soon"), event("rto", 1.0, timestamp_ns=True),
        event("rto", 1.0, timestamp_ns=10**40),
        event("rto", 1.0, context={"kind": 7, "run": "ab12", "trial": 0}),
        event("rto", 1.0, context="ab12"), f'"alert" ab12{"x" * MAX_LINE}',
    ],
)  # fmt: skip
def test_what_is_no_event_is_a_located_error(
    line: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:  # fmt: skip
    told = shown(run_of(tmp_path, [event("rto", 1.0), line]), tmp_path, capsys, status=2)
    assert f"{tmp_path / 'e.jsonl'}:2:1: " in told[0]


def test_a_folder_is_no_file_of_events(tmp_path: Path) -> None:
    with pytest.raises(RecordError, match="cannot be read"):
        list(read_alerts(tmp_path, run_id="ab12", trial=0))


def test_an_alert_s_words_are_made_printable(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    events = [event("\x1b[31mevil\n", 1.0)]
    record = run_of(tmp_path, events)
    assert list(read_alerts(tmp_path / "e.jsonl", run_id="ab12", trial=0)) == [
        Alert(kind="\x1b[31mevil\n", host="client", ns=BEGAN_NS + SECOND)
    ]
    lines = shown(record, tmp_path, capsys)
    assert any("evil" in line for line in lines)
    assert not any("\x1b" in line for line in lines)


@pytest.mark.parametrize("columns", [20, 51, 91])
def test_names_and_times_fit_the_axis(columns: int) -> None:
    phases = [("before", 0), ("outage", SECOND), ("a-very-long-name-of-a-phase", SECOND + 1), ("end", 59 * SECOND)]
    axis = Axis(begin_ns=0, end_ns=60 * SECOND, phases=phases)
    texts = [line.plain for line in axis_lines(axis, columns)]
    assert len(texts) == 3
    assert max(map(len, texts)) <= MARGIN + columns
    assert texts[0] == next(phase_names(axis, columns)).plain
    # Each time stands where the axis has its tick.
    ticks = [place for place, each in enumerate(texts[1]) if each == "┬"]
    begins = [place for place, each in enumerate(texts[2]) if each != " " and texts[2][place - 1] == " "]
    assert ticks == [place for place in begins if texts[2][place] != "s"]
    assert len(ticks) >= 2


@pytest.mark.parametrize("subject", ["a", "client", "a-very-long-subject-name"])
@pytest.mark.parametrize("what", ["rto", "receive queue full", "x" * 200])
def test_labels_of_marks_take_the_margin_and_no_more(subject: str, what: str) -> None:
    there = np.zeros(40, bool)
    there[[0, 39]] = True
    assert [place for place, each in enumerate(marks(subject, what, there).plain) if each == "▲"] == [
        MARGIN, MARGIN + 19,
    ]  # fmt: skip
