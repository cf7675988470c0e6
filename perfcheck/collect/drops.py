"""Why packets of the lab's hosts were dropped, in whatever layer: bpf/drops.bpf.c and bpf/socket.bpf.c."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import numpy.typing as npt

from perfcheck.collect import declared
from perfcheck.collect.base.availability import NEWER, lacking
from perfcheck.collect.base.collector import BpfCollector, Seen
from perfcheck.collect.base.look import Look, Maps
from perfcheck.collect.drop_reasons import METRICS, OTHER, drop_reasons
from perfcheck.model.observation import Scope
from perfcheck.system.checks import Check

EVENTS: Final[Mapping[str, tuple[str, str]]] = {
    "sock_rcvqueue_full": ("socket.rcvqueue_full", "queue_full"),
    "udp_fail_queue_rcv_skb": ("udp.rcvqueue_full", "datagrams"),
    "sock_exceed_buf_limit": ("socket.memory_refused", "no_memory"),
}
"""Tracepoints that say themselves what happened: metric, and member of `pc_refusals`."""


class DropsCollector(BpfCollector):
    """Counts packets that the kernel freed undelivered, of the scope's namespaces."""

    declared = declared.DROPS

    def __init__(self) -> None:
        """Nothing is loaded before `open`."""
        super().__init__()
        self._reasons: Mapping[str, int] = {}

    def open(self) -> None:
        """Load and attach; Unavailable where the kernel gives no reasons (before 5.17)."""
        super().open()
        self._reasons = drop_reasons()

    def parts(self) -> tuple[Check, ...]:
        """Name the metrics that this kernel has no reason or tracepoint for; valid while open."""
        reasons = tuple(
            Check(name=metric, ok=False, why=f"this kernel has no drop reason {' or '.join(names)}", fix=NEWER)
            for metric, names in METRICS.items()
            if self._reasons.keys().isdisjoint(names)
        )
        return (*reasons, *lacking(self.name, self.programs.missing))

    def forget(self, scope: Scope) -> None:
        """Begin at 0."""
        del scope
        for name in ("drops", "refusals"):
            self.programs.view(name)[:] = 0

    def counted(self) -> Maps:
        """Return the counts by reason, and of refusals."""
        return {name: self.programs.view(name) for name in ("drops", "refusals")}

    def read(self, look: Look) -> Seen:
        """Return the counts of all hosts together."""
        counts = look.maps["drops"]["reasons"].sum(axis=0, dtype="u8")
        refused = look.maps["refusals"][0]
        events = {
            metric: float(refused[member])
            for target, (metric, member) in EVENTS.items()
            if target not in self.programs.missing
        }
        return Seen(metrics=by_metric(counts, self._reasons) | events)


def by_metric(counts: npt.NDArray[Any], reasons: Mapping[str, int]) -> dict[str, float]:
    """Sum counts (indexed by the reason's number) to metrics; one none of whose reasons the kernel knows is absent."""
    found, counted = {}, 0
    for metric, names in METRICS.items():
        known = [reasons[name] for name in names if name in reasons and reasons[name] < len(counts) - 1]
        if known:
            total = sum(int(counts[number]) for number in known)
            found[metric], counted = float(total), counted + total
    return found | {OTHER: float(int(counts.sum()) - counted)}
