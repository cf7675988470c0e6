"""Latency and rate of requests against the link's own delay, the generators' own reports, and the kernel's counters."""

from __future__ import annotations

import re

import pytest
from lab_building import BuildLab, do_without
from measured import measured

from perfcheck.errors import Unavailable
from perfcheck.model.observation import TrafficReport
from perfcheck.model.record import RunRecord
from perfcheck.model.scenario import TrafficSpec
from perfcheck.model.seams import Host
from perfcheck.runner import Runner
from perfcheck.traffic import generators

ROUND_TRIP_US = 20_000


@pytest.fixture(scope="module", autouse=True)
def _tools() -> None:
    for name in ("http", "sockperf"):
        try:
            generators()[name].check()
        except Unavailable as lacking:
            do_without(lacking)


def requested(runner: Runner, traffic: str) -> RunRecord:
    text = f"""
scenario: requests
hosts: {{client: {{}}, server: {{}}}}
links: [{{between: [client, server], delay: 10ms}}]
traffic: [{traffic}]
repeat: 1
"""
    return measured(runner, text)


def test_a_request_over_a_delayed_link_takes_a_round_trip(runner: Runner) -> None:
    record = requested(runner, "{http: {from: client, to: server, duration: 2s, connections: 4, rate: 200}}")
    value = {name: metric.value for name, metric in record.metrics.items()}
    assert value["app.latency_us.p50"] == pytest.approx(ROUND_TRIP_US, rel=0.05)
    assert value["app.requests_per_s"] == pytest.approx(200, rel=0.05)
    assert value["app.errors"] == value["app.timeouts"] == value["app.resets"] == 0
    # The core's connections are those of the requests: 4, and no other.
    assert value["tcp.connections"] == 4


@pytest.mark.parametrize("protocol", ["udp", "tcp"])
def test_a_message_over_a_delayed_link_takes_a_round_trip(runner: Runner, protocol: str) -> None:
    record = requested(runner, f"{{sockperf: {{from: client, to: server, duration: 1s, protocol: {protocol}}}}}")
    value = {name: metric.value for name, metric in record.metrics.items()}
    assert value["app.latency_us.p50"] == pytest.approx(ROUND_TRIP_US, rel=0.05)
    # One after the other: as many a second as there are round trips in it.
    assert value["app.requests_per_s"] == pytest.approx(1e6 / value["app.latency_us.mean"], rel=0.05)
    assert value["app.timeouts"] == 0


def reported(build_lab: BuildLab, spec: dict[str, object]) -> TrafficReport:
    return reported_and_counted(build_lab, spec)[0]


def reported_and_counted(build_lab: BuildLab, spec: dict[str, object]) -> tuple[TrafficReport, int]:
    """Return the report, and how many datagrams the kernel of the client has sent meanwhile."""
    with build_lab() as lab:
        traffic = TrafficSpec.model_validate(spec)
        session = generators()[traffic.generator].prepare(traffic, lab.hosts, 0)
        try:
            before = datagrams(lab.hosts["client"])
            session.start()
            report = session.wait()
            return report, datagrams(lab.hosts["client"]) - before
        finally:
            session.stop()


def datagrams(host: Host) -> int:
    words = host.run(["nstat", "-asz", "UdpOutDatagrams"]).stdout.decode().split()
    return int(words[words.index("UdpOutDatagrams") + 1])


def test_latency_is_what_h2load_itself_reports(build_lab: BuildLab) -> None:
    report = reported(build_lab, {"http": {"from": "client", "to": "server", "duration": "1s", "connections": 2}})
    line = re.search(r"^time for request:\s+(\S+)\s+(\S+)\s+(\S+)", str(report.raw["stdout"]), re.MULTILINE)
    total = re.search(r"(\d+) succeeded", str(report.raw["stdout"]))
    assert line is not None
    assert total is not None
    assert report.metrics["app.latency_us.mean"] == pytest.approx(microseconds(line[3]), rel=0.05)
    assert report.metrics["app.latency_us.max"] == pytest.approx(microseconds(line[2]), rel=0.05)
    length_s = int(total[1]) / report.metrics["app.requests_per_s"]
    assert length_s == pytest.approx(1.0, rel=0.05)
    assert report.cpu_pct is not None
    assert report.cpu_pct > 10


def microseconds(text: str) -> float:
    """Read one of h2load's times, such as `62us` or `2.19ms`."""
    value, unit = re.fullmatch(r"([\d.]+)(us|ms|s)", text).groups()  # type: ignore[union-attr]
    return float(value) * {"us": 1, "ms": 1e3, "s": 1e6}[unit]


def test_latency_is_what_sockperf_itself_reports(build_lab: BuildLab) -> None:
    report, out = reported_and_counted(
        build_lab, {"sockperf": {"from": "client", "to": "server", "duration": "1s", "rate": 2000}}
    )
    said = str(report.raw["stdout"])
    (middle,) = {float(found) for found in re.findall(r"percentile 50\.000 =\s+([\d.]+)", said)}
    (mean,) = {float(found) for found in re.findall(r"avg-rtt=([\d.]+)", said)}
    assert report.metrics["app.latency_us.p50"] == pytest.approx(middle, rel=0.05)
    assert report.metrics["app.latency_us.mean"] == pytest.approx(mean, rel=0.05)
    # The whole run is what the kernel sent, and the rate is that of its valid part.
    (sent,) = re.findall(r"\[Total Run\].* SentMessages=(\d+)", said)
    assert int(sent) == pytest.approx(out, rel=0.02)
    ((length_s, answered),) = re.findall(r"\[Valid Duration\] RunTime=([\d.]+) .*ReceivedMessages=(\d+)", said)
    assert report.metrics["app.requests_per_s"] == pytest.approx(int(answered) / float(length_s), rel=0.02)
    assert report.metrics["app.requests_per_s"] == pytest.approx(2000, rel=0.05)


def test_requests_that_nobody_answers_time_out(build_lab: BuildLab) -> None:
    with build_lab() as lab:
        traffic = TrafficSpec.model_validate(
            {"http": {"from": "client", "to": "server", "duration": "1s", "timeout": "200ms", "connections": 3}}
        )
        session = generators()["http"].prepare(traffic, lab.hosts, 0)
        try:
            for command in ("add table ip t", "add chain ip t c { type filter hook output priority 0; }",
                            "add rule ip t c tcp sport 8080-8280 meta length > 200 drop"):  # fmt: skip
                assert lab.hosts["server"].run(["nft", command]).returncode == 0
            session.start()
            report = session.wait()
        finally:
            session.stop()
    assert report.metrics["app.timeouts"] == 3
    assert report.metrics["app.requests_per_s"] == 0
