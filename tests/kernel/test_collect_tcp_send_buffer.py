"""The share of time that the send buffer limits is one of the limit, whichever way the application writes."""

from __future__ import annotations

import contextlib
import select
import socket
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

import collect_lab as lab
import pytest
from links_lab import SECOND, relay
from test_known_impairments import scope_of
from test_known_tcp import tcp_info

from perfcheck.collect.tcp.collector import TcpCollector

SMALL = 30_000
CHUNK = bytes(1 << 17)
SECONDS = 1.0

Writer = Callable[[socket.socket, float], None]


def blocks_in_send(one: socket.socket, end_s: float) -> None:
    while time.monotonic() < end_s:
        one.send(CHUNK)


def polls(one: socket.socket, end_s: float) -> None:
    one.setblocking(False)
    poll = select.poll()
    poll.register(one, select.POLLOUT)
    while time.monotonic() < end_s:
        poll.poll(100)
        with contextlib.suppress(BlockingIOError):
            one.send(CHUNK)
    one.setblocking(True)


def writes_until_refused(one: socket.socket, end_s: float) -> None:
    one.setblocking(False)
    with select.epoll() as poll:
        poll.register(one, select.EPOLLOUT | select.EPOLLET)
        while time.monotonic() < end_s:
            poll.poll(0.1)
            with contextlib.suppress(BlockingIOError):
                while time.monotonic() < end_s:
                    one.send(CHUNK)
    one.setblocking(True)


def writes_now_and_then(one: socket.socket, end_s: float) -> None:
    while time.monotonic() < end_s:
        one.send(bytes(10_000))
        time.sleep(0.05)


@dataclass(frozen=True, kw_only=True)
class Shares:
    """Percent of the time that the connection was measured."""

    limited: float
    kernel: float
    busy: float


def sent(core: TcpCollector, write: Writer, *, sndbuf: int = 0, rate: str = "100mbit") -> Shares:
    with contextlib.ExitStack() as stack:
        hosts = stack.enter_context(relay(delay="15ms", rate=rate, queue="1bdp"))
        hosts.link.begin_trial(0)
        with lab.measuring(scope_of(hosts), core) as seen:
            listener = stack.enter_context(hosts.socket(1, socket.SOCK_STREAM))
            listener.bind((SECOND, lab.PORT))
            listener.listen()
            one = stack.enter_context(hosts.socket(0, socket.SOCK_STREAM))
            one.setsockopt(socket.IPPROTO_TCP, socket.TCP_CONGESTION, b"cubic")
            if sndbuf:
                one.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, sndbuf)
            one.connect((SECOND, lab.PORT))
            two = stack.enter_context(listener.accept()[0])
            reader = threading.Thread(target=_read_all, args=(two,))
            reader.start()
            write(one, time.monotonic() + SECONDS)
            kernel_us = tcp_info(one)["sndbuf_limited"]
            one.shutdown(socket.SHUT_WR)
            reader.join()
        hosts.link.end_trial()
    counters = lab.of_port(seen["tcp"], "a").counters
    return Shares(
        limited=100 * counters["sndbuf_limited_us"] / counters["elapsed_us"],
        kernel=100 * kernel_us / counters["elapsed_us"],
        busy=100 * counters["busy_us"] / counters["elapsed_us"],
    )


def _read_all(two: socket.socket) -> None:
    while two.recv(1 << 18):
        pass


@pytest.mark.parametrize("write", [blocks_in_send, polls, writes_until_refused])
def test_a_small_buffer_limits_every_writer(core: TcpCollector, write: Writer) -> None:
    shares = sent(core, write, sndbuf=SMALL)
    assert shares.limited > 50
    assert shares.limited <= shares.busy


def test_one_that_polls_reads_at_least_what_the_kernels_own_clock_says(core: TcpCollector) -> None:
    shares = sent(core, polls, sndbuf=SMALL)
    assert shares.kernel > 40
    # The kernel's clock starts only where the writer waits already when the last segment leaves: the later it is woken,
    # the less of the limit that clock sees.
    assert shares.kernel - 20 <= shares.limited <= shares.busy


@pytest.mark.parametrize(
    ("write", "rate"), [(writes_now_and_then, "100mbit"), (blocks_in_send, "20mbit"), (polls, "20mbit")]
)
def test_neither_the_application_nor_the_path_is_taken_for_the_buffer(
    core: TcpCollector, write: Writer, rate: str
) -> None:
    assert sent(core, write, rate=rate).limited < 5
