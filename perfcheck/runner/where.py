"""Where a scenario is measured: in a lab of this machine, or on real ones."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass

from perfcheck.lab import Lab
from perfcheck.lab.links import emulators
from perfcheck.model.scenario import Scenario
from perfcheck.model.seams import MeasuringCore, Testbed
from perfcheck.remote.core import RemoteCore, refuse_what_only_a_lab_has
from perfcheck.remote.machines import Machines
from perfcheck.remote.selftest import placed
from perfcheck.remote.testbed import RealTestbed
from perfcheck.runner.budget import core_budget
from perfcheck.runner.options import RunOptions
from perfcheck.system import Journal, new_tag

__all__ = ["Where", "lab_of", "placed", "real_of"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Where:
    """The collectors, why some of them do not measure, and what builds a scenario's hosts and links.

    `join_late` has those collectors measure as well that could not be attached before the hosts were set up.
    """

    core: MeasuringCore
    unavailable: Mapping[str, str]
    testbed: Callable[[Scenario], AbstractContextManager[Testbed]]
    join_late: Callable[[Scenario], None]


@contextmanager
def lab_of(scenario: Scenario) -> Iterator[Testbed]:
    """Build a scenario's lab on this machine for the block."""
    with Journal.create(new_tag()) as journal, Lab(scenario, journal, emulators()) as lab:
        yield lab


@contextmanager
def real_of(scenario: Scenario, told: Callable[[str], None], options: RunOptions) -> Iterator[Where]:
    """Connect to a scenario's machines for the block; both sides of a comparison share them and take turns."""
    refuse_what_only_a_lab_has(scenario, series=options.series is not None)
    told("connecting to the hosts")
    with Machines(scenario, told) as machines:
        told("attaching collectors")
        core = RemoteCore(machines.hosts, scenario, core_budget(scenario), events=options.events is not None)

        @contextmanager
        def testbed(one: Scenario) -> Iterator[Testbed]:
            yield RealTestbed(one, machines)

        try:
            yield Where(core=core, unavailable=core.unavailable, testbed=testbed, join_late=lambda _: None)
        finally:
            core.close()
