"""Detail mode's anomalies, and whole runs in detail mode, against what is known beforehand."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from collect_lab import measuring, pair
from detail_lab import detail, filtered, followed_of, nstat, stream_of

from perfcheck.analyse import events_of
from perfcheck.collect.detail.collector import DetailCollector
from perfcheck.model.detail import DetailFilter, Kind
from perfcheck.model.record import RunRecord
from perfcheck.model.verdict import Verdict
from perfcheck.runner import Runner, RunOptions
from perfcheck.scenario import load_text

pytestmark = pytest.mark.kernel

HOGS = 8
HOG = "import os, sys\nos.sched_setaffinity(0, {int(sys.argv[1])})\nwhile True: pass"
DATAGRAMS = 500


@pytest.fixture(scope="module")
def collector() -> Iterator[DetailCollector]:
    with detail() as attached:
        yield attached


def waited_ns(pid: int) -> int:
    return int(Path(f"/proc/{pid}/schedstat").read_text().split()[1])


def test_long_waits_for_a_cpu_are_those_of_schedstat(collector: DetailCollector) -> None:
    cpu = str(max(os.sched_getaffinity(0)))
    with pair() as hosts:
        argv = [sys.executable, "-S", "-c", HOG, cpu]
        hogs = [hosts.client(lambda: subprocess.Popen(argv)) for _ in range(HOGS)]
        try:
            time.sleep(0.3)
            with measuring(filtered(hosts.scope(), DetailFilter()), collector) as seen:
                before = sum(waited_ns(hog.pid) for hog in hogs)
                time.sleep(1.5)
                waited = sum(waited_ns(hog.pid) for hog in hogs) - before
        finally:
            for hog in hogs:
                hog.kill()
                hog.wait()
    events = stream_of(seen["detail"]).events
    waits = events[(events["kind"] == Kind.RUNQ)]
    assert set(waits["seq"].tolist()) <= {hog.pid for hog in hogs}
    assert int(waits["value"].min()) >= 10_000
    # All but one wait at any time; a wait that is under way at either end is in one of the two only.
    assert int(waits["value"].sum()) * 1000 == pytest.approx(waited, rel=0.15)


def test_datagrams_without_room_are_those_that_the_host_counts(collector: DetailCollector) -> None:
    with pair() as hosts:
        before = nstat(hosts, 1)
        two = hosts.server(lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
        one = hosts.client(lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
        with one, two, measuring(filtered(hosts.scope(), DetailFilter(protocol=17)), collector) as seen:
            two.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8192)
            two.bind((hosts.addresses[1], 7000))
            one.connect((hosts.addresses[1], 7000))
            for number in range(DATAGRAMS):
                one.send(number.to_bytes(8, "big") + bytes(992))
            time.sleep(0.1)
        refused = nstat(hosts, 1)["UdpRcvbufErrors"] - before["UdpRcvbufErrors"]
    followed = followed_of(seen["detail"])
    full = [event for event in events_of(followed) if event.metric == "udp.rcvqueue_full"]
    assert 0 < refused < DATAGRAMS
    assert len(full) == refused
    assert all(event.context["port"] == 7000 for event in full)
    dropped = [event for event in events_of(followed) if event.metric == "socket.drops_rcvbuf"]
    assert len(dropped) == refused
    assert all(event.flow is not None and event.flow.remote_port == 7000 and event.related for event in dropped)
    # Datagrams are followed up to the softirq.
    packets = followed.packets
    assert len(packets) == DATAGRAMS
    assert (packets["softirq_ns"] > packets["queued_ns"]).all()
    assert (packets["queued_ns"] > 0).all()


def run(text: str, events: Path | None = None) -> RunRecord:
    (scenario,) = load_text(text, "detail.yaml")
    with Runner.create(RunOptions(events=events)) as runner:
        record = runner.run(scenario)
        if record.verdict is Verdict.INVALID:
            record = runner.run(scenario)
    assert record.verdict is not Verdict.INVALID, record.invalid_reason
    return record


def scenario_text(link: str, traffic: str, measure: str = "mode: detail") -> str:
    return f"""
scenario: detail
hosts: {{client: {{congestion: cubic}}, server: {{congestion: cubic}}}}
links: [{{between: [client, server], {link}}}]
traffic: [{{iperf3: {{from: client, to: server, {traffic}}}}}]
repeat: 1
warmup: 500ms
measure: {{{measure}}}
expect: {{nic.wire_us.p50: ">= 1ms"}}
"""


def test_the_wire_is_as_long_as_the_link(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    record = run(scenario_text("delay: 10ms", "duration: 2s, rate: 4mbit"), path)
    assert record.metrics["nic.wire_us.p50"].value == pytest.approx(10_000, rel=0.05)
    assert record.metrics["app.oneway_us.p50"].value > record.metrics["nic.wire_us.p50"].value
    assert "tcp.rtt_us.p50" in record.metrics, "the TCP core measures beside detail mode"
    assert "qdisc.sojourn_us.p50" not in record.metrics, "the other layers' programs do not"
    (trial,) = record.trials
    assert trial.detail is not None
    assert (trial.detail.share, trial.detail.records_lost) == (1.0, 0)
    assert trial.detail.packets_whole / trial.detail.packets > 0.95
    assert record.metrics["nic.wire_loss_pct"].value == 0
    assert record.overhead["bpf_map_bytes"] > 16 << 20
    assert record.overhead["lost_events"]["detail"] == 0
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    wires = [line["value"] for line in lines if line["metric"] == "nic.wire_us"]
    assert len(wires) == pytest.approx(trial.detail.packets, abs=20)
    assert record.verdict is Verdict.PASS


def test_the_links_loss_is_what_never_arrives() -> None:
    record = run(scenario_text("delay: 2ms, forward: {loss: 3%}", "duration: 3s, rate: 20mbit", "mode: both"))
    retransmitted = record.metrics["tcp.retrans_segs"].value
    assert retransmitted > 20
    assert record.metrics["nic.wire_loss_pct"].value == pytest.approx(3, rel=0.4)
    assert "qdisc.sojourn_us.p50" in record.metrics or "nic.napi_polls" in record.metrics
