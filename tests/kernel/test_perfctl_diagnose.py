"""Faults in live transfers are named by `perfctl diagnose` within seconds, from one end's namespace alone."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from typing import Any, Final

import pytest
from live_lab import FORWARDED, LiveLab, live_lab

pytestmark = pytest.mark.kernel

PYTHON: Final = sys.executable
WATCHED: Final = ("--auto-correlate", "--duration", "4s", "--interval", "500ms")
PORT: Final = 9000
SLOW_READER: Final = """\
import socket, time
connection, _ = socket.create_server(("", 9000)).accept()
begun, got = time.monotonic(), 0
while piece := connection.recv(16384):
    got += len(piece)
    time.sleep(max(0.0, got / 250_000 - (time.monotonic() - begun)))
"""
WRITER: Final = """\
import socket, sys, time
connection = socket.create_connection((sys.argv[1], 9000))
end = time.monotonic() + 20
while time.monotonic() < end:
    connection.send(bytes(65536))
"""
SINK: Final = """\
import socket
server = socket.create_server(("", 9000))
while True:
    connection, _ = server.accept()
    while connection.recv(65536):
        pass
"""
ECHO: Final = """\
import socket
connection, _ = socket.create_server(("", 9000)).accept()
while piece := connection.recv(100):
    connection.send(piece)
"""
ASKER: Final = """\
import socket, sys, time
connection = socket.create_connection((sys.argv[1], 9000))
end = time.monotonic() + 20
while time.monotonic() < end:
    connection.send(bytes(50))
    connection.recv(100)
    time.sleep(0.002)
"""
WELCOME: Final = """\
import socket
server = socket.create_server(("", 9000), backlog=500)
while True:
    connection, _ = server.accept()
    connection.recv(100)
    connection.close()
"""
SLOW_WELCOME: Final = """\
import socket, time
server = socket.create_server(("", 9000), backlog=2)
while True:
    connection, _ = server.accept()
    time.sleep(0.2)
    connection.close()
"""
CALLERS: Final = """\
import socket, sys, threading, time
def call():
    end = time.monotonic() + 20
    while time.monotonic() < end:
        try:
            with socket.create_connection((sys.argv[1], 9000), timeout=float(sys.argv[3])) as connection:
                connection.send(bytes(10))
                connection.recv(1)
        except OSError:
            pass
        time.sleep(0.02)
for _ in range(int(sys.argv[2])):
    threading.Thread(target=call).start()
"""
SHORT_WRITER: Final = """\
import socket, sys, time
end = time.monotonic() + 20
while time.monotonic() < end:
    try:
        with socket.create_connection((sys.argv[1], 9000)) as connection:
            for _ in range(40):
                connection.send(bytes(20000))
                time.sleep(0.01)
    except OSError:
        pass
"""
BUSY: Final = "while True: pass"
ONE_CPU: Final = {
    "hosts": {"client": {"cpus": [1]}, "server": {"cpus": [1]}}, "links": [{"between": ["client", "server"]}]
}  # fmt: skip
LONG_QUEUE: Final = {
    "links": [
        {"between": ["client", "router"], "delay": "5ms", "rate": "50mbit", "queue": "2bdp"},
        {"between": ["router", "server"], "delay": "5ms", "rate": "20mbit", "queue": "15bdp"},
    ]
}


def drops(lab: LiveLab, rule: str) -> None:
    lab.setup("router", *FORWARDED, f"nft add rule ip t f {rule}")


def program(lab: LiveLab, server: str, client: str, *options: str) -> None:
    lab.serve("server", PORT, PYTHON, "-c", server)
    lab.start("client", PYTHON, "-c", client, lab.host("server").address_towards("client"), *options)


def nothing(lab: LiveLab) -> None:
    lab.iperf3()


def random_loss(lab: LiveLab) -> None:
    lab.iperf3()
    drops(lab, "ip protocol tcp numgen random mod 50 0 drop")


def policer(lab: LiveLab) -> None:
    lab.iperf3()
    drops(lab, "oifname eth1 limit rate over 1500 kbytes/second burst 48 kbytes drop")


def small_window(lab: LiveLab) -> None:
    lab.setup("server", "sysctl -w 'net.ipv4.tcp_rmem=4096 20000 20000'")
    lab.iperf3()


def small_send_buffer(lab: LiveLab) -> None:
    lab.setup("client", "sysctl -w 'net.ipv4.tcp_wmem=4096 16384 16384'")
    lab.iperf3()


def slow_reader(lab: LiveLab) -> None:
    program(lab, SLOW_READER, WRITER)


def lost_syns(lab: LiveLab) -> None:
    drops(lab, "tcp flags '& (syn|ack) == syn' numgen inc mod 3 1 drop")
    program(lab, WELCOME, CALLERS, "6", "30")


def resets(lab: LiveLab) -> None:
    drops(lab, "ip protocol tcp numgen random mod 200 0 reject with tcp reset")
    program(lab, SINK, SHORT_WRITER)


def hogs(lab: LiveLab) -> None:
    program(lab, ECHO, ASKER)
    for _ in range(6):
        lab.start("client", PYTHON, "-c", BUSY)


def short_backlog(lab: LiveLab) -> None:
    program(lab, SLOW_WELCOME, CALLERS, "30", "0.5")


FAULTS: Final[Mapping[str, tuple[Callable[[LiveLab], None], Mapping[str, Any], str]]] = {
    "healthy": (nothing, {}, "client"),
    "random_loss": (random_loss, {}, "client"),
    "policer": (policer, {}, "client"),
    "receive_window": (small_window, {}, "client"),
    "send_buffer": (small_send_buffer, {}, "client"),
    "slow_reader": (slow_reader, {}, "client"),
    "syn_loss": (lost_syns, {}, "client"),
    "connection_reset": (resets, {}, "client"),
    "bufferbloat": (nothing, LONG_QUEUE, "client"),
    "cpu_contention": (hogs, ONE_CPU, "client"),
    "accept_backlog": (short_backlog, {}, "server"),
}
"""By the cause: what brings it about, on which path, and where perfctl looks."""


@pytest.mark.parametrize("cause", FAULTS)
def test_a_fault_in_a_live_transfer_is_named(cause: str) -> None:
    bring_about, path, watched = FAULTS[cause]
    with live_lab(**path) as lab:
        bring_about(lab)
        found = lab.diagnosis(*WATCHED, hosts=(watched,))
    first = found["diagnosis"][0]
    assert first["cause"] == cause, (found["diagnosis"], found["account"])
    assert found["watched_s"] < 10
    if cause != "healthy":
        assert first["advice"]
        assert first["for"]
