"""Line protocol: every line reads back as what it was made of; pushes are bounded, tried again and accounted for."""

from __future__ import annotations

import http.server
import math
import re
import threading
from collections.abc import Iterator, Sequence
from typing import Any, ClassVar

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from live_intervals import EPOCH_NS, flow_table, interval

from perfcheck.export.exporter import Exporter, Found
from perfcheck.export.influx import InfluxLines, escaped, field_of, line_of
from perfcheck.export.influx_push import InfluxPush, influx_server, is_loopback, told
from perfcheck.export.label_sets import KINDS
from perfcheck.export.names import live_place
from perfcheck.live.delivery.channel import Patience
from perfcheck.model.catalogue import CATALOGUE

TEXTS = st.text(st.characters(exclude_categories=("Cs", "Cc")), min_size=1, max_size=12)
QUICK = Patience(attempt_s=0.5, first_pause_s=0.02, longest_pause_s=0.05)


def read_line(line: str) -> tuple[str, dict[str, str], dict[str, float], int]:
    """Read a line as the server does: a backslash takes the character after it along."""
    head, fields, at = _split(line, " ")
    measurement, *tags = _split(head, ",")
    return (
        _plain(measurement), {_plain(name): _plain(value) for name, value in (_split(one, "=") for one in tags)},
        {_plain(name): float(value) for name, value in (_split(one, "=") for one in _split(fields, ","))}, int(at),
    )  # fmt: skip


def _split(text: str, at: str) -> list[str]:
    parts, escaped_ = [""], False
    for each in text:
        if each == at and not escaped_:
            parts.append("")
            continue
        parts[-1] += each
        escaped_ = each == "\\" and not escaped_
    return parts


def _plain(text: str) -> str:
    return re.sub(r"\\([,= ])", r"\1", text)


def _kept(text: str) -> str:
    """What a server keeps of a text: backslashes before a separator, or at the end, are doubled."""
    return re.sub(r"\\+(?=[,= ]|$)", lambda found: found[0] * 2, text)


@given(TEXTS, TEXTS, TEXTS, st.floats(allow_nan=False, allow_infinity=False))
def test_a_line_reads_back(measurement: str, name: str, value: str, number: float) -> None:
    line = line_of(measurement, ((name, value), ("empty", "")), {"a b": number}, 5)
    assert line is not None
    assert "\n" not in line
    found = read_line(line)
    assert found[0] == _kept(measurement)
    assert found[1] == {_kept(name): _kept(value)}
    assert found[2] == {"a b": number}
    assert found[3] == 5


@pytest.mark.parametrize(
    ("text", "written"),
    [
        ("a,b=c d", r"a\,b\=c\ d"), ("end\\", r"end\\"), ("\\,", r"\\\,"), (r"a\b", r"a\b"), ("a\nb", r"a\nb"),
        ("é\u4e2d", "é\u4e2d"),
    ],
)  # fmt: skip
def test_what_the_protocol_escapes(text: str, written: str) -> None:
    assert escaped(text) == written


def test_a_number_that_is_none_is_left_out() -> None:
    assert line_of("m", (), {"a": math.nan, "b": 1.0, "c": math.inf}, 1) == "m b=1 1"
    assert line_of("m", (), {"a": math.nan}, 1) is None


def test_no_two_metrics_of_a_layer_are_one_field() -> None:
    fields = [(spec.layer, field_of(name)) for name, spec in CATALOGUE.items() if live_place(name)]
    assert len(set(fields)) == len(fields)
    assert field_of("tcp.rtt_us.p99") == "rtt_seconds_p99"
    assert field_of("tcp.retrans_fast_segs") == "retransmissions_fast"
    assert field_of("ip.drops_no_route") == "drops_no_route"


@settings(max_examples=20, deadline=None)
@given(st.lists(st.binary(max_size=15), min_size=1, max_size=4), st.sampled_from(KINDS))
def test_an_interval_reads_back(names: Sequence[bytes], kind: str) -> None:
    table = flow_table(len(names), bytes_acked=10, srtt_us=2000.0)
    table.columns["comm"][:] = names
    one = interval(0, table, metrics={"tcp.rtt_us.p99": 21500.0, "tcp.retrans_pct": 2.0, "nic.rx_packets": 7.0})
    exported = Exporter(kinds=(kind,)).take(one)
    found = Found(raised=("loss-state",), active=("loss-state",), causes={"shaper": 0.5})
    lines = [read_line(line) for line in InfluxLines("web 1").of(one, exported.flows, found)]
    assert all(line[1]["host"] == "web 1" and line[3] == EPOCH_NS + one.end_ns for line in lines)
    by = {line[0]: line[2] for line in lines}
    assert by["perfctl_tcp"] == {"rtt_seconds_p99": 0.0215, "retrans_ratio": 0.02}
    assert by["perfctl_nic"] == {"rx_packets": 7}
    assert by["perfctl_alert"] == {"raised": 1, "active": 1}
    assert by["perfctl_cause"] == {"probability_ratio": 0.5}
    flows = [line for line in lines if line[0] == "perfctl_flow"]
    assert sum(line[2]["acked_bytes"] for line in flows) == 10 * len(names)
    assert sum(line[2]["connections"] for line in lines if line[0] == "perfctl_bottleneck") == len(names)


def test_several_namespaces_are_tags() -> None:
    table = flow_table(2, netns=[1, 2], bytes_acked=[3, 4])
    table = type(table)(columns=table.columns, hosts={1: "a b", 2: "c"})
    one = interval(0, table, hosts={"a b": {"udp.in_errors": 1.0}, "c": {"udp.in_errors": 2.0}})
    lines = [read_line(line) for line in InfluxLines("h").of(one)]
    assert {line[1]["netns"]: line[2]["in_errors"] for line in lines if line[0] == "perfctl_udp"} == {"a b": 1, "c": 2}


class _Server(http.server.ThreadingHTTPServer):
    """Answers with the statuses that it was given, then with 204."""

    daemon_threads = True

    def __init__(self, *statuses: int) -> None:
        self.statuses = list(statuses)
        self.bodies: list[str] = []
        self.headers: list[dict[str, str]] = []
        super().__init__(("127.0.0.1", 0), _Handler)
        threading.Thread(target=self.serve_forever, args=(0.01,), daemon=True).start()


class _Handler(http.server.BaseHTTPRequestHandler):
    timeout: ClassVar[float] = 5

    def do_POST(self) -> None:
        server: Any = self.server
        body = self.rfile.read(int(self.headers["Content-Length"])).decode()
        status = server.statuses.pop(0) if server.statuses else 204
        if status == 204:
            server.bodies.append(body)
            server.headers.append(dict(self.headers))
        self.send_response(status)
        if 300 <= status < 400:
            self.send_header("Location", "http://127.0.0.1:1/elsewhere")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def closing() -> Iterator[list[_Server]]:
    found: list[_Server] = []
    yield found
    for server in found:
        server.shutdown()
        server.server_close()


def _pushed(closing: list[_Server], *statuses: int, most_waiting: int = 120) -> tuple[_Server, InfluxPush]:
    server = _Server(*statuses)
    closing.append(server)
    target = influx_server(f"http://127.0.0.1:{server.server_port}/api/v2/write?org=o&bucket=b")
    return server, InfluxPush(target, "secret", most_waiting=most_waiting, patience=QUICK)


def test_intervals_arrive_in_order_with_the_token(closing: list[_Server]) -> None:
    server, push = _pushed(closing)
    for number in range(5):
        push.put(number, f"m v={number} 1")
    report = push.close()
    assert server.bodies == [f"m v={number} 1" for number in range(5)]
    assert server.headers[0]["Authorization"] == "Token secret"
    assert told(report).endswith("5 of 5 intervals delivered")
    assert "secret" not in told(report)


def test_a_server_that_fails_is_tried_again(closing: list[_Server]) -> None:
    server, push = _pushed(closing, 503, 429)
    push.put(1, "m v=1 1")
    report = push.close()
    assert (server.bodies, report.attempts, report.undelivered) == (["m v=1 1"], 3, 0)


@pytest.mark.parametrize(("status", "says"), [(302, "redirects"), (400, "HTTP 400"), (401, "HTTP 401")])
def test_what_a_server_refuses_is_dropped_and_told(closing: list[_Server], status: int, says: str) -> None:
    server, push = _pushed(closing, status)
    push.put(1, "m v=1 1")
    push.put(2, "m v=2 2")
    report = push.close()
    assert server.bodies == ["m v=2 2"]
    assert (report.delivered, report.undelivered) == (1, 1)
    assert says in " ".join(push.news())


def test_what_refuses_every_interval_is_told_once_and_counted(closing: list[_Server]) -> None:
    _, push = _pushed(closing, *[401] * 20)
    for number in range(20):
        push.put(number, f"m v={number} 1")
    report = push.close()
    assert (report.put, report.undelivered) == (20, 20)
    (line,) = push.news()
    assert line.endswith("refused interval number 0: HTTP 401")
    assert "20 dropped (HTTP 401)" in told(report)


def test_a_refusal_is_told_again_after_the_server_took_one(closing: list[_Server]) -> None:
    _, push = _pushed(closing, 401, 204, 401, 403)
    for number in range(4):
        push.put(number, f"m v={number} 1")
    push.close()
    assert [line.rpartition("refused ")[2] for line in push.news()] == [
        "interval number 0: HTTP 401", "interval number 2: HTTP 401", "interval number 3: HTTP 403",
    ]  # fmt: skip


def test_without_a_server_the_queue_is_bounded_and_putting_returns_at_once() -> None:
    push = InfluxPush(influx_server("http://127.0.0.1:9/w"), most_waiting=3, patience=QUICK)
    for number in range(100):
        push.put(number, "m v=1 1")
    report = push.close(within_s=0.3)
    assert (report.put, report.delivered, report.undelivered) == (100, 0, 100)
    assert "100 dropped" in told(report)


@pytest.mark.parametrize(
    ("host", "is_here"), [("127.0.0.1", True), ("::1", True), ("localhost", True), ("10.0.0.1", False), ("x", False)]
)
def test_what_is_this_machine(host: str, is_here: bool) -> None:
    assert is_loopback(host) is is_here


def test_numbers_are_read_back_exactly() -> None:
    value = float(np.nextafter(0.1, 1))
    line = line_of("m", (), {"v": value}, 1)
    assert line is not None
    assert read_line(line)[2]["v"] == value
