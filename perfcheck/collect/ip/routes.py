"""The IP layer by BPF (bpf/ip.bpf.c): how many routes the lab's hosts looked up."""

from __future__ import annotations

from perfcheck.collect import declared
from perfcheck.collect.base.collector import BpfCollector, Seen
from perfcheck.collect.base.look import Look, Maps
from perfcheck.model.observation import Scope


class IpCollector(BpfCollector):
    """Counts route look-ups that found a route, of the scope's namespaces."""

    declared = declared.ROUTES

    def forget(self, scope: Scope) -> None:
        """Begin at 0."""
        del scope
        self.programs.view("lookups")[:] = 0

    def counted(self) -> Maps:
        """Return the counts."""
        return {"lookups": self.programs.view("lookups")}

    def read(self, look: Look) -> Seen:
        """Return the count of all hosts together."""
        counted = look.maps["lookups"][0]
        return Seen(metrics={"ip.route_lookups": float(counted["ipv4"]) + float(counted["ipv6"])})
