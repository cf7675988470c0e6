"""Where a load's instructions go, of one kernel, or where the path is longer on B than on A.

That is counted in boots of their own, with the plugin: one of one kernel, or two layouts of each side.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final, Self

from perfcheck.errors import CouldNotMeasure
from perfcheck.kernels.profile import Profile
from perfcheck.kernels.profile_change import FunctionChange, Pair, ProfileChange, compare_profiles
from perfcheck.model.path_profile import CONTEXTS, CountRecord, FunctionRecord, PathProfile
from perfcheck.model.record import RunRecord
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


class ProfilingBench(CostBench):
    """A CostBench that tells in its record where each load's instructions go; one more boot has counted them."""

    _where: Where | None = None

    def measure(self, runs: int, why: str = "") -> None:
        """Make this many trials, after the first ones the profile."""
        super().measure(runs, why)
        if self._where is None:
            self._progress.stage(self._scenario, "counting instructions by function", 0, 1)
            self._where = Where.of(lambda: profiles_of_one(self._scenario, self.profiled(LAYOUTS[0])))

    def summary(self) -> RunRecord:
        """Return the record of all trials so far, with the profile."""
        record = super().summary()
        return record if self._where is None else self._where.joined(record)


@dataclass(frozen=True, slots=True, kw_only=True)
class Where:
    """The profiles of a record, or why there are none: figures stand without them."""

    profiles: Mapping[str, PathProfile]
    warnings: tuple[str, ...] = ()

    @classmethod
    def of(cls, make: Callable[[], Mapping[str, PathProfile]]) -> Self:
        """Make the profiles."""
        try:
            return cls(profiles=make())
        except CouldNotMeasure as problem:
            return cls(profiles={}, warnings=(f"instructions were not counted by function: {problem}",))

    def joined(self, record: RunRecord) -> RunRecord:
        """Return the record with them."""
        warnings = (*record.warnings, *self.warnings)
        return record.model_copy(update={"profiles": dict(self.profiles), "warnings": warnings})


def profiles_of_one(scenario: Scenario, made: Mapping[str, Profile]) -> dict[str, PathProfile]:
    """Return each load's profile on one kernel for a unit of work, by its entry's name."""
    return {name: _told(made[name], unit, units) for name, (unit, units) in _units(scenario).items()}


def _told(profile: Profile, unit: str, units: int) -> PathProfile:
    functions = sorted(profile.functions, key=lambda each: (-each.instructions, each.name))
    shown, rest = functions[:MOST_FUNCTIONS], functions[MOST_FUNCTIONS:]
    counted = [profile.user]
    if (found := profile.contexts) is not None:
        counted += [found.task - profile.user, found.softirq, found.irq]
    return PathProfile(
        unit=unit, total=CountRecord(b=profile.total / units),
        contexts={name: CountRecord(b=count / units) for name, count in zip(CONTEXTS, counted, strict=False)},
        functions=tuple(
            FunctionRecord(
                name=each.name, modules=each.modules, instructions=CountRecord(b=each.instructions / units)
            ) for each in shown
        ),
        left_out=CountRecord(b=sum(each.instructions for each in rest) / units) if rest else None,
    )  # fmt: skip


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
    counted = [found.user]
    if found.task is not None and found.softirq is not None and found.irq is not None:
        task = Pair(a=found.task.a - found.user.a, b=found.task.b - found.user.b, noise=found.task.noise)
        counted += [task, found.softirq, found.irq]
    return dict(zip(CONTEXTS, map(_count, counted), strict=False))


def _function(change: FunctionChange) -> FunctionRecord:
    return FunctionRecord(name=change.name, modules=change.modules, instructions=_count(change.instructions))


def _count(pair: Pair) -> CountRecord:
    return CountRecord(a=pair.a, b=pair.b, noise=pair.noise)
