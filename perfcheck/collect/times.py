"""How long functions of the IP layer take (bpf/times.bpf.c): an optional tier, where the kernel traces functions.

The times are from the function's begin to its end and have in them what the hooks themselves take there.
"""

from __future__ import annotations

from perfcheck.collect import functions, layers, sources
from perfcheck.collect.layer import BpfCollector, Seen
from perfcheck.model.observation import Scope


class FunctionTimesCollector(BpfCollector):
    """Measures one function's calls, of the scope's namespaces; others that do the same may count as well."""

    def __init__(self, name: str, quantity: str, function: str, *also: str) -> None:
        """Take the metric's name without the stat; `also` are functions without which it goes as well."""
        self._function, self._quantity = function, quantity
        optional = [f"{kind}/{one}" for one in also for kind in ("fentry", "fexit")]
        self.targets = (f"fentry/{function}", f"fexit/{function}", *optional)
        super().__init__(name, sources.TIMES, self.targets, optional=optional)

    def check(self) -> None:
        """Raise Unavailable where BPF cannot be used, or the function not be traced: tried by attaching to it."""
        super().check()
        functions.require_traceable(self._function)

    def forget(self, scope: Scope) -> None:
        """Begin at 0."""
        del scope
        layers.forget_distributions(self.programs.view("durations"))

    def read(self, length_ns: int) -> Seen:
        """Give the distribution; nothing where the function was not called."""
        del length_ns
        found = layers.histogram_of(self.programs.view("durations"), "us", divisor=1000.0)
        return Seen(distributions={} if found is None else {self._quantity: found})


class RouteTimesCollector(FunctionTimesCollector):
    """Look-ups that found a route, of IPv4 and IPv6."""

    def __init__(self) -> None:
        """Nothing is loaded before `open`."""
        super().__init__("route times", "ip.route_lookup_us", "fib_table_lookup", "fib6_table_lookup")


class ConntrackTimesCollector(FunctionTimesCollector):
    """Packets whose connection is tracked."""

    def __init__(self) -> None:
        """Nothing is loaded before `open`."""
        super().__init__("conntrack times", "ip.conntrack_us", "nf_conntrack_in")
