"""What agents saw, by this machine's clock, and as one observation of each collector; pure.

Sockets, counters and distributions of several machines stand side by side. Of a figure that each machine has of all of
itself counts add up, and of anything else the worst machine's counts, as with several generators.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Final

from perfcheck.model.budget import Spending
from perfcheck.model.catalogue import CATALOGUE
from perfcheck.model.flow import Histogram
from perfcheck.model.metric import Direction
from perfcheck.model.observation import Observation, Overhead
from perfcheck.remote.clock import Offset
from perfcheck.remote.events import events_by_our_clock, joined_events

_COUNTED: Final = frozenset({"count", "per_s", "events"})
_NO_COUNTS: Final = frozenset({"nic.rx_queues", "nic.tx_queues"})
"""Counted in things, but of one interface."""


def by_our_clock(seen: Observation, clock: Offset) -> Observation:
    """Return an observation with its times by this machine's clock."""
    sockets = tuple(
        replace(
            one,
            established_ns=clock.here_ns(one.established_ns) if one.established_ns else 0,
            first_ns=clock.here_ns(one.first_ns) if one.first_ns else 0,
            last_ns=clock.here_ns(one.last_ns) if one.last_ns else 0,
        )
        for one in seen.tcp_sockets
    )
    events = None if seen.events is None else events_by_our_clock(seen.events, clock)
    return replace(seen, tcp_sockets=sockets, events=events)


def joined(machines: Sequence[Sequence[Observation]]) -> tuple[Observation, ...]:
    """Return one observation of each collector that all machines have, in the order of the first machine's."""
    if not machines:
        return ()
    names = [seen.collector for seen in machines[0]]
    by_name = [{seen.collector: seen for seen in machine} for machine in machines]
    return tuple(
        _joined([machine[name] for machine in by_name]) for name in names if all(name in each for each in by_name)
    )


def joined_spending(machines: Iterable[Spending]) -> Spending:
    """Return what all machines spent: CPU time adds up, and what any of them shed is missing everywhere."""
    every = tuple(machines)
    still = [one.still_pct for one in every if one.still_pct is not None]
    return Spending(
        rest_s=max((one.rest_s for one in every), default=0.0),
        rest_cpu_s=sum(one.rest_cpu_s for one in every),
        shed=tuple(dict.fromkeys(shed for one in every for shed in one.shed)),
        still_pct=max(still, default=None),
        earlier=tuple(dict.fromkeys(shed for one in every for shed in one.earlier)),
    )


def _joined(parts: Sequence[Observation]) -> Observation:
    if len(parts) == 1:
        return parts[0]
    return Observation(
        collector=parts[0].collector,
        tcp_sockets=tuple(one for part in parts for one in part.tcp_sockets),
        socket_buffers=tuple(one for part in parts for one in part.socket_buffers),
        host_counters=tuple(one for part in parts for one in part.host_counters),
        metrics=joined_metrics([part.metrics for part in parts]),
        distributions=_distributions([part.distributions for part in parts]),
        by_host={host: values for part in parts for host, values in part.by_host.items()},
        by_interface={key: values for part in parts for key, values in part.by_interface.items()},
        overhead=Overhead(
            programs=tuple(one for part in parts for one in part.overhead.programs),
            user_cpu_s=sum(part.overhead.user_cpu_s for part in parts),
            rss_bytes=max(part.overhead.rss_bytes for part in parts),
            map_bytes=sum(part.overhead.map_bytes for part in parts),
        ),
        lost_events=sum(part.lost_events for part in parts),
        warnings=tuple(dict.fromkeys(text for part in parts for text in part.warnings)),
        events=joined_events([part.events for part in parts if part.events is not None]),
    )


def joined_metrics(parts: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """Return whole machines' figures as one: counts add up, of anything else the worst counts."""
    found: dict[str, float] = {}
    for name in dict.fromkeys(name for part in parts for name in part):
        values = [part[name] for part in parts if name in part]
        spec = CATALOGUE.get(name)
        if spec is not None and spec.unit in _COUNTED and name not in _NO_COUNTS:
            found[name] = sum(values)
        elif spec is not None and spec.direction is Direction.HIGHER:
            found[name] = min(values)
        else:
            found[name] = max(values)
    return found


def _distributions(parts: Sequence[Mapping[str, Histogram]]) -> dict[str, Histogram]:
    found: dict[str, Histogram] = {}
    for name in dict.fromkeys(name for part in parts for name in part):
        found[name] = _summed([part[name] for part in parts if name in part])
    return found


def _summed(histograms: Sequence[Histogram]) -> Histogram:
    """Add histograms of one scale up; ValueError for different scales, which agents of one version do not have."""
    filled = [one for one in histograms if one.count] or histograms[:1]
    first = filled[0]
    if any((one.unit, one.edges) != (first.unit, first.edges) for one in filled):
        raise ValueError("histograms of different units or edges cannot be added up")
    return replace(
        first,
        counts=tuple(map(sum, zip(*(one.counts for one in filled), strict=True))),
        below=sum(one.below for one in filled),
        above=sum(one.above for one in filled),
        minimum=min(one.minimum for one in filled),
        maximum=max(one.maximum for one in filled),
        total=sum(one.total for one in filled),
    )
