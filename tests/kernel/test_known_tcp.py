"""TCP's gauges, limits, dwell times and handshakes: against TCP_INFO, the sockets' own calls, and set rates."""

from __future__ import annotations

import socket
import struct
import threading
import time
from collections.abc import Mapping
from contextlib import ExitStack

import collect_lab as lab
import pytest

from perfcheck.collect.tcp.collector import TcpCollector
from perfcheck.model.flow import TcpSocket
from perfcheck.system.clock import wait_until

MEGABYTE = 1_000_000
SO_MAX_PACING_RATE = 47
CA_LOSS = 4
JIFFY_US = 1e6 * time.clock_getres(6)  # CLOCK_MONOTONIC_COARSE ticks in jiffies
STALL_S = 1.5
INFO = struct.Struct("=8B24I4Q6I4Q2I2Q4I")
FIELDS = (
    "state ca_state retransmits probes backoff options wscale flags",
    "rto ato snd_mss rcv_mss unacked sacked lost retrans fackets last_data_sent last_ack_sent last_data_recv",
    "last_ack_recv pmtu rcv_ssthresh rtt rttvar snd_ssthresh snd_cwnd advmss reordering rcv_rtt rcv_space",
    "total_retrans pacing_rate max_pacing_rate bytes_acked bytes_received segs_out segs_in notsent_bytes min_rtt",
    "data_segs_in data_segs_out delivery_rate busy_time rwnd_limited sndbuf_limited delivered delivered_ce",
    "bytes_sent bytes_retrans dsack_dups reord_seen rcv_ooopack snd_wnd",
)
"""struct tcp_info of include/uapi/linux/tcp.h, up to tcpi_snd_wnd."""


def tcp_info(one: socket.socket) -> dict[str, int]:
    """What the kernel itself says of a socket (TCP_INFO), by the fields' names without `tcpi_`."""
    raw = one.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, INFO.size)
    assert len(raw) == INFO.size
    names = (name for line in FIELDS for name in line.split())
    return dict(zip(names, INFO.unpack(raw), strict=True))


def is_still(*sockets: socket.socket) -> bool:
    """All is acknowledged, and no acknowledgement is on its way."""
    return wait_until(lambda: not any(tcp_info(one)["unacked"] for one in sockets), timeout_s=5)


def drop(pair: lab.Pair, match: str) -> None:
    """Let the server lose what matches; `pair.dropped` counts it."""
    pair.nft(1, "add table ip t", "add counter ip t k",
             "add chain ip t c { type filter hook prerouting priority -300; }",
             f"add rule ip t c tcp dport {lab.PORT} {match} counter name k drop")  # fmt: skip


def test_what_a_socket_did_is_what_tcp_info_says_of_it(core: TcpCollector, pair: lab.Pair) -> None:
    """A connection with losses, open and idle when both sources look: every gauge and counter is the same."""
    drop(pair, "meta length > 1000 numgen inc mod 50 0")
    with ExitStack() as stack:
        with lab.measuring(pair.scope(), core) as seen:
            one, two = (stack.enter_context(end) for end in pair.connect())
            one.setsockopt(socket.IPPROTO_TCP, socket.TCP_CONGESTION, b"cubic")
            lab.transfer(one, two, 3 * MEGABYTE)
            lab.transfer(two, one, 100_000)
            assert is_still(one, two)
            shown, shown_there = tcp_info(one), tcp_info(two)
        sender, receiver = lab.of_port(seen["tcp"], "client"), lab.of_port(seen["tcp"], "server")
    assert shown["total_retrans"] >= pair.dropped(1) > 20
    for socket_, info in ((sender, shown), (receiver, shown_there)):
        check_counters(socket_, info)
        check_gauges(socket_, info)
    # Each lost segment left a gap behind which others waited.
    assert receiver.counters["ooo_segs"] == shown_there["rcv_ooopack"] >= pair.dropped(1)


def check_counters(ours: TcpSocket, info: Mapping[str, int]) -> None:
    # The kernel counts what lies after the handshake; the core's window opens with the connection's establishment.
    expected = {
        "retrans_segs": info["total_retrans"], "data_segs_out": info["data_segs_out"],
        "dsack_dups_segs": info["dsack_dups"], "reord_seen_events": info["reord_seen"],
        "ooo_segs": info["rcv_ooopack"], "delivered_ce_segs": info["delivered_ce"],
        "bytes_received": info["bytes_received"],
    }  # fmt: skip
    assert {name: ours.counters[name] for name in expected} == expected
    assert ours.whole_segs_out == info["segs_out"]
    # The SYN counts as a segment delivered and as a byte, at the end that connected.
    assert info["delivered"] - ours.counters["delivered_segs"] in {0, 1}
    assert info["bytes_acked"] - ours.counters["bytes_acked"] in {0, 1}


def check_gauges(ours: TcpSocket, info: Mapping[str, int]) -> None:
    expected = {
        "rttvar_us": info["rttvar"], "min_rtt_us": info["min_rtt"], "mss_bytes": info["snd_mss"],
        "ssthresh_segs": info["snd_ssthresh"] if info["snd_ssthresh"] < 0x7FFFFFFF else 0,
        "cwnd_segs": info["snd_cwnd"],
    }  # fmt: skip
    assert {name: ours.gauges[name] for name in expected} == expected
    # The largest that there was, where TCP_INFO has the last.
    assert ours.gauges["reordering_segs"] >= info["reordering"]
    assert ours.gauges["snd_wnd_bytes"] >= info["snd_wnd"]
    assert ours.cwnd.minimum <= info["snd_cwnd"]


@pytest.mark.parametrize("limit", ["rwnd", "app"])
def test_time_by_what_limits_it_is_that_of_tcp_info_and_of_what_was_done(
    limit: str, core: TcpCollector, pair: lab.Pair
) -> None:
    """A while in which the receiver does not read, or nothing is sent."""
    with ExitStack() as stack:
        with lab.measuring(pair.scope(), core) as seen:
            one, two = (stack.enter_context(end) for end in pair.connect())
            began_s = time.monotonic()
            limited_us = stalled_by_the_reader(one, two) if limit == "rwnd" else idle(one, two)
            assert is_still(one)
            info, length_us = tcp_info(one), 1e6 * (time.monotonic() - began_s)
        ours = lab.of_port(seen["tcp"], "client")
    counters = {name: ours.counters[f"{name}_us"] for name in ("busy", "rwnd_limited", "sndbuf_limited")}
    theirs = {"busy": info["busy_time"], "rwnd_limited": info["rwnd_limited"], "sndbuf_limited": info["sndbuf_limited"]}
    for name, value in theirs.items():
        # Both read the same jiffies, at two moments in which nothing ran.
        assert counters[name] == pytest.approx(value, rel=0.05, abs=JIFFY_US), name
    if limit == "app":
        assert length_us - counters["busy"] == pytest.approx(limited_us, rel=0.05)
    else:
        assert counters[f"{limit}_limited"] == pytest.approx(limited_us, rel=0.05)


def stalled_by_the_reader(one: socket.socket, two: socket.socket) -> float:
    """Send until the receiver's window is shut, wait, and let it read; give how long it was shut, in us."""
    one.setblocking(False)
    sent = 0
    while True:
        try:
            sent += one.send(bytes(1 << 16))
        except BlockingIOError:
            if tcp_info(one)["rwnd_limited"] > 0:
                break
    since_s = time.monotonic() - tcp_info(one)["rwnd_limited"] / 1e6
    time.sleep(STALL_S)
    one.settimeout(10)
    limited_us = 1e6 * (time.monotonic() - since_s)
    while sent:
        sent -= len(two.recv(1 << 20))
    return limited_us


def idle(one: socket.socket, two: socket.socket) -> float:
    lab.transfer(one, two, 1000)
    time.sleep(STALL_S)
    return 1e6 * STALL_S


def test_a_set_pacing_rate_is_measured(core: TcpCollector, pair: lab.Pair) -> None:
    rate_bytes_per_s = 5 * MEGABYTE
    with lab.measuring(pair.scope(), core) as seen:
        one, two = pair.connect()
        with one, two:
            one.setsockopt(socket.SOL_SOCKET, SO_MAX_PACING_RATE, rate_bytes_per_s)
            began_s = time.monotonic()
            lab.transfer(one, two, 5 * MEGABYTE)
            took_s = time.monotonic() - began_s
    ours = lab.of_port(seen["tcp"], "client")
    assert ours.gauges["pacing_rate_bps"] == pytest.approx(8 * rate_bytes_per_s, rel=0.02)
    # Headers are paced, too: 1448 of 1514 bytes are payload.
    assert took_s == pytest.approx(5 * MEGABYTE / rate_bytes_per_s, rel=0.1)
    rate_bps = ours.counters["bytes_acked"] * 8e6 / ours.counters["elapsed_us"]
    assert rate_bps == pytest.approx(8 * 5 * MEGABYTE / took_s, rel=0.02)


def test_time_in_recovery_from_a_time_out_is_what_tcp_info_shows(core: TcpCollector, pair: lab.Pair) -> None:
    """The path is dead for a while; TCP_INFO, asked all the time, tells how long the socket was in TCP_CA_Loss."""
    watched: list[tuple[float, int]] = []
    ended = threading.Event()

    def watch(one: socket.socket) -> None:
        while not ended.wait(0.0005):
            state = tcp_info(one)["ca_state"]
            watched.append((time.monotonic(), state))

    with lab.measuring(pair.scope(), core) as seen:
        one, two = pair.connect()
        with one, two:
            lab.transfer(one, two, 100_000)
            watching = threading.Thread(target=watch, args=(one,))
            watching.start()
            drop(pair, "meta length > 500")
            one.sendall(bytes(1000))
            assert wait_until(lambda: pair.dropped(1) >= 4, timeout_s=5)
            pair.nft(1, "flush chain ip t c")
            assert two.recv(1000)
            lab.transfer(one, two, 10_000)
            assert is_still(one)
            ended.set()
            watching.join()
    lost = [at for at, state in watched if state == CA_LOSS]
    ours = lab.of_port(seen["tcp"], "client")
    assert lost[-1] - lost[0] > 0.3
    assert ours.counters["state_loss_us"] == pytest.approx(1e6 * (lost[-1] - lost[0]), rel=0.05)
    states = sum(ours.counters[f"state_{name}_us"] for name in ("open", "disorder", "cwr", "recovery", "loss"))
    assert states == pytest.approx(ours.counters["elapsed_us"], rel=0.01)


def test_a_handshake_takes_as_long_as_connect_does(core: TcpCollector, pair: lab.Pair) -> None:
    """One with a SYN that gets lost: connect(2) returns when the kernel is done."""
    drop(pair, "tcp flags syn numgen inc mod 1000 0")
    with lab.measuring(pair.scope(), core) as seen:
        listening = (pair.addresses[1], lab.PORT)
        with pair.server(lambda: socket.create_server(listening)), pair.client(socket.socket) as one:
            one.settimeout(10)
            began_s = time.monotonic()
            one.connect(listening)
            took_us = 1e6 * (time.monotonic() - began_s)
    assert pair.dropped(1) == 1
    assert took_us > 0.9e6
    assert lab.of_port(seen["tcp"], "client").gauges["handshake_us"] == pytest.approx(took_us, rel=0.05)
