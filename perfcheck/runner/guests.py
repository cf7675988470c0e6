"""What of a session runs in guests of the kernel lab: which kernel, and the benches of one run or of two sides."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from perfcheck.diagnose import RuleSet
from perfcheck.errors import LabError, UsageError
from perfcheck.kernels.store import Kernel, KernelStore
from perfcheck.model.record import RunRecord
from perfcheck.model.scenario import Scenario
from perfcheck.model.seams import Progress
from perfcheck.model.verdict import Verdict
from perfcheck.output.events import EventLines
from perfcheck.output.series import SeriesFile
from perfcheck.runner.cost import CostBench, GuestKernel, SideBySideBenches
from perfcheck.runner.cost_profile import ProfilingBench, Where, profiles_of
from perfcheck.runner.guest_bench import GuestBench
from perfcheck.runner.guest_run import GuestPlace
from perfcheck.runner.options import RunOptions
from perfcheck.runner.side_by_side import measure_pairs
from perfcheck.runner.sides import Side
from perfcheck.runner.summary import with_kernel
from perfcheck.runner.virtme import virtme_line
from perfcheck.system import measuring_lock, stop_on_signals

NOT_IN_GUESTS: Final = ("nic", "command")
MOVED: Final = frozenset({Verdict.REGRESSED, Verdict.IMPROVED})
COST: Final = "cost"


@dataclass(frozen=True, slots=True, kw_only=True)
class GuestSide:
    """A side of a comparison with the guest that it is measured in."""

    side: Side
    guest: GuestKernel


@contextmanager
def bench_in_guests(
    scenario: Scenario, options: RunOptions, rules: RuleSet, progress: Progress,
    events: EventLines | None, series: SeriesFile | None,
) -> Iterator[CostBench | GuestBench]:  # fmt: skip
    """Yield the bench of a run on the kernel of the store that the options name, with signals turned into exceptions.

    UsageError for a kernel that the store does not have.
    """
    kernel = stored_kernel(options.kernel or "")
    real = [name for name, host in scenario.hosts.items() if host.is_real]
    if real:
        raise UsageError(f"{scenario.label}: host {real[0]} is a real machine, which no guest has: omit --kernel")
    with stop_on_signals(), kernel.in_use():
        if scenario.measure.mode != COST:
            place = GuestPlace(kernel=kernel, time=options.time)
            yield GuestBench(scenario, place, options, rules, progress, events, series)
            return
        if options.time != "virtual":
            raise UsageError(f"{scenario.label}: the cost of a load is counted in virtual time only: omit --time")
        # Guests keep the CPUs busy.
        with measuring_lock(lambda text: progress.stage(scenario, text, 0, scenario.repeat), shared=True):
            progress.stage(scenario, "making the guest's image", 0, scenario.repeat)
            yield ProfilingBench(scenario, GuestKernel(kernel=kernel), progress)


def compare_in_guests(
    scenario: Scenario, kernel: str | None, a: Side, b: Side, progress: Progress
) -> tuple[RunRecord, RunRecord]:
    """Measure two sides in interleaved boots, a pair at a time; B's record has the comparisons.

    UsageError for sides that cannot be had in a guest, or where no kernel is named: before anybody is waited for.
    """
    require_cost(scenario)
    one, other = (GuestSide(side=side, guest=_guest(side, kernel)) for side in (a, b))
    for side in (a, b):
        side.applied_to(scenario)
    with beside_others(scenario, progress, scenario.repeat):
        record_a, record_b = compare_guests(scenario, one, other, progress)
    again = with_kernel(record_b.reproduce, kernel)
    return record_a, record_b.model_copy(update={"reproduce": again, "virtme": _virtme(scenario, other.guest)})


@contextmanager
def beside_others(scenario: Scenario, progress: Progress, total: int) -> Iterator[None]:
    """Share the machine's lock with other guests, which keep CPUs busy, with signals turned into exceptions."""
    with stop_on_signals(), measuring_lock(lambda text: progress.stage(scenario, text, 0, total), shared=True):
        yield


def _virtme(scenario: Scenario, guest: GuestKernel) -> str:
    own = Path(sys.executable).with_name("perfcheck")
    return virtme_line(
        scenario, origin=guest.kernel.origin, release=guest.kernel.release, command_line=guest.command_line,
        program=str(own) if own.exists() else own.name,
    )  # fmt: skip


def compare_guests(
    scenario: Scenario, a: GuestSide, b: GuestSide, progress: Progress, only: str | None = None
) -> tuple[RunRecord, RunRecord]:
    """Measure two guests in interleaved boots until each metric is settled, or `only` the one of this name."""
    # One boot makes a record here: how many pairs are enough is the looks' business.
    scenario = scenario.model_copy(update={"repeat": 1})
    progress.stage(scenario, "making the guests' images", 0, 1)
    benches = {
        name: CostBench(one.side.applied_to(scenario), one.guest, progress) for name, one in (("A", a), ("B", b))
    }
    both = SideBySideBenches(benches)
    record_a, record_b = measure_pairs(
        scenario, {"A": a.side, "B": b.side}, both.sides(), progress, only=only
    )  # fmt: skip
    # Who asks for one metric alone compares many kernels: where it got longer is asked of two.
    if only is None and any(each.verdict in MOVED for each in record_b.comparisons):
        progress.stage(scenario, "counting instructions by function, to find where", 0, 1)
        record_b = Where.of(lambda: profiles_of(scenario, benches["A"], benches["B"])).joined(record_b)
    return record_a, record_b


def require_cost(scenario: Scenario) -> None:
    """Raise UsageError unless the scenario measures what kernels are compared by."""
    if scenario.measure.mode != COST:
        raise UsageError(f"{scenario.label}: kernels are compared by the cost of a load: set measure: {{mode: cost}}")


def check_guests(kernel: str | None, *sides: Side) -> None:
    """Raise UsageError where the store lacks the kernel, or that of a side, or a side cannot be had in a guest."""
    if kernel is not None:
        stored_kernel(kernel)
    for side in sides:
        _guest(side, kernel)


def _guest(side: Side, kernel: str | None) -> GuestKernel:
    if side.kind in NOT_IN_GUESTS:
        raise UsageError(f"side {side.text!r}: a guest has no such setting; use kernel=, cmdline, sysctl or congestion")
    name = side.value if side.kind == "kernel" else kernel
    if name is None:
        raise UsageError(f"side {side.text!r}: name the kernel that both sides boot: --kernel NAME")
    return GuestKernel(kernel=stored_kernel(name), command_line=side.command_line)


def stored_kernel(name: str) -> Kernel:
    """Return a kernel of the store; UsageError for an unknown name, LabError where its image is gone."""
    found = KernelStore.create().get(name)
    if not found.image.exists():
        raise LabError(f"kernel {name}: {found.image} is gone; fetch or add it again")
    return found
