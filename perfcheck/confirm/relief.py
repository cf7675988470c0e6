"""A scenario with one limit relieved: pure, from the steps of an intervention."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Final

from perfcheck.confirm.intervention import Intervention, Step
from perfcheck.confirm.links import changed_link
from perfcheck.errors import CouldNotMeasure, Problem
from perfcheck.model.confirmation import ChangeRecord
from perfcheck.model.scenario import Scenario
from perfcheck.model.topology import TrafficPath, base_rtt_ns, bottleneck, paths_of
from perfcheck.model.traffic import Iperf3Spec, TrafficSpec, entry_names

LineOf = Callable[[str], int]
"""Gives the line of a key of the scenario's file."""

LEAST_BUFFER_BYTES: Final = 8 << 20
MOST_BUFFER_BYTES: Final = 256 << 20
BUFFER_BDPS: Final = 4
_IN_HOSTS: Final = ("rules", "qdisc", "routes", "priority", "look")


class CannotRelieve(CouldNotMeasure):
    """The limit cannot be relieved in this scenario; the text says where and why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Relief:
    """A scenario in which one limit is relieved.

    `changes` is what was changed in it; `in_hosts` are the steps that act in its hosts once they are set up.
    """

    scenario: Scenario
    changes: tuple[ChangeRecord, ...]
    in_hosts: tuple[Step, ...]


@dataclass(slots=True)
class _Edit:
    """The scenario on its way through the steps."""

    scenario: Scenario
    entry: str | None
    line_of: LineOf
    changes: list[ChangeRecord] = field(default_factory=list)

    def note(self, where: str, before: str, after: str) -> None:
        self.changes.append(ChangeRecord(where=where, before=before, after=after))

    def cannot(self, path: str, message: str) -> CannotRelieve:
        problem = Problem(file=self.scenario.file, line=self.line_of(path), column=1, path=path, message=message)
        return CannotRelieve(str(problem))

    @property
    def judged(self) -> tuple[tuple[int, TrafficSpec], ...]:
        """The entries whose cause is tested, with their positions: one, or all that are measured."""
        named = zip(entry_names(self.scenario.traffic), self.scenario.traffic, strict=True)
        return tuple(
            (place, spec) for place, (name, spec) in enumerate(named)
            if (name == self.entry if self.entry is not None else not spec.background)
        )  # fmt: skip

    @property
    def paths(self) -> tuple[TrafficPath, ...]:
        return tuple(path for _, spec in self.judged for path in paths_of(self.scenario, spec))


def relieved(
    scenario: Scenario, intervention: Intervention, *, entry: str | None = None, line_of: LineOf = lambda _: 1
) -> Relief:  # fmt: skip
    """Return the scenario with the limit relieved for a traffic entry (None: for all that are measured).

    Raises CannotRelieve, with `FILE:LINE: KEY: why`, where the file leaves no way to.
    """
    if intervention.cannot is not None:
        raise CannotRelieve(intervention.cannot)
    edit = _Edit(scenario, entry, line_of)
    if intervention.fixed_buffers:
        _refuse_fixed_buffers(edit)
    in_hosts = []
    for step in intervention.steps:
        if any(getattr(step, kind) is not None for kind in _IN_HOSTS):
            in_hosts.append(step)
        else:
            _apply(edit, step)
    return Relief(scenario=edit.scenario, changes=tuple(edit.changes), in_hosts=tuple(in_hosts))


def _apply(edit: _Edit, step: Step) -> None:
    if step.sysctl is not None:
        _set_sysctl(edit, step)
    elif step.link is not None:
        if not (step.alone and any(map(_competes, edit.scenario.traffic))):
            _change_links(edit, step)
    elif step.traffic is not None:
        _change_traffic(edit, step.traffic, None if step.to == "none" else step.to)
    elif step.program is not None:
        _replace_programs(edit)
    else:
        assert step.remove is not None  # noqa: S101 - the form saw to it
        _remove(edit, step.remove)


def _refuse_fixed_buffers(edit: _Edit) -> None:
    """A program that fixes its own buffers does not see the sysctls."""
    for place, spec in edit.judged:
        if spec.iperf3 is not None and spec.iperf3.window_bytes is not None:
            path = f"traffic[{place}].iperf3.window"
            message = (
                "fixes both SO_SNDBUF and SO_RCVBUF, so that neither can be relieved alone; remove it to test this"
            )
            raise edit.cannot(path, message)


def _set_sysctl(edit: _Edit, step: Step) -> None:
    assert step.sysctl is not None  # noqa: S101 - the caller saw to it
    assert step.value is not None  # noqa: S101 - the form saw to it
    key, value = step.sysctl, step.value.format(buffer=_buffer_bytes(edit))
    hosts = dict(edit.scenario.hosts)
    for name in _hosts_of(edit, step.on):
        spec = hosts[name]
        before = str(spec.sysctl.get(key, "not set"))
        # A host's own commands run after its sysctls: they may have set the same one.
        again = (f"sysctl -q -w {shlex.quote(f'{key}={value}')}",) if spec.setup else ()
        hosts[name] = spec.model_copy(
            update={"sysctl": {**spec.sysctl, key: value}, "setup": (*spec.setup, *again)}
        )  # fmt: skip
        if before != value:
            edit.note(f"hosts.{name}.sysctl.{key}", before, value)
    edit.scenario = edit.scenario.model_copy(update={"hosts": hosts})


def _buffer_bytes(edit: _Edit) -> int:
    """Return a buffer that limits none of the paths."""
    bdps = []
    for path in edit.paths:
        slowest = bottleneck(edit.scenario, path)
        if slowest is not None:
            bdps.append(slowest.rate_bps * base_rtt_ns(edit.scenario, path) / 8e9)
    wanted = round(BUFFER_BDPS * max(bdps, default=0.0))
    return min(max(wanted, LEAST_BUFFER_BYTES), MOST_BUFFER_BYTES)


def _hosts_of(edit: _Edit, which: str) -> tuple[str, ...]:
    """Return the hosts that send the data of the judged entries, that receive it, or both; routers are neither."""
    senders: dict[str, None] = {}
    receivers: dict[str, None] = {}
    for _, spec in edit.judged:
        for source, target in _flows(edit.scenario, spec):
            senders[source] = None
            receivers[target] = None
    if which == "senders":
        return tuple(senders)
    return tuple(receivers if which == "receivers" else senders | receivers)


def _flows(scenario: Scenario, spec: TrafficSpec) -> Iterator[tuple[str, str]]:
    """Yield who sends data to whom; where an entry does not say it, everybody does to everybody."""
    if spec.iperf3 is not None:
        ends = (spec.iperf3.from_host, spec.iperf3.to_host)
        yield ends[::-1] if spec.iperf3.reverse else ends
        return
    asking = spec.http or spec.sockperf or spec.connections
    if asking is not None:
        yield from ((asking.from_host, asking.to_host), (asking.to_host, asking.from_host))
        return
    assert spec.command is not None  # noqa: S101 - the model holds exactly one generator
    server = spec.command.server
    others = [server.host] if server is not None else [name for name in scenario.hosts if name != spec.command.host]
    for other in others:
        yield from ((spec.command.host, other), (other, spec.command.host))


def _change_links(edit: _Edit, step: Step) -> None:
    assert step.link is not None  # noqa: S101 - the caller saw to it
    wanted = _links_of(edit, step.at)
    links = list(edit.scenario.links)
    for index in sorted(wanted):
        found = changed_link(links[index], step.link, None if step.times is None else step.times)
        for key, before, after in found.changes:
            edit.note(f"links[{index}].{key}", before, after)
        if found.problem is not None:
            raise edit.cannot(f"links[{index}].{step.link}", found.problem)
        links[index] = found.link
    edit.scenario = edit.scenario.model_copy(update={"links": tuple(links)})


def _links_of(edit: _Edit, at: str) -> set[int]:
    if at == "path":
        return {hop.link for path in edit.paths for hop in (*path.hops, *path.back)}
    rates: dict[int, int] = {}
    for path in edit.paths:
        rated: dict[int, int] = {}
        for hop in path.hops:
            link = edit.scenario.links[hop.link]
            known = [rate for name in hop.directions if (rate := link.direction(name).at_start().rate_bps) is not None]
            rated |= {hop.link: min(known)} if known else {}
        if rated:
            slowest = min(rated, key=lambda index: rated[index])
            rates[slowest] = rated[slowest]
    return set(rates)


def _change_traffic(edit: _Edit, key: str, value: int | None) -> None:
    """Set what the generators of the judged entries are asked for; of a key that one does not have nothing changes."""
    attribute = {"rate": ("rate_bps", "rate_per_s"), "backlog": ("backlog",), "accept": ("accept_per_s",)}[key]
    traffic = list(edit.scenario.traffic)
    for place, spec in edit.judged:
        inner = spec.spec
        if key == "rate" and spec.protocol == "udp":
            continue  # datagrams without a rate do not tell what an application wants, they flood
        name = next((name for name in attribute if hasattr(inner, name)), None)
        if name is None or getattr(inner, name) == value:
            continue
        before = getattr(inner, name)
        traffic[place] = spec.model_copy(update={spec.generator: inner.model_copy(update={name: value})})
        shown = ["none" if each is None else f"{each:,}" for each in (before, value)]
        edit.note(f"traffic[{place}].{spec.generator}.{key}", *shown)
    edit.scenario = edit.scenario.model_copy(update={"traffic": tuple(traffic)})


def _replace_programs(edit: _Edit) -> None:
    """Put a transfer in the place of the judged programs: it sends and reads at once, and fixes no buffer."""
    traffic = list(edit.scenario.traffic)
    for place, spec in edit.judged:
        server = spec.command.server if spec.command is not None else None
        if spec.command is None or server is None or server.protocol != "tcp" or server.host == spec.command.host:
            continue
        ends = {"from": spec.command.host, "to": server.host, "family": spec.command.family}
        traffic[place] = spec.model_copy(update={"command": None, "iperf3": Iperf3Spec.model_validate(ends)})
        edit.note(f"traffic[{place}].command", "a program", "iperf3")
    edit.scenario = edit.scenario.model_copy(update={"traffic": tuple(traffic)})


def _remove(edit: _Edit, which: str) -> None:
    """Leave out the background's traffic, its programs that talk to nobody, or those of them on hosts that forward."""
    kinds: dict[str, Callable[[TrafficSpec], bool]] = {
        "traffic": _competes, "programs": _idle, "forwarding": lambda spec: _forwards(edit.scenario, spec),
    }  # fmt: skip
    wanted = kinds[which]
    names = entry_names(edit.scenario.traffic)
    kept = []
    for name, spec in zip(names, edit.scenario.traffic, strict=True):
        if spec.background and name != edit.entry and wanted(spec):
            edit.note(f"traffic.{name}", spec.generator, "left out")
        else:
            # Its position was its name; it keeps it.
            kept.append(spec.model_copy(update={"name": name}))
    if len(kept) < len(names):
        edit.scenario = edit.scenario.model_copy(update={"traffic": tuple(kept)})


def _idle(spec: TrafficSpec) -> bool:
    """Whether it is a program in the background that talks to nobody, as far as the file tells."""
    return spec.background and spec.command is not None and spec.command.server is None


def _competes(spec: TrafficSpec) -> bool:
    """Whether it is traffic of the background."""
    return spec.background and not _idle(spec)


def _forwards(scenario: Scenario, spec: TrafficSpec) -> bool:
    """Whether it is a program on a host that forwards: what it does there, it may do to packets."""
    return _idle(spec) and spec.command is not None and scenario.hosts[spec.command.host].router
