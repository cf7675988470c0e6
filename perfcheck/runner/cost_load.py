"""The loads of a scenario as steps of a guest's job, and what they cost; pure functions.

Each load runs three times: a first time to warm up, then a short and a long one. What a program does at its start and
end is in both, so the difference is the cost of the load alone.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from perfcheck.errors import LabError, TrafficError
from perfcheck.kernels.guest import NS_PER_INSTRUCTION
from perfcheck.kernels.job import Step, StepReport
from perfcheck.lab.topology import Topology
from perfcheck.model.scenario import Scenario
from perfcheck.model.traffic import LoadSpec, entry_names

FIRST_PORT: Final = 9000
SCHEDSTAT: Final = "/proc/schedstat"
SNMP: Final = "/proc/net/snmp"
LOAD_S: Final = 300.0
"""Of the guest's time; a load that stands still is ended by its own limits on each wait."""
BURST: Final = 32
"""Datagrams that are sent before an answer is waited for (programs/load.c)."""
_PARTS: Final = (0.25, 0.5, 1.5)
_RUN_NS: Final = re.compile(r"^cpu0(?: \d+){6} (\d+)", re.MULTILINE)
_UNIT: Final[Mapping[str, str]] = {
    "stream": "byte", "requests": "request", "connections": "connection", "datagrams": "segment"
}  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadRun:
    """One run of a load between two looks at the guest's counters."""

    run_ns: int
    segments: int
    units: int
    bytes_sent: int


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadCost:
    """What a load cost: instructions of so many bytes, segments and units, from its long run less its short one."""

    kind: str
    instructions: float
    units: int
    bytes_sent: int
    segments: int

    @property
    def amounts(self) -> Mapping[str, int]:
        """What the instructions are divided by, by the end of the metric's name."""
        own = self.bytes_sent if self.kind == "stream" else self.units
        amounts = {_UNIT[self.kind]: own}
        return amounts | {"segment": self.segments} if self.kind == "stream" else amounts


def load_steps(scenario: Scenario, topology: Topology) -> tuple[Step, ...]:
    """Return the steps that start the servers and run each load three times."""
    entries = list(enumerate(loads_of(scenario)))
    return (
        *(step for index, load in entries for step in _server(index, load)),
        *(
            step
            for index, load in entries
            for part in counts_of(load)
            for step in _measured(index, load, part, topology)
        ),
    )


def loads_of(scenario: Scenario) -> tuple[LoadSpec, ...]:
    """Return the scenario's loads; LabError where other traffic is among them."""
    loads = []
    for entry in scenario.traffic:
        if entry.load is None:
            raise LabError(f"{scenario.label}: mode cost measures traffic by load, and this is {entry.generator}")
        loads.append(entry.load)
    return tuple(loads)


def counts_of(load: LoadSpec) -> tuple[int, ...]:
    """Return how much each of the three runs sends: the long one is the short one and the file's count more."""
    whole = BURST if load.kind == "datagrams" else 1
    count = max(1, load.count // whole)
    first, short, _ = (max(1, round(count * part)) for part in _PARTS)
    return tuple(whole * each for each in (first, short, short + count))


def costs_of(scenario: Scenario, reports: Sequence[StepReport]) -> Mapping[str, LoadCost]:
    """Return each load's cost by its entry's name, from the reports of `load_steps`."""
    loads = loads_of(scenario)
    left = iter(reports[2 * len(loads) :])
    return {
        name: _cost(name, load, [_run(left, load, count) for count in counts_of(load)])
        for name, load in zip(entry_names(scenario.traffic), loads, strict=True)
    }


def metrics_of(costs: Mapping[str, LoadCost]) -> dict[str, float]:
    """Return the metrics of these loads together: all instructions over all amounts of the same kind."""
    instructions: dict[str, float] = {}
    amounts: dict[str, int] = {}
    for cost in costs.values():
        for unit, amount in cost.amounts.items():
            instructions[unit] = instructions.get(unit, 0.0) + cost.instructions
            amounts[unit] = amounts.get(unit, 0) + amount
    return {f"cpu.insns_per_{unit}": instructions[unit] / amount for unit, amount in amounts.items()}


def _server(index: int, load: LoadSpec) -> Iterator[Step]:
    port = str(FIRST_PORT + index)
    yield Step(kind="start", netns=load.to_host, arguments=("load", "serve", port))
    yield Step(kind="listen", netns=load.to_host, arguments=(load.protocol, port))


def _measured(index: int, load: LoadSpec, count: int, topology: Topology) -> Iterator[Step]:
    address = topology.address_towards(load.to_host, load.from_host, load.family)
    drive = ("load", "drive", load.kind, address, str(FIRST_PORT + index), str(count), str(load.size_bytes))
    look = Step(kind="read", arguments=(SCHEDSTAT,))
    segments = Step(kind="read", netns=load.to_host, arguments=(SNMP,))
    yield from (
        segments,
        look,
        Step(kind="run", netns=load.from_host, arguments=drive, timeout_s=LOAD_S),
        look,
        segments,
    )


def _run(left: Iterator[StepReport], load: LoadSpec, count: int) -> LoadRun:
    try:
        segments, before, drive, after, more = (next(left) for _ in range(5))
    except StopIteration:
        raise LabError("the guest did not report all runs of its loads") from None
    said = dict(line.split(" ", 1) for line in drive.text.splitlines() if " " in line)
    if said.get("units") != str(count):
        raise TrafficError(f"a load of {count} {load.kind} reported {said.get('units', 'nothing')}")
    return LoadRun(
        run_ns=_run_ns(after) - _run_ns(before), units=count, bytes_sent=count * load.size_bytes,
        segments=_segments(more, load) - _segments(segments, load),
    )  # fmt: skip


def _cost(name: str, load: LoadSpec, runs: Sequence[LoadRun]) -> LoadCost:
    _, short, long = runs
    cost = LoadCost(
        kind=load.kind, instructions=(long.run_ns - short.run_ns) / NS_PER_INSTRUCTION, units=long.units - short.units,
        bytes_sent=long.bytes_sent - short.bytes_sent, segments=long.segments - short.segments,
    )  # fmt: skip
    if cost.instructions <= 0 or not all(cost.amounts.values()):
        raise LabError(f"{name}: a longer load took no more instructions than a shorter one: raise its count")
    return cost


def _run_ns(report: StepReport) -> int:
    found = _RUN_NS.search(report.file(SCHEDSTAT))
    if found is None:
        raise LabError(f"the guest's {SCHEDSTAT} has no run time of cpu0: its kernel needs CONFIG_SCHEDSTATS")
    return int(found[1])


def _segments(report: StepReport, load: LoadSpec) -> int:
    """Return the segments or datagrams that the receiving host's kernel has counted."""
    table, column = ("Udp", "InDatagrams") if load.kind == "datagrams" else ("Tcp", "InSegs")
    lines = [line.split() for line in report.file(SNMP).splitlines() if line.startswith(f"{table}:")]
    if len(lines) != 2 or column not in lines[0]:
        raise LabError(f"the guest's {SNMP} has no {table}{column}")
    return int(lines[1][lines[0].index(column)])
