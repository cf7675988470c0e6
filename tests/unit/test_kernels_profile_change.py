"""Two profiles of a load are compared for a unit of work, and the functions that grew are named."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from kernel_profiles import TABLE, counts, profile_of_costs, profile_with

from perfcheck.kernels.profile import Contexts, PhaseCounts, profile_of
from perfcheck.kernels.profile_change import compare_profiles

UNITS = st.integers(1, 10**6)


def close(one: float, other: float, scale: float) -> bool:
    """Whether two sums are the same but for what floating point loses."""
    return math.isclose(one, other, rel_tol=1e-9, abs_tol=1e-9 * max(scale, 1.0))


def test_growth_new_and_vanished_functions_are_named() -> None:
    a = profile_with(user=100, tcp_ack=(1000, 10), kfree=(500, 10), inlined=(300, 10))
    b = profile_with(user=200, tcp_ack=(2600, 20), kfree=(1000, 20), nft_do_chain=(3000, 40))
    change = compare_profiles([a], [b], 10, 20)
    assert (change.total.a, change.total.b) == (190, 340)
    assert [(each.name, each.state, each.instructions.change) for each in change.functions] == [
        ("nft_do_chain", "new", 150), ("inlined", "gone", -30), ("tcp_ack", "grown", 30), ("kfree", "unchanged", 0),
    ]  # fmt: skip
    assert [each.share for each in change.functions] == [1.0, -0.2, 0.2, 0.0]
    assert change.functions[0].calls.b == 2
    assert [each.name for each in change.grown()] == ["nft_do_chain", "tcp_ack"]
    assert [each.name for each in change.grown(31)] == ["nft_do_chain"]
    assert [each.name for each in change.moved(30)] == ["nft_do_chain", "inlined", "tcp_ack"]
    assert change.functions[2].instructions.change_pct == pytest.approx(30)
    assert change.functions[0].instructions.change_pct is None


def test_what_layouts_differ_by_is_noise() -> None:
    a = [profile_with(clear_page=4000 + shift, tcp_ack=1000) for shift in (0, 200, 100)]
    b = [profile_with(clear_page=4150 + shift, tcp_ack=1010) for shift in (0, 50)]
    change = compare_profiles(a, b, 1, 1)
    assert [(each.name, each.instructions.change, each.instructions.noise) for each in change.functions] == [
        ("clear_page", 75, 200), ("tcp_ack", 10, 0),
    ]  # fmt: skip
    assert [each.name for each in change.grown()] == ["tcp_ack"]
    assert not change.total.clear


@pytest.mark.parametrize(
    ("before", "after", "joined"),
    [
        # Equally often called, and of the same cost; or with a name that has the other one's words.
        ({"copy_generic": (5000, 60)}, {"rep_movs": (5050, 60)}, True),
        ({"__memset": (300, 40)}, {"memset_orig": (480, 40)}, True),
        ({"list_valid_or_report": (300, 40)}, {"list_valid": (160, 40)}, True),
        # Another number of calls, another cost, or too little to tell it from chance.
        ({"copy_generic": (5000, 60)}, {"rep_movs": (5000, 61)}, False),
        ({"copy_generic": (5000, 60)}, {"rep_movs": (5200, 60)}, False),
        ({"kfree_one": (50, 20)}, {"alloc": (50, 20)}, False),
        ({"__memset": (300, 40)}, {"memset_orig": (601, 40)}, False),
        ({"copy_generic": (5000, 0)}, {"rep_movs": (5000, 0)}, False),
        # It is there on both sides.
        ({"copy_generic": (5000, 60), "rep_movs": (1, 1)}, {"rep_movs": (5050, 60)}, False),
    ],
)
def test_a_function_that_was_renamed_is_one(
    before: dict[str, tuple[int, int]], after: dict[str, tuple[int, int]], joined: bool
) -> None:
    a, b = (profile_of_costs({"tcp_ack": 10000, **functions}) for functions in (before, after))
    change = compare_profiles([a], [b], 10, 10)
    old, new = next(iter(before)), next(iter(after))
    found = {each.name: each for each in change.functions}
    assert (f"{old} -> {new}" in found) == joined
    if joined:
        assert not {old, new} & found.keys()
        pair = found[f"{old} -> {new}"].instructions
        assert (pair.a, pair.b) == (before[old][0] / 10, after[new][0] / 10)
        assert found[f"{old} -> {new}"].share == pytest.approx(1)
    else:
        assert {old, new} <= found.keys()


def test_of_two_that_it_could_be_the_nearest_is_taken() -> None:
    a = profile_with(memset=(400, 10), tcp_ack=10000)
    b = profile_with(memset_orig=(700, 10), memset_erms=(390, 10), tcp_ack=10000)
    change = compare_profiles([a], [b], 1, 1)
    assert {each.name for each in change.functions} == {"memset -> memset_erms", "memset_orig", "tcp_ack"}


def test_contexts_are_compared_where_both_have_them() -> None:
    a = replace(profile_with(kfree=60), contexts=Contexts(task=30, softirq=20, irq=10))
    b = replace(profile_with(kfree=90), contexts=Contexts(task=30, softirq=50, irq=10))
    change = compare_profiles([a], [b], 10, 10)
    assert change.softirq is not None
    assert change.softirq.change == 3
    assert compare_profiles([a], [profile_with(kfree=90)], 10, 10).softirq is None


def test_nothing_to_compare_is_refused() -> None:
    profile = profile_with(kfree=1)
    for a, b, units_a, units_b in (([], [profile], 1, 1), ([profile], [], 1, 1), ([profile], [profile], 0, 1)):
        with pytest.raises(ValueError, match="units of work"):
            compare_profiles(a, b, units_a, units_b)


@settings(max_examples=80, deadline=None)
@given(counts(), counts(), UNITS, UNITS)
def test_changes_and_shares_add_up_to_the_whole(a: PhaseCounts, b: PhaseCounts, units_a: int, units_b: int) -> None:
    change = compare_profiles([profile_of(a, TABLE)], [profile_of(b, TABLE)], units_a, units_b)
    scale = change.total.a + change.total.b
    parts = change.user.change + sum(each.instructions.change for each in change.functions)
    assert close(parts, change.total.change, scale)
    shares = [each.share for each in change.functions if each.share is not None]
    if change.total.change and abs(change.total.change) > 1e-3 * scale:
        assert len(shares) == len(change.functions)
        assert math.isclose(sum(shares) + change.user.change / change.total.change, 1.0, rel_tol=1e-6, abs_tol=1e-6)


@settings(max_examples=80, deadline=None)
@given(counts(), counts(), UNITS)
def test_the_way_back_is_the_opposite(a: PhaseCounts, b: PhaseCounts, units: int) -> None:
    one, other = profile_of(a, TABLE), profile_of(b, TABLE)
    there = compare_profiles([one], [other], units, units)
    back = compare_profiles([other], [one], units, units)
    assert there.total.change == -back.total.change
    opposite = {"new": "gone", "gone": "new", "grown": "shrunk", "shrunk": "grown", "unchanged": "unchanged"}
    returned = {each.name: each for each in back.functions}
    # What was renamed has its names in the other order there, and may have found another partner.
    renamed = {name for each in (*there.functions, *back.functions) for name in each.name.split(" -> ")[1:]}
    assert renamed or returned.keys() == {each.name for each in there.functions}
    for each in there.functions:
        if each.name not in returned:
            continue
        assert each.instructions.change == -returned[each.name].instructions.change
        assert opposite[each.state] == returned[each.name].state


@settings(max_examples=80, deadline=None)
@given(counts(), UNITS)
def test_the_same_profile_has_not_changed(phase: PhaseCounts, units: int) -> None:
    profile = profile_of(phase, TABLE)
    change = compare_profiles([profile], [profile], units, units)
    assert change.total.change == 0
    assert change.moved() == ()
    assert {each.state for each in change.functions} <= {"unchanged"}
    assert {each.share for each in change.functions} <= {None}
