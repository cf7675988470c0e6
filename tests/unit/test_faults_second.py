"""The second library of faults: every combination is a scenario, and no injector is one of the other two libraries'."""

from __future__ import annotations

from collections import Counter, defaultdict
from pathlib import Path
from typing import Final

from perfcheck.faults import combinations, load_library
from perfcheck.model.causes import CAUSES, HEALTHY

SCENARIOS: Final = Path(__file__).parents[2] / "scenarios"
LIBRARY: Final = load_library(SCENARIOS / "faults-second")
EVERY: Final = combinations(LIBRARY)
OTHERS: Final = (load_library(), load_library(SCENARIOS / "faults-exam"))


def test_every_combination_loads_as_a_scenario() -> None:
    for each in EVERY:
        assert each.scenario().repeat == 1, each.name


def test_every_cause_has_five_runs_by_several_injectors() -> None:
    injectors: dict[str, set[str]] = defaultdict(set)
    for fault in LIBRARY.faults:
        injectors[fault.cause].add(fault.spec.name)
    runs = Counter(each.causes[0] for each in EVERY if each.twin is not None and len(each.causes) == 1)
    for cause in set(CAUSES) - {"unknown"}:
        assert len(injectors[cause]) >= 3, cause
        assert runs[cause] >= 5, cause


def test_two_faults_at_once_are_of_two_causes() -> None:
    pairs = [each for each in EVERY if len(each.causes) == 2]
    assert len(pairs) >= 25
    assert all(len(set(each.causes)) == 2 and HEALTHY not in each.causes for each in pairs)


def test_nothing_of_it_is_in_another_library() -> None:
    for other in OTHERS:
        assert not LIBRARY.paths.keys() & other.paths.keys()
        assert not LIBRARY.loads.keys() & other.loads.keys()
        mine = {(one.cause, one.spec.name) for one in LIBRARY.faults}
        assert not mine & {(one.cause, one.spec.name) for one in other.faults}
        rates = {(path.rtt_ns, path.rate_bps) for path in other.paths.values() if path.rate_bps}
        assert not {(path.rtt_ns, path.rate_bps) for path in LIBRARY.paths.values()} & rates
