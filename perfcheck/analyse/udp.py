"""The jitter that a test's own streams of datagrams cause one another, computed from the scenario."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator

from perfcheck.model.scenario import Scenario
from perfcheck.model.topology import Bottleneck, TrafficPath, paths_of, rate_varies, slowest
from perfcheck.model.traffic import Iperf3Spec

_HEADERS_BYTES = {"ipv4": 42, "ipv6": 62}
"""Ethernet, IP and UDP."""
_CONTROL_BYTES = {"ipv4": 52, "ipv6": 72}
"""IP and TCP with timestamps: iperf3 writes the segment size of its own connection where the file says nothing."""


def self_jitter_us(scenario: Scenario) -> float | None:
    """Return the most jitter that streams make for one another: they send at the same moments, in changing order.

    Each of n datagrams that reach a link at once waits for those before it. Where the order is drawn anew each time,
    a stream's place in it moves by (n * n - 1) / (3 * n) places on average, each the time of one datagram on the
    slowest link. How a sender starts its streams decides whether they coincide: one thread that writes to all in turn
    keeps the order (iperf3 before 3.16: no jitter), a thread a stream does not. Background streams count where
    measured ones wait for them. A policer makes nobody wait. None without measured streams of datagrams, and where
    the rate of a link on their way changes.
    """
    streams = defaultdict[Bottleneck, list[float]](list)
    measured: set[Bottleneck] = set()
    udp = [spec for spec in scenario.traffic if spec.iperf3 is not None and spec.iperf3.protocol == "udp"]
    if all(spec.background for spec in udp):
        return None
    for spec in udp:
        assert spec.iperf3 is not None  # noqa: S101 - those alone are taken above
        paths = paths_of(scenario, spec)
        if not spec.background and any(rate_varies(scenario, path) for path in paths):
            return None
        for link, time_us in _lines(scenario, spec.iperf3, paths):
            streams[link] += [time_us] * spec.iperf3.streams
            measured |= set() if spec.background else {link}
    return max((_moved(streams[link]) for link in measured), default=0.0)


def _lines(scenario: Scenario, spec: Iperf3Spec, paths: list[TrafficPath]) -> Iterator[tuple[Bottleneck, float]]:
    """Yield the slowest link of each path, and how long it takes to send one datagram."""
    for path in paths:
        link = slowest(scenario, path, policers=False)
        if link is not None:
            mtu = min(scenario.links[end.link].mtu for end in (path.hops[0], path.hops[-1]))
            size = (spec.length_bytes or mtu - _CONTROL_BYTES[spec.family]) + _HEADERS_BYTES[spec.family]
            yield link, 8e6 * size / link.rate_bps


def _moved(times_us: list[float]) -> float:
    count = len(times_us)
    return (count * count - 1) / (3 * count) * sum(times_us) / count
