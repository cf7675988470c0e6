"""JSON lines and JUnit reports, read back by others' parsers."""

from __future__ import annotations

import json
import multiprocessing
import re
import shutil
import tracemalloc
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from perfcheck.errors import OutputError, RecordError, UsageError
from perfcheck.model.event import Event
from perfcheck.model.metric import Layer
from perfcheck.model.record import ComparisonRecord, ExpectationRecord
from perfcheck.model.series import Curve
from perfcheck.model.verdict import Verdict
from perfcheck.output import JsonLinesOutput, JunitOutput, read_records
from perfcheck.output.events import EventLines
from perfcheck.output.outputs import close_files
from perfcheck.output.series import SeriesFile
from perfcheck.testing import make_record, make_unmeasured_record

RTT = "tcp.rtt_us.p99"


def append(path: Path, name: str, count: int) -> None:
    output = JsonLinesOutput(path)
    output.open()
    for _ in range(count):
        output.write(make_record({RTT: (46e3, 47e3) * 200}, name=name))
    output.close()


def test_records_come_back_as_they_went(tmp_path: Path) -> None:
    path = tmp_path / "new/folder/records.jsonl"
    append(path, "one", 1)
    append(path, "two", 1)
    assert read_records(path) == (
        make_record({RTT: (46e3, 47e3) * 200}, name="one"), make_record({RTT: (46e3, 47e3) * 200}, name="two"),
    )  # fmt: skip
    assert [json.loads(line)["schema"] for line in path.read_text().splitlines()] == [1, 1]


def test_two_writers_at_once_tear_no_line(tmp_path: Path) -> None:
    path = tmp_path / "records.jsonl"
    context = multiprocessing.get_context("fork")
    writers = [context.Process(target=append, args=(path, name, 20)) for name in ("one", "two")]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join(60)
    names = [record.scenario.name for record in read_records(path)]
    assert (names.count("one"), names.count("two")) == (20, 20)


def test_standard_output(capsys: pytest.CaptureFixture[str]) -> None:
    output = JsonLinesOutput(None)
    output.open()
    output.write(make_record(name="out"))
    output.close()
    assert json.loads(capsys.readouterr().out)["scenario"]["name"] == "out"


def test_of_a_file_of_something_else_only_the_first_lines_are_told(tmp_path: Path) -> None:
    path = tmp_path / "README.md"
    path.write_text("no record\n" * 1000)
    with pytest.raises(RecordError) as caught:
        read_records(path)
    assert [problem.line for problem in caught.value.problems] == [1, 2, 3, 4, 5]


def test_a_line_that_a_kill_tore_costs_only_itself_and_is_named(tmp_path: Path) -> None:
    path = tmp_path / "records.jsonl"
    append(path, "one", 2)
    path.write_bytes(path.read_bytes()[:-40])
    append(path, "two", 1)
    with pytest.raises(RecordError) as caught:
        read_records(path)
    (problem,) = caught.value.problems
    assert (problem.file, problem.line) == (str(path), 2)
    assert "delete it" in problem.message
    lines = path.read_text().splitlines()
    path.write_text("\n".join([lines[0], lines[2]]))
    assert [record.scenario.name for record in read_records(path)] == ["one", "two"]


@pytest.mark.parametrize(
    ("content", "line", "message"),
    [
        (b"", 1, "the file is empty"),
        (b"\n\n", 1, "the file is empty"),
        (b"\xff\xfe", 1, "not UTF-8 text"),
        (b"\n{}\n", 2, "Field required"),
        (b"[1]\n", 1, "should be an object"),
        (b"nothing\n", 1, "expected a run record as JSON"),
    ],
)
def test_files_that_hold_no_records_are_told_with_the_line(
    tmp_path: Path, content: bytes, line: int, message: str
) -> None:
    path = tmp_path / "records.jsonl"
    path.write_bytes(content)
    with pytest.raises(RecordError) as caught:
        read_records(path)
    assert caught.value.problems[0].line == line
    assert message in caught.value.problems[0].message
    assert caught.value.exit_status == 2


@given(st.binary(max_size=200))
def test_whatever_a_file_holds_is_records_or_a_record_error(content: bytes) -> None:
    import tempfile

    with tempfile.NamedTemporaryFile() as file:
        file.write(content)
        file.flush()
        with pytest.raises(RecordError):
            read_records(Path(file.name))


def test_a_missing_file_is_told(tmp_path: Path) -> None:
    with pytest.raises(RecordError, match="No such file"):
        read_records(tmp_path / "none.jsonl")


def test_a_path_that_cannot_be_written_is_told_at_open(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(UsageError, match=r"file/records\.jsonl: cannot write"):
        JsonLinesOutput(tmp_path / "file/records.jsonl").open()
    with pytest.raises(UsageError, match=r"file/report\.xml: cannot write"):
        JunitOutput(tmp_path / "file/report.xml").open()


def test_a_full_disk_is_told(tmp_path: Path) -> None:
    output = JsonLinesOutput(Path("/dev/full"))
    output.open()
    with pytest.raises(OutputError, match="No space left"):
        output.write(make_record())
    output.close()


def expectation(metric: str, verdict: Verdict) -> ExpectationRecord:
    return ExpectationRecord(metric=metric, expected="<= 60ms", actual=61e3, verdict=verdict)


def test_junit(tmp_path: Path) -> None:
    missing = ComparisonRecord(
        metric=RTT, baseline=None, current=61e3, change_pct=None, detectable_pct=None, verdict=Verdict.NO_BASELINE,
        reason="a control character \x01 and <markup>",
    )  # fmt: skip
    record = make_record(
        {RTT: (61e3,)}, name="wan", environment={"kernel": "6.1", "cpu": {"model": "Fast"}},
        expectations=(expectation(RTT, Verdict.FAIL), expectation("tcp.rtt_us.p50", Verdict.PASS)),
        comparisons=(missing,),
    )  # fmt: skip
    output = JunitOutput(tmp_path / "out/report.xml")
    output.open()
    output.write(record)
    output.write(make_unmeasured_record("iperf3 failed\nunable to connect", name="lan"))
    output.close()
    output.close()
    root = ElementTree.fromstring((tmp_path / "out/report.xml").read_text())
    assert {key: root.attrib[key] for key in ("tests", "failures", "errors")} == {
        "tests": "4", "failures": "1", "errors": "1",
    }  # fmt: skip
    wan, lan = root.findall("testsuite")
    assert (wan.attrib["name"], wan.attrib["skipped"], wan.attrib["timestamp"]) == ("wan", "1", record.started_at)
    found = {each.attrib["name"]: each.attrib["value"] for each in wan.findall("properties/property")}
    assert found == {
        "environment.kernel": "6.1", "environment.cpu.model": "Fast", RTT: "61000.0", "diagnosis": "healthy (90 %)",
    }  # fmt: skip
    failed, passed, skipped = wan.findall("testcase")
    failure, skip = failed.find("failure"), skipped.find("skipped")
    assert failure is not None
    assert failure.attrib["message"] == f"{RTT} is 61 ms, expected <= 60ms"
    assert "  layer      TCP (transport)" in (failure.text or "")
    assert skip is not None
    assert skip.attrib["message"] == r"NO_BASELINE: a control character \x01 and <markup>"
    assert list(passed) == []
    error = lan.find("testcase/error")
    assert error is not None
    assert "unable to connect" in (error.text or "")
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["report.xml"]


def test_a_report_that_cannot_be_written_leaves_nothing(tmp_path: Path) -> None:
    path = tmp_path / "report.xml"
    output = JunitOutput(path)
    output.open()
    path.mkdir()
    with pytest.raises(OutputError, match="cannot write a JUnit report"):
        output.close()
    assert list(tmp_path.iterdir()) == [path]


def test_a_folder_in_a_reports_place_is_told_before_anything_is_measured(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot write a JUnit report: Is a directory"):
        JunitOutput(tmp_path).open()


def test_junit_without_records_is_still_a_report(tmp_path: Path) -> None:
    output = JunitOutput(tmp_path / "report.xml")
    output.open()
    output.close()
    assert ElementTree.fromstring((tmp_path / "report.xml").read_text()).tag == "testsuites"


def test_events_that_cannot_be_written_are_told_at_the_end_and_keep_nothing_from_being_measured() -> None:
    event = Event(number=1, timestamp_ns=1, flow=None, layer=Layer.TCP, metric="tcp.rtt_us", value=1.0)
    lines = EventLines(Path("/dev/full"))
    lines.open()
    for trial in range(2):
        lines.write([event], run_id="r", scenario="wan", trial=trial, epoch_ns=0)
    with pytest.raises(OutputError, match="/dev/full: cannot write events: No space left on device"):
        lines.close()
    lines.close()


def test_each_file_of_a_session_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    """A full disk costs both: the second must not hide behind the first."""
    event = Event(number=1, timestamp_ns=1, flow=None, layer=Layer.TCP, metric="tcp.rtt_us", value=1.0)
    curve = Curve(metric="tcp.rtt_us.p50", subject=None, t_ns=np.array([1]), values=np.array([1.0]))
    (tmp_path / "gone").mkdir()
    lines, series, closed = EventLines(Path("/dev/full")), SeriesFile(tmp_path / "gone" / "s.parquet"), []
    for file in (lines, series):
        file.open()
    lines.write([event], run_id="r", scenario="wan", trial=0, epoch_ns=0)
    series.write([curve], run_id="r", trial=0)
    shutil.rmtree(tmp_path / "gone")
    with pytest.raises(OutputError) as told:
        close_files([lines.close, series.close, lambda: closed.append(1)])
    assert re.search("/dev/full: cannot write events.*\n.*s.parquet: cannot write the series", str(told.value))
    assert closed == [1]
    close_files([lines.close, series.close])


def test_a_file_without_an_event_is_not_left(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    path.write_text("of an earlier run\n")
    lines = EventLines(path)
    lines.open()
    lines.write([], run_id="r", scenario="wan", trial=0, epoch_ns=0)
    lines.close()
    assert not path.exists()
    lines.close()


def test_a_file_of_empty_lines_is_not_taken_apart(tmp_path: Path) -> None:
    path = tmp_path / "records.json"
    path.write_bytes(b"\n" * 30_000_000)
    tracemalloc.start()
    try:
        with pytest.raises(RecordError, match=r"records.json:20001:1: expected at most 20,000 lines, got 30,000,001"):
            read_records(path)
        assert tracemalloc.get_traced_memory()[1] < 150_000_000
    finally:
        tracemalloc.stop()
