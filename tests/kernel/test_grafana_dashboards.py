"""Dashboards over a real Prometheus that scrapes a real `perfctl observe`: each query gives data, in its unit."""

from __future__ import annotations

import datetime as dt
import json
import os
import re
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any, Final

import pytest
from board_answers import Found, at, over
from grafana_boards import FILES, FOLDER, BoardQuery, load, put_in, queries_of, variables_of
from live_lab import FORWARDED, PERFCTL, LiveLab, live_lab
from prometheus_server import Prometheus, scraping

from perfcheck.faults.programs import ask
from perfcheck.model.seams import Process
from perfcheck.system.clock import wait_until
from perfcheck.system.rundir import RUN_DIR_VARIABLE

pytestmark = pytest.mark.kernel

INTERVALS: Final = 8
"""Of perfctl, in which there is traffic: on a busy machine each may take longer than a second."""
MOST_SECONDS: Final = 60
WINDOW_S: Final = 5
WINDOW: Final = f"{WINDOW_S}s"
RATE_BPS: Final = 8e6
ASKERS: Final = 3
QUESTIONS_PER_S: Final = 20
ASKED_BYTES_PER_S: Final = 2 * ASKERS * QUESTIONS_PER_S * (ask.QUESTION + 2000)
"""Of two applications with so many callers each: questions and answers."""
LOST: Final = 1 / 33
LOSE_SOME: Final = "nft add rule ip t f tcp dport 5201 numgen inc mod 33 == 0 drop"
LINKS: Final = [
    {"between": pair, "delay": "1ms", "rate": "50mbit"} for pair in (["client", "router"], ["router", "server"])
]
LIVE: Final = tuple(path for path in FILES if path.stem.startswith("perfctl-"))
VALUES: Final = {
    "job": ".+", "instance": ".+", "name": ".+", "group": "app", "top": "5", "__rate_interval": WINDOW,
}  # fmt: skip
QUERIES: Final = tuple(query for path in LIVE for query in queries_of(load(path)))
MOST: Final = {"s": 3600.0, "Bps": 1e10, "bytes": 1e9, "percentunit": 3.0, "short": 1e5, "pps": 1e6, "cps": 1e7}
"""More of a unit there cannot be in this lab; a share of CPUs may exceed 1, all others are held to 1 below."""
BUCKET: Final = 2.1
"""From one bound of a classic bucket to the next of round trips, at most, and what two programs differ in."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """What was there to see, and from when to when."""

    server: Prometheus
    begin_s: float
    end_s: float
    iperf3: dict[str, Any]
    told: list[dict[str, Any]]

    def of(self, query: BoardQuery) -> list[Found]:
        """Return the series of a query, with Grafana's variables put in."""
        text = put_in(query.text, VALUES)
        return at(self.server, text, self.end_s) if query.instant else over(self.server, text, self.begin_s, self.end_s)

    def named(self, panel: str, ref: str = "A", board: str = "perfctl-live") -> list[Found]:
        """Return the series of a panel's query."""
        return self.of(next(one for one in QUERIES if (one.board, one.panel, one.ref) == (board, panel, ref)))

    def usual(self, panel: str) -> float:
        """Return the median over time of a panel's only series: the first intervals may be of before the traffic."""
        (found,) = self.named(panel)
        return median(found.finite)


@pytest.fixture(scope="module")
def seen(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Seen]:
    folder = tmp_path_factory.mktemp("dashboards")
    with ExitStack() as stack:
        stack.enter_context(pytest.MonkeyPatch.context()).setenv(RUN_DIR_VARIABLE, str(folder / "run"))
        lab = stack.enter_context(live_lab(links=LINKS))
        lab.setup("router", *FORWARDED, LOSE_SOME)
        yield stack.enter_context(_watched(lab, folder))


@contextmanager
def _watched(lab: LiveLab, folder: Path) -> Iterator[Seen]:
    """Watch traffic twice, by an endpoint that is scraped and as JSON, and yield what came of it."""
    with ExitStack() as stack:
        told = stack.enter_context((folder / "told.jsonl").open("w+", encoding="utf-8"))
        _serve(lab)
        json_run = stack.enter_context(_perfctl(lab, "--output", "json", stdout=told))
        exported = ("--output", "prometheus", "--listen", "127.0.0.1:0", "--labels", "app", "--layer", "all")
        target = _target_of(stack.enter_context(_perfctl(lab, *exported)))
        server = stack.enter_context(scraping(folder, [target], rules=[FOLDER / "alerts.yaml"]))
        assert wait_until(lambda: _intervals(server) >= 1, timeout_s=30), "perfctl is not scraped"
        sender = _send(lab)
        begin_s, before = time.time(), _intervals(server)
        assert wait_until(lambda: _intervals(server) >= before + INTERVALS, timeout_s=MOST_SECONDS), "no intervals"
        end_s = time.time()
        os.kill(sender.pid, signal.SIGINT)  # it reports what it has done
        assert sender.stdout is not None
        out = sender.stdout.read()
        assert wait_until(lambda: _intervals(server) >= before + INTERVALS + 2, timeout_s=15), "the last interval lacks"
        json_run.send_signal(signal.SIGINT)
        json_run.communicate(timeout=20)
        told.seek(0)
        yield Seen(
            server=server, begin_s=begin_s + 3, end_s=end_s, iperf3=json.loads(out),
            told=[json.loads(line) for line in told],
        )  # fmt: skip


def _target_of(process: subprocess.Popen[str]) -> str:
    """Return where perfctl listens, which it says first."""
    assert process.stderr is not None
    said = process.stderr.readline()
    found = re.search(r"http://(127\.0\.0\.1:\d+)/metrics", said)
    assert found, said
    return found[1]


def _intervals(server: Prometheus) -> float:
    return max((one.finite[0] for one in at(server, "perfctl_intervals_total", time.time())), default=0.0)


def _serve(lab: LiveLab) -> None:
    lab.serve("server", 5201, "iperf3", "-s")
    lab.serve("server", 9700, "python3", ask.__file__, "--answer", "--port", "9700", "--seconds", "60")


def _send(lab: LiveLab) -> Process:
    """Start two applications that send, one of which connects for each of its questions; return iperf3."""
    to = lab.host("server").address_towards("client")
    asking = (
        "python3",
        ask.__file__,
        to,
        "--port",
        "9700",
        "--per-s",
        str(QUESTIONS_PER_S),
        "--seconds",
        str(MOST_SECONDS),
    )
    lab.start("client", *asking)
    lab.start("client", *asking, "--anew")
    return lab.start("client", "iperf3", "-c", to, "-J", "-b", f"{RATE_BPS:.0f}", "-t", str(MOST_SECONDS))


@contextmanager
def _perfctl(lab: LiveLab, *words: str, stdout: Any = subprocess.DEVNULL) -> Iterator[subprocess.Popen[str]]:
    where = [word for name in ("client", "server") for word in ("--netns", lab.host(name).netns_path)]
    argv = [*PERFCTL, "observe", "--cpu-ceiling", "90", *words, *where]
    with subprocess.Popen(argv, stdout=stdout, stderr=subprocess.PIPE, text=True) as process:
        try:
            yield process
        finally:
            process.terminate()
            try:
                process.communicate(timeout=20)
            finally:
                process.kill()


@pytest.mark.parametrize("path", LIVE, ids=lambda path: path.stem)
def test_every_query_gives_data_in_its_unit(seen: Seen, path: Path) -> None:
    queries = list(queries_of(load(path)))
    assert len(queries) > 10
    wrong = {query.name: said for query in queries if (said := _wrong(seen, query))}
    assert not wrong


def _wrong(seen: Seen, query: BoardQuery) -> str:
    found = seen.of(query)
    values = [value for one in found for value in one.finite]
    if not values:
        return "" if found and _nothing_counted(seen, query) else "no data"
    if min(values) < 0 or max(values) > MOST[query.unit]:
        return f"{min(values):g} to {max(values):g} {query.unit}"
    return ""


def _nothing_counted(seen: Seen, query: BoardQuery) -> bool:
    """Return whether a quantile is of a histogram that is there, and got no value in the time: it is not a number."""
    histogram = re.search(r"(\w+)_bucket", query.text)
    if histogram is None or not query.text.startswith("histogram_quantile"):
        return False
    counted = at(seen.server, f"sum(increase({histogram[1]}_count[{INTERVALS}s]))", seen.end_s)
    return [one.finite for one in counted] == [(0.0,)]


def test_variables_of_dashboards_have_values(seen: Seen) -> None:
    for path in LIVE:
        for name, variable in variables_of(load(path)).items():
            if variable["type"] != "query":
                continue
            metric, label = variable["query"]["query"].removeprefix("label_values(").removesuffix(")").rsplit(", ", 1)
            label = put_in(label, VALUES)
            found = at(seen.server, f"count by ({label}) ({put_in(metric, VALUES)})", seen.end_s)
            assert all(one.labels.get(label) for one in found), (path.stem, name)
            assert found, (path.stem, name)


def test_shares_are_parts_of_a_whole(seen: Seen) -> None:
    shares = [query for query in QUERIES if query.unit == "percentunit" and "CPU" not in query.panel]
    assert len(shares) > 10
    for query in shares:
        assert max(value for one in seen.of(query) for value in one.finite) <= 1 + 1e-9, query.name


def test_throughput_is_what_the_generator_reports(seen: Seen) -> None:
    sent = seen.iperf3["end"]["sum_sent"]["bytes"]
    (counted,) = at(seen.server, 'sum(perfctl_flow_acked_bytes_total{app="iperf3"})', time.time())
    assert counted.finite[0] == pytest.approx(sent, rel=0.05)
    # Both ends are watched: what one sends the other receives.
    assert seen.usual("Goodput") / 2 == pytest.approx(RATE_BPS / 8 + ASKED_BYTES_PER_S, rel=0.1)


def test_groups_have_their_shares(seen: Seen) -> None:
    bytes_per_s = {"iperf3": RATE_BPS / 8, "python3": ASKED_BYTES_PER_S}
    found = {one.labels["app"]: one.finite[0] for one in seen.named("Share of all payload", board="perfctl-groups")}
    assert sum(found.values()) == pytest.approx(1)
    share = bytes_per_s["iperf3"] / sum(bytes_per_s.values())
    # Who accepted a connection is known some time after it began, and who accepted a short one never.
    unknown = found.get("unknown process", 0.0)
    assert share - unknown - 0.1 <= found["iperf3"] <= share + 0.1


def test_the_quantile_of_rtt_is_what_perfctl_tells(seen: Seen) -> None:
    # The first query's window reaches back that far, and an interval is told when it has ended.
    first_s = seen.begin_s - WINDOW_S - 2
    told = [
        event["metrics"]["tcp.rtt_us.p99"] / 1e6
        for event in seen.told
        if event["context"]["kind"] == "interval" and "tcp.rtt_us.p99" in event["metrics"]
        and first_s <= dt.datetime.fromisoformat(event["timestamp"]).timestamp() <= seen.end_s + 1
    ]  # fmt: skip
    found = [value for one in seen.named("RTT p99") for value in one.finite]
    assert min(told) / BUCKET <= min(found)
    assert max(found) <= max(told) * BUCKET


def test_losses_are_seen_as_they_were_made(seen: Seen) -> None:
    sent_again = seen.iperf3["end"]["sum_sent"]["retransmits"]
    (counted,) = at(seen.server, "sum(perfctl_tcp_retrans_segments_total)", time.time())
    assert counted.finite[0] == pytest.approx(sent_again, rel=0.1)
    assert LOST / 4 < seen.usual("Retransmitted") < LOST * 1.5
    raised = {one.labels["rule"] for one in seen.named("Alerts by rule") if max(one.finite) > 0}
    assert "retransmissions" in raised
    marked = {one.labels["rule"] for one in seen.named("annotations Alerts", "")}
    assert marked == raised
    fired = over(seen.server, 'ALERTS{alertstate="firing"}', seen.begin_s, seen.end_s + 2)
    assert "PerfctlAlert" in {one.labels["alertname"] for one in fired}
