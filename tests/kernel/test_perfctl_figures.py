"""Figures of `perfctl tcp` and `perfctl observe` against those of ss(8), nstat(8) and iperf3, on the same traffic."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
import threading
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np
import pytest
from live_lab import FORWARDED, PERFCTL, LiveLab, live_lab

from perfcheck.system.clock import wait_until

pytestmark = pytest.mark.kernel

COUNTS: Final = 0.02
TIMES: Final = 0.05
HOSTS: Final = ("client", "server")
JSON: Final = ("--output", "json")
IPERF3: Final = ("-J", "--get-server-output", "-t", "3", "-b", "12M", "-l", "16K")
LOSSES: Final = (
    "nft add rule ip t f tcp dport 9000 tcp flags != syn numgen inc mod 50 0 drop",
    "nft add rule ip t f tcp dport 5201 ip length > 500 numgen inc mod 800 0 drop",
)
SERVER: Final = """\
import socket, threading
def sink(connection):
    while connection.recv(65536):
        pass
def welcome(server):
    while True:
        connection, _ = server.accept()
        try:
            got = 0
            while got < 10000:
                got += len(connection.recv(20000))
            connection.sendall(bytes(5000))
        except OSError:
            pass
        connection.close()
servers = [socket.create_server(("", port), backlog=200) for port in (9001, 9002, 9000)]
threading.Thread(target=welcome, args=(servers[1],), daemon=True).start()
unread = [servers[0].accept()[0]]
while True:
    threading.Thread(target=sink, args=(servers[2].accept()[0],), daemon=True).start()
"""
UNREAD: Final = """\
import socket, sys, time
connection = socket.create_connection((sys.argv[1], 9001))
connection.setblocking(False)
while True:
    try:
        connection.send(bytes(65536))
    except BlockingIOError:
        pass
    time.sleep(0.05)
"""
"""Its data is not read: it waits in both queues, and the receive window limits it."""
LOSSY: Final = """\
import socket, sys, time
connection = socket.create_connection((sys.argv[1], 9000))
end = time.monotonic() + 2.5
while time.monotonic() < end:
    connection.sendall(bytes(65536))
print("sent", flush=True)
time.sleep(60)
"""
CHURN: Final = """\
import socket, struct, sys
for number in range(60):
    with socket.create_connection((sys.argv[1], 9002)) as connection:
        connection.sendall(bytes(10000))
        if number % 10 == 5:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        else:
            while connection.recv(20000):
                pass
"""
SS: Final = re.compile(r"(?P<state>\S+) +(?P<recvq>\d+) +(?P<sendq>\d+) +\S+:(?P<local>\d+) +\S+:(?P<remote>\d+)")
SKMEM: Final = re.compile(r"skmem:\(r(\d+),rb(\d+),t\d+,tb(\d+),f\d+,w(\d+),")
Row = Mapping[str, float]
Ports = tuple[int, int]


class Watch:
    """A perfctl beside the traffic, and the events that it has said so far."""

    def __init__(self, lab: LiveLab, *words: str) -> None:
        where = [word for name in HOSTS for word in ("--netns", lab.host(name).netns_path)]
        self.process = subprocess.Popen(
            [*PERFCTL, *words, "--cpu-ceiling", "90", *where],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        self.events: list[dict[str, Any]] = []
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            if line.startswith("{"):
                self.events.append(json.loads(line))

    @property
    def intervals(self) -> int:
        """How many intervals it has told."""
        return max((event["context"].get("interval", -1) for event in self.events), default=-1) + 1

    def after(self, more: int) -> None:
        """Wait until this many more intervals are over."""
        wanted = self.intervals + more
        assert wait_until(lambda: self.intervals >= wanted, timeout_s=15), self.process.poll()

    def end(self) -> None:
        self.process.send_signal(signal.SIGINT)
        self._reader.join(15)
        with self.process:
            assert self.process.wait(15) == 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """What all sources said; `sockets` are ss(8)'s by host and ports, `grew` nstat(8)'s by host."""

    tcp: Sequence[Mapping[str, Any]]
    recording: Path
    run: Mapping[str, Any]
    sockets: Mapping[tuple[str, Ports], Row]
    grew: Mapping[str, Mapping[str, int]]
    iperf3: Mapping[str, Any]
    names: Mapping[str, str]
    totals: dict[tuple[str, Ports], dict[str, float]] = field(default_factory=dict)
    latest: dict[tuple[str, Ports], Mapping[str, float]] = field(default_factory=dict)

    def add_up(self) -> None:
        """Add up what each connection did in all intervals."""
        for event in self.tcp:
            key = whose(event, self.names)
            sums = self.totals.setdefault(key, defaultdict(float))
            for name, value in event["metrics"].items():
                sums[name] += value
            self.latest[key] = event["metrics"]

    def one(self, host: str, *, lport: int = 0, rport: int = 0) -> tuple[str, Ports]:
        """Return the connection of these ports that carried the most; perfctl has seen it."""
        found = [
            key for key in self.totals
            if key[0] == host and lport in {0, key[1][0]} and rport in {0, key[1][1]}
        ]  # fmt: skip
        return max(found, key=lambda key: self.totals[key]["tcp.segs_out"])

    def of_host(self, host: str, name: str) -> float:
        """Return a count of all connections of a host."""
        return sum(sums[name] for key, sums in self.totals.items() if key[0] == host)


def whose(event: Mapping[str, Any], names: Mapping[str, str]) -> tuple[str, Ports]:
    return names[event["context"]["host"]], (event["flow"]["src_port"], event["flow"]["dst_port"])


def sockets(lab: LiveLab, name: str) -> Iterator[tuple[tuple[str, Ports], Row]]:
    for line in lab.host(name).run(["ss", "-HOtinm", "state", "established"]).stdout.decode().splitlines():
        found = SS.match(f"ESTAB {line}")
        memory = SKMEM.search(line)
        assert found, line
        assert memory, line
        row = {word: float(value) for word, value in re.findall(r" (\w+):(\d+(?:\.\d+)?)", line)}
        row |= {"rttvar": float(re.findall(r" rtt:[\d.]+/([\d.]+)", line)[0]), "recvq": float(found["recvq"])}
        retransmitted = re.search(r" retrans:\d+/(\d+)", line)
        row |= {"retransmitted": float(retransmitted[1]) if retransmitted else 0.0, "sendq": float(found["sendq"])}
        row |= dict(zip(("rmem", "rcvbuf", "sndbuf", "wmem"), map(float, memory.groups()), strict=True))
        if speed := re.search(r" delivery_rate (\d+)bps", line):
            row["delivery_rate"] = float(speed[1])
        yield (name, (int(found["local"]), int(found["remote"]))), row


def counters(lab: LiveLab) -> dict[str, dict[str, int]]:
    listings = {name: json.loads(lab.host(name).run(["nstat", "-asz", "-j"]).stdout)["kernel"] for name in HOSTS}
    return {name: {word: int(value) for word, value in listing.items()} for name, listing in listings.items()}


def replayed(seen: Seen, *words: str) -> list[dict[str, Any]]:
    done = subprocess.run([*PERFCTL, *words, "--from", str(seen.recording)], capture_output=True, check=True)
    return [json.loads(line) for line in done.stdout.splitlines()]


@pytest.fixture(scope="module")
def seen(tmp_path_factory: pytest.TempPathFactory) -> Seen:
    recording = tmp_path_factory.mktemp("figures") / "a.rec"
    with live_lab() as lab:
        lab.setup("router", *FORWARDED, *LOSSES)
        to = lab.host("server").address_towards("client")
        lab.serve("server", 9000, sys.executable, "-c", SERVER)
        lab.serve("server", 5201, "iperf3", "-s", "-J")
        before = counters(lab)
        watch = Watch(lab, "tcp", *JSON, "--interval", "200ms")
        observed = Watch(lab, "observe", *JSON, "--interval", "500ms")
        recorder = Watch(lab, "record", "--duration", "1min", "--layer", "tcp", "--output-file", str(recording))
        try:
            observed.after(1)
            lab.start("client", sys.executable, "-c", UNREAD, to)
            watch.after(1)
            iperf3 = lab.start("client", "iperf3", "-J", "-c", to, *IPERF3)
            lossy = lab.start("client", sys.executable, "-c", LOSSY, to)
            churn = lab.start("client", sys.executable, "-c", CHURN, to)
            assert churn.wait(timeout=20) == 0
            assert iperf3.stdout is not None
            report = json.loads(iperf3.stdout.read())
            assert lossy.poll() is None
            # All has arrived, and whole intervals of rest are told.
            watch.after(7)
            found = dict(each for name in HOSTS for each in sockets(lab, name))
            after = counters(lab)
            watch.after(1)
        finally:
            for each in (watch, observed, recorder):
                each.end()
        names = {lab.host(name).netns_path.rpartition("/")[2]: name for name in HOSTS}
    result = Seen(
        tcp=watch.events, recording=recording, run=observed.events[-1], sockets=found, iperf3=report, names=names,
        grew={name: {word: after[name][word] - before[name][word] for word in after[name]} for name in HOSTS},
    )  # fmt: skip
    result.add_up()
    return result


def near(value: float, other: float, share: float, at_least: float = 1.0) -> bool:
    """Whether two figures differ by this share of the other at most; small counts by 1, for the SYN that ss has."""
    return abs(value - other) <= max(share * abs(other), at_least)


WATCHED: Final = (
    ("client", {"rport": 9000}), ("server", {"lport": 9000}), ("client", {"rport": 9001}), ("server", {"lport": 9001}),
)  # fmt: skip
SUMS: Final = {
    "tcp.bytes_acked": "bytes_acked", "tcp.bytes_received": "bytes_received", "tcp.segs_out": "segs_out",
    "tcp.data_segs_out": "data_segs_out", "tcp.retrans_segs": "retransmitted", "tcp.ooo_segs": "rcv_ooopack",
}  # fmt: skip
LATEST: Final = {
    "tcp.cwnd_segs": "cwnd", "tcp.mss_bytes": "mss", "socket.sendq_bytes": "sendq", "socket.recvq_bytes": "recvq",
    "socket.sndbuf_bytes": "sndbuf", "socket.rcvbuf_bytes": "rcvbuf", "socket.wmem_bytes": "wmem",
    "socket.rmem_bytes": "rmem", "tcp.ssthresh_segs": "ssthresh",
}  # fmt: skip
MS: Final = {"tcp.srtt_us": "rtt", "tcp.rttvar_us": "rttvar", "tcp.min_rtt_us": "minrtt"}


@pytest.mark.parametrize(("host", "ports"), WATCHED, ids=("lossy", "arriving", "not-read", "unread"))
def test_a_connection_is_as_ss_shows_it(seen: Seen, host: str, ports: Mapping[str, int]) -> None:
    key = seen.one(host, **ports)
    own, sums, latest = seen.sockets[key], seen.totals[key], seen.latest[key]
    for name, word in SUMS.items():
        assert near(sums[name], own.get(word, 0), COUNTS), (name, sums[name], own)
    for name, word in LATEST.items():
        assert near(latest[name], own.get(word, 0), COUNTS, 0), (name, latest[name], own)
    for name, word in MS.items():
        assert near(latest[name], 1000 * own[word], TIMES, 0), (name, latest[name], own)
    if "delivery_rate" in own:
        assert near(latest["tcp.delivery_rate_bps"], own["delivery_rate"], COUNTS)


def test_time_that_the_receive_window_limits_is_that_of_ss(seen: Seen) -> None:
    key = seen.one("client", rport=9001)
    own, sums = seen.sockets[key], seen.totals[key]
    assert own["rwnd_limited"] > 2000
    assert near(sums["tcp.rwnd_limited_us"] / sums["tcp.busy_us"], own["rwnd_limited"] / own["busy"], TIMES, 0)


def test_a_host_is_as_its_counters_say(seen: Seen) -> None:
    for host in HOSTS:
        grew = seen.grew[host]
        mine = [key for key in seen.totals if key[0] == host]
        opened = grew["TcpActiveOpens"] + grew["TcpPassiveOpens"]
        assert len(mine) == opened >= 60
        assert near(seen.of_host(host, "tcp.retrans_segs"), grew["TcpRetransSegs"], COUNTS)
    assert seen.grew["client"]["TcpRetransSegs"] > 20
    # What iperf3 does with its last bytes is a reset on some runs.
    aborted = seen.of_host("client", "tcp.resets_sent") + seen.of_host("client", "tcp.resets")
    assert near(aborted, seen.grew["client"]["TcpEstabResets"], COUNTS)
    assert near(seen.of_host("server", "tcp.resets"), seen.grew["server"]["TcpEstabResets"], COUNTS)
    assert aborted >= 6


def test_the_run_that_observe_sums_up_is_the_same(seen: Seen) -> None:
    metrics = seen.run["metrics"]
    opens = [seen.grew["client"]["TcpActiveOpens"], seen.grew["server"]["TcpPassiveOpens"]]
    assert metrics["connects"] == opens[0]
    assert metrics["opened"] == sum(opens)
    assert near(metrics["tcp.retrans_segs"], seen.grew["client"]["TcpRetransSegs"], COUNTS)
    for name in ("tcp.bytes_acked", "tcp.bytes_received", "tcp.data_segs_out"):
        assert near(metrics[name], sum(seen.of_host(host, name) for host in HOSTS), COUNTS)
    assert seen.run["context"]["lost"] == seen.run["context"]["refused"] == 0


def test_a_transfer_is_as_iperf3_reports_it(seen: Seen) -> None:
    own = seen.iperf3["end"]["streams"][0]["sender"]
    sums = seen.totals[seen.one("client", rport=5201)]
    assert near(sums["tcp.bytes_acked"], own["bytes"], COUNTS)
    assert near(sums["tcp.retrans_segs"], own["retransmits"], COUNTS)
    arrived = seen.totals[seen.one("server", lport=5201)]["tcp.bytes_received"]
    assert near(arrived, seen.iperf3["end"]["sum_received"]["bytes"], COUNTS)


def series(seen: Seen, key: tuple[str, Ports]) -> tuple[Sequence[float], Sequence[Mapping[str, float]]]:
    """Return when each interval of a connection ended, in seconds since it was opened, and its metrics."""
    mine = [event for event in seen.tcp if whose(event, seen.names) == key]
    begun_ns = mine[0]["timestamp_ns"] - 1000 * mine[0]["metrics"]["tcp.elapsed_us"]
    return [(event["timestamp_ns"] - begun_ns) / 1e9 for event in mine], [event["metrics"] for event in mine]


def test_the_rate_of_each_second_is_that_of_iperf3(seen: Seen) -> None:
    at_s, metrics = series(seen, seen.one("server", lport=5201))
    carried = np.cumsum([0.0, *(each["tcp.bytes_received"] for each in metrics)])
    for second in seen.iperf3["server_output_json"]["intervals"][:3]:
        begin, end = np.interp([second["sum"]["start"], second["sum"]["end"]], [0.0, *at_s], carried)
        assert near(float(end - begin), second["sum"]["bytes"], TIMES, 0)


def test_the_smoothed_round_trip_of_each_second_is_that_of_iperf3(seen: Seen) -> None:
    at_s, metrics = series(seen, seen.one("client", rport=5201))
    # One that is still being opened has none.
    at_s, smoothed = zip(*((at, each["tcp.srtt_us"]) for at, each in zip(at_s, metrics, strict=True)
                           if "tcp.srtt_us" in each), strict=True)  # fmt: skip
    for second in seen.iperf3["intervals"]:
        own = second["streams"][0]
        after = int(np.searchsorted(at_s, own["end"]))
        # iperf3 looked between two of these.
        beside = smoothed[max(after - 1, 0) : after + 2]
        assert min(beside) * (1 - TIMES) <= own["rtt"] <= max(beside) * (1 + TIMES), (own, smoothed)


def test_parts_never_exceed_the_whole(seen: Seen) -> None:
    for event in seen.tcp:
        part = {name.removeprefix("tcp."): value for name, value in event["metrics"].items()}
        limited = part["rwnd_limited_us"] + part["sndbuf_limited_us"]
        assert limited <= part["busy_us"] <= part["elapsed_us"], event
        states = sum(part[f"state_{name}_us"] for name in ("open", "disorder", "cwr", "recovery", "loss"))
        assert abs(states - part["elapsed_us"]) <= 5, event  # each is rounded
        assert part["elapsed_us"] <= 1e6 * event["context"]["seconds"] + 1000, event
        assert part["retrans_segs"] <= max(part["data_segs_out"], part["retrans_syn_segs"]), event
    (found,) = replayed(seen, "diagnose", "--json")
    metrics = found["metrics"]
    for parts in (("limited_rwnd", "limited_sndbuf", "limited_cwnd", "limited_app"),
                  ("state_open", "state_disorder", "state_cwr", "state_recovery", "state_loss")):  # fmt: skip
        assert sum(metrics[f"tcp.{name}_pct"] for name in parts) == pytest.approx(100, abs=0.01), parts


def test_groups_add_up_to_the_same_as_their_connections(seen: Seen) -> None:
    names = ("tcp.bytes_acked", "tcp.segs_out", "tcp.retrans_segs", "tcp.rtt_count", "tcp.send_bps", "tcp.receive_bps")
    sums = []
    for by in ("connection", "process", "app", "none"):
        events = replayed(seen, "tcp", "--group-by", by, *JSON)
        sums.append([sum(event["metrics"][name] for event in events) for name in names])
    assert sums[0][0] > 5e6
    for other in sums[1:]:
        assert other == pytest.approx(sums[0], rel=1e-9)
