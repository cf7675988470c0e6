"""iperf3 and commands between real namespaces, checked against the kernel's and the link's own counters."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import pytest

from perfcheck.errors import TrafficError
from perfcheck.lab import Lab
from perfcheck.lab.links import emulators
from perfcheck.model.observation import TrafficReport
from perfcheck.model.scenario import TrafficSpec
from perfcheck.model.seams import Host, TrafficSession
from perfcheck.system import Journal, new_tag
from perfcheck.testing import make_scenario
from perfcheck.traffic import Command, Iperf3
from perfcheck.traffic.process import Child

pytestmark = [pytest.mark.kernel, pytest.mark.skipif(os.geteuid() != 0, reason="makes network namespaces: needs root")]

Prepare = Callable[..., TrafficSession]


def lab_with(link: Mapping[str, Any]) -> Iterator[Lab]:
    scenario = make_scenario(links=[{"between": ["client", "server"], **link}])
    with Journal.create(new_tag()) as journal, Lab(scenario, journal, emulators()) as lab:
        lab.apply_settings()
        yield lab


@pytest.fixture(scope="module")
def wire() -> Iterator[Lab]:
    """A link without impairments."""
    yield from lab_with({})


@pytest.fixture(scope="module")
def path() -> Iterator[Lab]:
    """A link of 20 Mbit/s that loses 2 % of the packets from the client."""
    yield from lab_with({"rate": "20mbit", "delay": "5ms", "queue": "100p", "forward": {"loss": "2%"}})


@pytest.fixture
def prepare() -> Iterator[Prepare]:
    sessions: list[TrafficSession] = []

    def make(lab: Lab, warmup_ns: int = 0, **keys: Any) -> TrafficSession:
        limit = {} if "bytes" in keys else {"duration": "1s"}
        spec = TrafficSpec.model_validate({"iperf3": {"from": "client", "to": "server", **limit, **keys}})
        sessions.append(Iperf3().prepare(spec, lab.hosts, warmup_ns))
        return sessions[-1]

    yield make
    for session in sessions:
        session.stop()


def finish(session: TrafficSession) -> TrafficReport:
    session.start()
    try:
        return session.wait()
    finally:
        session.stop()


def counter(host: Host, file: str, row: str, column: str) -> int:
    """Read `/proc/net/snmp` or `netstat` of the host: a line of names, then a line of values."""
    lines = [line.split() for line in host.run(["cat", file]).stdout.decode().splitlines()]
    names, values = (line for line in lines if line[0] == row)
    return int(values[names.index(column)])


def received_bytes(host: Host) -> int:
    lines = host.run(["cat", "/proc/net/dev"]).stdout.decode().splitlines()
    return next(int(line.split(":")[1].split()[0]) for line in lines if line.strip().startswith("eth0:"))


def processes(lab: Lab, host: str) -> list[int]:
    done = lab.hosts[host].run(["ip", "netns", "pids", f"pc-{lab.tag}-{host}"])
    own = {int(pid) for pid in done.stdout.split()}
    return sorted(pid for pid in own if name_of(pid) == "iperf3")


def name_of(pid: int) -> str:
    try:
        with open(f"/proc/{pid}/comm") as file:  # noqa: PTH123
            return file.read().strip()
    except OSError:
        return ""


def until(condition: Callable[[], bool], timeout_s: float = 5.0) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, "the condition did not come true"


def test_bytes_of_a_tcp_flow_are_those_that_crossed_the_wire(wire: Lab, prepare: Prepare) -> None:
    before = received_bytes(wire.hosts["server"])
    began = time.monotonic_ns()
    report = finish(prepare(wire, rate="40mbit", congestion="cubic"))
    arrived = received_bytes(wire.hosts["server"]) - before
    (flow,) = report.flows
    assert flow.bytes_received == flow.bytes_sent
    assert flow.bytes_received is not None
    assert 1.0 < arrived / flow.bytes_received < 1.1
    assert report.metrics["app.throughput_bps"] == pytest.approx(40e6, rel=0.05)
    assert (flow.sender.host, flow.sender.local) == ("client", wire.hosts["client"].addresses[0])
    assert (flow.receiver.host, flow.receiver.local_port) == ("server", 5201)
    assert began < report.start_ns < report.end_ns - 1e9
    assert processes(wire, "client") == processes(wire, "server") == []


def test_server_sends_in_reverse(wire: Lab, prepare: Prepare) -> None:
    before = received_bytes(wire.hosts["client"])
    report = finish(prepare(wire, rate="40mbit", reverse=True))
    arrived = received_bytes(wire.hosts["client"]) - before
    (flow,) = report.flows
    assert (flow.sender.host, flow.receiver.host) == ("server", "client")
    assert flow.bytes_received is not None
    assert 1.0 < arrived / flow.bytes_received < 1.1


def test_flows_are_the_connections_that_the_kernel_lists(wire: Lab, prepare: Prepare) -> None:
    client = wire.hosts["client"]

    def ports() -> set[int]:
        lines = client.run(["ss", "-Htn", "state", "established"]).stdout.decode().splitlines()
        return {int(line.split()[2].rsplit(":", 1)[1]) for line in lines}

    session = prepare(wire, streams=4, rate="1mbit")
    session.start()
    until(lambda: len(ports()) == 5)
    listed = ports()
    report = session.wait()
    flows = {flow.sender.local_port for flow in report.flows}
    assert len(flows) == 4
    assert len(listed - flows) == 1, "the control connection is no flow"
    assert flows < listed


def test_retransmissions_are_the_kernels(path: Lab, prepare: Prepare) -> None:
    before = counter(path.hosts["client"], "/proc/net/snmp", "Tcp:", "RetransSegs")
    report = finish(prepare(path, congestion="cubic"))
    kernels = counter(path.hosts["client"], "/proc/net/snmp", "Tcp:", "RetransSegs") - before
    (flow,) = report.flows
    assert flow.retransmits is not None
    assert 3 <= flow.retransmits <= kernels <= flow.retransmits + 20  # after its report iperf3 closes, TCP goes on


def test_lost_datagrams_are_those_that_the_link_dropped(path: Lab, prepare: Prepare) -> None:
    session = prepare(path, protocol="udp", rate="12mbit", duration="2s")
    path.begin_trial(0)
    report = finish(session)
    forward, _ = path.end_trial()
    lost = report.metrics["udp.datagrams"] * report.metrics["udp.loss_pct"] / 100
    assert report.metrics["udp.datagrams"] == pytest.approx(2 * 12e6 / 8 / 1448, rel=0.02)
    assert lost == pytest.approx(forward.dropped_loss, abs=4)  # the link also drops what is not iperf3's datagrams
    assert lost > 10
    assert report.metrics["udp.throughput_bps"] == pytest.approx(12e6 * 0.98, rel=0.02)
    assert 0 < report.metrics["udp.jitter_us"] < 20_000


def test_transfer_of_a_size_takes_as_long_as_the_link_needs(path: Lab, prepare: Prepare) -> None:
    report = finish(prepare(path, bytes="1mib", reverse=True, congestion="cubic"))
    (flow,) = report.flows
    assert flow.bytes_received == 2**20
    # 1 MiB at 20 Mbit/s with headers; slow start over 10 ms, and newer versions look once in 0.1 s
    wire_us = 8 * 2**20 * 1514 / 1448 / 20
    assert wire_us <= report.metrics["app.duration_us"] <= wire_us + 250_000


def test_sessions_run_side_by_side_and_start_when_they_should(wire: Lab, prepare: Prepare) -> None:
    first = prepare(wire, rate="10mbit")
    second = prepare(wire, rate="10mbit", protocol="udp", background=True, start="300ms")
    first.start()
    second.start()
    reports = [first.wait(), second.wait()]
    assert [report.flows[0].receiver.local_port for report in reports] == [5201, 5202]
    assert (reports[1].start_ns - reports[0].start_ns) / 1e6 == pytest.approx(300, abs=100)
    assert reports[1].start_ns < reports[0].end_ns
    assert [report.background for report in reports] == [False, True]


def test_port_in_use_is_left_alone(wire: Lab, prepare: Prepare) -> None:
    other = Child(wire.hosts["server"], ["iperf3", "-s", "-1", "-p", "5201"])
    try:
        other.await_listening(5201, "tcp", 5.0)
        report = finish(prepare(wire, rate="1mbit"))
    finally:
        other.stop()
    assert report.flows[0].receiver.local_port == 5202


def test_unknown_congestion_control_is_told_with_those_that_are_there(wire: Lab, prepare: Prepare) -> None:
    session = prepare(wire, congestion="nosuch")
    session.start()
    with pytest.raises(TrafficError, match=r"in host client failed: unable to set TCP_CONGESTION.*kernel has: .*cubic"):
        session.wait()


@pytest.mark.parametrize(
    ("victim", "message"),
    [
        ("server", r"in host client failed: .*; the server in host server was ended by signal 9"),
        (
            "client",
            r"in host client was ended by signal 9; the server in host server said: the client has unexpectedly closed",
        ),
    ],
)
def test_process_that_dies_in_mid_run_is_named(wire: Lab, prepare: Prepare, victim: str, message: str) -> None:
    session = prepare(wire, rate="1mbit", duration="20s")
    began = time.monotonic()
    session.start()
    until(lambda: len(connections(wire)) == 2)
    (pid,) = processes(wire, victim)
    os.kill(pid, signal.SIGKILL)
    with pytest.raises(TrafficError, match=message):
        session.wait()
    assert time.monotonic() - began < 10
    session.stop()
    assert processes(wire, "client") == processes(wire, "server") == []


def connections(lab: Lab) -> list[str]:
    return lab.hosts["client"].run(["ss", "-Htn", "state", "established"]).stdout.decode().splitlines()


def test_session_stopped_in_mid_run_leaves_no_process(wire: Lab, prepare: Prepare) -> None:
    session = prepare(wire, rate="1mbit", duration="20s")
    session.start()
    until(lambda: len(connections(wire)) == 2)
    session.stop()
    assert processes(wire, "client") == processes(wire, "server") == []


def test_command_fetches_from_its_server_and_hands_back_a_metric(wire: Lab) -> None:
    fetch = (
        "import json,urllib.request as r;"
        "n=len(r.urlopen('http://{server}:8080/pattern').read());"
        "print(json.dumps({'perfcheck':{'app.throughput_bps':n}}))"
    )
    serve = (
        "import http.server as h\n"
        "class P(h.BaseHTTPRequestHandler):\n"
        " def do_GET(self):\n"
        "  self.send_response(200); self.end_headers(); self.wfile.write(b'x'*4321)\n"
        "h.HTTPServer(('{server}', 8080), P).serve_forever()"
    )
    keys = {
        "host": "client",
        "run": f'{sys.executable} -c "{fetch}"',
        "server": {"host": "server", "run": f'{sys.executable} -c "{serve}"', "port": 8080},
    }
    session = Command().prepare(TrafficSpec.model_validate({"command": keys}), wire.hosts, 0)
    assert wire.hosts["server"].listening(8080)
    report = finish(session)
    assert report.metrics["app.throughput_bps"] == 4321
    assert 1_000 < report.metrics["app.duration_us"] < 20_000_000
    assert not wire.hosts["server"].listening(8080)
