"""perfctl without the right to use BPF: sock_diag serves, and what is missing is said."""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Final

import pytest
from collect_lab import PORT, Pair, run, transfer

pytestmark = pytest.mark.kernel

NO_BPF: Final = ("setpriv", "--bounding-set", "-bpf,-sys_admin,-perfmon")
NOBODY: Final = ("setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups")
PERFCTL: Final = (sys.executable, "-m", "perfcheck.cli.perfctl")
SIZE: Final = 300_000


def argv(pair: Pair, *words: str, end: int = 0, who: tuple[str, ...] = NO_BPF) -> list[str]:
    return ["ip", "netns", "exec", pair.names[end], *who, *PERFCTL, *words]


def perfctl(pair: Pair, *words: str, end: int = 0, who: tuple[str, ...] = NO_BPF) -> subprocess.CompletedProcess[str]:
    return subprocess.run(argv(pair, *words, end=end, who=who), capture_output=True, text=True, timeout=60, check=False)


@contextmanager
def begun(pair: Pair, *words: str, end: int = 0) -> Iterator[subprocess.Popen[str]]:
    """Yield a `perfctl tcp` that has begun to watch: its first line is read."""
    with subprocess.Popen(argv(pair, "tcp", *words, end=end), stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline().startswith("watching")
        try:
            yield process
        finally:
            process.kill()


@contextmanager
def talking(pair: Pair) -> Iterator[tuple[socket.socket, socket.socket]]:
    one, two = pair.connect()
    with one, two:
        transfer(one, two, SIZE)
        yield one, two


def test_each_command_shows_connections_and_says_what_is_missing(pair: Pair) -> None:
    with talking(pair) as (one, _):
        port = one.getsockname()[1]
        commands = {"tcp": (NO_BPF, NOBODY), "observe": (NO_BPF,), "diagnose": (NOBODY,)}
        for command, users in commands.items():
            for who in users:
                done = perfctl(pair, command, "--interval", "200ms", "--duration", "400ms", who=who)
                assert (done.returncode, done.stderr) == (0, "")
                told = " ".join(done.stdout.split())
                assert told.count("BPF is not available") == 1, told
                assert "RTT of single segments, kinds of retransmissions" in told
                assert (f"198.18.0.1:{port}->198.18.0.2:{PORT}" in told) == (command == "tcp")


def test_filters_hold_and_what_cannot_be_asked_is_refused(pair: Pair) -> None:
    other = pair.connect("2001:2::2")
    with talking(pair) as (one, _), other[0], other[1]:
        port = str(one.getsockname()[1])
        wanted = {
            ("--lport", port): 1, ("--lport", str(PORT)): 0, ("--src-port", str(PORT)): 2, ("--rport", str(PORT)): 2,
            ("--remote-ip", "2001:2::/64"): 1, ("--dst-ip", "198.18.0.1"): 1, ("--pid", str(os.getpid())): 2,
            ("--pid", "1"): 0, ("--comm", "no such name"): 0,
        }  # fmt: skip
        for words, count in wanted.items():
            done = perfctl(pair, "tcp", "--duration", "100ms", "--interval", "100ms", *words)
            assert done.returncode == 0, done.stderr
            assert f"at most {count} connection" in done.stdout, (words, done.stdout)
    for words in (("--interface", "eth0"), ("--netns", pair.names[1])):
        done = perfctl(pair, "tcp", "--duration", "1s", *words)
        assert (done.returncode, done.stdout, len(done.stderr.splitlines())) == (3, "", 1), done.stderr
        assert words[0] in done.stderr or "network namespace" in done.stderr


def test_figures_are_those_of_ss(pair: Pair) -> None:
    """Of a connection that sends, gauges when it has sent all; and what it acknowledged while perfctl looked."""
    with talking(pair) as (one, two):
        before = ss(pair)
        with begun(pair, "--interval", "1s", "--duration", "1s") as process:
            transfer(one, two, SIZE)
            told, _ = process.communicate(timeout=20)
        done = perfctl(pair, "tcp", "--output", "json", "--duration", "100ms", "--interval", "100ms")
        after = ss(pair)
    grown = after["bytes_acked"] - before["bytes_acked"]
    assert grown == SIZE
    assert f"sent {SIZE / 1000:.0f} kB" in told
    (event,) = (json.loads(line) for line in done.stdout.splitlines())
    figures = event["metrics"]
    assert figures["tcp.cwnd_segs"] == after["cwnd"]
    assert figures["tcp.mss_bytes"] == after["mss"]
    assert abs(figures["tcp.srtt_us"] - 1000 * after["rtt"]) <= 1
    assert abs(figures["tcp.min_rtt_us"] - 1000 * after["minrtt"]) <= 1


def ss(pair: Pair) -> Mapping[str, float]:
    """Return what ss(8) says of the client's one connection."""
    said = run("ip", "netns", "exec", pair.names[0], "ss", "-Htin")
    return {name: float(value) for name, value in re.findall(r"\b([a-z_]+):([\d.]+)", said)}


@pytest.mark.parametrize("end", [0, 1])
def test_connections_between_two_looks_are_counted(pair: Pair, end: int) -> None:
    with talking(pair), begun(pair, "--interval", "500ms", "--duration", "2s", end=end) as process:
        for _ in range(20):
            one, two = pair.connect()
            one.sendall(b"x")
            assert two.recv(1) == b"x"
            one.close()
            two.close()
        told, _ = process.communicate(timeout=20)
    assert process.returncode == 0
    (opened, ended), *_ = re.findall(r"(\d+) opened, (\d+) closed\n", told[told.index("watched") :])
    # The side that closes first is in TIME_WAIT then, which is no connection any more.
    assert (int(opened), int(ended)) == (20, 20), told
