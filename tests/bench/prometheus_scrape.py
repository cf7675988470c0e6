"""What Prometheus' endpoint takes with thousands of connections: time of a scrape, size, CPU, and intervals kept.

    python tests/bench/prometheus_scrape.py [--flows N] [--seconds N] [--output FILE]

A made-up table of connections goes through the exporter each second, as measuring would bring it; the rows of all
connections change each time. Scrapers are another process, as Prometheus is one.
"""

from __future__ import annotations

import argparse
import contextlib
import gzip
import http.client
import multiprocessing
import socket
import statistics
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from multiprocessing.queues import Queue
from pathlib import Path
from typing import Final

import numpy as np

from perfcheck.collect.base.histogram import RTT_BUCKETS, SEGS_BUCKETS, edges, of_values
from perfcheck.export.exporter import Exporter
from perfcheck.export.rendering import Rendered
from perfcheck.export.server import MetricsServer
from perfcheck.model.flow_table import FlowTable
from perfcheck.model.interval import Interval

INTERVAL_S: Final = 1.0
SLOW: Final = 100
S: Final = 1_000_000_000
PROTOBUF: Final = "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited"
HEADINGS: Final = ("labels", "scrapers", "slow clients", "p50", "p99", "max", "size", "gzip", "CPU", "interval late by")


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One row of the table."""

    kinds: tuple[str, ...]
    scrapers: int
    slow: int = 0
    native: bool = False

    @property
    def label(self) -> str:
        return (", ".join(self.kinds) or "none") + (" (native)" if self.native else "")


@dataclass(slots=True, kw_only=True)
class Measured:
    """What a case took; times in milliseconds."""

    scrapes_ms: list[float]
    late_ms: list[float] = field(default_factory=list)
    cpu_s: float = 0.0
    seconds: float = 0.0
    size: int = 0
    compressed: int = 0


CASES: Final = (
    Case(kinds=(), scrapers=1), Case(kinds=(), scrapers=50, slow=SLOW), Case(kinds=("app",), scrapers=1),
    Case(kinds=("connection",), scrapers=1), Case(kinds=("connection",), scrapers=50),
    Case(kinds=("connection",), scrapers=50, slow=SLOW), Case(kinds=("connection",), scrapers=1, native=True),
)  # fmt: skip


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--flows", type=int, default=10_000)
    parser.add_argument("--seconds", type=int, default=6)
    parser.add_argument("--output", type=Path)
    args = parser.parse_args()
    lines = [f"{args.flows:,} connections, an interval each second, {args.seconds} s a row", "",
             f"| {' | '.join(HEADINGS)} |", f"|{'---|' * len(HEADINGS)}"]  # fmt: skip
    print("\n".join(lines), flush=True)
    for case in CASES:
        row = _row(case, _measured(case, args.flows, args.seconds))
        print(row, flush=True)
        lines.append(row)
    if args.output is not None:
        args.output.write_text("\n".join(lines) + "\n")
    return 0


def _row(case: Case, found: Measured) -> str:
    times = sorted(found.scrapes_ms)
    cells = (
        case.label, str(case.scrapers), str(case.slow), *(f"{value:.1f} ms" for value in (
            statistics.median(times), times[min(int(0.99 * len(times)), len(times) - 1)], times[-1])),
        f"{found.size / 1000:,.0f} kB", f"{found.compressed / 1000:,.0f} kB",
        f"{100 * found.cpu_s / found.seconds:.1f} %", f"{max(found.late_ms):.1f} ms",
    )  # fmt: skip
    return f"| {' | '.join(cells)} |"


def _measured(case: Case, flows: int, seconds: int) -> Measured:
    tables = [_interval(number, flows) for number in range(4)]
    exporter = Exporter(kinds=case.kinds, rules=("rtt-tail",))
    with MetricsServer("127.0.0.1", 0) as server, contextlib.ExitStack() as stack:
        server.show(Rendered(exporter.take(tables[0]), native=case.native))
        for number in range(case.slow):
            sock = stack.enter_context(socket.create_connection((server.host, server.port)))
            sock.sendall((b"GET /met", b"GET /metrics HTTP/1.1\r\n\r\n")[number % 2])
        queue: Queue[list[float]] = multiprocessing.Queue()
        scraper = multiprocessing.Process(target=_scrape, args=(server.port, case, seconds, queue))
        scraper.start()
        found = Measured(scrapes_ms=[])
        begun_s, cpu_s = time.monotonic(), time.process_time()
        for number in range(1, seconds + 1):
            due_s = begun_s + number * INTERVAL_S
            time.sleep(max(due_s - time.monotonic(), 0))
            rendered = Rendered(exporter.take(tables[number % len(tables)]), native=case.native)
            server.show(rendered)
            found.late_ms.append(1000 * (time.monotonic() - due_s))
        found.cpu_s, found.seconds = time.process_time() - cpu_s, time.monotonic() - begun_s
        found.scrapes_ms = queue.get(timeout=60)
        scraper.join()
        content = rendered.body(PROTOBUF if case.native else "").content
        found.size, found.compressed = len(content), len(gzip.compress(content, 1))
    return found


def _scrape(port: int, case: Case, seconds: int, queue: Queue[list[float]]) -> None:
    """Scrape once a second with each of some scrapers, all at once; the times are told by the queue."""
    found: list[float] = []
    over_s = time.monotonic() + seconds

    def scrape(delay_s: float) -> None:
        time.sleep(delay_s)
        while time.monotonic() < over_s:
            begun_s = time.monotonic()
            _get(port, PROTOBUF if case.native else "text/plain;version=0.0.4")
            found.append(1000 * (time.monotonic() - begun_s))
            time.sleep(max(INTERVAL_S - (time.monotonic() - begun_s), 0))

    _together([lambda: scrape(0.3)] * case.scrapers)
    queue.put(found)


def _get(port: int, accept: str) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    connection.request("GET", "/metrics", headers={"Accept": accept, "Accept-Encoding": "gzip"})
    answer = connection.getresponse()
    answer.read()
    connection.close()
    assert answer.status == 200


def _together(do: Sequence[Callable[[], None]]) -> None:
    threads = [threading.Thread(target=one) for one in do]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def _interval(number: int, rows: int) -> Interval:
    rng = np.random.default_rng(number)
    table = FlowTable.empty(rows, {1: ""})
    for name, values in {
        "cookie": np.arange(1, rows + 1), "netns": 1, "family": 2, "local_port": np.arange(rows) % 60000,
        "remote_port": 443 + np.arange(rows) // 60000, "pid": 100 + np.arange(rows) % 200,
        "bytes_acked": rng.integers(0, 1 << 24, rows), "bytes_received": rng.integers(0, 1 << 16, rows),
        "data_segs_out": rng.integers(0, 1 << 12, rows), "retrans_segs": rng.integers(0, 3, rows),
        "srtt_us": rng.lognormal(9, 1, rows), "cwnd_segs": rng.integers(2, 200, rows), "busy_us": 500_000,
        "elapsed_us": 1_000_000, "min_rtt_us": 900.0,
    }.items():  # fmt: skip
        table.columns[name][:] = values
    table.columns["comm"][:] = [f"app-{row % 50}".encode() for row in range(rows)]
    samples = rng.lognormal(9, 1, 20_000)
    return Interval(
        number=number, begin_ns=number * S, end_ns=(number + 1) * S, epoch_ns=0, flows=table,
        metrics={"tcp.retrans_segs": 5.0, "nic.rx_packets": 1e6},
        histograms={
            "tcp.rtt_us": of_values("us", edges(RTT_BUCKETS), samples),
            "tcp.cwnd_segs": of_values("segs", edges(SEGS_BUCKETS), np.minimum(samples / 100, 16000)),
        },
    )  # fmt: skip


if __name__ == "__main__":
    raise SystemExit(main())
