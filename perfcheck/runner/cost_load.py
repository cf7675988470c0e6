"""The loads of a scenario as steps of a guest's job, and what they cost; pure functions.

Each load runs twice: a first time to warm up, then in full. The program itself reads the guest's counters before the
first byte and after the last one, so its start and end do not count. (The difference of two runs of different length
varied seven times as much: what happens once in a while falls into one of them.)
"""

from __future__ import annotations

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
RT_RUNTIME: Final = "/proc/sys/kernel/sched_rt_runtime_us"
SNMP: Final = "/proc/net/snmp"
LOAD_S: Final = 300.0
"""Of the guest's time; a load that stands still is ended by its own limits on each wait."""
BURST: Final = 32
"""Datagrams that are sent before an answer is waited for (programs/load.c)."""
WARM_UP: Final = 0.25
"""Of the load's count."""
_UNIT: Final[Mapping[str, str]] = {
    "stream": "byte", "requests": "request", "connections": "connection", "datagrams": "segment"
}  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadCost:
    """What a load cost: the instructions of so many bytes, segments and units."""

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


def metric_keys(scenario: Scenario) -> tuple[str, ...]:
    """Return the keys of all metrics that the scenario's loads have: of all together, and of each entry."""
    units = {
        name: (_UNIT[load.kind], *(("segment",) if load.kind == "stream" else ()))
        for name, load in zip(entry_names(scenario.traffic), loads_of(scenario), strict=True)
    }
    whole = dict.fromkeys(f"cpu.insns_per_{unit}" for each in units.values() for unit in each)
    return (*whole, *(f"cpu.insns_per_{unit}@{name}" for name, each in units.items() for unit in each))


def load_steps(scenario: Scenario, topology: Topology) -> tuple[Step, ...]:
    """Return the steps that start the servers, and run each load to warm up and in full."""
    entries = list(enumerate(loads_of(scenario)))
    return (
        # Nothing else may run for 50 ms of each second only because loads take turns.
        Step(kind="write", arguments=(RT_RUNTIME, "-1")),
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


def counts_of(load: LoadSpec) -> tuple[int, int]:
    """Return how much is sent to warm up and in full; datagrams come in whole bursts."""
    whole = BURST if load.kind == "datagrams" else 1
    count = max(1, load.count // whole)
    return whole * max(1, round(count * WARM_UP)), whole * count


def unit_of(load: LoadSpec) -> str:
    """Return what a load's cost is counted for: a byte, a segment, a request or a connection."""
    return _UNIT[load.kind]


def costs_of(scenario: Scenario, reports: Sequence[StepReport]) -> Mapping[str, LoadCost]:
    """Return each load's cost by its entry's name, from the reports of `load_steps`."""
    loads = loads_of(scenario)
    left = iter(reports[1 + 2 * len(loads) :])
    return {
        name: [_cost(name, left, load, count) for count in counts_of(load)][-1]
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
    yield Step(kind="start", netns=load.to_host, arguments=("load", "serve", port), in_turns=True)
    yield Step(kind="listen", netns=load.to_host, arguments=(load.protocol, port))


def _measured(index: int, load: LoadSpec, count: int, topology: Topology) -> Iterator[Step]:
    address = topology.address_towards(load.to_host, load.from_host, load.family)
    drive = ("load", "drive", load.kind, address, str(FIRST_PORT + index), str(count), str(load.size_bytes))
    segments = Step(kind="read", netns=load.to_host, arguments=(SNMP,))
    yield segments
    yield Step(kind="run", netns=load.from_host, arguments=drive, timeout_s=LOAD_S, in_turns=True)
    yield segments


def _cost(name: str, left: Iterator[StepReport], load: LoadSpec, count: int) -> LoadCost:
    try:
        before, drive, after = (next(left) for _ in range(3))
    except (StopIteration, RuntimeError):
        raise LabError("the guest did not report all runs of its loads") from None
    said = dict(line.split(" ", 1) for line in drive.text.splitlines() if " " in line)
    if said.get("units") != str(count):
        raise TrafficError(f"{name}: a load of {count} {load.kind} reported {said.get('units', 'nothing')}")
    run_ns = int(said.get("run_ns", "-1"))
    if run_ns <= 0:
        raise LabError("the guest's /proc/schedstat has no run time of cpu0: its kernel needs CONFIG_SCHEDSTATS")
    cost = LoadCost(
        kind=load.kind, instructions=run_ns / NS_PER_INSTRUCTION, units=count, bytes_sent=count * load.size_bytes,
        segments=_segments(after, load) - _segments(before, load),
    )  # fmt: skip
    if not all(cost.amounts.values()):
        raise LabError(f"{name}: the guest's kernel counted no segments of it")
    return cost


def _segments(report: StepReport, load: LoadSpec) -> int:
    """Return the segments or datagrams that the receiving host's kernel has counted."""
    table, column = ("Udp", "InDatagrams") if load.kind == "datagrams" else ("Tcp", "InSegs")
    lines = [line.split() for line in report.file(SNMP).splitlines() if line.startswith(f"{table}:")]
    if len(lines) != 2 or column not in lines[0]:
        raise LabError(f"the guest's {SNMP} has no {table}{column}")
    return int(lines[1][lines[0].index(column)])
