"""What the shipped matrix gives: scenarios that load, twins that differ by the injection alone, an order."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

import pytest

from perfcheck.faults import Combination, combinations, interleaved, load_library, moved_by

EVERY: Final = combinations(load_library())
BY_NAME: Final = {each.name: each for each in EVERY}
FAULTS: Final = [each for each in EVERY if each.twin is not None]


def test_names_are_unique_and_twins_exist() -> None:
    assert len(BY_NAME) == len(EVERY)
    assert {each.twin for each in FAULTS} == {each.name for each in EVERY if each.twin is None}
    assert len({each.document["scenario"] for each in EVERY}) == len(EVERY)


def test_every_combination_loads_as_a_scenario() -> None:
    for each in EVERY:
        assert each.scenario().repeat == 1, each.name


def _leaves(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[tuple[Any, ...], Any]]:
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from _leaves(inner, (*path, key))
    elif isinstance(value, list):
        for place, inner in enumerate(value):
            yield from _leaves(inner, (*path, place))
    else:
        yield path, value


def test_a_twin_differs_by_the_injection_alone() -> None:
    """Nothing of the healthy scenario is gone; only links' and the load's own values may be other ones."""
    for fault in FAULTS:
        healthy, broken = (dict(_leaves(one.document)) for one in (BY_NAME[str(fault.twin)], fault))
        changed = {path for path, value in healthy.items() if broken.get(path, value) != value} - {("scenario",)}
        assert not set(healthy) - set(broken), fault.name
        assert all(path[0] == "links" or path[:2] == ("traffic", 0) for path in changed), fault.name
        assert broken != {**healthy, ("scenario",): fault.document["scenario"]}, fault.name


def test_an_injection_does_not_change_its_twin() -> None:
    twin = BY_NAME["twin/wan/bulk-cubic"]
    assert "setup" not in twin.document["hosts"]["router"]
    assert "loss" not in twin.document["links"][1]


def test_a_campaign_that_is_cut_off_has_some_of_each() -> None:
    ordered = list(interleaved(FAULTS))
    assert sorted(each.name for each in ordered) == sorted(each.name for each in FAULTS)
    injectors = {(each.causes, each.injector) for each in FAULTS}
    first = ordered[: len(injectors)]
    assert {(each.causes, each.injector) for each in first} == injectors
    causes = [each.causes for each in first]
    assert len(set(causes[: len(set(causes))])) == len(set(causes))


def test_what_is_held_out_is_told_by_its_parts() -> None:
    one = BY_NAME["random_loss/relay-bursts/far/bulk-reno/mild"]
    assert one.held_out == ("injector", "path", "load")
    assert not one.fit
    assert BY_NAME["random_loss/nft-random/wan/bulk-cubic/two-percent"].fit


@pytest.mark.parametrize(
    ("fault", "twins", "expected"),
    [
        ({"app.throughput_bps": 5e6}, [{"app.throughput_bps": 9e6}], ["app.throughput_bps 9000000 -> 5000000"]),
        ({"app.throughput_bps": 8.9e6}, [{"app.throughput_bps": 9e6}], []),
        ({"app.throughput_bps": 9.5e6}, [{"app.throughput_bps": 9e6}], []),
        ({"tcp.rtt_us.p50": 30e3}, [{"tcp.rtt_us.p50": 20e3}, {"tcp.rtt_us.p50": 31e3}], []),
        ({"tcp.retrans_pct": 0.04}, [{"tcp.retrans_pct": 0.0}], []),
        ({"app.errors": 2}, [{"app.errors": 0}], ["app.errors 0 -> 2"]),
        ({"app.errors": 2}, [{}], []),
    ],
)
def test_a_fault_moved_what_is_worse_than_in_every_run_of_its_twin(
    fault: dict[str, float], twins: list[dict[str, float]], expected: list[str]
) -> None:
    assert [str(each) for each in moved_by(fault, twins)] == expected


def test_a_combination_writes_the_scenario_that_it_is() -> None:
    one: Combination = BY_NAME["policer/relay-policer/wan-direct/bulk-cubic/half"]
    (link,) = one.scenario().links
    assert link.policer is not None
    assert link.policer.rate_bps == 15_000_000
