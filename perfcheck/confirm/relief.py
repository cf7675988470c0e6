"""A scenario with one limit relieved: pure, from the steps of an intervention."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Collection, Iterator
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
DATAGRAMS_BPS: Final = 1_000_000
"""What iperf3 sends over UDP where the file says nothing."""
MOST_OF_A_PATH: Final = 0.9
_IN_HOSTS: Final = ("rules", "qdisc", "routes", "priority", "look", "listeners")


class CannotRelieve(CouldNotMeasure):
    """The limit cannot be relieved in this scenario; the text says where and why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Relief:
    """A scenario in which one limit is relieved.

    `changes` is what was changed in it; `in_hosts` are the steps that act in its hosts once they are set up. A queue
    that they shorten shall hold no more than `most_queue_bytes`.
    """

    scenario: Scenario
    changes: tuple[ChangeRecord, ...]
    in_hosts: tuple[Step, ...]
    most_queue_bytes: int | None = None


@dataclass(slots=True)
class _Edit:
    """The scenario on its way through the steps."""

    scenario: Scenario
    entry: str | None
    line_of: LineOf
    downloads: frozenset[str] = frozenset()
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
    scenario: Scenario, intervention: Intervention, *, entry: str | None = None, line_of: LineOf = lambda _: 1,
    downloads: Collection[str] = (),
) -> Relief:  # fmt: skip
    """Return the scenario with the limit relieved for a traffic entry (None: for all that are measured).

    `downloads` names the entries with a program whose data comes from its server: no file says that. Raises
    CannotRelieve, with `FILE:LINE: KEY: why`, where the file leaves no way to.
    """
    if intervention.cannot is not None:
        raise CannotRelieve(intervention.cannot)
    edit = _Edit(scenario, entry, line_of, frozenset(downloads))
    if intervention.keep_buffers is not None:
        _free_buffers(edit, intervention.keep_buffers)
    in_hosts = []
    for step in intervention.steps:
        if any(getattr(step, kind) is not None for kind in _IN_HOSTS):
            in_hosts.append(step)
        else:
            _apply(edit, step)
    most = [found for step in in_hosts if (found := _most_bytes(edit, step)) is not None]
    return Relief(
        scenario=edit.scenario, changes=tuple(edit.changes), in_hosts=tuple(in_hosts),
        most_queue_bytes=max(most, default=None),
    )  # fmt: skip


def _apply(edit: _Edit, step: Step) -> None:
    if step.sysctl is not None:
        _set_sysctl(edit, step)
    elif step.link is not None:
        _change_links(edit, step)
    elif step.traffic is not None:
        _change_traffic(edit, step.traffic, None if step.to == "none" else step.to)
    elif step.program is not None:
        _replace_programs(edit)
    else:
        assert step.remove is not None  # noqa: S101 - the form saw to it
        _remove(edit, step.remove)


def _free_buffers(edit: _Edit, kept: str) -> None:
    """Leave out `window`, which fixes SO_SNDBUF and SO_RCVBUF alike, and keep the buffers of one side as they were.

    The kernel doubles what a program asks for (socket(7)); a sysctl holds the doubled value.
    """
    traffic = list(edit.scenario.traffic)
    for place, spec in edit.judged:
        if spec.iperf3 is None or spec.iperf3.window_bytes is None:
            continue
        ends = (spec.iperf3.from_host, spec.iperf3.to_host)
        sender, receiver = ends[::-1] if spec.iperf3.reverse else ends
        host, key = (sender, "net.ipv4.tcp_wmem") if kept == "senders" else (receiver, "net.ipv4.tcp_rmem")
        path = f"traffic[{place}].iperf3.window"
        if any(host in _ends_of(other) for index, other in enumerate(edit.scenario.traffic) if index != place):
            message = (
                f"fixes both SO_SNDBUF and SO_RCVBUF, and other traffic of {host} would get what is to keep one of "
                "them; test this entry alone"
            )
            raise edit.cannot(path, message)
        fixed = f"4096 {2 * spec.iperf3.window_bytes} {2 * spec.iperf3.window_bytes}"
        edit.note(path, f"{spec.iperf3.window_bytes:,} bytes", "none")
        traffic[place] = spec.model_copy(update={"iperf3": spec.iperf3.model_copy(update={"window_bytes": None})})
        _write_sysctl(edit, host, key, fixed)
    edit.scenario = edit.scenario.model_copy(update={"traffic": tuple(traffic)})


def _ends_of(spec: TrafficSpec) -> tuple[str, ...]:
    """Return the hosts on which an entry has a process, as far as the file tells."""
    if spec.command is not None:
        return (spec.command.host, *((spec.command.server.host,) if spec.command.server is not None else ()))
    asking = spec.iperf3 or spec.http or spec.sockperf or spec.connections or spec.load
    assert asking is not None  # noqa: S101 - the model holds exactly one generator
    return asking.from_host, asking.to_host


def _set_sysctl(edit: _Edit, step: Step) -> None:
    assert step.sysctl is not None  # noqa: S101 - the caller saw to it
    assert step.value is not None  # noqa: S101 - the form saw to it
    value = step.value.format(buffer=_buffer_bytes(edit))
    for name in _hosts_of(edit, step.on):
        _write_sysctl(edit, name, step.sysctl, value)


def _write_sysctl(edit: _Edit, name: str, key: str, value: str) -> None:
    spec = edit.scenario.hosts[name]
    before = str(spec.sysctl.get(key, "not set"))
    # A host's own commands run after its sysctls: they may have set the same one.
    again = (f"sysctl -q -w {shlex.quote(f'{key}={value}')}",) if spec.setup else ()
    changed = spec.model_copy(
        update={"sysctl": {**spec.sysctl, key: value}, "setup": (*spec.setup, *again)}
    )  # fmt: skip
    edit.scenario = edit.scenario.model_copy(update={"hosts": {**edit.scenario.hosts, name: changed}})
    if before != value:
        edit.note(f"hosts.{name}.sysctl.{key}", before, value)


def _bdps(edit: _Edit) -> list[float]:
    """Return what each of the paths holds, in bytes; nothing of paths without a rate."""
    found = []
    for path in edit.paths:
        slowest = bottleneck(edit.scenario, path)
        if slowest is not None:
            found.append(slowest.rate_bps * base_rtt_ns(edit.scenario, path) / 8e9)
    return found


def _most_bytes(edit: _Edit, step: Step) -> int | None:
    """Return how much a shortened queue may hold by the paths that use it; None: as much as it likes."""
    bdps = _bdps(edit)
    return round(step.most_bdp * max(bdps)) if step.most_bdp is not None and bdps else None


def _buffer_bytes(edit: _Edit) -> int:
    """Return a buffer that limits none of the paths."""
    wanted = round(BUFFER_BDPS * max(_bdps(edit), default=0.0))
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
    asking = spec.http or spec.sockperf or spec.connections or spec.load
    if spec.load is not None and not spec.load.answered:
        yield spec.load.from_host, spec.load.to_host
        return
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
        found = changed_link(links[index], step.link, step.times, _most_bytes(edit, step))
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
            _double_datagrams(edit, place, spec, traffic)
            continue
        name = next((name for name in attribute if hasattr(inner, name)), None)
        if name is None or getattr(inner, name) == value:
            continue
        before = getattr(inner, name)
        traffic[place] = spec.model_copy(update={spec.generator: inner.model_copy(update={name: value})})
        shown = ["none" if each is None else f"{each:,}" for each in (before, value)]
        edit.note(f"traffic[{place}].{spec.generator}.{key}", *shown)
    edit.scenario = edit.scenario.model_copy(update={"traffic": tuple(traffic)})


def _double_datagrams(edit: _Edit, place: int, spec: TrafficSpec, traffic: list[TrafficSpec]) -> None:
    """Have datagrams come twice as fast where the path carries that: without a rate they would flood it."""
    if spec.iperf3 is None:
        return
    rates = [one.rate_bps for path in paths_of(edit.scenario, spec) if (one := bottleneck(edit.scenario, path))]
    before = spec.iperf3.rate_bps or DATAGRAMS_BPS
    if any(2 * before * spec.iperf3.streams > MOST_OF_A_PATH * rate for rate in rates):
        return
    traffic[place] = spec.model_copy(update={"iperf3": spec.iperf3.model_copy(update={"rate_bps": 2 * before})})
    edit.note(f"traffic[{place}].iperf3.rate", f"{before:,}", f"{2 * before:,}")


def _replace_programs(edit: _Edit) -> None:
    """Put a transfer in the place of the judged programs: it sends and reads at once, and fixes no buffer.

    It goes the way that most of the program's data went.
    """
    traffic = list(edit.scenario.traffic)
    for place, spec in edit.judged:
        server = spec.command.server if spec.command is not None else None
        if spec.command is None or server is None or server.protocol != "tcp" or server.host == spec.command.host:
            continue
        name = entry_names(edit.scenario.traffic)[place]
        down = name in edit.downloads
        ends = {"from": spec.command.host, "to": server.host, "family": spec.command.family, "reverse": down}
        traffic[place] = spec.model_copy(update={"command": None, "iperf3": Iperf3Spec.model_validate(ends)})
        edit.note(f"traffic[{place}].command", "a program", "iperf3, from its server" if down else "iperf3")
    edit.scenario = edit.scenario.model_copy(update={"traffic": tuple(traffic)})


def _remove(edit: _Edit, which: str) -> None:
    """Leave out the background's traffic, its programs that talk to nobody, or those of them on hosts that forward.

    Where the cause of one entry is tested, the other measured entries are traffic that competes, too.
    """
    kinds: dict[str, Callable[[TrafficSpec], bool]] = {
        "traffic": _competes if edit.entry is None else lambda spec: not _idle(spec),
        "programs": _idle,
        "forwarding": lambda spec: _forwards(edit.scenario, spec),
    }  # fmt: skip
    wanted = kinds[which]
    names = entry_names(edit.scenario.traffic)
    kept = []
    for name, spec in zip(names, edit.scenario.traffic, strict=True):
        if name != edit.entry and wanted(spec):
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
