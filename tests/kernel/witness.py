"""Independent tools asked right before and right after the collectors, at every moment at which these are read.

What a collector says of a moment lies between the two answers, however long the machine was busy with others.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import partial
from itertools import accumulate
from typing import Final

import collect_lab
from bracketing import Bracket

from perfcheck.collect.series.source import Moment
from perfcheck.collect.session import Core
from perfcheck.lab import Lab
from perfcheck.lab.links import emulators
from perfcheck.model.budget import Budget
from perfcheck.model.observation import Observation, Scope
from perfcheck.model.scenario import Scenario
from perfcheck.model.seams import Collector
from perfcheck.model.series import BufferLooks, Curve
from perfcheck.runner.trial import Trial, make_trial
from perfcheck.system import Journal, new_tag
from perfcheck.system.checks import require_privileges
from perfcheck.system.netns import NetnsThread

Answer = Mapping[str, float]
Ask = Callable[[NetnsThread, Mapping[str, str]], Answer]
"""Asks tools in the hosts, whose namespaces' paths are given by name."""
NO_LIMIT: Final = float("inf")
_PLENTY: Final = Budget(cpu_pct=400.0)
_NUMBER: Final = re.compile(r"\b([a-z_]+):([\d.]+)(?:/([\d.]+))?")


@dataclass(kw_only=True)
class Witness:
    """Asks at each begin, phase, end and tick; measures nothing."""

    name: str
    ask: Ask
    at_moments: list[Answer] = field(default_factory=list)
    """When the trial began, when each phase did, when the last one ended, and when the trial did."""
    at_ticks: list[Answer] = field(default_factory=list)
    _thread: NetnsThread | None = None
    _paths: Mapping[str, str] = field(default_factory=dict)

    def check(self) -> None:
        require_privileges()

    def open(self) -> None:
        self._thread = NetnsThread()

    def close(self) -> None:
        if self._thread is not None:
            self._thread.close()
            self._thread = None

    def begin(self, scope: Scope) -> None:
        self._paths = scope.netns_paths
        self.at_moments, self.at_ticks = [self._answer()], []

    def end(self) -> Observation:
        self.at_moments.append(self._answer())
        return Observation(collector=self.name)

    def _answer(self) -> Answer:
        assert self._thread is not None
        return self.ask(self._thread, self._paths)


@dataclass(kw_only=True)
class PhaseWitness(Witness):
    """Is asked when phases begin."""

    def snapshot(self) -> object:
        self.at_moments.append(self._answer())
        return None

    def between(self, first: object, second: object) -> Observation:
        del first, second
        return Observation(collector=self.name)


class Curveless:
    """The part of a source of series that has no curves: nothing to decode, to tell or to let go of."""

    def spool(self) -> None:
        """Nothing is left to decode."""

    def samples(self) -> tuple[BufferLooks, ...]:
        return ()

    def warnings(self) -> tuple[str, ...]:
        return ()

    def close(self) -> None:
        """Nothing is held."""


@dataclass(kw_only=True)
class TickWitness(Witness, Curveless):
    """Is asked at each interval of the series, in their thread."""

    def series(self) -> TickWitness:
        return self

    def sample(self, moment: Moment) -> None:
        assert moment.tick == len(self.at_ticks)
        self.at_ticks.append(self._answer())


@dataclass(frozen=True, kw_only=True)
class Told:
    """A trial, and its curves by subject and metric: values by ns since `zero_ns`.

    The series' first interval began at `began_ns`, and each ended at one of `ticks_ns`.
    """

    trial: Trial
    core: Core
    zero_ns: int
    began_ns: int
    ticks_ns: tuple[int, ...]
    curves: Mapping[tuple[str | None, str], Mapping[int, float]]

    def at_ticks(self, metric: str, subject: str) -> dict[int, float]:
        """Return the curve's values by the tick's number."""
        numbers = {moment_ns - self.zero_ns: number for number, moment_ns in enumerate(self.ticks_ns)}
        return {numbers[t_ns]: value for t_ns, value in self.curves[subject, metric].items()}

    def up_to_ticks(self, metric: str, subject: str, *, rate: bool = False) -> dict[int, float]:
        """Return the sum of a curve of counts up to each tick; with `rate` the bytes that its bit/s amount to."""
        values = self.at_ticks(metric, subject)
        edges_ns = (self.began_ns, *self.ticks_ns)
        parts = (
            value * (self.ticks_ns[tick] - edges_ns[tick]) / 8e9 if rate else value for tick, value in values.items()
        )
        return dict(zip(values, accumulate(parts), strict=True))


def told_of(scenario: Scenario, *collectors: Collector, series: bool) -> Told:
    """Make a trial of the scenario with these collectors, its links unproved; another where it does not count."""
    told = _told_of(scenario, *collectors, series=series)
    if not told.trial.record.valid:
        told = _told_of(scenario, *collectors, series=series)
    assert told.trial.record.valid, told.trial.record.invalid_reason
    return told


def _told_of(scenario: Scenario, *collectors: Collector, series: bool) -> Told:
    curves: dict[tuple[str | None, str], dict[int, float]] = {}
    edges_ns: list[int] = []
    with _core(*collectors) as core, _lab(scenario) as lab:

        def keep(parts: Iterable[Curve]) -> None:
            assert core.samples is not None
            edges_ns.extend((core.samples.began_ns, *core.samples.ticks_ns.tolist()))
            for part in parts:
                pairs = zip(part.t_ns.tolist(), part.values.tolist(), strict=True)
                curves.setdefault((part.subject, part.metric), {}).update(pairs)

        trial = make_trial(scenario, lab, core, 0, keep if series else None)
    zero_ns = min(report.start_ns for report in trial.reports)
    began_ns, *ticks_ns = edges_ns or [0]
    return Told(trial=trial, core=core, zero_ns=zero_ns, began_ns=began_ns, ticks_ns=tuple(ticks_ns), curves=curves)


@contextmanager
def _core(*collectors: Collector) -> Iterator[Core]:
    with ExitStack() as stack:
        for collector in collectors:
            stack.enter_context(collect_lab.opened(collector))
        yield Core(collectors, _PLENTY)


@contextmanager
def _lab(scenario: Scenario) -> Iterator[Lab]:
    with Journal.create(new_tag()) as journal, Lab(scenario, journal, emulators()) as lab:
        lab.apply_settings()
        yield lab


def bracket(before: Witness, after: Witness, first: int, last: int) -> Bracket:
    """Return what happened between two of the moments, at least and at most."""
    inner, outer = after.at_moments[first], before.at_moments[first]
    until, beyond = before.at_moments[last], after.at_moments[last]
    return Bracket(
        least={name: until[name] - inner[name] for name in until.keys() & inner.keys()},
        most={name: beyond[name] - outer[name] for name in beyond.keys() & outer.keys()},
    )


# ---- what is asked


def asked(thread: NetnsThread, path: str, *argv: str) -> str:
    """Run a tool in a network namespace."""
    return thread.inside(path, partial(collect_lab.run, *argv))


def sockets(thread: NetnsThread, path: str) -> Iterator[tuple[str, dict[str, float]]]:
    """Yield peer and figures of each established connection, by ss(8); times in us."""
    for line in asked(thread, path, "ss", "-tinHO", "state", "established").splitlines():
        unread, _, _, peer = line.split()[:4]
        found = {"unread": float(unread), "retrans": 0.0, "retrans_out": 0.0, "ssthresh": NO_LIMIT}
        for name, value, more in _NUMBER.findall(line.partition(peer)[2]):
            if name == "retrans":
                found |= {"retrans_out": float(value), "retrans": float(more)}
            elif name == "rtt":
                found["rtt_us"] = 1000 * float(value)
            else:
                found[name] = float(value)
        yield peer, found


def data_socket(thread: NetnsThread, path: str, counter: str) -> dict[str, float]:
    """Return the figures of the connection that has moved the most bytes; nothing before there is one."""
    known = [figures for _, figures in sockets(thread, path) if figures.get(counter, 0) > 0]
    return max(known, key=lambda figures: figures[counter], default={})


def nstat(thread: NetnsThread, path: str) -> dict[str, float]:
    """Return a host's counters by nstat(8)."""
    listing: dict[str, float] = json.loads(asked(thread, path, "nstat", "-asz", "-j"))["kernel"]
    return listing


def interface(thread: NetnsThread, path: str) -> dict[str, float]:
    """Return packets that the host's only interface has sent and received, by ip(8)."""
    for found in json.loads(asked(thread, path, "ip", "-s", "-j", "link")):
        if found["link_type"] != "loopback":
            counts = found["stats64"]
            return {"tx": counts["tx"]["packets"], "rx": counts["rx"]["packets"]}
    raise AssertionError("no interface")


def root_qdisc(thread: NetnsThread, path: str, ifname: str = "eth0") -> dict[str, float]:
    """Return what waits in an interface's root qdisc, and what it has dropped and sent, by tc(8)."""
    listing = json.loads(asked(thread, path, "tc", "-s", "-j", "qdisc", "show", "dev", ifname))
    (root,) = (one for one in listing if one.get("root"))
    return {name: root[name] for name in ("backlog", "qlen", "drops", "packets")}
