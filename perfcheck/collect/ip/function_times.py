"""How long functions of the IP layer take (bpf/times.bpf.c): an optional tier, where the kernel traces functions.

The times are from the function's begin to its end and have in them what the hooks themselves take there. By kprobe
and kretprobe that is more than by fentry and fexit: compare figures of one kind of attachment only.
"""

from __future__ import annotations

from dataclasses import replace
from typing import ClassVar

from perfcheck.collect import declared
from perfcheck.collect.base.collector import BpfCollector, Seen
from perfcheck.collect.base.declaration import Declaration
from perfcheck.collect.base.look import Look, Maps
from perfcheck.collect.base.programs import LayerPrograms, cpu_count, forget_distributions, histogram_of
from perfcheck.ebpf import functions
from perfcheck.ebpf.functions import Attachment
from perfcheck.errors import Unavailable
from perfcheck.model.observation import Observation, Overhead, Scope
from perfcheck.system.checks import Check


class FunctionTimesCollector(BpfCollector):
    """Measures one function's calls, of the scope's namespaces; others that do the same may count as well."""

    quantity: ClassVar[str]
    """The metric's name without the stat."""

    def __init__(self, attachment: Attachment | None = None) -> None:
        """Nothing is loaded before `open`.

        `attachment` demands one of the ways to trace a function; without it the best that the kernel allows is taken.
        """
        (self._function,), self._also = self.declared.hooks, self.declared.optional
        self._wanted = attachment
        self._attachment = attachment or Attachment.FENTRY
        super().__init__()

    @property
    def programs_wanted(self) -> Declaration:
        """What is declared, with the programs at functions' begins and returns as its hooks."""
        return replace(self.declared, hooks=self._at(self.declared.hooks), optional=self._at(self._also))

    def _at(self, functions: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(f"{kind}/{one}" for one in functions for kind in self._attachment.kinds)

    def belongs_here(self) -> bool:
        """Whether the kernel traces the function: no other hook shows these times, so a run lacks nothing."""
        try:
            self.check()
        except Unavailable:
            return False
        return True

    def check(self) -> None:
        """Raise Unavailable where BPF cannot be used, or the function not be traced: tried by attaching to it."""
        super().check()
        functions.attachment_to(self._function, self._wanted)

    def open(self) -> None:
        """Load and attach, as this kernel allows."""
        self._attachment = functions.attachment_to(self._function, self._wanted)
        self.programs = LayerPrograms(self.programs_wanted, {})
        self.timed_by(self._clock)
        super().open()

    def parts(self) -> tuple[Check, ...]:
        """Say by which hooks the metric is measured here; valid while open."""
        begin, end = self._attachment.kinds
        loaded = [one for one in (self._function, *self._also) if f"{begin}/{one}" not in self.programs.missing]
        return (Check(name=self.quantity, ok=True, hook=f"{begin} and {end} of {' and '.join(loaded)}"),)

    def forget(self, scope: Scope) -> None:
        """Begin at 0."""
        del scope
        forget_distributions(self.programs.view("durations"))

    def counted(self) -> Maps:
        """Return the distribution by CPU."""
        return {"durations": self.programs.view("durations")}

    def read(self, look: Look) -> Seen:
        """Return the distribution; nothing where the function was not called."""
        found = histogram_of(look.maps["durations"], "us", divisor=1000.0)
        return Seen(distributions={} if found is None else {self.quantity: found})

    def end(self) -> Observation:
        """Stop counting and give what was counted; calls whose return the kernel missed are lost, and told."""
        seen = super().end()
        missed = sum(missed_returns(seen.overhead, self._attachment, one) for one in (self._function, *self._also))
        begun = max((cost.calls for cost in seen.overhead.programs), default=0)
        # Some may be under way at either end of the trial, one a CPU; where many run, calls are estimated (RunClock).
        if missed <= max(cpu_count(), begun // 1000):
            return seen
        told = f"{missed} calls of {self._function} returned without an event ({self._attachment.kinds[1]})"
        return replace(seen, lost_events=max(seen.lost_events, missed), warnings=(*seen.warnings, told))


def missed_returns(overhead: Overhead, attachment: Attachment, function: str) -> int:
    """Return how many more calls of a function began than ended, by the runs of the programs at either end."""
    calls = {cost.program.partition("/")[2]: cost.calls for cost in overhead.programs}
    begin, end = attachment.kinds
    return max(0, calls.get(f"{begin}/{function}", 0) - calls.get(f"{end}/{function}", 0))


class RouteTimesCollector(FunctionTimesCollector):
    """Look-ups that found a route, of IPv4 and IPv6."""

    declared = declared.ROUTE_TIMES
    quantity = "ip.route_lookup_us"


class ConntrackTimesCollector(FunctionTimesCollector):
    """Packets whose connection is tracked."""

    declared = declared.CONNTRACK_TIMES
    quantity = "ip.conntrack_us"
