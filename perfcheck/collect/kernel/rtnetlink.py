"""A host's interfaces, queues and neighbours by rtnetlink(7), as pyroute2 decodes them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from pyroute2 import IPRoute

ROOT: Final = 0xFFFFFFFF  # TC_H_ROOT
_LOOPBACK: Final = 772  # ARPHRD_LOOPBACK
_WITHOUT_QUEUE: Final = frozenset({"noqueue"})
_MULTIQUEUE: Final = frozenset({"mq", "mqprio"})
_FAILED: Final = 0x01 | 0x20  # NUD_INCOMPLETE, NUD_FAILED
_U32: Final = 1 << 32
_QUEUE: Final = ("packets", "bytes", "drops", "overlimits", "requeues")
_LINK: Final = (
    "rx_packets", "tx_packets", "rx_bytes", "tx_bytes", "rx_errors", "tx_errors", "rx_dropped", "tx_dropped",
)  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Queue:
    """A device's root qdisc, its counters as `tc -s qdisc` shows them; a multiqueue one has its parts' sums."""

    ifindex: int
    handle: int
    kind: str
    counters: Mapping[str, int]

    def since(self, before: Queue | None) -> dict[str, int]:
        """Return the differences; a qdisc that was not there before began at 0. Counters of 32 bits may wrap."""
        if before is None or (before.handle, before.kind) != (self.handle, self.kind):
            return dict(self.counters)
        return {name: (value - before.counters[name]) % _wrap(name) for name, value in self.counters.items()}


@dataclass(frozen=True, slots=True, kw_only=True)
class Interface:
    """An interface with its counters (IFLA_STATS64) and how many queues it has."""

    ifindex: int
    ifname: str
    tx_queues: int
    rx_queues: int = 1
    counters: Mapping[str, int] = field(default_factory=dict)

    def since(self, before: Interface | None) -> dict[str, int]:
        """Return the differences; an interface that was not there before began at 0."""
        return {name: value - (before.counters.get(name, 0) if before else 0) for name, value in self.counters.items()}


def _wrap(name: str) -> int:
    return 1 << 64 if name == "bytes" else _U32


def qdiscs(ip: IPRoute) -> list[Any]:
    """Return an RTM_GETQDISC dump, of which `queues_of` and `lanes_of` each pick their part."""
    return list(ip.get_qdiscs())


def queues(ip: IPRoute) -> dict[int, Queue]:
    """Root qdiscs that really queue, by interface index."""
    return queues_of(qdiscs(ip))


def queues_of(messages: Iterable[Any]) -> dict[int, Queue]:
    """Pick the root qdiscs out of an RTM_GETQDISC dump."""
    found = {}
    for message in messages:
        kind, statistics = message.get_attr("TCA_KIND"), message.get_attr("TCA_STATS2")
        if message["parent"] != ROOT or kind in _WITHOUT_QUEUE or statistics is None:
            continue
        counters = {**(statistics.get_attr("TCA_STATS_BASIC") or {}), **(statistics.get_attr("TCA_STATS_QUEUE") or {})}
        found[message["index"]] = Queue(
            ifindex=message["index"], handle=message["handle"], kind=kind,
            counters={name: int(counters.get(name, 0)) for name in _QUEUE},
        )  # fmt: skip
    return found


def lanes_of(messages: Iterable[Any]) -> dict[int, dict[int, int]]:
    """Packets that each transmit queue of a multiqueue device (qdisc mq, mqprio) has sent, by interface index.

    They are those of the qdiscs of an RTM_GETQDISC dump right under a multiqueue root.
    """
    kept = list(messages)
    roots = {
        (message["index"], message["handle"]) for message in kept
        if message["parent"] == ROOT and message.get_attr("TCA_KIND") in _MULTIQUEUE
    }  # fmt: skip
    found: dict[int, dict[int, int]] = {}
    for message in kept:
        major, statistics = message["parent"] & 0xFFFF0000, message.get_attr("TCA_STATS2")
        if message["parent"] != ROOT and (message["index"], major) in roots and statistics is not None:
            basic = statistics.get_attr("TCA_STATS_BASIC") or {}
            found.setdefault(message["index"], {})[message["parent"] & 0xFFFF] = int(basic.get("packets", 0))
    return found


def interfaces(ip: IPRoute) -> dict[int, Interface]:
    """Interfaces but the loopback, by index."""
    return interfaces_of(ip.get_links())


def interfaces_of(messages: Iterable[Any]) -> dict[int, Interface]:
    """Pick the interfaces out of an RTM_GETLINK dump."""
    found = {}
    for message in messages:
        counters = message.get_attr("IFLA_STATS64")
        if message["ifi_type"] == _LOOPBACK or counters is None:
            continue
        found[message["index"]] = Interface(
            ifindex=message["index"], ifname=message.get_attr("IFLA_IFNAME"),
            tx_queues=int(message.get_attr("IFLA_NUM_TX_QUEUES") or 1),
            rx_queues=int(message.get_attr("IFLA_NUM_RX_QUEUES") or 1),
            counters={name: int(counters[name]) for name in _LINK},
        )  # fmt: skip
    return found


def neighbours(ip: IPRoute) -> tuple[int, int]:
    """How many neighbours the host knows, and how many of them it looks for in vain or still."""
    states = [message["state"] for message in ip.get_neighbours()]
    return len(states), sum(bool(state & _FAILED) for state in states)
