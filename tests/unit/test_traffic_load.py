"""Load: an exact amount of work, by the program against itself on loopback, and what its words are read to."""

from __future__ import annotations

import socket
import struct
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from perfcheck.errors import TrafficError
from perfcheck.model.flow import Protocol
from perfcheck.model.observation import TrafficReport
from perfcheck.model.scenario import TrafficSpec
from perfcheck.model.traffic import LoadSpec
from perfcheck.system.clock import wait_until
from perfcheck.system.programs import LOAD, executable
from perfcheck.testing import FakeHost, FakeProcess
from perfcheck.traffic import Load
from perfcheck.traffic.load_report import Ran, build_report, read_totals

HELLO: Final = 16
"""Bytes that a client says first on a connection."""
BEGAN: Final = 10**12
TIMES: Final = (BEGAN + 1000 * np.arange(1, 65, dtype=np.int64)).tobytes()
FLOW: Final = "flow 198.18.0.1 40000 198.18.0.2 7000"


@contextmanager
def serving(address: str) -> Iterator[tuple[int, subprocess.Popen[str]]]:
    """Start the program's server on a free port of this machine."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.socket(family) as free:
        free.bind((address, 0))
        port = free.getsockname()[1]
    argv = [str(executable(LOAD)), "serve", str(port), address]
    process = subprocess.Popen(argv, stdout=subprocess.PIPE, text=True)
    try:
        assert wait_until(lambda: _accepts(family, address, port), timeout_s=10)
        yield port, process
    finally:
        process.kill()
        process.wait()
        if process.stdout is not None:
            process.stdout.close()


def _accepts(family: int, address: str, port: int) -> bool:
    with socket.socket(family) as asking:
        return asking.connect_ex((address, port)) == 0


def driven(address: str, kind: str, count: int, size: int, log: Path | None = None) -> tuple[str, str]:
    """Return what client and server wrote of one run."""
    with serving(address) as (port, server):
        argv = [str(executable(LOAD)), "drive", kind, address, str(port), str(count), str(size)]
        if log is not None:
            log.touch()
            argv.append(str(log))
        client = subprocess.run(argv, capture_output=True, text=True, timeout=60, check=False)
        assert client.returncode == 0, client.stderr
        server.terminate()
        assert server.stdout is not None
        return client.stdout, server.stdout.read()


def report_of(address: str, kind: str, count: int, size: int, folder: Path) -> TrafficReport:
    client, server = driven(address, kind, count, size, folder / "log")
    spec = {"from": "client", "to": "server", "kind": kind, "count": count, "size": f"{size}b"}
    return build_report(ran(client, server, (folder / "log").read_bytes(), **spec))


def ran(client: str, server: str = "", log: bytes = b"", **keys: Any) -> Ran:
    spec = {"from": "client", "to": "server", "kind": "stream", "count": 64, "size": "100b", **keys}
    return Ran(
        spec=LoadSpec.model_validate(spec), client=client, server=server, log=log, served=("198.18.0.2", 7000),
        start_ns=BEGAN - 10**6, end_ns=BEGAN + 10**9, cpu_s=0.5,
    )  # fmt: skip


@pytest.mark.parametrize("address", ["127.0.0.1", "::1"])
def test_a_stream_arrives_whole_and_its_flow_is_named(address: str, tmp_path: Path) -> None:
    report = report_of(address, "stream", 3000, 64_000, tmp_path)
    (flow,) = report.flows
    assert flow.bytes_sent == flow.bytes_received == 3000 * 64_000 + HELLO
    assert (flow.sender.local, flow.sender.local_port) == (flow.receiver.remote, flow.receiver.remote_port)
    assert (flow.sender.protocol, flow.sender.host, flow.receiver.host) == (Protocol.TCP, "client", "server")
    assert flow.retransmits is not None
    assert sum(each.size_bytes for each in report.arrivals) == 3000 * 64_000
    seconds = report.metrics["app.duration_us"] / 1e6
    assert report.metrics["app.throughput_bps"] == pytest.approx(8 * 3000 * 64_000 / seconds)


@pytest.mark.parametrize("address", ["127.0.0.1", "::1"])
def test_each_request_is_answered_before_the_next(address: str, tmp_path: Path) -> None:
    report = report_of(address, "requests", 500, 100, tmp_path)
    assert report.requests is not None
    assert len(report.requests.sent_ns) == 500
    ended_ns = report.requests.sent_ns + report.requests.latency_us * 1e3
    assert (np.diff(report.requests.sent_ns) > 0).all()
    assert (ended_ns[:-1] <= report.requests.sent_ns[1:] + 1).all()
    assert sum(each.answers for each in report.arrivals) == 500
    assert report.flows[0].bytes_sent == 500 * 100 + HELLO
    assert report.metrics["app.requests_per_s"] == pytest.approx(500e6 / report.metrics["app.duration_us"], rel=1e-3)


def test_connections_are_those_of_the_other_generator(tmp_path: Path) -> None:
    report = report_of("127.0.0.1", "connections", 300, 100, tmp_path)
    assert report.flows == ()
    assert report.served == (("198.18.0.2", 7000),)
    assert sum(each.connections for each in report.arrivals) == 300
    connect, first = (next(each for each in report.timings if each.metric == f"app.{name}_us")
                      for name in ("connect", "first_byte"))  # fmt: skip
    assert len(connect.took_us) == len(first.took_us) == 300
    assert (connect.took_us < first.took_us).all()
    assert "app.errors" not in report.metrics


@pytest.mark.parametrize(("asked", "sent"), [(64, 64), (65, 96), (1000, 1024)])
def test_datagrams_are_whole_bursts(asked: int, sent: int, tmp_path: Path) -> None:
    report = report_of("127.0.0.1", "datagrams", asked, 100, tmp_path)
    assert report.metrics["udp.datagrams"] == sent == sum(each.datagrams for each in report.arrivals)
    assert report.flows[0].bytes_received == sent * 100 == sum(each.size_bytes for each in report.arrivals)
    assert report.flows[0].sender.protocol is Protocol.UDP


def test_the_largest_datagrams_find_room() -> None:
    client, _ = driven("127.0.0.1", "datagrams", 64, 65_507)
    assert read_totals(client).size_bytes == 64 * 65_507


def test_one_server_serves_one_client_after_the_other() -> None:
    with serving("127.0.0.1") as (port, _):
        loads = (("datagrams", 64), ("stream", 100), ("datagrams", 96), ("requests", 70), ("connections", 9))
        for kind, count in loads:
            argv = [str(executable(LOAD)), "drive", kind, "127.0.0.1", str(port), str(count), "100"]
            client = subprocess.run(argv, capture_output=True, text=True, timeout=60, check=True)
            assert read_totals(client.stdout).units == count


def test_without_a_log_the_server_says_nothing() -> None:
    client, server = driven("127.0.0.1", "stream", 64, 100)
    assert server == ""
    assert read_totals(client).units == 64


def test_both_markers_are_there() -> None:
    code = executable(LOAD).read_bytes()
    # The compiler may have made several copies of a place.
    for begin in (1, 0):
        assert b"\x0f\x1f\x80" + struct.pack("<I", 0x50434B00 | begin) in code


@pytest.mark.parametrize(
    "words",
    [
        [], ["serve"], ["drive"], ["drive", "strem", "127.0.0.1", "1", "64", "100"],
        ["drive", "stream", "127.0.0.1", "1", "0", "100"], ["drive", "stream", "127.0.0.1", "1", "64", "1048577"],
        ["drive", "stream", "localhost", "1", "64", "100"],
    ],
)  # fmt: skip
def test_wrong_words_are_refused(words: Sequence[str]) -> None:
    done = subprocess.run([executable(LOAD), *words], capture_output=True, text=True, timeout=10, check=False)
    assert done.returncode == 2
    assert done.stderr.startswith(("usage: load", "not an IP address: localhost"))


def test_a_server_that_ends_early_is_told() -> None:
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen()
        port = listening.getsockname()[1]
        argv = [str(executable(LOAD)), "drive", "requests", "127.0.0.1", str(port), "64", "100"]
        client = subprocess.Popen(argv, stderr=subprocess.PIPE, text=True)
        connection, _ = listening.accept()
        connection.recv(HELLO + 100)
        connection.close()
        _, said = client.communicate(timeout=30)
    assert client.returncode == 1
    assert "no answer within 20 s, or the server ended the connection" in said


# ---- what is read


def totals(units: int = 64, size: int = 100, took_ns: int = 10**9, *, flow: bool = True) -> str:
    lines = [f"units {units}", f"bytes {units * size}", f"ns {took_ns}", f"began {BEGAN}"]
    lines += [FLOW, f"sent {units * size + HELLO}", "retransmits 2"] if flow else []
    return "\n".join([*lines, ""])


@given(st.lists(st.integers(1, 10**9), min_size=1, max_size=40))
def test_arrivals_of_a_stream_add_up_to_the_whole(amounts: list[int]) -> None:
    moments = [(BEGAN + 10**8 * (place + 1), int(total)) for place, total in enumerate(np.cumsum(amounts))]
    server = "\n".join(["peer 198.18.0.2 7000 198.18.0.9 4711", *(f"arrived {at} {total}" for at, total in moments)])
    report = build_report(ran(totals(sum(amounts), 1, 5 * 10**9), server, count=64))
    assert sum(each.size_bytes for each in report.arrivals) == sum(amounts)
    assert report.arrivals[0].begin_ns == BEGAN
    assert report.measured_ns == (BEGAN, moments[-1][0])
    assert report.metrics["app.duration_us"] == 1e5 * len(amounts)
    # Behind a NAT the server knows the flow by other words.
    assert (report.flows[0].sender.local, report.flows[0].receiver.remote) == ("198.18.0.1", "198.18.0.9")
    assert report.flows[0].retransmits == 2
    assert report.cpu_pct == pytest.approx(50, rel=0.01)


@given(st.lists(st.integers(1, 3 * 10**8), min_size=2, max_size=60))
def test_arrivals_of_datagrams_add_up_to_the_whole(gaps: list[int]) -> None:
    ended = BEGAN + np.cumsum(np.array(gaps, dtype=np.int64))
    keys = {"kind": "datagrams", "count": 32 * len(gaps)}
    report = build_report(ran(totals(32 * len(gaps), 100, sum(gaps)), "", ended.tobytes(), **keys))
    assert sum(each.datagrams for each in report.arrivals) == 32 * len(gaps) == report.metrics["udp.datagrams"]
    assert report.arrivals[0].begin_ns == BEGAN
    assert report.arrivals[-1].end_ns == ended[-1]
    assert all(one.end_ns == other.begin_ns for one, other in zip(report.arrivals, report.arrivals[1:], strict=False))


@pytest.mark.parametrize(
    ("kind", "server", "log"),
    [("stream", f"arrived {BEGAN + 5} 6400\n", b""), ("requests", "", TIMES), ("datagrams", "", TIMES[:16])],
)
def test_times_of_other_machines_are_by_our_clock(kind: str, server: str, log: bytes) -> None:
    here = ran(totals(), server, log, kind=kind)
    ahead_ns = (10**9, -(10**8))
    there = replace(
        here, client=here.client.replace(f"began {BEGAN}", f"began {BEGAN + ahead_ns[0]}"),
        server=server.replace(str(BEGAN + 5), str(BEGAN + 5 + ahead_ns[1])),
        log=(np.frombuffer(log, dtype=np.int64) + ahead_ns[0]).tobytes(), ahead_ns=ahead_ns,
    )  # fmt: skip
    assert replace(build_report(there), raw={}, requests=None) == replace(build_report(here), raw={}, requests=None)
    for one, other in zip(_sent_ns(there), _sent_ns(here), strict=True):
        assert one == other


def _sent_ns(made: Ran) -> list[float]:
    requests = build_report(made).requests
    return [] if requests is None else [float(each) for each in requests.sent_ns]


@pytest.mark.parametrize(
    ("made", "why"),
    [
        (ran(""), "the load's client printed no totals: it printed nothing"),
        (ran("units many\nbytes 1\nns 1\nbegan 1\n"), "printed no totals: units many"),
        (ran(totals(), "arrived 1000000000001 6399\n"), "told of 6399 of 6400 bytes"),
        (ran(totals(), ""), "told of 0 of 6400 bytes"),
        (ran(totals(), log=bytes(8 * 63), kind="requests"), "has 504 bytes instead of 512: it was cut off"),
        (ran(totals(), log=bytes(8 * 64), kind="requests"), "the times in the load's log do not ascend"),
        (ran(totals(flow=False), log=bytes(8), kind="connections"), "has 8 bytes instead of 2048"),
        (ran(totals().replace(FLOW, "flow 1"), log=TIMES, kind="requests"), "named no flow: '1'"),
    ],
)
def test_what_cannot_be_read_is_an_error(made: Ran, why: str) -> None:
    with pytest.raises(TrafficError, match="the load") as caught:
        build_report(made)
    assert why in str(caught.value)


# ---- the session


class Hosts:
    """Two scripted hosts."""

    def __init__(self, *, client: bytes = totals().encode(), status: int = 0, server_ends: bool = False) -> None:
        arrived = f"arrived {BEGAN + 10**9} 6400\n".encode()
        self.client = FakeHost(
            name="client",
            processes=lambda argv: FakeProcess(argv, stdout=client, stderr=b"refused\n" * status, exit_status=status),
        )
        self.server = FakeHost(
            name="server", addresses=("198.18.3.2",),
            processes=lambda argv: FakeProcess(argv, stdout=arrived, exit_status=1 if server_ends else None),
            listens=lambda port, protocol: bool(self.server.commands),
        )  # fmt: skip

    def run(self, warmup_ns: int = 0, **keys: Any) -> TrafficReport:
        entry = {"from": "client", "to": "server", "kind": "stream", "count": 64, "size": "100b", **keys}
        hosts = {"client": self.client, "server": self.server}
        session = Load().prepare(TrafficSpec.model_validate({"load": entry}), hosts, warmup_ns)
        try:
            session.start()
            return session.wait()
        finally:
            session.stop()


def test_a_session_runs_the_program_in_both_hosts() -> None:
    hosts = Hosts()
    report = hosts.run()
    program = hosts.client.compiled_program(LOAD)
    assert hosts.server.commands == [(program, "serve", "7000", "198.18.3.2")]
    assert hosts.client.commands[0][:-1] == (program, "drive", "stream", "198.18.3.2", "7000", "64", "100")
    assert hosts.server.started[0].signals == [15]
    assert report.metrics["app.throughput_bps"] == 8 * 6400
    assert report.generator == "load"


def test_a_client_that_fails_is_told_in_its_own_words() -> None:
    with pytest.raises(TrafficError, match=r"drive stream .* failed with status 1: refused"):
        Hosts(status=1).run()


def test_a_server_that_fails_is_told() -> None:
    with pytest.raises(TrafficError, match="ended before its client"):
        Hosts(server_ends=True).run()


def test_an_amount_of_work_has_no_warm_up_unless_nothing_is_measured() -> None:
    with pytest.raises(TrafficError, match="without a warm-up"):
        Hosts().run(warmup_ns=10**9)
    assert Hosts().run(warmup_ns=10**9, background=True).background
