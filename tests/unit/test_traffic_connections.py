"""Short connections: bounds in files, the log of the client, and client and server against each other on loopback."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError
from scenario_texts import changed

from perfcheck.analyse.together import common_rates
from perfcheck.errors import ScenarioError, TrafficError
from perfcheck.model.observation import TrafficReport
from perfcheck.model.scenario import TrafficSpec
from perfcheck.model.traffic import ConnectionsSpec
from perfcheck.scenario import load_text
from perfcheck.system.clock import wait_until
from perfcheck.testing import FakeHost, FakeProcess
from perfcheck.traffic.connections import client, server
from perfcheck.traffic.connections.log import (
    KINDS,
    ConnectionLog,
    connection_arrivals,
    connection_metrics,
    read_log,
)  # fmt: skip
from perfcheck.traffic.connections.session import Connections

SECOND: Final = 10**9
OUTCOMES: Final = range(5)


def spec(**keys: Any) -> ConnectionsSpec:
    return ConnectionsSpec.model_validate({"from": "client", "to": "server", **keys})


@pytest.mark.parametrize(
    ("keys", "expected"),
    [
        ("rate: 0", "connections.rate: expected at least 1"),
        ("concurrency: 2001", "connections.concurrency: expected at most 2000"),
        ("size: 2mb", "connections.size: expected at most 1mb, got '2mb'"),
        ("duration: 50ms", "connections.duration: expected at least"),
        ("timeout: 1us", "connections.timeout: expected at least"),
        ("backlog: 0", "connections.backlog: expected at least 1"),
        ("accept: 20000", "connections.accept: expected at most 10000"),
        ("rate: 1000000, duration: 3s", "expected at most 2000000 connections in a run, got 3000000 (rate x duration)"),
        ("concurency: 5", "connections.concurency: unknown key; did you mean 'concurrency'?"),
        ("to: sever", "connections.to: unknown host 'sever'; did you mean 'server'?"),
        ("to: client", "expected two different hosts, got 'client' twice"),
    ],
)  # fmt: skip
def test_what_is_beyond_the_bounds_is_told_where_it_is(keys: str, expected: str) -> None:
    given_keys = {"from": "client", "to": "server"} | {keys.split(":", maxsplit=1)[0]: ""}
    ends = ", ".join(f"{key}: {value}" for key, value in given_keys.items() if value)
    text = changed(("iperf3: {from: client, to: server, duration: 2s}", f"connections: {{{ends}, {keys}}}"))
    with pytest.raises(ScenarioError) as caught:
        load_text(text, "x.yaml")
    assert expected in str(caught.value)


def test_all_entries_together_are_bounded() -> None:
    entry = "connections: {from: client, to: server, concurrency: 2000}"
    text = changed(
        ("- iperf3: {from: client, to: server, duration: 2s}", "\n".join([f"- {entry}", *[f"  - {entry}"] * 2]))
    )
    with pytest.raises(ScenarioError, match="expected at most 4000 streams and connections in all, got 6000"):
        load_text(text, "x.yaml")


def test_a_spec_by_itself_is_bounded_as_well() -> None:
    assert spec().concurrency == 100
    with pytest.raises(ValidationError):
        spec(rate=1_000_000, duration="3s")


connection = st.tuples(
    st.integers(0, 3 * SECOND), st.integers(-1, SECOND), st.integers(-1, SECOND), st.integers(0, SECOND),
    st.sampled_from(OUTCOMES),
)  # fmt: skip


def log_of(rows: Sequence[tuple[int, ...]]) -> ConnectionLog:
    return read_log(np.array(rows, dtype=np.int64).tobytes())


@given(st.lists(connection, max_size=50), st.integers(0, 2 * SECOND))
def test_every_connection_is_done_or_failed_in_one_way(rows: list[tuple[int, ...]], warmup_ns: int) -> None:
    log = log_of(rows)
    counts, metrics = log.counts(), connection_metrics(log, warmup_ns, 3 * SECOND)
    assert counts["opened"] == len(rows) == counts["done"] + sum(counts[kind] for kind in KINDS)
    assert metrics["app.errors"] == sum(counts[kind] for kind in KINDS)
    by_kind = metrics["app.refused"] + metrics["app.timeouts"] + metrics["app.resets"]
    assert by_kind + counts["other"] == metrics["app.errors"]
    assert all(value >= 0 for value in metrics.values())


@given(st.lists(connection, min_size=1, max_size=50), st.integers(0, 2 * SECOND))
def test_arrivals_have_each_connection_that_succeeded_once(rows: list[tuple[int, ...]], warmup_ns: int) -> None:
    log = log_of(rows)
    arrived, _ = connection_arrivals(log, warmup_ns)
    assert sum(each.connections for each in arrived) == log.counts()["done"]
    assert all(each.answers == 0 and each.size_bytes == 0 for each in arrived)


def test_percentiles_are_those_of_connections_opened_after_the_warm_up() -> None:
    early = [(0, 9_000_000, 9_500_000, 10**7, 0)] * 10
    late = [
        (SECOND + number * 1000, number * 1000, 2 * number * 1000, 3 * number * 1000, 0) for number in range(1, 102)
    ]
    found = connection_metrics(log_of(early + late), SECOND, 2 * SECOND)
    assert found["app.connections_per_s"] == 101.0
    assert (found["app.connect_us.p50"], found["app.connect_us.max"]) == (51.0, 101.0)
    assert found["app.first_byte_us.p99"] == pytest.approx(200.0)


def test_rates_of_two_generators_are_added_over_one_time() -> None:
    def report(begin_ns: int) -> TrafficReport:
        log = log_of([(begin_ns + number * 10**7, 1000, 2000, 3000, 0) for number in range(100)])
        arrived, span = connection_arrivals(log, 0)
        metrics = connection_metrics(log, 0, SECOND)
        return TrafficReport(
            generator="connections", flows=(), metrics=metrics, start_ns=begin_ns, end_ns=begin_ns + SECOND,
            arrivals=arrived, measured_ns=span,
        )  # fmt: skip

    rates = common_rates([report(5 * SECOND), report(5 * SECOND)])
    assert rates["app.connections_per_s"] == pytest.approx(200, rel=0.02)
    assert rates.keys() == {"app.connections_per_s"}, "a connection is no answer to a request of another generator"


def test_a_log_that_was_cut_off_is_an_error() -> None:
    with pytest.raises(TrafficError, match="cut off"):
        read_log(b"1234567")


@contextmanager
def serving(**keys: Any) -> Iterator[dict[str, Any]]:
    """Start the server on a free port of this machine and yield what a client is to be told."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    config = {"address": "127.0.0.1", "port": port, "size": 100, "backlog": 4096, "accept_per_s": None, **keys}
    process = subprocess.Popen([sys.executable, "-I", "-S", server.__file__, json.dumps(config)])
    try:
        assert wait_until(lambda: _listens(port), timeout_s=10)
        yield config
    finally:
        process.kill()
        process.wait()


def _listens(port: int) -> bool:
    rows = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    return any(row[1].endswith(f":{port:04X}") and row[3] == "0A" for row in rows)


def run_client(folder: Path, config: dict[str, Any], **keys: Any) -> ConnectionLog:
    asked = {
        "rate_per_s": 200, "duration_ns": SECOND // 4, "concurrency": 100, "timeout_ns": 5 * SECOND, "most": 10**6,
        "log": str(folder / "log"),
    }  # fmt: skip
    argv = [sys.executable, "-I", "-S", client.__file__, json.dumps({**config, **asked, **keys})]
    subprocess.run(argv, check=True, timeout=60)
    return read_log((folder / "log").read_bytes())


@pytest.mark.parametrize("size", [1, 100, 1_000_000])
def test_connections_are_opened_at_the_rate_and_answered(tmp_path: Path, size: int) -> None:
    with serving(size=size) as config:
        log = run_client(tmp_path, config)
    counts = log.counts()
    assert counts["opened"] == counts["established"] == counts["done"]
    assert 40 <= counts["opened"] <= 51
    assert (log.connect_ns <= log.first_byte_ns).all()
    assert (log.first_byte_ns <= log.length_ns).all()
    begun = np.sort(log.begin_ns)
    assert (begun - begun[0] >= np.arange(len(begun)) * (SECOND // 200) - SECOND // 1000).all(), "none before its turn"


def test_no_more_are_open_at_a_time_than_the_file_allows(tmp_path: Path) -> None:
    with serving() as config:
        log = run_client(tmp_path, config, rate_per_s=None, concurrency=3)
    assert log.counts()["done"] == log.counts()["opened"] > 20
    moments = sorted([(at, 1) for at in log.begin_ns] + [(at, -1) for at in log.begin_ns + log.length_ns])
    assert max(np.cumsum([step for _, step in moments])) <= 3


def test_a_run_ends_at_the_bound_on_their_number(tmp_path: Path) -> None:
    with serving() as config:
        assert run_client(tmp_path, config, most=7, duration_ns=60 * SECOND).counts()["done"] == 7


def test_a_port_on_which_nobody_listens_refuses_all(tmp_path: Path) -> None:
    with serving() as config:
        pass
    counts = run_client(tmp_path, config).counts()
    assert counts["refused"] == counts["opened"] > 0


def test_a_server_that_accepts_slowly_lets_connections_time_out(tmp_path: Path) -> None:
    with serving(accept_per_s=20, backlog=2) as config:
        log = run_client(tmp_path, config, timeout_ns=SECOND // 4)
    counts = log.counts()
    assert counts["timed_out"] >= 20
    assert counts["done"] + counts["timed_out"] == counts["opened"]
    assert counts["done"] <= 20 * 0.6 + 3
    assert log.length_ns.max() < SECOND


def test_a_connection_that_the_server_resets_is_told_so(tmp_path: Path) -> None:
    with serving() as config, socket.socket() as resetting:
        resetting.bind(("127.0.0.1", 0))
        resetting.listen(64)
        asked = {**config, "port": resetting.getsockname()[1]}
        argv = [sys.executable, "-I", "-S", client.__file__]
        keys = {"rate_per_s": None, "duration_ns": 60 * SECOND, "concurrency": 1, "timeout_ns": 9 * SECOND, "most": 5}
        log = tmp_path / "log"
        process = subprocess.Popen([*argv, json.dumps({**asked, **keys, "log": str(log)})])
        for _ in range(5):
            connection, _ = resetting.accept()
            # Closing with a linger time of 0 sends RST.
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
            connection.recv(10)
            connection.close()
        assert process.wait(30) == 0
    assert read_log(log.read_bytes()).counts()["reset"] == 5


class Hosts:
    """Two scripted hosts; the client writes this log."""

    def __init__(self, log: bytes = b"", status: int = 0) -> None:
        self._log = log
        self._status = status
        self.client = FakeHost(name="client", addresses=("198.18.3.1",), processes=self._play)
        self.server = FakeHost(
            name="server", addresses=("198.18.3.2",), processes=lambda argv: FakeProcess(argv, exit_status=None),
            listens=lambda port, protocol: bool(self.server.commands),
        )  # fmt: skip

    def _play(self, argv: Any) -> FakeProcess:
        Path(json.loads(argv[-1])["log"]).write_bytes(self._log)
        return FakeProcess(argv, stderr=b"trouble\n" if self._status else b"", exit_status=self._status)

    def run(self, warmup_ns: int = 0, **keys: Any) -> TrafficReport:
        entry = TrafficSpec.model_validate({"connections": {"from": "client", "to": "server", **keys}})
        session = Connections().prepare(entry, {"client": self.client, "server": self.server}, warmup_ns)
        try:
            session.start()
            return session.wait()
        finally:
            session.stop()


def test_a_session_reports_what_the_client_logged() -> None:
    rows = [(number * 10**7, 1000, 2000, 3000, 0) for number in range(100)] + [(SECOND, -1, -1, 5000, 2)]
    hosts = Hosts(np.array(rows, dtype=np.int64).tobytes())
    report = hosts.run(rate=100, duration="1s", size="10kb", backlog=128)
    assert report.raw["counts"] == {
        "opened": 101, "established": 100, "done": 100, "refused": 0, "timed_out": 1, "reset": 0, "other": 0,
    }  # fmt: skip
    assert report.metrics["app.connections_per_s"] == 100.0
    assert report.metrics["app.timeouts"] == 1.0
    assert report.served == (("198.18.3.2", 9000),)
    asked = json.loads(hosts.server.commands[0][-1])
    assert asked == {"address": "198.18.3.2", "port": 9000, "size": 10_000, "backlog": 128, "accept_per_s": None}
    assert hosts.server.started[0].signals == [15]


def test_failures_that_have_no_kind_are_warned_of() -> None:
    report = Hosts(np.array([(0, -1, -1, 5000, 4)], dtype=np.int64).tobytes()).run()
    assert report.metrics["app.errors"] == 1.0
    assert "1 of 1 ended otherwise" in report.warnings[0]


def test_a_client_that_fails_is_an_error_in_its_own_words() -> None:
    with pytest.raises(TrafficError, match=r"failed with status 1: trouble"):
        Hosts(status=1).run()


def test_a_warm_up_as_long_as_the_traffic_leaves_nothing_to_measure() -> None:
    hosts = Hosts()
    with pytest.raises(TrafficError, match="the warm-up leaves nothing to measure of the 5 s of connections"):
        hosts.run(warmup_ns=5 * SECOND)
    assert hosts.server.commands == []
