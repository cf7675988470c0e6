"""The IP layer by BPF (bpf/ip.bpf.c): how many routes the lab's hosts looked up."""

from __future__ import annotations

from perfcheck.collect import declared
from perfcheck.collect.base.collector import BpfCollector, Seen
from perfcheck.model.observation import Scope


class IpCollector(BpfCollector):
    """Counts route look-ups that found a route, of the scope's namespaces."""

    declared = declared.ROUTES

    def forget(self, scope: Scope) -> None:
        """Begin at 0."""
        del scope
        self.programs.view("lookups")[:] = 0

    def read(self, length_ns: int) -> Seen:
        """Return the count of all hosts together."""
        del length_ns
        counted = self.programs.view("lookups")[0]
        return Seen(metrics={"ip.route_lookups": float(counted["ipv4"]) + float(counted["ipv6"])})
