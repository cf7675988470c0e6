"""Each line of the table "what the older tools did" in docs/perfctl.md, on live traffic in one lab."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import pytest
from live_lab import FORWARDED, PERFCTL, LiveLab, live_lab

from perfcheck.system.clock import wait_until
from perfcheck.system.rundir import RUN_DIR_VARIABLE

pytestmark = pytest.mark.kernel

DOC: Final = Path(__file__).parents[2] / "docs" / "perfctl.md"
LINE: Final = re.compile(r"^\|[^|]*\|([^|]+)\| `(perfctl [^`]+)` \|$", re.MULTILINE)
AT_ONCE: Final = 6
DURATION: Final = "1s"
LONGER: Final = "3s"
"""For lines that need several intervals, also on a busy machine: their own are shorter than a second."""
LASTS_S: Final = 300
LEAST_QUEUED: Final = 5000
"""Bytes that wait to be sent: more than iperf3's connection for control ever has."""
IN_ORDER: Final = ("perfctl tcp --apply", "perfctl tcp --apply --yes", "perfctl undo --all")
"""These change the host, or show what another has changed."""
ECHO: Final = """\
import socket, threading
def answer(connection):
    while piece := connection.recv(20000):
        connection.sendall(piece)
server = socket.create_server(("", 9000))
while True:
    threading.Thread(target=answer, args=(server.accept()[0],), daemon=True).start()
"""
ASKER: Final = """\
import socket, sys
def ask(connection, size):
    connection.sendall(bytes(size))
    while size:
        size -= len(connection.recv(20000))
standing = socket.create_connection((sys.argv[1], 9000))
while True:
    ask(standing, 200)
    with socket.create_connection((sys.argv[1], 9000)) as fresh:
        ask(fresh, 2000)
"""
PROMISED: Final[Mapping[str, Sequence[str]]] = {
    "perfctl tcp": ("SEND bit/s", "RTT p99", "CWND", "RWND/SNDBUF/APP %", "RCVBUF", "RETRANS", "BOTTLENECK", "advice:",
                    "CLOSED", "iperf3[", "watched "),
    "perfctl tcp --pid PID": ("[PID]", "ADDRESS:PORT"),
    "perfctl tcp --comm NAME": ("NAME[", "ADDRESS:5201"),
    "perfctl tcp --remote-ip ADDRESS --rport PORT": ("->ADDRESS:PORT",),
    "perfctl tcp --flow 'FLOW' --output json": ('"tcp.cwnd_segs":', '"socket.wmem_bytes":', '"tcp.rwnd_limited_us":',
                                                '"tcp.rtt_us.p99":', '"dst_port":5201', '"bottleneck":'),
    "perfctl tcp --event-mode ebpf --rwnd-limited-above 50 --cwnd-below 8": ("TRIGGER", "retransmitted"),
    "perfctl tcp --group-by process": ("RTT p50/p90/p99", "iperf3["),
    "perfctl tcp --group-by app": ("CWND p50/p90/p99", "iperf3 "),
    "perfctl tcp --group-by none": ("SEND p50/p90/p99", "all connections"),
    "perfctl tcp --history-file FILE --history-duration 60min": ("watched ",),
    "perfctl tcp --trend --interval 100ms": ("TREND", "RTT "),
    "perfctl tcp --apply": ("net.ipv4.tcp_wmem", "16384"),
    "perfctl tcp --apply --yes": ("net.ipv4.tcp_wmem",),
    "perfctl undo --all": ("net.ipv4.tcp_wmem",),
    "perfctl observe": ("RTT in ms", "connect", "retransmitted: ", "dropped", "opened", "connect time: p50"),
    "perfctl diagnose --auto-correlate": ("because", "advice", "decision tree"),
    "perfctl observe --interval 200ms --alert-rtt-p99 5ms --alert-retrans-rate 1% --alert-drop-rate 1%": (
        "ALERT rtt-p99", "bound 5 ms"),
    "perfctl observe --interval 200ms --alert-rtt-p99 5ms --alert-output file:FILE": ("ALERT rtt-p99",),
    "perfctl observe --output json": ('"kind":"retransmission_cause"', '"behind":', '"kind":"interval"'),
    "perfctl observe --interval 100ms --cpu-ceiling 0.1": ("left out to stay below --cpu-ceiling",),
    "perfctl hist --perspective rx --rport PORT": ("RTT", "in flight", "congestion window", "delivery rate",
                                                   "ACK arrives"),
    "perfctl hist --perspective rx --flow 'FLOW'": ("FLOW", "BDP", "min RTT"),
    "perfctl hist --perspective rx --output json": ('"tcp.state_recovery_pct":', '"bucket_count":'),
    "perfctl hist --perspective tx --rport PORT": ("RTT", "in flight", "congestion window", "segment leaves"),
    "perfctl hist --perspective both --rport PORT": ("ACK arrives", "segment leaves"),
    "perfctl latency --detail --rport PORT": ("packets that this machine sent", "slowest"),
    "perfctl record --output-file FILE": ("FILE: ",),
}  # fmt: skip
"""What each line's output holds; the placeholders stand for the same as in the line."""
ROWS: Final = tuple(match[2] for match in LINE.finditer(DOC.read_text(encoding="utf-8")))


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """What a line gave, and what its placeholders stood for."""

    status: int
    output: str
    complaints: str
    meant: Mapping[str, str]

    def has(self, promised: str) -> bool:
        return filled(promised, self.meant) in self.output


def filled(line: str, meant: Mapping[str, str]) -> str:
    for name, text in meant.items():
        line = line.replace(name, text)
    return line


def command(line: str, meant: Mapping[str, str], netns: str) -> list[str]:
    """Return the words of a line; those that watch do so in the lab, and shortly."""
    words = shlex.split(filled(line, meant))[1:]
    # A few segments a second are lost: what waits for one waits longer.
    duration = LONGER if {"--interval", "ebpf", "observe"} & set(words) else DURATION
    watches = [] if words[0] == "undo" else ["--netns", netns, "--duration", duration]
    return [*PERFCTL, *words, *watches]


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, Told]:
    folder = tmp_path_factory.mktemp("functions")
    with live_lab() as lab:
        meant = traffic(lab)
        netns = lab.host("client").netns_path
        environment = {**os.environ, RUN_DIR_VARIABLE: str(folder / "run")}

        def run(number: int) -> Told:
            mine = meant | {"FILE": str(folder / str(number))}
            done = subprocess.run(
                command(ROWS[number], mine, netns), capture_output=True, text=True, timeout=60, env=environment,
                check=False,
            )  # fmt: skip
            return Told(status=done.returncode, output=done.stdout, complaints=done.stderr, meant=mine)

        beside = [number for number, line in enumerate(ROWS) if line not in IN_ORDER]
        beside.sort(key=lambda number: "--interval" not in ROWS[number])
        with ThreadPoolExecutor(AT_ONCE) as pool:
            found = dict(zip(beside, pool.map(run, beside), strict=True))
        for line in IN_ORDER:
            found[ROWS.index(line)] = run(ROWS.index(line))
    return {ROWS[number]: one for number, one in found.items()}


def traffic(lab: LiveLab) -> dict[str, str]:
    """Start a transfer that loses segments, one that has a small send buffer, and requests; return what words mean.

    The small buffer is what there is to give advice on.
    """
    lab.setup("router", *FORWARDED, "nft add rule ip t f tcp dport 5201 ip length > 500 numgen inc mod 100 0 drop")
    lab.setup("client", "sysctl -w 'net.ipv4.tcp_wmem=4096 16384 16384'")
    lab.iperf3(seconds=LASTS_S)
    to = lab.host("server").address_towards("client")
    lab.serve("server", 5202, "iperf3", "-s", "-p", "5202")
    lab.start("client", "iperf3", "-c", to, "-p", "5202", "-t", str(LASTS_S))
    lab.serve("server", 9000, sys.executable, "-c", ECHO)
    asker = lab.start("client", sys.executable, "-c", ASKER, to)
    flow = ""

    def sends() -> bool:
        nonlocal flow
        listing = lab.host("client").run(["ss", "-HtnO", "state", "established", "dport", "5201"]).stdout.decode()
        waiting = [(int(line.split()[1]), "->".join(line.split()[2:4])) for line in listing.splitlines()]
        queued, flow = max(waiting, default=(0, ""))
        return queued > LEAST_QUEUED

    assert wait_until(sends, timeout_s=5)
    return {"FLOW": flow, "ADDRESS": to, "PORT": "9000", "PID": str(asker.pid), "NAME": "iperf3"}


def test_every_line_of_the_table_has_a_promise() -> None:
    assert set(ROWS) == set(PROMISED)
    assert len(ROWS) == len(set(ROWS)) >= 20


@pytest.mark.parametrize("line", ROWS)
def test_the_line_does_what_the_table_says(told: Mapping[str, Told], line: str) -> None:
    one = told[line]
    assert one.status == 0, one.complaints
    missing = [promised for promised in PROMISED[line] if not one.has(promised)]
    assert not missing, f"{missing} in:\n{one.output}\n{one.complaints}"
    assert "internal error" not in one.complaints


def test_filters_leave_the_others_out(told: Mapping[str, Told]) -> None:
    assert ":5201" not in told["perfctl tcp --pid PID"].output
    assert ":9000" not in told["perfctl tcp --comm NAME"].output
    assert ":5201" not in told["perfctl tcp --remote-ip ADDRESS --rport PORT"].output


def test_alerts_reach_their_file(told: Mapping[str, Told]) -> None:
    one = told["perfctl observe --interval 200ms --alert-rtt-p99 5ms --alert-output file:FILE"]
    assert '"rule":"rtt-p99"' in Path(one.meant["FILE"]).read_text(encoding="utf-8").replace(": ", ":")
