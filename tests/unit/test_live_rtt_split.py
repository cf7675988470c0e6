"""What TCP alone says of latency: sums over intervals, and what is told of them."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from perfcheck.cli.perfctl import latency_run
from perfcheck.cli.perfctl.options import output_of, request_of
from perfcheck.cli.perfctl.registry import parse
from perfcheck.live.rtt_split import Splits
from perfcheck.model.flow_table import AF_INET, FlowTable
from perfcheck.model.interval import Interval


def flows(rows: int = 1, **cells: Any) -> FlowTable:
    made = FlowTable.empty(rows)
    made.columns["family"][:] = AF_INET
    made.columns["cookie"][:] = np.arange(1, rows + 1)
    made.columns["elapsed_us"][:] = 1_000_000
    for name, cell in cells.items():
        made.columns[name][:] = cell
    return made


SENDER: dict[str, Any] = {
    "bytes_acked": 1_000_000, "min_rtt_us": 20_000.0, "rtt_min_us": 21_000.0, "rtt_mean_us": 50_000.0, "srtt_us": 1.0,
    "sendq_bytes": 120_000.0, "inflight_segs": 20.0, "mss_bytes": 1000.0, "handshake_us": 22_000.0,
    "established_ns": 5,
}  # fmt: skip
READER: dict[str, Any] = {
    "bytes_received": 500_000, "recvq_bytes": 50_000.0, "srtt_us": 25_000.0, "min_rtt_us": 20_000.0
}  # fmt: skip


def interval(number: int, table: FlowTable) -> Interval:
    return Interval(
        number=number, begin_ns=number * 10**9 + 1, end_ns=(number + 1) * 10**9, epoch_ns=10**18, flows=table
    )


def test_round_trips_are_the_path_and_what_is_above_it() -> None:
    splits = Splits()
    splits.add(flows(**SENDER))
    splits.add(flows(**{**SENDER, "rtt_mean_us": 30_000.0}))
    (found,) = splits.largest(5)
    assert (found.path_us, found.rtt_us, found.queue_us, found.handshake_us) == (20_000, 40_000, 20_000, 22_000)
    assert (found.unsent_bytes, found.send_wait_us) == (100_000, 100_000)
    lines = list(found.lines())
    assert lines == [
        "handshake 22 ms",
        "RTT 40 ms = path 20 ms (the smallest) + queues and late hosts 20 ms",
        "send buffer: 100 kB wait to be sent, for about 100 ms",
    ]


def test_unread_data_waits_for_the_application() -> None:
    splits = Splits()
    splits.add(flows(**READER))
    (found,) = splits.largest(5)
    assert list(found.lines())[1] == "application: 50 kB wait to be read, for about 100 ms"
    splits = Splits()
    splits.add(flows(recvq_bytes=100.0))
    assert [list(each.lines()) for each in splits.largest(1)] == [["application: 100 B wait to be read"]]


def test_nothing_is_said_of_what_is_not_known_and_memory_is_bounded() -> None:
    splits = Splits()
    splits.add(flows())
    assert [list(each.lines()) for each in splits.largest(5)] == [[]]
    for first in range(0, 5000, 50):
        table = flows(50, bytes_acked=np.arange(50))
        table.columns["cookie"][:] += first
        splits.add(table)
    assert len(splits) <= 1100


def perfctl(words: Sequence[str], intervals: Sequence[Interval], out: Path) -> str:
    args, command = parse(["latency", *words, "--output-file", str(out)])

    @contextmanager
    def opened() -> Iterator[Sequence[Interval]]:
        yield intervals

    assert latency_run.run(args, request_of(args, command), output_of(args, command), opened) == 0
    return out.read_text(encoding="utf-8")


def test_connections_are_told_in_80_columns(tmp_path: Path) -> None:
    text = perfctl([], [interval(number, flows(**SENDER)) for number in range(2)], tmp_path / "out")
    assert "What TCP says, in 2.0 s:" in text
    assert "RTT 50 ms = path 20 ms" in text
    assert "Add --detail" in text
    assert all(len(line) <= 80 for line in text.splitlines())


def test_events_carry_the_time_and_the_figures(tmp_path: Path) -> None:
    text = perfctl(["--output", "json"], [interval(0, flows(**SENDER))], tmp_path / "out")
    (event,) = map(json.loads, text.splitlines())
    assert event["timestamp_ns"] == 10**9
    assert event["type"] == "summary"
    assert event["metrics"]["tcp.queue_delay_us"] == pytest.approx(30_000)
    assert event["flow"]["protocol"] == "tcp"


def test_no_connection_is_said(tmp_path: Path) -> None:
    assert "no connection that passes the filters" in perfctl([], [], tmp_path / "out")
