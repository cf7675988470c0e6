"""Two profiles of a load are compared for a unit of work, and the functions that grew are named."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from kernel_profiles import TABLE, counts, profile_with

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
    for each in there.functions:
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
