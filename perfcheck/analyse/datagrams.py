"""What a test's own streams of datagrams do to one another on the way, computed from the scenario."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator

from perfcheck.model.scenario import Scenario, TrafficSpec
from perfcheck.model.topology import Bottleneck, bottleneck, paths_of
from perfcheck.model.traffic import Iperf3Spec

_HEADERS_BYTES = {"ipv4": 42, "ipv6": 62}
"""Ethernet, IP and UDP."""
_DEFAULT_BYTES = 1448
"""What iperf3 writes where the file says nothing: the segment size of its own TCP connection."""


def self_jitter_us(scenario: Scenario) -> float | None:
    """Return the jitter that streams make for one another where they send at the same moments in changing order.

    Each of n datagrams that reach a link at once waits for those before it. Where the order is drawn anew each time,
    a stream's place in it moves by (n * n - 1) / (3 * n) places on average, each the time of one datagram on the
    slowest link. How a sender starts its streams decides whether they coincide: one thread that writes to all in turn
    keeps the order (iperf3 before 3.16: no jitter), a thread a stream does not. None without streams of datagrams.
    """
    streams = defaultdict[Bottleneck, list[float]](list)
    udp = [spec for spec in scenario.traffic if spec.iperf3 is not None and spec.iperf3.protocol == "udp"]
    for spec in udp:
        for slowest in _bottlenecks(scenario, spec):
            assert spec.iperf3 is not None  # noqa: S101 - those alone are taken above
            streams[slowest] += [_datagram_us(spec.iperf3, slowest)] * spec.iperf3.streams
    if not udp:
        return None
    return max((_moved(times) for times in streams.values()), default=0.0)


def _bottlenecks(scenario: Scenario, spec: TrafficSpec) -> Iterator[Bottleneck]:
    found = (bottleneck(scenario, path) for path in paths_of(scenario, spec))
    yield from (each for each in found if each is not None)


def _datagram_us(spec: Iperf3Spec, slowest: Bottleneck) -> float:
    size = (spec.length_bytes or _DEFAULT_BYTES) + _HEADERS_BYTES[spec.family]
    return 8e6 * size / slowest.rate_bps


def _moved(times_us: list[float]) -> float:
    count = len(times_us)
    return (count * count - 1) / (3 * count) * sum(times_us) / count
