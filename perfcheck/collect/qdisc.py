"""The qdisc layer: depth of the lab's queues and the time that packets spend in them, by bpf/qdisc.bpf.c.

A packet that finds its queue empty may pass it without an event. Netlink has the number of all packets sent,
so the others count as packets that found a depth of 0 and did not wait.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any, Final

import numpy.typing as npt

from perfcheck.collect import declared
from perfcheck.collect.base import programs
from perfcheck.collect.base.collector import BpfCollector, Seen
from perfcheck.collect.base.look import Look, Maps
from perfcheck.collect.kernel import rtnetlink
from perfcheck.errors import CollectError
from perfcheck.model.flow import Histogram
from perfcheck.model.observation import Scope
from perfcheck.system.netns import NetnsThread

MAX_QUEUES: Final = 256

Device = tuple[int, int]
"""Inode number of the network namespace, and interface index."""


class QdiscCollector(BpfCollector):
    """Measures the queues of the scope's network devices."""

    declared = declared.QDISC
    states = frozenset({"device", "depth_packets", "depth_bytes"})

    def __init__(self) -> None:
        """Nothing is loaded before `open`."""
        super().__init__({"queues": MAX_QUEUES})
        self._namespaces: NetnsThread | None = None
        self._scope: Scope | None = None
        self._before: dict[Device, rtnetlink.Queue] = {}

    def forget(self, scope: Scope) -> None:
        """Forget all queues and what waits in them."""
        programs.forget(self.programs.view("queues"))
        for name in ("queue_of", "waiting"):
            self.programs.clear(name)
        self.let_go()
        self._namespaces, self._scope = NetnsThread(), scope

    def first_look(self) -> None:
        """Note how many packets had been sent when the window opened."""
        self._before = self._sent()
        super().first_look()

    def counted(self) -> Maps:
        """Return the queues' records."""
        return {"queues": self.programs.view("queues")[: self.programs.records]}

    def look_beside(self) -> dict[Device, rtnetlink.Queue]:
        """Return the queues as netlink counts what they sent."""
        return self._sent()

    def compare(self, before: Look | None, after: Look) -> Seen:
        """Return the distributions of the queue in which packets spent most time."""
        had = self._before if before is None else before.beside
        sent = {device: queue.since(had.get(device))["packets"] for device, queue in after.beside.items()}
        return self.read(replace(after.since(before), beside=sent))

    def read(self, look: Look) -> Seen:
        """Return the distributions; `beside` are packets sent, by device."""
        records = look.maps["queues"]
        return Seen(distributions=longest(records[records["device"] > 0], look.beside))

    def let_go(self) -> None:
        """Let go of the hosts: an open netlink socket would keep them alive."""
        if self._namespaces is not None:
            self._namespaces.close()
            self._namespaces = None

    def _sent(self) -> dict[Device, rtnetlink.Queue]:
        if self._namespaces is None or self._scope is None:
            raise CollectError("the qdisc collector was not begun")
        found: dict[Device, rtnetlink.Queue] = {}
        for host, path in self._scope.netns_paths.items():
            queues = self._namespaces.netlink(path, rtnetlink.queues, what=f"host {host}: reading its qdiscs")
            found |= {(self._scope.namespaces[host], ifindex): queue for ifindex, queue in queues.items()}
        return found


def device_of(record: Mapping[str, Any]) -> Device:
    """Return the two halves of `pc_queue.device`."""
    return int(record["device"]) >> 32, int(record["device"]) & 0xFFFFFFFF


def longest(records: npt.NDArray[Any], sent: Mapping[Device, int]) -> dict[str, Histogram]:
    """Return depth and sojourn time of the queue in which packets waited longest in all.

    `sent` are packets by device, as netlink counts them. Where no queue held a packet, all of them
    found the queue empty; where nothing was sent, there is nothing to tell.
    """
    known = {device_of(record): index for index, record in enumerate(records)}
    if not any(sent.values()):
        return {}
    busiest = max(sent, key=lambda device: sent[device])
    worst = max(known, key=lambda device: int(records[known[device]]["sojourn_us"]["spread"]["total"]), default=busiest)
    waited = [known[worst]] if worst in known else []
    rows = records[waited] if waited else records[:0]
    passed_by = max(sent.get(worst, 0) - int(rows["dequeued"].sum()), 0)
    return dict(_distributions(rows, passed_by))


def _distributions(rows: npt.NDArray[Any], passed_by: int) -> Iterable[tuple[str, Histogram]]:
    for name, column, unit in (
        ("qdisc.depth_packets", "packets", "count"),
        ("qdisc.depth_bytes", "bytes", "bytes"),
        ("qdisc.sojourn_us", "sojourn_us", "us"),
    ):
        histogram = programs.histogram_of(rows[column], unit, zeros=passed_by)
        if histogram is not None:
            yield name, histogram
