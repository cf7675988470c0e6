"""Measures a real link before traffic: round trip, loss, MTU, one connection's rate, and the clocks' difference."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from statistics import median, quantiles
from typing import Final

from perfcheck.agent import requests as ask
from perfcheck.errors import InvalidLink, LabError
from perfcheck.model.link import DIRECTIONS
from perfcheck.model.proof import RealDirection, RealLinkProof
from perfcheck.remote.clock import Exchange, Offset, offset_of
from perfcheck.remote.hosts import RealHost
from perfcheck.remote.links import EMULATOR
from perfcheck.system.clock import now_ns

DATAGRAMS: Final = 200
DATAGRAM_BYTES: Final = 64
MOST_NS: Final = 1_000_000_000
"""Where round trips are long, fewer datagrams must do."""
PUSH_NS: Final = 200_000_000
WHOLE_TRIES: Final = 3
_HEADERS: Final = {4: 28, 6: 48}
"""Bytes of IP and UDP headers before a datagram."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ends:
    """The two hosts of a link and the addresses by which they reach each other."""

    hosts: tuple[RealHost, RealHost]
    addresses: tuple[str, str]

    @property
    def names(self) -> str:
        """Both names, as messages have them."""
        return "-".join(host.name for host in self.hosts)

    def turned(self) -> Ends:
        """Return the same with the second one first."""
        return Ends(hosts=(self.hosts[1], self.hosts[0]), addresses=(self.addresses[1], self.addresses[0]))


def prove_real(index: int, hosts: tuple[RealHost, RealHost], asked_mtu: int | None) -> RealLinkProof:
    """Return what a real link is; InvalidLink where nothing passes, or its MTU is not what the file asks for."""
    began_ns = now_ns()
    ends = Ends(hosts=hosts, addresses=_addresses(index, hosts))
    interfaces = [host.description.interface for host in hosts]
    mtu = min(each.mtu for each in interfaces)
    if asked_mtu is not None and asked_mtu != mtu:
        raise InvalidLink(f"links[{index}] {ends.names}: the file asks for an MTU of {asked_mtu}, and it has {mtu}")
    with _answering(ends) as ports:
        probed = _probed(ends, ports, DATAGRAM_BYTES, count=DATAGRAMS)
        if not probed.echoes:
            raise InvalidLink(
                f"links[{index}] {ends.names}: no datagram from {ends.addresses[0]} to {ends.addresses[1]} was "
                "answered; look for a wrong address, a firewall, or a cable elsewhere"
            )
        mtu_passes = _whole_packet_passes(ends, ports, mtu)
        forward = _pushed(ends, ports)
    with _answering(ends.turned()) as ports:
        reverse = _pushed(ends.turned(), ports)
    clock = _clock_between(hosts, probed.echoes)
    round_trips_us = [_exchange(echo).round_trip_ns / 1e3 for echo in probed.echoes]
    speeds = [each.speed_mbit for each in interfaces if each.speed_mbit is not None]
    return RealLinkProof(
        link=index,
        emulator=EMULATOR,
        ways=tuple(_direction(way, probed.echoes, clock, each)
                   for way, each in zip(DIRECTIONS, (forward, reverse), strict=True)),
        rtt_p50_us=median(round_trips_us),
        rtt_min_us=min(round_trips_us),
        rtt_p90_us=_p90(round_trips_us),
        sent=probed.sent,
        lost=probed.sent - len(probed.echoes),
        mtu=mtu,
        mtu_passes=mtu_passes,
        speed_mbit=min(speeds, default=None),
        clock_offset_us=clock.ns / 1e3,
        clock_error_us=clock.error_ns / 1e3,
        took_ms=(now_ns() - began_ns) / 1e6,
    )  # fmt: skip


def _addresses(index: int, hosts: tuple[RealHost, RealHost]) -> tuple[str, str]:
    """Return an address of each, of one family; InvalidLink where they have none in common."""
    for family in (4, 6):
        found = [next((each for each in host.addresses if (":" in each) == (family == 6)), None) for host in hosts]
        if found[0] is not None and found[1] is not None:
            return found[0], found[1]
    names = " and ".join(host.where for host in hosts)
    raise InvalidLink(f"links[{index}]: {names} have no addresses of one family")


@contextmanager
def _answering(ends: Ends) -> Iterator[ask.Answering]:
    """Have the second host answer on its address of the link."""
    there = ends.hosts[1].channel
    ports: ask.Answering = there.ask(ask.Answer(address=ends.addresses[1]))
    try:
        yield ports
    finally:
        there.ask(ask.StopAnswering())


def _probed(ends: Ends, ports: ask.Answering, size: int, *, count: int, unfragmented: bool = False) -> ask.Echoes:
    request = ask.Probe(
        source=ends.addresses[0], target=ends.addresses[1], port=ports.udp, count=count, size_bytes=size,
        unfragmented=unfragmented, most_ns=MOST_NS,
    )  # fmt: skip
    found: ask.Echoes = ends.hosts[0].channel.ask(request)
    return found


def _whole_packet_passes(ends: Ends, ports: ask.Answering, mtu: int) -> bool:
    size = mtu - _HEADERS[6 if ":" in ends.addresses[0] else 4]
    return bool(_probed(ends, ports, size, count=WHOLE_TRIES, unfragmented=True).echoes)


def _pushed(ends: Ends, ports: ask.Answering) -> ask.Pushed | None:
    """Return what one connection carries for a moment; None where no connection comes about."""
    request = ask.Push(source=ends.addresses[0], target=ends.addresses[1], port=ports.tcp, duration_ns=PUSH_NS)
    try:
        pushed: ask.Pushed = ends.hosts[0].channel.ask(request)
    except LabError:
        return None
    return pushed


def _direction(
    way: str, echoes: Sequence[ask.Echo], clock: Offset, pushed: ask.Pushed | None
) -> RealDirection:  # fmt: skip
    times_ns = [
        echo.there_ns - echo.sent_ns - clock.ns if way == DIRECTIONS[0] else echo.received_ns - echo.back_ns + clock.ns
        for echo in echoes
    ]
    rate = pushed is not None and pushed.took_ns > 0
    return RealDirection(
        way=way,
        one_way_us=median(times_ns) / 1e3,
        one_way_error_us=clock.error_ns / 1e3,
        rate_bps=8e9 * pushed.size_bytes / pushed.took_ns if pushed is not None and rate else None,
        rate_over_us=pushed.took_ns / 1e3 if pushed is not None else 0.0,
    )


def _exchange(echo: ask.Echo) -> Exchange:
    return Exchange(
        sent_ns=echo.sent_ns, there_ns=echo.there_ns, back_ns=echo.back_ns, received_ns=echo.received_ns
    )  # fmt: skip


def _clock_between(hosts: tuple[RealHost, RealHost], echoes: Sequence[ask.Echo]) -> Offset:
    """Return the second host's clock minus the first one's: within what the link and both connections allow."""
    over_link = offset_of(_exchange(echo) for echo in echoes)
    first, second = (host.channel.compare_clocks() for host in hosts)
    over_us = second.behind(first)
    least, most = max(over_link.least_ns, over_us.least_ns), min(over_link.most_ns, over_us.most_ns)
    if least > most:
        return over_link
    return Offset(least_ns=least, most_ns=most, at_ns=over_link.at_ns)


def _p90(values: Sequence[float]) -> float:
    return quantiles(values, n=10)[-1] if len(values) > 1 else values[0]
