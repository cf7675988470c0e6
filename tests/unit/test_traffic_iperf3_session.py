"""iperf3 sessions played with scripted processes: options, messages, ends; nothing is started."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from perfcheck.errors import TrafficError, Unavailable
from perfcheck.model.scenario import TrafficSpec
from perfcheck.model.seams import Host, TrafficGenerator, TrafficSession
from perfcheck.model.traffic import GENERATORS
from perfcheck.testing import FakeHost, FakeProcess
from perfcheck.traffic import Iperf3, generators

GOLDEN = Path(__file__).parents[1] / "golden" / "iperf3" / "3.12"
PROGRAM = "true"  # stands for iperf3 where only its presence on the PATH matters
S = 10**9


def golden(name: str) -> bytes:
    return (GOLDEN / f"{name}.json").read_bytes()


@dataclass(kw_only=True)
class Lab:
    """Two scripted hosts: a server that listens once it is started, and what each side writes."""

    client_process: Callable[[Sequence[str]], FakeProcess]
    server_process: Callable[[Sequence[str]], FakeProcess]
    occupied: set[tuple[int, str]] = field(default_factory=set)
    listens: bool = True

    def __post_init__(self) -> None:
        self.client = FakeHost(name="client", addresses=("198.18.3.1",), processes=self.client_process)
        self.server = FakeHost(
            name="server", addresses=("198.18.3.2",), processes=self.server_process, listens=self._server_listens
        )

    def _server_listens(self, port: int, protocol: str) -> bool:
        started = any(argv[-1] == str(port) for argv in self.server.commands)
        return (port, protocol) in self.occupied or (self.listens and started and protocol == "tcp")

    @property
    def hosts(self) -> Mapping[str, Host]:
        return {"client": self.client, "server": self.server}


def plays(stdout: bytes = b"", stderr: bytes = b"", exit_status: int | None = 0) -> Callable[..., FakeProcess]:
    return lambda argv: FakeProcess(argv, stdout=stdout, stderr=stderr, exit_status=exit_status)


def lab_of(case: str, **changes: Any) -> Lab:
    fields = {
        "client_process": plays(golden(f"{case}.client")),
        "server_process": plays(golden(f"{case}.server")),
    }
    return Lab(**(fields | changes))


def iperf3_spec(**keys: Any) -> TrafficSpec:
    return TrafficSpec.model_validate({"iperf3": {"from": "client", "to": "server", **keys}})


@pytest.fixture
def prepared() -> Iterator[Callable[..., TrafficSession]]:
    sessions: list[TrafficSession] = []

    def prepare(lab: Lab, warmup_ns: int = 0, **keys: Any) -> TrafficSession:
        session = Iperf3(program=PROGRAM).prepare(iperf3_spec(**keys), lab.hosts, warmup_ns)
        sessions.append(session)
        return session

    yield prepare
    for session in sessions:
        session.stop()


Prepare = Callable[..., TrafficSession]


def test_table_has_the_files_generators() -> None:
    table: Mapping[str, TrafficGenerator] = generators()
    assert all(key == generator.name for key, generator in table.items())
    assert {*GENERATORS} == set(table)


def test_missing_program_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    Iperf3(program=PROGRAM).check()
    monkeypatch.setenv("PATH", "/nonexistent")
    with pytest.raises(Unavailable, match="iperf3 is not available") as raised:
        Iperf3().check()
    assert raised.value.fix == "apt-get install iperf3"


def test_iperf3_session_reports_what_both_sides_wrote(prepared: Prepare) -> None:
    lab = lab_of("tcp")
    session = prepared(lab, 1 * S, duration="2s", congestion="cubic")
    assert lab.server.commands == [(PROGRAM, "-s", "-1", "-J", "-i", "0.1", "-p", "5201")]
    assert lab.client.commands == []
    before = time.monotonic_ns()
    session.start()
    report = session.wait()
    assert before <= report.start_ns <= report.end_ns <= time.monotonic_ns()
    assert report.metrics["app.throughput_bps"] == pytest.approx(19.12e6, rel=0.001)
    assert [(flow.sender.host, flow.receiver.host) for flow in report.flows] == [("client", "server")]
    assert report.warnings == ()
    session.stop()
    assert all(process.stdout.closed for process in (*lab.client.started, *lab.server.started))


@pytest.mark.parametrize(
    ("keys", "expected"),
    [
        ({}, "-t 5 -P 1 -l 32768"),
        ({"duration": "3s", "congestion": "bbr", "streams": 4}, "-t 3 -P 4 -C bbr -l 32768"),
        ({"reverse": True, "nodelay": True, "length": "1kb"}, "-t 5 -R -N -P 1 -l 1000"),
        ({"rate": "20mbit", "window": "64kib", "mss": 1200}, "-t 5 -P 1 -b 20000000 -l 32768 -w 65536 -M 1200"),
        ({"protocol": "udp"}, "-t 5 -u -P 1 -b 1000000"),
        ({"protocol": "udp", "rate": "64kbit", "length": "160b"}, "-t 5 -u -P 1 -b 64000 -l 160"),
        ({"protocol": "udp", "bytes": "1mb"}, "-n 1000000 -u -P 1 -b 1000000"),
        ({"duration": "1500ms"}, "-t 2 -P 1 -l 32768"),
    ],
)
def test_options_of_the_client(prepared: Prepare, keys: dict[str, Any], expected: str) -> None:
    lab = lab_of("tcp")
    prepared(lab, **keys).start()
    fixed = (PROGRAM, "-c", "198.18.3.2", "-p", "5201", "-J", "-i", "0.1", "--connect-timeout", "20000")
    assert lab.client.commands == [(*fixed, *expected.split())]


def test_transfer_of_a_size_is_asked_for_by_its_receiver(prepared: Prepare) -> None:
    lab = lab_of("tcp-bytes")
    lab.client.listens = lambda port, protocol: bool(lab.client.commands) and protocol == "tcp"
    prepared(lab, bytes="1mib").start()
    assert lab.client.commands[0][1:3] == ("-s", "-1")
    (argv,) = lab.server.commands
    assert argv[1:3] == ("-c", "198.18.3.1")
    assert argv[-7:] == ("-n", "1048576", "-R", "-P", "1", "-l", "32768")


def test_duration_that_iperf3_cannot_do_is_rounded_up_and_said(prepared: Prepare) -> None:
    session = prepared(lab_of("tcp"), duration="1500ms")
    session.start()
    assert session.wait().warnings == (
        "iperf3 counts in whole seconds: it ran 2 s instead of 1.5 s. Write duration: 2s",
    )


def test_port_on_which_something_listens_is_left_alone(prepared: Prepare) -> None:
    lab = lab_of("udp-loss", occupied={(5201, "tcp"), (5202, "udp")})
    prepared(lab, protocol="udp").start()
    assert lab.server.commands[0][-1] == "5203"
    assert lab.client.commands[0][3:5] == ("-p", "5203")
    tcp = lab_of("tcp", occupied={(5201, "tcp"), (5202, "udp")})
    prepared(tcp)
    assert tcp.server.commands[0][-1] == "5202"


def test_no_free_port_is_an_error(prepared: Prepare) -> None:
    lab = lab_of("tcp", occupied={(port, "tcp") for port in range(5201, 5401)})
    with pytest.raises(TrafficError, match="no port from 5201 to 5400 is free in host server"):
        prepared(lab)


def test_warmup_must_leave_something_to_measure(prepared: Prepare) -> None:
    with pytest.raises(TrafficError, match=r"warm-up of 2 s takes all of the 2 s"):
        prepared(lab_of("tcp"), 2 * S, duration="2s")
    prepared(lab_of("tcp"), 2 * S, duration="2s", background=True)
    prepared(lab_of("tcp"), 2 * S, duration="3s")


def test_server_that_ends_before_it_listens_gives_its_own_message(prepared: Prepare) -> None:
    lab = lab_of("tcp", listens=False, server_process=plays(golden("error-in-use.server"), exit_status=1))
    with pytest.raises(TrafficError, match=r"`true -s .*` in host server failed: unable to start listener .*in use"):
        prepared(lab)
    crash = lab_of("tcp", listens=False, server_process=plays(exit_status=139))
    with pytest.raises(TrafficError, match="ended with status 139 before it listened on port 5201"):
        prepared(crash)


@pytest.mark.parametrize(
    ("client", "status", "message"),
    [
        (golden("error-refused.client"), 0, r"`true -c .*` in host client failed: unable to connect to server: Conn"),
        (golden("error-congestion.client"), 1, r"failed: unable to set TCP_CONGESTION.*This kernel has: "),
        (golden("error-client-ended.client"), 1, r"failed: interrupt - the client has terminated"),
        (golden("tcp.client")[:2000], 0, r"ended with status 0: .*damaged or cut off"),
        (b"", -9, r"was ended by signal 9"),
        (b"", 1, r"ended with status 1: iperf3: parameter error .*wrote no JSON at all"),
        (golden("tcp.client"), 1, r"failed: status 1: iperf3: parameter error"),
        (b'{"error": "socket buffer size not set correctly"}', 1, r"Raise net\.core\.rmem_max"),
    ],
)
def test_failure_of_the_client_is_told_in_iperf3s_words(
    prepared: Prepare, client: bytes, status: int, message: str
) -> None:
    lab = lab_of("tcp", client_process=plays(client, b"iperf3: parameter error - bad option\n", status))
    session = prepared(lab)
    session.start()
    with pytest.raises(TrafficError, match=message):
        session.wait()


def test_failure_of_the_client_carries_what_the_server_says(prepared: Prepare) -> None:
    lab = lab_of(
        "tcp",
        client_process=plays(golden("error-server-ended.client")),
        server_process=plays(golden("error-client-ended.server")),
    )
    session = prepared(lab)
    session.start()
    with pytest.raises(TrafficError, match=r"closed unexpectedly; the server in host server said: the client has term"):
        session.wait()


def test_killed_server_is_named(prepared: Prepare) -> None:
    lab = lab_of(
        "tcp", client_process=plays(golden("error-server-ended.client")), server_process=plays(exit_status=-9)
    )  # fmt: skip
    session = prepared(lab)
    session.start()
    with pytest.raises(TrafficError, match="the server in host server was ended by signal 9"):
        session.wait()


def test_client_that_hangs_is_given_up(prepared: Prepare, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("perfcheck.traffic.iperf3.GRACE_S", -0.9)
    lab = lab_of("tcp", client_process=plays(exit_status=None))
    session = prepared(lab, duration="1s")
    session.start()
    with pytest.raises(TrafficError, match=r"`true -c .*` in host client did not end within 0 s"):
        session.wait()
    session.stop()
    session.stop()
    assert lab.client.started[0].signals == [15]


def test_server_that_does_not_end_costs_its_intervals(prepared: Prepare, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("perfcheck.traffic.iperf3.SERVER_S", 0.01)
    session = prepared(lab_of("tcp", server_process=plays(exit_status=None)))
    session.start()
    assert "gave no interval reports: no throughput was measured" in session.wait().warnings[0]


def test_lost_opening_datagram_of_udp_is_tried_again(prepared: Prepare) -> None:
    lost = b'{"start": {}, "end": {}, "error": "unable to read from stream socket: Resource temporarily unavailable"}'
    outcomes = [lost, golden("udp-loss.client")]
    lab = lab_of("udp-loss", client_process=lambda argv: FakeProcess(argv, stdout=outcomes.pop(0)))
    session = prepared(lab, protocol="udp", rate="25mbit")
    session.start()
    report = session.wait()
    assert report.metrics["udp.loss_pct"] == pytest.approx(21.1, abs=0.1)
    assert report.warnings == ("the path lost the datagram that opens a UDP stream: the traffic was started again",)
    assert (len(lab.client.commands), len(lab.server.commands)) == (2, 2)


def test_opening_datagram_lost_each_time_is_an_error(prepared: Prepare) -> None:
    lost = plays(b'{"error": "unable to read from stream socket: Resource temporarily unavailable"}')
    lab = lab_of("udp-loss", client_process=lost)
    session = prepared(lab, protocol="udp")
    session.start()
    with pytest.raises(TrafficError, match="unable to read from stream socket"):
        session.wait()
    assert len(lab.client.commands) == 3


def test_start_offset_delays_the_client_but_not_the_caller(prepared: Prepare) -> None:
    lab = lab_of("tcp")
    session = prepared(lab, start="50ms", congestion="cubic")
    before = time.monotonic_ns()
    session.start()
    assert lab.client.commands == []
    assert session.wait().start_ns - before >= 50e6


def test_session_stopped_before_its_offset_never_starts(prepared: Prepare) -> None:
    lab = lab_of("tcp", server_process=plays(exit_status=None))
    session = prepared(lab, start="30s")
    session.start()
    session.stop()
    assert lab.client.commands == []
    assert lab.server.started[0].signals == [15]
    with pytest.raises(TrafficError, match="before it was started, or after it was stopped"):
        session.wait()


def test_program_that_cannot_be_executed_is_told(prepared: Prepare) -> None:
    def refuse(argv: Sequence[str]) -> FakeProcess:
        raise FileNotFoundError(2, "No such file or directory")

    with pytest.raises(TrafficError, match=r"cannot start `true -s .*` in host server: No such file or directory"):
        prepared(lab_of("tcp", server_process=refuse))
    delayed = prepared(lab_of("tcp", client_process=refuse), start="1ms")
    delayed.start()
    with pytest.raises(TrafficError, match=r"cannot start `true -c .*` in host client"):
        delayed.wait()


def test_traffic_of_another_generator_is_refused() -> None:
    spec = TrafficSpec.model_validate({"command": {"host": "client", "run": "tool"}})
    with pytest.raises(TrafficError, match="iperf3 was given traffic of command"):
        Iperf3(program=PROGRAM).prepare(spec, lab_of("tcp").hosts, 0)
