"""The poller's sockets: what was there before the trial, and counters that begin again at 0."""

from __future__ import annotations

import os
import socket
import struct
from collections.abc import Callable
from typing import TypeVar

import pytest

from perfcheck.collect.sockdiag import collector as sockdiag
from perfcheck.collect.sockdiag import tcp_info
from perfcheck.collect.sockdiag.collector import SockdiagCollector
from perfcheck.collect.sockdiag.tcp_info import TcpLook
from perfcheck.model.flow import TcpSocket
from perfcheck.model.observation import Scope

T = TypeVar("T")


def look(cookie: int, **values: int) -> TcpLook:
    ends = struct.pack(">HH", 40_000 + cookie, 5201)
    ends += b"".join(socket.inet_aton(f"198.18.0.{number}").ljust(16, b"\0") for number in (1, 2))
    info = b"".join(struct.pack(f"={code}", values.get(name, 0)) for name, code in tcp_info.LAYOUT)
    return TcpLook(cookie, socket.AF_INET, struct.pack("=36s4xQ", ends, cookie), info, b"cubic\0")


class Host:
    """A host whose connections the test says."""

    opened = True
    lost = 0
    seen: tuple[TcpLook, ...] = ()

    def __init__(self, host: str) -> None:
        self.host = host
        self.told = os.eventfd(0, os.EFD_CLOEXEC)

    def looks(self, *, known: bool = True) -> tuple[TcpLook, ...]:
        del known
        return Host.seen

    def notices(self) -> tuple[TcpLook, ...]:
        return ()

    def close(self) -> None:
        os.close(self.told)


class Namespaces:
    """Stands in for the thread that enters namespaces."""

    def __enter__(self) -> Namespaces:
        return self

    def __exit__(self, *error: object) -> None:
        pass

    def inside(self, path: str, work: Callable[[], T]) -> T:
        del path
        return work()


@pytest.fixture
def observed(monkeypatch: pytest.MonkeyPatch) -> Callable[[list[TcpLook], list[TcpLook]], dict[int, TcpSocket]]:
    monkeypatch.setattr(sockdiag, "HostSockets", Host)
    monkeypatch.setattr(sockdiag, "NetnsThread", Namespaces)

    def observe(first: list[TcpLook], last: list[TcpLook]) -> dict[int, TcpSocket]:
        collector = SockdiagCollector(period_s=1000.0)
        Host.seen = tuple(first)
        collector.begin(Scope(namespaces={"client": 1}, netns_paths={"client": "/x"}, warmup_ns=0))
        # The first look finds a connection, the second opens its window.
        collector._look()
        Host.seen = tuple(last)
        collector._look()
        return {found.cookie: found for found in collector.end().tcp_sockets}

    return observe


def test_a_connection_that_was_there_before_the_trial_was_not_established_in_it(
    observed: Callable[[list[TcpLook], list[TcpLook]], dict[int, TcpSocket]],
) -> None:
    old = look(1, bytes_acked=10**12)
    found = observed([old], [old, look(2, bytes_acked=1000)])
    assert (found[1].established_ns, found[1].whole_bytes_acked) == (0, 10**12)
    assert found[2].established_ns > 0


def test_counters_of_32_bits_may_wrap(
    observed: Callable[[list[TcpLook], list[TcpLook]], dict[int, TcpSocket]],
) -> None:
    before = look(1, segs_out=2**32 - 2, bytes_acked=2**32 - 1)
    counters = observed([before], [look(1, segs_out=3, bytes_acked=2**32 + 9)])[1].counters
    assert (counters["segs_out"], counters["bytes_acked"]) == (5, 10)
