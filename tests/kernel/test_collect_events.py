"""Events of every mode against the hosts' own counters: nft, nstat, schedstat."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from collect_lab import PORT, Pair, measuring, opened, pair, transfer
from detail_lab import detail, filtered, nstat

from perfcheck.analyse import events_of, follow
from perfcheck.collect.base.programs import cpu_count
from perfcheck.collect.events.collector import EventsCollector
from perfcheck.model.detail import DetailFilter
from perfcheck.model.event import Event, EventKind, EventStream, EventType
from perfcheck.model.flow import flow_id
from perfcheck.model.observation import Observation
from perfcheck.model.verdict import Verdict
from perfcheck.runner import Runner, RunOptions
from perfcheck.scenario import load_text

pytestmark = pytest.mark.kernel

HOGS = 8
HOG = "import os, sys\nos.sched_setaffinity(0, {int(sys.argv[1])})\nwhile True: pass"
DATAGRAMS = 500
DROP_SOME = (
    "add table ip t",
    "add chain ip t i { type filter hook input priority 0; }",
    "add rule ip t i tcp dport 5999 tcp flags != syn numgen inc mod 50 == 0 counter drop",
)
DROP_DATAGRAMS = (
    "add table ip t",
    "add chain ip t i { type filter hook input priority 0; }",
    "add rule ip t i udp dport 7000 counter drop",
)


@pytest.fixture(scope="module")
def collector() -> Iterator[EventsCollector]:
    with opened(EventsCollector()) as attached:
        yield attached


def stream_of(seen: Observation) -> EventStream:
    assert seen.events is not None
    return seen.events


def alerts(seen: Observation) -> list[Event]:
    return [event for event in events_of([seen]) if event.type is EventType.ALERT]


def of_kind(events: list[Event], kind: EventKind) -> list[Event]:
    return [event for event in events if event.context["kind"] == kind.label]


def grown(after: dict[str, int], before: dict[str, int], name: str) -> int:
    return after[name] - before[name]


def dropped_by_rules(hosts: Pair, end: int) -> int:
    """Packets that the rules have counted, which nft(8) lists with them."""
    listing = subprocess.run(
        ["ip", "netns", "exec", hosts.names[end], "nft", "list", "table", "ip", "t"],
        check=True, capture_output=True, text=True,
    ).stdout  # fmt: skip
    words = listing.split()
    return sum(int(words[place + 1]) for place, word in enumerate(words) if word == "packets")


def test_drops_and_retransmissions_are_those_that_the_hosts_count(collector: EventsCollector) -> None:
    with pair() as hosts:
        hosts.nft(1, *DROP_SOME)
        before = nstat(hosts, 0)
        with measuring(hosts.scope(), collector) as seen:
            one, two = hosts.connect()
            with one, two:
                one.setsockopt(socket.IPPROTO_TCP, socket.TCP_CONGESTION, b"cubic")
                transfer(one, two, 4_000_000)
                time.sleep(0.3)
        after, refused = nstat(hosts, 0), dropped_by_rules(hosts, 1)
    events = alerts(seen["events"])
    dropped = [event for event in of_kind(events, EventKind.DROP) if event.context["reason"] == "NETFILTER_DROP"]
    assert refused > 20
    # A busy machine may drop more at once than the budget lets through.
    count = stream_of(seen["events"]).counts[EventKind.DROP]
    assert refused - (count.seen - count.told) <= len(dropped) <= refused
    assert {event.metric for event in dropped} == {"ip.drops_netfilter"}
    again = of_kind(events, EventKind.RETRANSMISSION)
    ours = [event for event in again if event.context["host"] == "client"]
    assert sum(event.value for event in ours) == grown(after, before, "TcpRetransSegs")
    assert len(of_kind(events, EventKind.RTO)) == grown(after, before, "TcpExtTCPTimeouts")
    kinds = {event.context["retransmission"] for event in again}
    assert "fast" in kinds
    # Each retransmission repeats what was dropped, which the event says; the flow is the same at both hosts.
    numbers = {event.number for event in dropped}
    led = [event for event in again if numbers & set(event.related)]
    assert len(led) >= 0.9 * len(again)
    assert len({flow_id(event.flow) for event in (*dropped, *again) if event.flow is not None}) == 1
    states = of_kind(events, EventKind.CA_STATE)
    assert {"Recovery", "Open"} <= {event.context["state"] for event in states}
    # What one event says was entered, the next one says was left.
    for earlier, later in pairwise(states):
        assert earlier.context["state"] == later.context["before"]


def test_of_a_flood_a_part_is_told_and_all_of_it_is_counted() -> None:
    with opened(EventsCollector(per_s=20, burst=10)) as few, pair() as hosts:
        hosts.nft(1, *DROP_DATAGRAMS)
        with measuring(hosts.scope(), few) as seen:
            one = hosts.client(lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
            with one:
                one.connect((hosts.addresses[1], 7000))
                began_s = time.monotonic()
                for number in range(4000):
                    one.send(bytes(100))
                    time.sleep(0.05 if number % 200 == 0 else 0)
        took_s = time.monotonic() - began_s
        refused = dropped_by_rules(hosts, 1)
    stream = stream_of(seen["events"])
    count = stream.counts[EventKind.DROP]
    assert refused == 4000
    assert count.told + count.sampled_out + count.lost == count.seen
    # IPv6 says hello, and nobody listens.
    assert count.seen == pytest.approx(refused, rel=0.01)
    # What the budget allows on all CPUs: the burst, and 20 a second.
    assert 10 <= count.told <= cpu_count() * (10 + 20 * took_s + 1)
    told = of_kind(alerts(seen["events"]), EventKind.DROP)
    assert len(told) == count.told
    # What each record says was left out before it adds up, but for what came after the last one of each CPU.
    gaps = sum(int(event.context.get("sampled_out", 0)) for event in told)
    assert gaps <= count.sampled_out
    assert gaps + count.told >= count.seen / 2
    assert any("were written" in text for text in seen["events"].warnings)
    (total,) = (event for event in events_of([seen["events"]])
                if event.type is EventType.SUMMARY and event.context["kind"] == "drop")  # fmt: skip
    assert total.value == count.seen


def test_what_finds_no_room_in_the_ring_is_counted_as_lost() -> None:
    with opened(EventsCollector(per_s=1_000_000, burst=1_000_000, ring_bytes=4096)) as small, pair() as hosts:
        hosts.nft(1, *DROP_DATAGRAMS)
        with measuring(hosts.scope(), small) as seen:
            one = hosts.client(lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
            with one:
                one.connect((hosts.addresses[1], 7000))
                for _ in range(2000):
                    one.send(bytes(100))
        refused = dropped_by_rules(hosts, 1)
    count = stream_of(seen["events"]).counts[EventKind.DROP]
    assert count.lost > 1000
    assert count.sampled_out == 0
    assert count.seen == pytest.approx(refused, rel=0.01)
    assert seen["events"].lost_events >= count.lost


def test_listen_overflows_are_those_that_the_host_counts(collector: EventsCollector) -> None:
    with pair() as hosts:
        before = nstat(hosts, 1)
        with contextlib.ExitStack() as stack, measuring(hosts.scope(), collector) as seen:
            listener = hosts.server(lambda: socket.create_server((hosts.addresses[1], PORT), backlog=1))
            stack.enter_context(listener)
            for _ in range(12):
                one = stack.enter_context(hosts.client(lambda: socket.socket(socket.AF_INET)))
                one.setblocking(False)
                with contextlib.suppress(BlockingIOError):
                    one.connect((hosts.addresses[1], PORT))
            time.sleep(1.3)
        after = nstat(hosts, 1)
    overflows = of_kind(alerts(seen["events"]), EventKind.LISTEN_OVERFLOW)
    assert grown(after, before, "TcpExtListenOverflows") > 8
    assert sum(event.value for event in overflows) == grown(after, before, "TcpExtListenOverflows")
    assert all(event.cause == "accept_backlog" and event.context["host"] == "server" for event in overflows)
    assert {event.context.get("port") for event in overflows} == {PORT}
    syns = [event for event in of_kind(alerts(seen["events"]), EventKind.RETRANSMISSION)
            if event.context["host"] == "client"]  # fmt: skip
    assert {event.context["retransmission"] for event in syns} == {"syn"}


def test_resets_are_those_that_both_hosts_count(collector: EventsCollector) -> None:
    with pair() as hosts:
        before = [nstat(hosts, end) for end in (0, 1)]
        with measuring(hosts.scope(), collector) as seen:
            for _ in range(20):
                one = hosts.client(lambda: socket.socket(socket.AF_INET))
                with one, pytest.raises(ConnectionRefusedError):
                    one.connect((hosts.addresses[1], PORT))
            cut, two = hosts.connect()
            # Closed with data that nobody read.
            two.send(b"unread")
            time.sleep(0.05)
            cut.close()
            time.sleep(0.05)
            two.close()
        after = [nstat(hosts, end) for end in (0, 1)]
    events = alerts(seen["events"])
    sent = of_kind(events, EventKind.RESET_SENT)
    for end, host in enumerate(("client", "server")):
        ours = [event for event in sent if event.context["host"] == host]
        assert len(ours) == grown(after[end], before[end], "TcpOutRsts")
    assert len(sent) == 21
    received = of_kind(events, EventKind.RESET_RECEIVED)
    assert len(received) == 21
    assert {flow_id(event.flow) for event in received if event.flow} == {
        flow_id(event.flow) for event in sent if event.flow
    }
    refused = [event for event in received if event.context["state"] == "SYN_SENT"]
    assert len(refused) == 20
    assert all(event.cause == "connection_reset" for event in received)


def waited_ns(pid: int) -> int:
    return int(Path(f"/proc/{pid}/schedstat").read_text().split()[1])


def test_long_waits_for_a_cpu_are_those_of_schedstat(collector: EventsCollector) -> None:
    cpu = str(max(os.sched_getaffinity(0)))
    with pair() as hosts:
        argv = [sys.executable, "-S", "-c", HOG, cpu]
        hogs = [hosts.client(lambda: subprocess.Popen(argv)) for _ in range(HOGS)]
        try:
            time.sleep(0.3)
            with measuring(hosts.scope(), collector) as seen:
                before = sum(waited_ns(hog.pid) for hog in hogs)
                time.sleep(1.5)
                waited = sum(waited_ns(hog.pid) for hog in hogs) - before
        finally:
            for hog in hogs:
                hog.kill()
                hog.wait()
    waits = of_kind(alerts(seen["events"]), EventKind.CPU_WAIT)
    assert {event.context["pid"] for event in waits} <= {hog.pid for hog in hogs}
    assert all("python" in str(event.context["comm"]) for event in waits)
    assert min(event.value for event in waits) >= 10_000
    # All but one wait at any time; a wait that is under way at either end is in one of the two only.
    assert sum(event.value for event in waits) * 1000 == pytest.approx(waited, rel=0.15)


def test_datagrams_without_room_are_those_that_the_host_counts(collector: EventsCollector) -> None:
    with pair() as hosts, detail() as following:
        before = nstat(hosts, 1)
        two = hosts.server(lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
        one = hosts.client(lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
        with one, two, measuring(filtered(hosts.scope(), DetailFilter()), following, collector) as seen:
            two.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8192)
            two.bind((hosts.addresses[1], 7000))
            one.connect((hosts.addresses[1], 7000))
            for number in range(DATAGRAMS):
                one.send(number.to_bytes(8, "big") + bytes(992))
            time.sleep(0.1)
        refused = grown(nstat(hosts, 1), before, "UdpRcvbufErrors")
    assert seen["detail"].detail is not None
    followed = follow(seen["detail"].detail)
    events = list(events_of(list(seen.values()), followed))
    alerted = [event for event in events if event.type is EventType.ALERT]
    full = [event for event in alerted if event.metric == "udp.rcvqueue_full"]
    assert 0 < refused < DATAGRAMS
    assert len(full) == refused
    assert all(event.context["port"] == 7000 and event.cause == "slow_reader" for event in full)
    dropped = [event for event in alerted if event.metric == "socket.drops_rcvbuf"]
    assert len(dropped) == refused
    assert all(event.flow is not None and event.flow.remote_port == 7000 for event in dropped)
    # Beside detail mode an alert leads back to the packet's own way.
    ways = {event.number for event in events if event.type is EventType.DETAIL}
    assert all(ways & set(event.related) for event in dropped)
    # Datagrams are followed up to the softirq.
    packets = followed.packets
    assert len(packets) == DATAGRAMS
    assert (packets["softirq_ns"] > packets["queued_ns"]).all()
    assert (packets["queued_ns"] > 0).all()


def whole_run(path: Path, link: str, layers: str = "all") -> list[dict[str, Any]]:
    """Run a scenario in summary mode; give the lines of its events file, none where there is no file."""
    text = f"""
scenario: events
hosts: {{client: {{congestion: cubic}}, server: {{congestion: cubic}}}}
links: [{{between: [client, server], {link}}}]
traffic: [{{iperf3: {{from: client, to: server, duration: 2s, rate: 8mbit}}}}]
repeat: 1
warmup: 500ms
measure: {{layers: {layers}}}
"""
    (scenario,) = load_text(text, "events.yaml")
    with Runner.create(RunOptions(events=path)) as runner:
        record = runner.run(scenario)
        if record.verdict is Verdict.INVALID:
            record = runner.run(scenario)
    assert record.verdict is not Verdict.INVALID, record.invalid_reason
    assert record.overhead["lost_events"]["events"] == 0
    lines = [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
    chosen = [line for line in lines if line["context"]["run"] == record.run_id]
    # Its window of measurement is each connection's own; iperf3's control connection is not measured.
    again = measured_retransmissions(chosen)
    assert sum(line["value"] for line in again) == pytest.approx(record.metrics["tcp.retrans_segs"].value, abs=2)
    return chosen


def measured_retransmissions(lines: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return those of the flow that has most."""
    again = [line for line in lines if line["metric"] == "tcp.retrans_segs" and line["type"] == "alert"]
    busiest = Counter(line["flow"]["id"] for line in again).most_common(1)
    return [line for line in again if line["flow"]["id"] == busiest[0][0]]


def test_a_run_in_summary_mode_has_events(tmp_path: Path) -> None:
    lines = whole_run(tmp_path / "events.jsonl", "delay: 5ms, forward: {loss: 2%}")
    assert {line["type"] for line in lines} == {"alert", "summary"}
    assert {line["tool"] for line in lines} == {"perfcheck"}
    again = measured_retransmissions(lines)
    assert len(again) > 10
    assert {line["context"]["host"] for line in again} == {"client"}
    assert all(line["metrics"]["tcp.srtt_us"] > 9_000 for line in again)
    now = datetime.now(UTC)
    for line in lines:
        assert abs(now - datetime.fromisoformat(line["timestamp"])) < timedelta(minutes=2)
    times = [line["timestamp_ns"] for line in lines if line["type"] == "alert"]
    assert times == sorted(times)


def test_a_run_without_an_event_leaves_no_file(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    lines = whole_run(path, "delay: 5ms, rate: 50mbit, queue: 4bdp", "[app, tcp]")
    # On a busy machine there may be one all the same, such as a probe for a segment that was late.
    assert path.exists() == bool(lines)


def test_the_program_that_runs_most_often_is_the_first_to_go() -> None:
    collector = EventsCollector()
    collector.open()
    try:
        assert collector.do_less(0.5) == "events: waits for a CPU are not told any more"
        assert collector.programs.loaded.programs["sched_switch"].link_fd < 0
        assert collector.do_less(0.5) is None
    finally:
        collector.close()
