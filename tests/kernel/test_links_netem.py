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
        {"delay": "20ms", "jitter": {"spread": "4ms", "distribution": "normal"}},
        {"delay": "20ms", "jitter": {"spread": "4ms", "distribution": "pareto"}},
        {"policer": {"rate": "10mbit", "burst": "64kb"}, "delay": "5ms"},
        {"delay": "5ms", "rate": "20mbit", "queue": {"size": "40p", "discipline": "codel"}},
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


@pytest.mark.parametrize("size", [100, 1472])
def test_a_policer_counts_whole_frames(size: int) -> None:
    with netem(policer={"rate": "4mbit", "burst": "30kb"}) as hosts:
        hosts.link.begin_trial(0)
        packets = 300 if size > 1000 else 3000
        got = hosts.send(packets, size=size, gap_s=0.5 / packets)
        forward, _ = hosts.link.end_trial()
    # Half a second of the rate, and the bucket.
    allowed = (30_000 + 0.5 * 0.5e6) / (size + 42)
    assert len(got) == pytest.approx(allowed, rel=0.03)
    assert forward.dropped_policer == packets - len(got)
    assert forward.delivered == len(got)
    assert forward.dropped_queue == forward.dropped_loss == 0


def test_codel_keeps_the_queue_short() -> None:
    rtts_ms, drops = [], []
    for queue in ("100p", {"size": "100p", "discipline": "codel"}):
        with netem(delay="5ms", rate="20mbit", queue=queue) as hosts:
            ended, (forward, _) = trial(hosts, "-t", "3", "-O", "1", "-C", "cubic")
        rtts_ms.append(ended["streams"][0]["sender"]["mean_rtt"] / 1000)
        drops.append(forward.dropped_queue)
    assert rtts_ms[0] > 30
    assert rtts_ms[1] < 0.7 * rtts_ms[0]
    assert drops[1] > 0


def test_super_packets_make_a_trial_invalid() -> None:
    with netem(delay="2ms") as hosts:
        for feature in ("tx", "sg", "tso", "gso"):
            on = hosts.popen(0, "ethtool", "-K", hosts.ends[0].ifname, feature, "on")
            assert on.wait(5) == 0
            on.communicate()
        _, (forward, _) = trial(hosts, "-t", "1", "-C", "cubic")
    assert forward.invalid_reason is not None
    assert "crossed inside larger ones" in forward.invalid_reason


def test_it_goes_whole() -> None:
    with netem(delay="1ms") as hosts:
        middle = Path(f"/run/netns/pc-{hosts.tag}-l0")
        assert middle.exists()
        hosts.link.close()
        hosts.link.close()
        assert not middle.exists()
