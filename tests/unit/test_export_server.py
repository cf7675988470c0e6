"""The endpoint: what it answers, and that slow, hanging and wrong clients take nothing from the others."""

from __future__ import annotations

import gzip
import http.client
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from live_intervals import flow_table, interval

from perfcheck.collect.base.histogram import RTT_BUCKETS, edges, of_values
from perfcheck.errors import UsageError
from perfcheck.export import server as server_module
from perfcheck.export.client_model import metric_family_class
from perfcheck.export.exporter import Exporter
from perfcheck.export.rendering import OPENMETRICS, PROTOBUF, TEXT, Rendered, chosen_format, takes_gzip
from perfcheck.export.request import MOST_BYTES
from perfcheck.export.server import MOST_CONNECTIONS, MetricsServer

SCRAPERS = 50
PROMETHEUS = (
    "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited,"
    "application/openmetrics-text;version=1.0.0;q=0.8,application/openmetrics-text;version=0.0.1;q=0.75,"
    "text/plain;version=0.0.4;q=0.5,*/*;q=0.1"
)


def rendered(rows: int = 3, *, native: bool = True) -> Rendered:
    histogram = of_values("us", edges(RTT_BUCKETS), np.array([0.0, 40.0, 41.0, 5000.0, 3e8]))
    exporter = Exporter(kinds=("connection",))
    table = flow_table(rows, bytes_acked=7)
    return Rendered(exporter.take(interval(0, table, histograms={"tcp.rtt_us": histogram})), native=native)


@pytest.fixture
def server() -> Iterator[MetricsServer]:
    with MetricsServer("127.0.0.1", 0) as found:
        found.show(rendered())
        yield found


def get(server: MetricsServer, path: str = "/metrics", method: str = "GET", **headers: str) -> tuple[int, str, bytes]:
    connection = http.client.HTTPConnection(server.host, server.port, timeout=5)
    connection.request(method, path, headers={name.replace("_", "-"): value for name, value in headers.items()})
    answer = connection.getresponse()
    body = answer.read()
    connection.close()
    return answer.status, answer.getheader("Content-Type", ""), body


def raw(server: MetricsServer, sent: bytes) -> bytes:
    with socket.create_connection((server.host, server.port), timeout=5) as sock:
        sock.sendall(sent)
        found = b""
        while got := sock.recv(65536):
            found += got
        return found


def test_metrics_in_each_format_that_is_asked_for(server: MetricsServer) -> None:
    status, kind, body = get(server)
    assert (status, kind) == (200, TEXT.content_type)
    assert b"perfctl_up 1\n" in body
    _, kind, body = get(server, Accept="application/openmetrics-text;version=1.0.0,text/plain;q=0.5")
    assert kind == OPENMETRICS.content_type
    assert body.endswith(b"# EOF\n")
    _, kind, body = get(server, Accept=PROMETHEUS)
    assert kind == PROTOBUF.content_type
    names = [one.name for one in messages(body)]
    assert "perfctl_tcp_rtt_seconds" in names
    assert len(set(names)) == len(names)
    _, _, body = get(server, Accept_Encoding="deflate, gzip;q=0.5")
    assert gzip.decompress(body) == get(server)[2]
    assert get(server, method="HEAD")[2] == b""
    assert b"/metrics" in get(server, "/")[2]
    assert get(server, "/metrics?x=1")[0] == 200


def messages(body: bytes) -> Iterator[Any]:
    kind = metric_family_class()
    at = 0
    while at < len(body):
        size = shift = 0
        while True:
            size |= (body[at] & 0x7F) << shift
            shift, at = shift + 7, at + 1
            if body[at - 1] < 0x80:
                break
        yield kind.FromString(body[at : at + size])
        at += size


def test_a_native_histogram_has_every_value_in_its_spans(server: MetricsServer) -> None:
    _, _, body = get(server, Accept=PROMETHEUS)
    found = next(one for one in messages(body) if one.name == "perfctl_tcp_rtt_seconds")
    histogram = found.metric[0].histogram
    deltas = list(histogram.positive_delta)
    counts = np.cumsum(deltas).tolist()
    indexes: list[int] = []
    at = 0
    for span in histogram.positive_span:
        indexes += range(at + span.offset, at + span.offset + span.length)
        at += span.offset + span.length
    assert (histogram.sample_count, histogram.zero_count, sum(counts)) == (5, 1, 4)
    assert len(indexes) == len(counts)
    bounds = {2 ** (index / 16): count for index, count in zip(indexes, counts, strict=True)}
    assert all(count >= 0 for count in counts)
    assert [value for value in (40e-6, 5000e-6) if not any(value <= bound <= value * 1.07 for bound in bounds)] == []


@pytest.mark.parametrize(
    ("path", "method", "status"),
    [("/x", "GET", 404), ("/metrics/", "GET", 404), ("/metrics", "POST", 405), ("/metrics", "DELETE", 405)],
)
def test_other_paths_and_methods(server: MetricsServer, path: str, method: str, status: int) -> None:
    assert get(server, path, method)[0] == status


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        (b"GET /metrics HTTP/1.1\r\nX: " + b"y" * MOST_BYTES + b"\r\n\r\n", b"431"),
        (b"y" * (MOST_BYTES + 1), b"431"), (b"\x16\x03\x01\x02\r\n\r\n", b"400"), (b"GET /metrics\r\n\r\n", b"400"),
        (b"GET http://x/metrics HTTP/1.1\r\n\r\n", b"400"), (b"GET /metrics HTTP/2\r\n\r\n", b"400"),
        (b"GET /metrics HTTP/1.1\r\nno colon\r\n\r\n", b"400"), (b"GET /metrics HTTP/1.1\r\nA : b\r\n\r\n", b"400"),
    ],
)  # fmt: skip
def test_what_is_no_request_is_refused(server: MetricsServer, sent: bytes, status: bytes) -> None:
    assert raw(server, sent).split(b" ")[1] == status
    assert get(server)[0] == 200


def test_fifty_scrapers_beside_hanging_and_slow_clients(server: MetricsServer) -> None:
    server.show(rendered(2000))
    with ExitStack() as stack, ThreadPoolExecutor(SCRAPERS) as pool:
        for number in range(MOST_CONNECTIONS):
            slow = stack.enter_context(socket.create_connection((server.host, server.port), timeout=5))
            # Some say nothing, some half a request, some never read their answer.
            slow.sendall((b"", b"GET /met", b"GET /metrics HTTP/1.1\r\n\r\n")[number % 3])
        began_s = time.monotonic()
        found = list(pool.map(lambda _: get(server), range(SCRAPERS)))
        took_s = time.monotonic() - began_s
    assert {status for status, _, _ in found} == {200}
    assert len({body for _, _, body in found}) == 1
    assert took_s < 10


def test_a_slow_client_is_cut_off_and_measuring_never_waits(
    server: MetricsServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server_module, "_READ_S", 0.2)
    monkeypatch.setattr(server_module, "_WRITE_S", 0.2)
    server.show(rendered(2000))
    # The kernel would take some megabytes for a client that reads nothing.
    server._listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
    with socket.create_connection((server.host, server.port), timeout=5) as mute, socket.socket() as deaf:
        deaf.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        deaf.settimeout(5)
        deaf.connect((server.host, server.port))
        deaf.sendall(b"GET /metrics HTTP/1.1\r\n\r\n")
        began_s = time.monotonic()
        for _ in range(100):
            server.show(rendered(1))
        assert mute.recv(1) == b"", "its time is over"
        time.sleep(0.5)
        got = 0
        with suppress(ConnectionResetError):
            while part := deaf.recv(65536):
                got += len(part)
        assert got < len(rendered(2000).body().content) / 2, "it was cut off"
    assert time.monotonic() - began_s < 15


def test_threads_do_not_grow_with_clients(server: MetricsServer) -> None:
    before = threading.active_count()
    with ExitStack() as stack:
        for _ in range(2 * MOST_CONNECTIONS):
            stack.enter_context(socket.create_connection((server.host, server.port), timeout=5))
        assert get(server)[0] == 200
        assert threading.active_count() == before


def test_a_port_in_use_is_said_before_anything_is_measured(server: MetricsServer) -> None:
    with pytest.raises(UsageError, match=rf"--listen: 127.0.0.1:{server.port} is in use; name another port"):
        MetricsServer("127.0.0.1", server.port)
    with pytest.raises(UsageError, match="no address of this machine"):
        MetricsServer("192.0.2.1", 0)


def test_after_the_end_nothing_listens() -> None:
    with MetricsServer("::1", 0) as server:
        assert server.url.startswith("http://[::1]:")
        port = server.port
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("::1", port), timeout=1)


def test_before_anything_is_shown_the_answer_says_so() -> None:
    with MetricsServer("127.0.0.1", 0) as server:
        assert get(server)[0] == 503


@pytest.mark.parametrize(
    ("accept", "chosen"),
    [
        ("", TEXT), ("*/*", TEXT), (PROMETHEUS, PROTOBUF), ("application/openmetrics-text", OPENMETRICS),
        ("application/openmetrics-text;version=2.0.0", TEXT),
        ("text/plain;q=0.9,application/openmetrics-text;q=0.1", TEXT),
        ("application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=text", TEXT),
        ("application/openmetrics-text;q=nonsense", TEXT), (";;;,,,=", TEXT),
    ],
)  # fmt: skip
def test_the_format_is_the_one_that_is_liked_best(accept: str, chosen: object) -> None:
    assert chosen_format(accept, (TEXT, OPENMETRICS, PROTOBUF)) is chosen
    assert chosen_format(accept, (TEXT, OPENMETRICS)) is not PROTOBUF


@pytest.mark.parametrize(
    ("header", "taken"), [("gzip", True), ("GZIP;q=1", True), ("gzip;q=0", False), ("br", False), ("", False)]
)
def test_who_takes_gzip(header: str, taken: bool) -> None:
    assert takes_gzip(header) is taken


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="perfctl is for Linux")
def test_a_recording_is_served_until_sigterm(tmp_path: Path) -> None:
    from perfcheck.live.recording.header import header_of
    from perfcheck.live.recording.writing import RecordingFile
    from perfcheck.model.interval import LiveRequest

    file = RecordingFile(tmp_path / "a.rec", header_of(LiveRequest()))
    for number in range(3):
        file.append(interval(number, flow_table(2, bytes_acked=100)))
    file.close()
    words = ["observe", "--from", str(tmp_path / "a.rec"), "--output", "prometheus", "--listen", "127.0.0.1:0",
             "--prometheus-textfile", str(tmp_path / "perfctl.prom")]  # fmt: skip
    with subprocess.Popen(
        [sys.executable, "-m", "perfcheck.cli.perfctl", *words], stderr=subprocess.PIPE, text=True,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
    ) as process:  # fmt: skip
        assert process.stderr is not None
        said = ""
        while "until Ctrl-C" not in said:
            line = process.stderr.readline()
            assert line, said
            said += line
        port = int(said.partition("127.0.0.1:")[2].partition("/")[0])
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
        connection.request("GET", "/metrics")
        body = connection.getresponse().read()
        assert b"perfctl_tcp_acked_bytes_total 600\n" in body
        assert b"perfctl_up 0\n" in body
        process.terminate()
        assert process.wait(timeout=10) == 3, "stopped by SIGTERM"
    assert "perfctl_tcp_acked_bytes_total 600\n" in (tmp_path / "perfctl.prom").read_text()
