"""Links by netem, on kernels that have it: the same proof, the same counts, and packets that are packets."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from links_lab import TwoHosts, trial, two_hosts

from perfcheck.errors import Unavailable
from perfcheck.lab.links.netem import NetemEmulator
from perfcheck.lab.links.probe import prove

pytestmark = pytest.mark.kernel

TCP_SHARE = 1448 / 1514


@contextlib.contextmanager
def netem(**fields: Any) -> Iterator[TwoHosts]:
    emulator = NetemEmulator()
    try:
        emulator.check()
    except Unavailable as lacking:
        pytest.skip(str(lacking))
    with two_hosts(emulator, **fields) as hosts:
        yield hosts


@pytest.mark.parametrize(
    "fields",
    [
        {"delay": "10ms"},
        {"delay": "10ms", "rate": "20mbit", "queue": "1bdp", "reverse": {"delay": "30ms", "rate": "5mbit"}},
        {"delay": "20ms", "jitter": "5ms", "loss": "5%"},
        {"delay": "5ms", "rate": "10mbit", "queue": "10p", "loss": {"model": "gilbert-elliott", "p": "2%", "r": "30%"}},
        {"delay": "5ms", "reorder": "10%", "duplicate": "10%", "corrupt": "10%"},
    ],
)
def test_links_are_proved(fields: dict[str, Any]) -> None:
    with netem(**fields) as hosts:
        found = prove(0, "netem", hosts.spec, hosts.link, hosts.sides, hosts.thread)
    assert len(found.ways) == 2


@pytest.mark.parametrize("queue", ["1bdp", "30p"])
def test_tcp_gets_the_rate_and_packets_are_packets(queue: str) -> None:
    with netem(delay="5ms", rate="20mbit", queue=queue) as hosts:
        ended, (forward, _) = trial(hosts, "-t", "2", "-O", "0.5", "-C", "cubic")
    goodput = ended["sum_received"]["bits_per_second"] / 20e6
    assert 0.85 * TCP_SHARE < goodput <= 1.02 * TCP_SHARE
    assert forward.invalid_reason is None
    assert forward.extra["received_bytes"] / forward.received <= 1514
    assert forward.received - forward.delivered - forward.dropped_queue - forward.dropped_loss in range(60)


def test_lost_packets_are_counted_by_cause() -> None:
    with netem(delay="2ms", rate="10mbit", queue="20p", loss="10%") as hosts:
        hosts.link.begin_trial(0)
        got = hosts.send(1000, size=1472, gap_s=0.0009)
        forward, _ = hosts.link.end_trial()
    assert forward.received == 1000
    assert forward.dropped_loss + forward.dropped_queue == 1000 - len(got)
    assert forward.dropped_loss == pytest.approx(100, abs=40)
    assert forward.dropped_queue > 50
    assert forward.delivered == len(got)


def test_it_goes_whole() -> None:
    with netem(delay="1ms") as hosts:
        middle = Path(f"/run/netns/pc-{hosts.tag}-l0")
        assert middle.exists()
        hosts.link.close()
        hosts.link.close()
        assert not middle.exists()
