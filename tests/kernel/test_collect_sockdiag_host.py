"""Looks at a host's connections that ask for the known ones alone, against dumps of all of them."""

from __future__ import annotations

import random
import socket
from collections.abc import Iterator

import collect_lab as lab
import pytest

from perfcheck.collect.sockdiag.host import HostSockets
from perfcheck.collect.sockdiag.tcp_info import TcpLook
from perfcheck.system.clock import wait_until


@pytest.fixture(scope="module")
def pair() -> Iterator[lab.Pair]:
    with lab.pair() as made:
        yield made


@pytest.fixture
def asking(pair: lab.Pair) -> Iterator[HostSockets]:
    made = pair.client(lambda: HostSockets("client"))
    yield made
    made.close()


def dumped(pair: lab.Pair) -> dict[int, TcpLook]:
    """A dump of all, by a netlink socket that has never asked before."""
    fresh = pair.client(lambda: HostSockets("client"))
    try:
        return {look.cookie: look for look in fresh.looks()}
    finally:
        fresh.close()


def names(looks: dict[int, TcpLook]) -> set[tuple[int, tuple[str, int], tuple[str, int], str]]:
    return {(look.cookie, look.local, look.remote, look.congestion) for look in looks.values()}


def test_what_is_known_is_seen_to_move(pair: lab.Pair, asking: HostSockets) -> None:
    one, two = pair.connect()
    with one, two:
        for _ in range(2):
            asking.looks()
        lab.transfer(one, two, 100_000)
        assert wait_until(lambda: [look.info["bytes_acked"] for look in asking.looks()] == [100_001], timeout_s=5)
        (polled,), theirs = asking.looks(), dumped(pair)
        assert polled.info["segs_out"] == theirs[polled.cookie].info["segs_out"]
        assert (polled.local, polled.remote) == (one.getsockname(), one.getpeername())


@pytest.mark.parametrize("address", ["", "2001:2::2", "::ffff:198.18.0.2"])
def test_connections_that_come_and_go_are_those_of_a_dump(pair: lab.Pair, asking: HostSockets, address: str) -> None:
    chance = random.Random(4)  # noqa: S311 - which connection ends is not a secret
    held: list[tuple[socket.socket, socket.socket]] = []
    try:
        for _ in range(60):
            # Up to 20: below and above the number from which on all are dumped.
            if held and chance.random() < len(held) / 25:
                for end in held.pop(chance.randrange(len(held))):
                    end.close()
            else:
                held.append(pair.connect(address) if address else pair.connect())
            asked = {look.cookie: look for look in asking.looks()}
            living = {end.getsockname()[1] for end, _ in held}
            assert living <= {look.local[1] for look in asked.values()}
            assert names(asked) >= {one for one in names(dumped(pair)) if one[1][1] in living}
    finally:
        for ends in held:
            for end in ends:
                end.close()
    assert wait_until(lambda: not asking.looks() and not dumped(pair), timeout_s=5)
