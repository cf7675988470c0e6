"""The collectors of all machines as one core; implements model.seams.MeasuringCore."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

from perfcheck.agent import requests as ask
from perfcheck.errors import LabError, UsageError
from perfcheck.model.budget import Budget, Spending
from perfcheck.model.observation import Observation, QueueLook, Scope
from perfcheck.model.scenario import Scenario
from perfcheck.model.seams import Collector
from perfcheck.model.series import Samples
from perfcheck.remote.clock import Offset
from perfcheck.remote.hosts import RealHost
from perfcheck.remote.images import send_images
from perfcheck.remote.observations import by_our_clock, joined, joined_spending
from perfcheck.remote.together import together

_BPF_COLLECTOR = "tcp"
Queues = tuple[QueueLook, ...]


class RemoteCore:
    """Attached once to all hosts of a scenario; what one host cannot measure is measured on none."""

    def __init__(
        self, hosts: Mapping[str, RealHost], scenario: Scenario, budget: Budget, *, events: bool = False
    ) -> None:  # fmt: skip
        """Send the programs and attach the collectors, on all machines at the same time; `events` are told if asked."""
        self._hosts = hosts
        self._scenario = scenario
        self.unavailable: dict[str, str] = {}
        """Why collectors do not measure, by their names."""
        self._attach(budget, events=events)
        self._spending = Spending()
        self._by_phase: Mapping[str, tuple[Observation, ...]] = {}
        self._clocks: Mapping[str, Offset] = {}

    @property
    def spending(self) -> Spending:
        """What was spent and shed in the last trial that ended, on all machines."""
        return self._spending

    @property
    def by_phase(self) -> Mapping[str, tuple[Observation, ...]]:
        """What was seen in each phase of the last trial that ended."""
        return self._by_phase

    @property
    def queues_by_phase(self) -> Mapping[str, tuple[Queues, Queues]]:
        """Return nothing: nobody sees the queues of a real link."""
        return {}

    @property
    def shed_collectors(self) -> frozenset[str]:
        """Names of the collectors that do less than they could."""
        return frozenset(one.collector for one in (*self._spending.shed, *self._spending.earlier))

    @property
    def samples(self) -> Samples | None:
        """Return None: time series are of this machine's hosts."""
        return None

    def join(self, collectors: Iterable[Collector]) -> None:
        """Take none: the collectors of this machine see nothing of the others."""
        del collectors

    def begin(
        self, scope: Scope, sampling: Any = None, queues: Callable[[], Queues] | None = None
    ) -> None:  # fmt: skip
        """Begin a trial on all machines, each by its own clock."""
        del sampling, queues
        self._spending, self._by_phase = Spending(), {}
        self._clocks = together(self._hosts, lambda host: host.channel.compare_clocks())

        def begin(host: RealHost) -> None:
            clock = self._clocks[host.name]
            own = replace(
                scope,
                namespaces={},
                netns_paths={},
                emulator_pids=(),
                phases_ns={name: clock.there_ns(at_ns) for name, at_ns in scope.phases_ns.items()},
            )
            host.channel.ask(ask.Begin(host=host.name, scope=own))

        together(self._hosts, begin)

    def end(self) -> tuple[Observation, ...]:
        """End the trial on all machines, and return what was seen, by this machine's clock."""
        ended: Mapping[str, ask.Ended] = together(self._hosts, lambda host: host.channel.ask(ask.End()))
        self._spending = joined_spending(each.spending for each in ended.values())
        phases = dict.fromkeys(name for each in ended.values() for name in each.by_phase)
        self._by_phase = {
            phase: self._joined({name: each.by_phase.get(phase, ()) for name, each in ended.items()})
            for phase in phases
        }  # fmt: skip
        return self._joined({name: each.observations for name, each in ended.items()})

    def drop_samples(self) -> None:
        """Do nothing: nothing is sampled."""

    def abandon(self) -> None:
        """End a trial that failed."""
        for host in self._hosts.values():
            with contextlib.suppress(LabError):
                host.channel.ask(ask.Abandon())

    def close(self) -> None:
        """Detach everywhere; safe to call twice, and when connections are lost."""
        for host in self._hosts.values():
            with contextlib.suppress(LabError):
                host.channel.ask(ask.Detach())

    def _joined(self, seen: Mapping[str, Sequence[Observation]]) -> tuple[Observation, ...]:
        by_machine = [
            [by_our_clock(one, self._clocks[name]) for one in each if one.collector not in self.unavailable]
            for name, each in seen.items()
        ]
        return joined(by_machine)

    def _attach(self, budget: Budget, *, events: bool) -> None:
        measure = self._scenario.measure
        layers = None if measure.layers == "all" else tuple(measure.layers)
        images = ask.WantedImages(layers=layers, mode=measure.mode, events=events)
        together(self._hosts, lambda host: send_images(host.channel, images))
        request = ask.Attach(layers=layers, mode=measure.mode, events=events, budget=budget)
        attached = together(self._hosts, partial(_attached, request=request))
        lacking = _lacking(self._hosts, attached)
        if _BPF_COLLECTOR in lacking and any(_BPF_COLLECTOR in each.names for each in attached.values()):
            # Sockets are then looked at by other means, and on all machines alike.
            attached = together(self._hosts, partial(_attached, request=replace(request, bpf=False)))
        self.unavailable = lacking | _lacking(self._hosts, attached)


def _attached(host: RealHost, request: ask.Attach) -> ask.Attached:
    found: ask.Attached = host.channel.ask(request)
    return found


def _lacking(hosts: Mapping[str, RealHost], attached: Mapping[str, ask.Attached]) -> dict[str, str]:
    """Return why a collector is not on all machines, by its name."""
    found: dict[str, str] = {}
    for name, each in attached.items():
        for collector, why in each.unavailable.items():
            found.setdefault(collector, f"{hosts[name].where}: {why}")
    return found


def refuse_what_only_a_lab_has(scenario: Scenario, *, series: bool) -> None:
    """Raise UsageError for what needs all hosts on one clock: packets followed across them, and time series of them."""
    if scenario.measure.mode != "summary":
        raise UsageError(
            f"{scenario.label}: mode {scenario.measure.mode} follows packets from host to host by one clock, which "
            "real machines do not have: use mode summary"
        )
    if series:
        raise UsageError(
            f"{scenario.label}: --series samples all hosts at the same moments, which real machines cannot: each "
            "samples by its own clock"
        )
