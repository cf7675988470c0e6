"""Quantities with units: what compares with what, and that arithmetic adds up."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

import perfcheck
from perfcheck.api.quantity import Quantity, kind_of
from perfcheck.model.units import parse_duration_ns, parse_in_unit, parse_percent, parse_rate_bps, parse_size_bytes

DURATIONS = ("ns", "us", "ms", "s", "min")
RATES = ("bit", "kbit", "mbit", "gbit")
SIZES = ("b", "kb", "mb", "gb", "kib", "mib", "gib")
UNITS = (*DURATIONS, *RATES, *SIZES, "pct")

whole = st.integers(0, 10**6)
units = st.sampled_from(UNITS)
PARSERS = {"duration": parse_duration_ns, "rate": parse_rate_bps, "size": parse_size_bytes, "share": parse_percent}


@pytest.mark.parametrize("unit", UNITS)
def test_each_unit_has_a_public_name(unit: str) -> None:
    made = getattr(perfcheck, {"min": "minutes"}.get(unit, unit))(3)
    assert made == Quantity(3, unit)
    assert eval(repr(made), {name: getattr(perfcheck, name) for name in perfcheck.__all__}) == made  # noqa: S307


@given(number=st.integers(0, 100), unit=units)
def test_the_notation_is_read_back_by_the_scenario_files_parsers(number: int, unit: str) -> None:
    made = Quantity(number, unit)
    assert PARSERS[kind_of(unit) or ""](made.notation) == made.base


@given(number=whole, unit=st.sampled_from(DURATIONS))
def test_a_threshold_means_what_it_means_in_a_scenario_file(number: int, unit: str) -> None:
    made = Quantity(number, unit)
    assert made.to("us") == parse_in_unit(made.notation, "us")


@given(one=whole, other=whole, first=units, second=units)
def test_only_one_kind_compares_and_exactly_one_of_three_holds(one: int, other: int, first: str, second: str) -> None:
    left, right = Quantity(one, first), Quantity(other, second)
    if kind_of(first) == kind_of(second):
        assert [left < right, left == right, left > right].count(True) == 1
        assert (left <= right) is not (right < left)
        assert left != right or hash(left) == hash(right)
    else:
        for compare in ("__lt__", "__eq__", "__ge__", "__add__", "__truediv__"):
            with pytest.raises(TypeError, match="cannot"):
                getattr(left, compare)(right)


@given(one=whole, other=whole, unit=units)
def test_what_is_added_is_subtracted_again(one: int, other: int, unit: str) -> None:
    left, right = Quantity(one, unit), Quantity(other, unit)
    assert left + right - right == left
    assert (left + right) * 2 == left * 2 + 2 * right
    assert left + (-left) == abs(right) * 0


def test_a_bare_number_needs_a_unit() -> None:
    with pytest.raises(TypeError, match=r"cannot compare a duration \(60ms\) with the bare number 60; give it a unit"):
        assert perfcheck.ms(60) > 60
    with pytest.raises(TypeError, match="expected a quantity of the same kind"):
        perfcheck.ms(60) + 5  # type: ignore[operator]


@pytest.mark.parametrize("number", [float("nan"), float("inf"), True, "5"])
def test_only_finite_numbers_have_a_unit(number: float) -> None:
    with pytest.raises(TypeError, match="expected a finite number of ms"):
        perfcheck.ms(number)


def test_quotients_and_conversions() -> None:
    assert perfcheck.mbit(10) / perfcheck.kbit(500) == 20
    assert perfcheck.s(1) / 4 == perfcheck.ms(250)
    assert perfcheck.minutes(1).to("ms") == 60_000
    with pytest.raises(TypeError, match="cannot convert 60ms to bps"):
        perfcheck.ms(60).to("bps")
    assert f"{perfcheck.us(20130)}" == "20.13 ms"
    assert f"{perfcheck.us(20130):.1f}" == "20130.0"
