"""Where a load's path is longer on B than on A: both are booted again with the counting plugin, in two layouts each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Final

from perfcheck.kernels.profile import Profile
from perfcheck.kernels.profile_change import FunctionChange, Pair, ProfileChange, compare_profiles
from perfcheck.model.path_profile import CountRecord, FunctionRecord, PathProfile
from perfcheck.model.scenario import Scenario
from perfcheck.model.traffic import entry_names
from perfcheck.runner.cost import CostBench, at_once
from perfcheck.runner.cost_load import counts_of, loads_of, unit_of

LAYOUTS: Final = (0, 1)
"""What these two differ by on one kernel is noise."""
MOST_FUNCTIONS: Final = 40


def profiles_of(scenario: Scenario, a: CostBench, b: CostBench) -> dict[str, PathProfile]:
    """Return each load's profile of B beside A's, by its entry's name; boots each kernel twice."""
    jobs = [partial(bench.profiled, layout) for layout in LAYOUTS for bench in (a, b)]
    made = at_once(jobs)
    of_a, of_b = made[::2], made[1::2]
    return {
        name: _compared(unit, units, [each[name] for each in of_a], [each[name] for each in of_b])
        for name, (unit, units) in _units(scenario).items()
    }


def _units(scenario: Scenario) -> Mapping[str, tuple[str, int]]:
    """Return for each entry what its costs are counted for, and how many of these its load has."""
    found = {}
    for name, load in zip(entry_names(scenario.traffic), loads_of(scenario), strict=True):
        _, count = counts_of(load)
        found[name] = (unit_of(load), count * load.size_bytes if load.kind == "stream" else count)
    return found


def _compared(unit: str, units: int, a: Sequence[Profile], b: Sequence[Profile]) -> PathProfile:
    found = compare_profiles(a, b, units, units)
    shown, rest = found.functions[:MOST_FUNCTIONS], found.functions[MOST_FUNCTIONS:]
    return PathProfile(
        unit=unit, total=_count(found.total), contexts=_contexts(found), functions=tuple(map(_function, shown)),
        left_out=CountRecord(
            a=sum(each.instructions.a for each in rest), b=sum(each.instructions.b for each in rest),
            noise=sum(each.instructions.noise for each in rest),
        ) if rest else None,
    )  # fmt: skip


def _contexts(found: ProfileChange) -> dict[str, CountRecord]:
    """Return user space, tasks in the kernel, softirqs and interrupts; a task's own figure has user space in it."""
    contexts = {"user space": _count(found.user)}
    if found.task is not None and found.softirq is not None and found.irq is not None:
        task = Pair(a=found.task.a - found.user.a, b=found.task.b - found.user.b, noise=found.task.noise)
        contexts |= {"system calls": _count(task), "softirqs": _count(found.softirq), "interrupts": _count(found.irq)}
    return contexts


def _function(change: FunctionChange) -> FunctionRecord:
    return FunctionRecord(name=change.name, modules=change.modules, instructions=_count(change.instructions))


def _count(pair: Pair) -> CountRecord:
    return CountRecord(a=pair.a, b=pair.b, noise=pair.noise)
