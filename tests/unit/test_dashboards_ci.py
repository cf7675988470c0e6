"""The dashboard of CI over Prometheus: each of its queries, over the file that `perfcheck run` writes."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Final

from board_answers import Found, at, over
from grafana_boards import FOLDER, BoardQuery, load, put_in, queries_of
from prometheus_server import Prometheus, scraping

from perfcheck.export.records import RecordsSnapshot
from perfcheck.export.text import prometheus_text
from perfcheck.model.record import ComparisonRecord, DiagnosisRecord, RunRecord
from perfcheck.model.verdict import Verdict
from perfcheck.system.clock import wait_until
from perfcheck.testing import make_record

QUERIES: Final = tuple(queries_of(load(FOLDER / "perfcheck-ci.json")))
VALUES: Final = {"job": ".+", "instance": ".+", "scenario": ".+"}


def _record(name: str, verdict: Verdict) -> RunRecord:
    values = {
        "app.throughput_bps": (8e6, 8.1e6), "tcp.rtt_us.p99": (21_000.0, 22_000.0), "tcp.retrans_pct": (0.5, 0.5),
        "tcp.queue_delay_us": (500.0, 600.0), "tcp.rtt_us.p50": (1e3, 1e3),
    }  # fmt: skip
    compared = ComparisonRecord(
        metric="app.throughput_bps", baseline=1e7, current=8e6, change_pct=-20.0, detectable_pct=3.0, verdict=verdict
    )  # fmt: skip
    cause = DiagnosisRecord(cause="random_loss", confidence=0.75)
    return make_record(values, name=name, verdict=verdict, comparisons=(compared,), diagnosis=(cause,))


@contextmanager
def _served(text: str) -> Iterator[str]:
    """Serve a text as node_exporter serves what its textfile collector read; yield HOST:PORT."""

    class Answer(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "text/plain; version=0.0.4")
            self.end_headers()
            self.wfile.write(text.encode())

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name is http.server's
            """Say nothing."""

    with HTTPServer(("127.0.0.1", 0), Answer) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


def test_every_query_gives_data(tmp_path: Path) -> None:
    records = (_record("bulk", Verdict.REGRESSED), _record("rpc", Verdict.PASS))
    with (
        _served(prometheus_text(RecordsSnapshot(records=records).series())) as target,
        scraping(tmp_path, [target]) as server,
    ):
        assert wait_until(lambda: bool(server.query("perfcheck_verdict")), timeout_s=20)
        found = {query.name: _asked(server, query) for query in QUERIES}
    empty = [name for name, series in found.items() if not any(one.finite for one in series)]
    assert not empty
    by_name = {name.removeprefix("perfcheck-ci / "): series for name, series in found.items()}
    assert [one.finite[-1] for one in by_name["Failed scenarios / A"]] == [1.0]
    assert {one.labels["scenario"]: one.finite[-1] for one in by_name["Throughput / A"]} == {
        "bulk": 8.05e6 / 8, "rpc": 8.05e6 / 8,
    }  # fmt: skip
    (rtt,) = {one.finite[-1] for one in by_name["RTT p99 / A"]}
    assert rtt == 0.0215
    assert {(one.labels["scenario"], one.labels["verdict"]) for one in by_name["Scenarios / verdict"]} == {
        ("bulk", "REGRESSED"), ("rpc", "PASS"),
    }  # fmt: skip


def _asked(server: Prometheus, query: BoardQuery) -> list[Found]:
    now = time.time()
    text = put_in(query.text, VALUES)
    return at(server, text, now) if query.instant else over(server, text, now - 2, now)
