"""`perfctl tcp` on intervals made by hand: tables at every width, events, closed connections, triggers, trends."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from live_intervals import FULL_ACCOUNTING, a_histogram, flow_table, interval, packed
from perfctl_commands import run_command

from perfcheck.cli.perfctl.columns import Column, table_lines
from perfcheck.cli.perfctl.tcp_view import connection_columns
from perfcheck.errors import RecordingError, Stopped
from perfcheck.live.recording import open_recording
from perfcheck.live.short_values import short
from perfcheck.model.flow_table import FlowTable
from perfcheck.model.interval import Interval, LiveRequest


def busy(rows: int = 3, **more: Any) -> FlowTable:
    columns: dict[str, Any] = {
        "bytes_acked": 1_000_000 * np.arange(1, rows + 1), "send_bps": 8e6 * np.arange(1, rows + 1),
        "receive_bps": 0.0, "srtt_us": 20_000.0, "rtt_p50_us": 20_000.0, "rtt_p99_us": 31_000.0, "min_rtt_us": 19_000.0,
        "cwnd_segs": 40.0, "data_segs_out": 1000, "elapsed_us": 1_000_000, "busy_us": 1_000_000,
    }  # fmt: skip
    return flow_table(rows, **{**columns, **more})


def lines_of(capsys: pytest.CaptureFixture[str]) -> list[str]:
    return capsys.readouterr().out.splitlines()


def events_of(capsys: pytest.CaptureFixture[str]) -> list[dict[str, Any]]:
    def refuse(text: str) -> None:
        raise AssertionError(text)

    return [json.loads(line, parse_constant=refuse) for line in lines_of(capsys)]


def test_a_table_an_interval_and_a_summary(capsys: pytest.CaptureFixture[str]) -> None:
    told = {"histograms": {"tcp.rtt_us": a_histogram()}, "accounting": FULL_ACCOUNTING, "lacks": {"x.y": "no BPF"}}
    assert run_command("tcp", [interval(number, busy(25), **told) for number in range(2)]) == 0
    lines = lines_of(capsys)
    assert lines.count("not measured: x.y: no BPF") == 1
    assert sum("connections (3 opened, 2 closed), sent 2.6 Gbit/s" in line for line in lines) == 2
    rows = [line for line in lines if "->10.0.0.2:5201" in line]
    assert len(rows) == 40
    assert rows[0].startswith("10.0.0.1:40024->10.0.0.2:5201  iperf3[100]        200M")
    assert "  and 5 more connections; --output json tells all" in lines
    assert "1 connection had no room among the records: raise --max-flows" in lines
    assert "left out to stay below --cpu-ceiling: detail, events of drops" in lines
    assert "watched 2.0 s in 2 intervals: at most 25 connections at a time, 6 opened, 4 closed" in lines
    assert any("RTT p50" in line and "14 samples" in line for line in lines)


def test_a_closed_connection_is_told_with_its_totals(capsys: pytest.CaptureFixture[str]) -> None:
    table = busy(
        2, closed=[False, True], total_bytes_acked=5_000_000, total_bytes_received=900, total_retrans_segs=7,
        total_data_segs_out=4000, established_ns=998_000_000_000, last_ns=1000_500_000_000,
    )  # fmt: skip
    run_command("tcp", [interval(0, table)])
    lines = lines_of(capsys)
    assert sum(":40001" in line for line in lines) == 1
    assert [line.split() for line in lines if ":40001" in line or "CLOSED" in line] == [
        ["CLOSED", "PROCESS", "LASTED", "SENT", "RECEIVED", "RETRANS"],
        ["10.0.0.1:40001->10.0.0.2:5201", "iperf3[100]", "2.5s", "5MB", "900B", "7", "of", "4,000"],
    ]


@pytest.mark.parametrize("width", [40, 80, 100, 160])
def test_a_table_is_no_wider_than_the_terminal(width: int) -> None:
    table = busy(5, comm=b"a-process-of-15", family=10, local=packed("2001:db8:1234:5678::dead:beef"))
    lines = table_lines(connection_columns(table), width)
    assert max(map(len, lines)) <= width
    assert all(":5201" in line for line in lines[1:])
    if width >= 80:
        assert all(heading in lines[0] for heading in ("SEND bit/s", "RTT", "RETRANS"))
    if width >= 100:
        assert "RECV" in lines[0]


def test_what_a_program_reads_is_not_cut() -> None:
    (heading, *_) = table_lines(connection_columns(busy()), None)
    for word in ("RTT min", "SSTHRESH", "INFLIGHT", "RWND/SNDBUF/APP %", "SEND-Q", "RECV-Q", "SNDBUF", "RCVBUF"):
        assert word in heading


def test_nothing_of_a_process_name_reaches_the_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    run_command("tcp", [interval(0, busy(1, comm=b"\x1b[31m\r::error::"))])
    found = capsys.readouterr().out
    assert "\x1b" not in found
    assert "\r" not in found


def test_an_event_a_connection_and_interval(capsys: pytest.CaptureFixture[str]) -> None:
    table = busy(3, closed=[False, False, True], total_retrans_segs=9, rtt_max_us=np.inf)
    assert run_command("tcp --output json", [interval(0, table), interval(1, busy(1))]) == 0
    events = events_of(capsys)
    assert [event["number"] for event in events] == [0, 1, 2, 3]
    first, last = events[0], events[2]
    assert first["tool"] == "perfctl tcp"
    assert (first["type"], first["layer"]) == ("summary", "tcp")
    assert first["flow"]["src_port"] == 40000
    assert first["metrics"]["tcp.rtt_us.p99"] == 31_000.0
    assert first["metrics"]["tcp.bytes_acked"] == first["value"] == 1_000_000
    assert first["context"]["bottleneck"]
    assert "tcp.rttvar_us" not in first["metrics"]
    assert "tcp.rtt_us.max" not in first["metrics"]
    assert "closed" not in first["context"]
    assert "tcp.total_retrans_segs" not in first["metrics"]
    assert last["context"]["closed"] is True
    assert last["metrics"]["tcp.total_retrans_segs"] == 9


def test_groups_have_sums_and_percentiles(capsys: pytest.CaptureFixture[str]) -> None:
    table = busy(4, comm=np.array([b"web", b"web", b"db", b"db"], "S16"), cwnd_segs=[10.0, 30.0, 5.0, np.nan])
    run_command("tcp --group-by app", [interval(0, table)])
    lines = lines_of(capsys)
    assert lines[2].split() == [
        "GROUP", "CONNECTIONS", "SEND", "bit/s", "RECV", "bit/s", "RETRANS", "RTT", "p50/p90/p99", "CWND",
        "p50/p90/p99", "SEND", "p50/p90/p99", "SEND-Q", "RECV-Q",
    ]  # fmt: skip
    assert lines[3].split()[:3] == ["db", "2", "56M"]
    assert "20/28/30" in lines[4]
    run_command("tcp --group-by app --output json", [interval(0, table)])
    events = {event["context"]["group"]: event for event in events_of(capsys)}
    assert events["web"]["flow"] is None
    assert events["web"]["metrics"]["tcp.cwnd_segs.connections_p50"] == 20.0
    assert events["db"]["metrics"]["tcp.bytes_acked"] == 7_000_000


def test_ebpf_mode_tells_only_what_a_trigger_finds(capsys: pytest.CaptureFixture[str]) -> None:
    quiet = busy(3)
    loud = busy(3, rwnd_limited_us=[0, 600_000, 0], cwnd_min_segs=[40.0, 40.0, 3.0])
    words = "tcp --event-mode ebpf --rwnd-limited-above 50 --cwnd-below 10"
    run_command(words, [interval(0, quiet), interval(1, loud), interval(2, quiet)])
    lines = lines_of(capsys)
    rows = [line for line in lines if "->10.0.0.2" in line and not line.startswith("advice")]
    assert [row.rpartition("  ")[2] for row in rows] == [
        "cwnd 3 segments (below 10)", "receive window limits 60 % of its busy time (above 50 %)",
    ]  # fmt: skip
    run_command(f"{words} --output json", [interval(0, quiet), interval(1, loud)])
    events = events_of(capsys)
    assert [(event["type"], event["flow"]["src_port"]) for event in events] == [("alert", 40001), ("alert", 40002)]
    assert events[1]["context"]["trigger"] == "cwnd 3 segments (below 10)"


def rising(first: int, count: int) -> list[Interval]:
    return [
        interval(number, busy(1, rtt_p50_us=20_000.0 + 1000 * number, cwnd_segs=40.0))
        for number in range(first, first + count)
    ]


def test_trends_are_a_column(capsys: pytest.CaptureFixture[str]) -> None:
    run_command("tcp --trend", rising(0, 20))
    assert any(line.endswith("RTT rising, cwnd limited") for line in lines_of(capsys))
    run_command("tcp --trend --group-by process --output json", rising(0, 20))
    assert events_of(capsys)[-1]["context"]["trend"] == "RTT rising, cwnd limited"


def test_a_later_run_continues_the_history(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "history.rec"
    run_command(f"tcp --history-file {file}", rising(0, 6))
    torn = file.read_bytes()[:50]
    with file.open("ab") as stream:
        stream.write(torn)
    run_command(f"tcp --trend --history-file {file}", rising(10, 6))
    assert any(line.endswith("RTT rising, cwnd limited") for line in lines_of(capsys))
    with open_recording(file, LiveRequest()) as intervals:
        assert [each.number for each in intervals] == [*range(6), *range(10, 16)]


def test_a_history_is_bounded_by_its_duration(tmp_path: Path) -> None:
    file = tmp_path / "history.rec"
    for begin in (0, 100):
        run_command(f"tcp --history-file {file} --history-duration 20s", rising(begin, 60))
        with open_recording(file, LiveRequest()) as intervals:
            numbers = [each.number for each in intervals]
        assert numbers == list(range(numbers[0], begin + 60))
        assert 20 <= len(numbers) <= 26


def test_a_damaged_history_is_one_line(tmp_path: Path) -> None:
    file = tmp_path / "history.rec"
    file.write_bytes(b"something else, and long enough for a header of a frame")
    with pytest.raises(RecordingError, match=r"history\.rec: not a recording of perfctl$"):
        run_command(f"tcp --history-file {file}", rising(0, 6))
    assert file.read_bytes().startswith(b"something else")


def test_ctrl_c_ends_with_a_summary(capsys: pytest.CaptureFixture[str]) -> None:
    def interrupted(error: BaseException) -> Iterator[Interval]:
        yield interval(0, busy())
        raise error

    assert run_command("tcp", interrupted(KeyboardInterrupt())) == 0
    assert "watched 1.0 s in 1 interval: at most 3 connections at a time, 0 opened, 0 closed" in lines_of(capsys)
    with pytest.raises(Stopped):
        run_command("tcp", interrupted(Stopped("stopped by SIGTERM")))
    assert any(line.startswith("watched 1.0 s") for line in lines_of(capsys))
    assert run_command("tcp", []) == 0
    assert lines_of(capsys) == ["", "no interval was over before the end"]


def test_advice_is_shown_at_the_end(capsys: pytest.CaptureFixture[str]) -> None:
    run_command("tcp --apply", [interval(0, busy())])
    assert lines_of(capsys)[-1] == "no advice: nothing that was seen is limited by a setting of this machine"
    run_command("tcp --apply --output json", [interval(0, busy())])
    assert capsys.readouterr().err.startswith("no advice: ")


@st.composite
def any_tables(draw: st.DrawFn) -> FlowTable:
    """Return a table of any bytes, as a recording of somebody else's may hold."""
    rows = draw(st.integers(0, 4))
    seed = draw(st.integers(0, 2**32))
    drawn = np.random.default_rng(seed)
    table = FlowTable.empty(rows)
    for name, column in table.columns.items():
        raw = drawn.integers(0, 256, column.nbytes, dtype=np.uint8) if drawn.random() < 0.7 else 0
        column.view("u1").reshape(-1)[:] = (raw & 1) if name in {"passive", "closed"} else raw
    return table


@pytest.mark.parametrize("words", [
    "tcp", "tcp --output json", "tcp --group-by app", "tcp --group-by process --output json", "tcp --trend",
    "tcp --event-mode ebpf --cwnd-below 5 --rwnd-limited-above 1",
])  # fmt: skip
@settings(deadline=None, max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(tables=st.lists(any_tables(), min_size=1, max_size=3))
def test_whatever_a_recording_holds_is_shown(
    words: str, tables: list[FlowTable], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_command(words, [interval(number, table) for number, table in enumerate(tables)]) == 0
    if "json" in words:
        events_of(capsys)
    else:
        assert "\x1b" not in capsys.readouterr().out


def test_results_go_to_a_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for form in ("console", "json"):
        run_command(f"tcp --output {form} --output-file {tmp_path / form}", [interval(0, busy())])
    assert capsys.readouterr().out == ""
    assert "watched 1.0 s in" in (tmp_path / "console").read_text()
    assert len((tmp_path / "json").read_text().splitlines()) == 3


def test_ten_thousand_connections_cost_little(capsys: pytest.CaptureFixture[str]) -> None:
    rows = 10_000
    table = busy(rows, bytes_acked=np.random.default_rng(1).integers(0, 10**6, rows))
    begin = time.process_time()
    run_command("tcp", [interval(number, table) for number in range(10)])
    assert (time.process_time() - begin) / 10 < 0.3
    assert len(lines_of(capsys)) < 300


@pytest.mark.parametrize(("value", "unit", "text"), [
    (float("nan"), "us", "-"), (0.0, "bps", "0"), (20_100.0, "us", "20.1ms"), (999.7, "us", "1ms"),
    (350.0, "us", "350us"), (941e6, "bps", "941M"), (0.5, "us", "0.5us"), (12.0, "count", "12"), (1.5, "count", "1.5"),
    (123_456.0, "count", "123k"), (1234.0, "bytes", "1.23kB"),
])  # fmt: skip
def test_short_values(value: float, unit: str, text: str) -> None:
    assert short(value, unit) == text


def test_the_columns_of_largest_rank_go_first() -> None:
    columns = [Column(heading=name, rank=rank, cells=["x" * 10]) for name, rank in (("A", 0), ("B", 2), ("C", 1))]
    assert [len(table_lines(columns, width)[0].split()) for width in (34, 33, 21, 5)] == [3, 2, 1, 1]
    assert table_lines(columns, 25)[0].split() == ["A", "C"]
