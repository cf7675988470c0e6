"""Nothing is counted that is not the scenario's: the same run alone, and beside traffic of strangers."""

from __future__ import annotations

import socket
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import collect_lab as lab
import pytest
from measured import measured

from perfcheck.runner import Runner
from perfcheck.system.clock import wait_until

# Paced below the link's rate, so that each run has the same packets and none is queued or lost.
SCENARIO = """
scenario: beside-strangers
hosts: {client: {congestion: cubic}, server: {congestion: cubic}}
links: [{between: [client, server], delay: 5ms}]
traffic:
  - iperf3: {from: client, to: server, bytes: 1mb, rate: 8mbit, length: 1448b}
  - iperf3: {from: client, to: server, duration: 1s, rate: 4mbit, protocol: udp, length: 1000b}
repeat: 1
"""
STRANGERS_S = "60"
"""More than the runs take; the strangers are ended with the test."""

ALIKE = ("tcp.connections", "socket.established.max")
NONE = ("tcp.retrans_segs", "tcp.retrans_fast_segs", "tcp.retrans_rto_segs", "tcp.retrans_syn_segs", "qdisc.drops",
        "qdisc.drops_full", "qdisc.requeues", "socket.drops_no_socket", "socket.listen_overflows", "udp.no_ports",
        "udp.in_errors", "udp.rcvbuf_errors", "udp.rcvqueue_full", "ip.drops_netfilter",
        "ip.drops_neighbour")  # fmt: skip
CLOSE = {"tcp.data_segs_out": 0.02, "udp.datagrams": 0.02, "udp.datagrams_out": 0.02,
         "udp.datagrams_in": 0.02, "app.throughput_bps": 0.05, "nic.tx_packets": 0.2, "nic.rx_packets": 0.2,
         "qdisc.packets": 0.2}  # fmt: skip
"""By how much two runs of the same may differ; acknowledgements depend on when the receiver runs."""

HOST_WIDE = ("nic.interrupts_per_s", "nic.rx_softirqs", "nic.softnet_processed", "nic.rx_softirq_run_us.p50",
             "nic.napi_polls", "cpu.host_busy_pct")  # fmt: skip


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        return int(taken.getsockname()[1])


@contextmanager
def talking(server: list[str], client: list[str], address: str) -> Iterator[list[subprocess.Popen[bytes]]]:
    """Let TCP and UDP flow to `address`; the words before iperf3 say in which namespaces its two ends run."""
    kinds = (["-b", "4M", "-l", "1000"], ["-u", "-b", "4M", "-l", "1000"])
    with ExitStack() as stack:
        clients = []
        for options in kinds:
            port = str(free_port())
            listening = started(stack, [*server, "iperf3", "-s", "-1", "-p", port])
            assert wait_until(lambda port=port: f":{port} " in lab.run(*server, "ss", "-Hltn"), timeout_s=10)  # type: ignore[misc]
            clients.append(started(stack, [*client, "iperf3", "-c", address, "-p", port, "-t", STRANGERS_S, *options]))
            assert listening.poll() is None
        yield clients


def started(stack: ExitStack, argv: list[str]) -> subprocess.Popen[bytes]:
    process = subprocess.Popen(argv, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    stack.callback(process.wait)
    stack.callback(process.kill)
    return process


def sent(pair: lab.Pair) -> dict[str, int]:
    """What the strangers' client has sent, and its queue dropped."""
    words = lab.run("ip", "netns", "exec", pair.names[0], "nstat", "-asz", "TcpOutSegs", "UdpOutDatagrams").split()
    dropped = lab.run("tc", "-n", pair.names[0], "-s", "qdisc", "show", "dev", "eth0").split("dropped ")[1]
    names = ("TcpOutSegs", "UdpOutDatagrams")
    return {**{name: int(words[words.index(name) + 1]) for name in names}, "dropped": int(dropped.split(",")[0])}


def test_strangers_beside_a_run_change_none_of_its_figures(runner: Runner) -> None:
    alone = measured(runner, SCENARIO)
    with lab.pair() as others:
        # Their queue is too small and too slow for them: they lose packets all the time.
        shaper = ("tbf", "rate", "6mbit", "burst", "4000", "limit", "6000")
        lab.run("tc", "-n", others.names[0], "qdisc", "replace", "dev", "eth0", "root", *shaper)
        ends = [["ip", "netns", "exec", name] for name in others.names]
        with talking(ends[1], ends[0], others.addresses[1]) as far, talking([], [], "127.0.0.1") as near:
            assert wait_until(lambda: sent(others)["dropped"] > 10, timeout_s=10)
            before = sent(others)
            beside = measured(runner, SCENARIO)
            after = sent(others)
            assert [one.poll() for one in (*far, *near)] == [None] * 4
    grew = {name: after[name] - before[name] for name in after}
    # More than any of the tolerances below would let pass.
    assert grew["TcpOutSegs"] > 100
    assert grew["UdpOutDatagrams"] > 500
    assert grew["dropped"] > 10

    quiet, loud = ({name: one.value for name, one in record.metrics.items()} for record in (alone, beside))
    assert {name: loud.get(name) for name in ALIKE} == {name: quiet.get(name) for name in ALIKE}
    assert {name: loud[name] for name in NONE if loud.get(name)} == {}
    for name, tolerance in CLOSE.items():
        assert loud[name] == pytest.approx(quiet[name], rel=tolerance), name
    assert loud["ip.route_lookups"] <= quiet["ip.route_lookups"] + 20
    assert not [check for check in beside.cross_checks if "retrans" in check.name and not check.agrees]
    # What cannot be told apart from the strangers says so.
    assert {name: beside.metrics[name].host_wide for name in HOST_WIDE} == dict.fromkeys(HOST_WIDE, True)
    named = (*ALIKE, *NONE, *CLOSE, "ip.route_lookups")
    assert not [name for name in named if name in beside.metrics and beside.metrics[name].host_wide]
