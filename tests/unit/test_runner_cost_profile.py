"""Where a load's instructions go on one kernel: parts that add up, for a unit of work."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from kernel_profiles import profile_with

from perfcheck.errors import GuestDied, LabError, Stopped
from perfcheck.kernels.profile import Contexts
from perfcheck.model.path_profile import USER
from perfcheck.model.scenario import Scenario
from perfcheck.output.profile import profile_lines
from perfcheck.runner.cost_profile import MOST_FUNCTIONS, Where, profiles_of_one
from perfcheck.testing import make_record

REQUESTS = 100
SCENARIO = Scenario.model_validate({
    "name": "cost", "file": "cost.yaml", "hosts": {"client": {}, "server": {}},
    "links": [{"between": ["client", "server"]}], "measure": {"mode": "cost"},
    "traffic": [{"name": "rpc", "load": {
        "from": "client", "to": "server", "kind": "requests", "count": REQUESTS, "size": "100b",
    }}],
})  # fmt: skip


@given(
    user=st.integers(0, 10**6), softirq=st.integers(0, 10**6), irq=st.integers(0, 10**6),
    costs=st.lists(st.integers(1, 10**6), min_size=1, max_size=2 * MOST_FUNCTIONS),
)  # fmt: skip
def test_contexts_and_functions_add_up_to_the_whole(user: int, softirq: int, irq: int, costs: list[int]) -> None:
    contexts = Contexts(task=user + sum(costs), softirq=softirq, irq=irq)
    # What softirqs and interrupts execute is the kernel's, too.
    profile = profile_with(user, **{f"f{number}": cost for number, cost in enumerate([*costs, softirq, irq])})
    found = profiles_of_one(SCENARIO, {"rpc": replace(profile, contexts=contexts)})["rpc"]
    whole = (user + sum(costs) + softirq + irq) / REQUESTS
    assert found.total.b == pytest.approx(whole)
    assert sum(count.b for count in found.contexts.values()) == pytest.approx(whole)
    left_out = 0 if found.left_out is None else found.left_out.b
    functions = sum(each.instructions.b for each in found.functions)
    assert found.contexts[USER].b + functions + left_out == pytest.approx(whole)
    assert len(found.functions) <= MOST_FUNCTIONS
    shown = [each.instructions.b for each in found.functions]
    assert shown == sorted(shown, reverse=True)


def test_the_lines_add_up() -> None:
    profile = profile_with(1000, **{f"f{number:02}": 100 * (20 - number) for number in range(20)})
    profile = replace(profile, contexts=Contexts(task=16_000, softirq=5_000, irq=1_000))
    record = make_record({}).model_copy(update={"profiles": profiles_of_one(SCENARIO, {"rpc": profile})})
    lines = profile_lines(record)
    assert lines[0] == "220 instructions a request: user space 10, system calls 150, softirqs 50, interrupts 10"
    assert lines[1].split() == ["f00", "20.0"]
    assert sum(float(line.split()[-1]) for line in lines[1:]) == pytest.approx(210)
    assert lines[-1].startswith("other functions")


@pytest.mark.parametrize("problem", [LabError("no symbols"), GuestDied("k", "it panicked", ())])
def test_what_cannot_be_counted_by_function_is_said_and_the_figures_stand(problem: Exception) -> None:
    def fail() -> dict[str, object]:
        raise problem

    record = Where.of(fail).joined(make_record({"cpu.insns_per_request": [30_000.0]}))  # type: ignore[arg-type]
    assert record.profiles == {}
    assert record.warnings[-1].startswith("instructions were not counted by function: ")
    assert record.metrics["cpu.insns_per_request"].value == 30_000.0


def test_who_stops_it_stops_it() -> None:
    def stop() -> dict[str, object]:
        raise Stopped("SIGTERM")

    with pytest.raises(Stopped):
        Where.of(stop)  # type: ignore[arg-type]
