"""Units of rule conditions: what may be added and compared, and that factors are right."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from perfcheck.diagnose.condition import Comparison
from perfcheck.diagnose.dimension import (
    BARE,
    LITERAL_UNITS,
    NUMBER,
    PERCENT,
    RATE,
    SIZE,
    TIME,
    Dimension,
    DimensionMismatch,
    literal_quantity,
    metric_dimension,
)
from perfcheck.diagnose.evaluation import Reading, holds, value
from perfcheck.diagnose.parsing import ConditionError, parse_condition
from perfcheck.model.catalogue import CATALOGUE
from perfcheck.model.units import parse_in_unit

UNHURRIED = settings(deadline=None)
"""A busy machine is no mistake."""

DIMENSIONS = st.builds(Dimension, st.integers(-3, 3), st.integers(-3, 3)) | st.sampled_from([PERCENT, BARE])
OF_UNIT = {"us": TIME, "ms": TIME, "bps": RATE, "bytes": SIZE, "pct": PERCENT}


def quantity_of(text: str, **metrics: float) -> tuple[float | None, Dimension]:
    """Evaluate a quantity; metric names come with `__` for the dots."""
    named = {name.replace("__", "."): number for name, number in metrics.items()}
    condition = parse_condition(f"{text} != 0", CATALOGUE)
    assert isinstance(condition, Comparison)
    return value(condition.left, Reading(metrics=named)), condition.left.dimension


def test_every_unit_of_the_catalogue_has_its_dimension() -> None:
    for spec in CATALOGUE.values():
        dimension, factor = metric_dimension(spec.unit)
        assert dimension == OF_UNIT.get(spec.unit, NUMBER), spec.name
        assert factor > 0


@pytest.mark.parametrize("unit", LITERAL_UNITS)
@pytest.mark.parametrize("metric_unit", ["us", "bps", "bytes", "pct"])
def test_a_literal_is_worth_what_an_expectation_of_it_is_worth(unit: str, metric_unit: str) -> None:
    dimension, factor = metric_dimension(metric_unit)
    literal = literal_quantity(3.0, unit)
    assert literal is not None
    if literal[0] != dimension:
        return
    assert literal[1] == pytest.approx(parse_in_unit(f"3{unit}", metric_unit) * factor, rel=1e-12)


@pytest.mark.parametrize(
    ("text", "metrics", "expected", "dimension"),
    [
        ("tcp.delivery_rate_bps * tcp.min_rtt_us", {"tcp__delivery_rate_bps": 1e8, "tcp__min_rtt_us": 2e4}, 2e6, SIZE),
        ("tcp.cwnd_segs.p50 * tcp.mss_bytes", {"tcp__cwnd_segs__p50": 10, "tcp__mss_bytes": 1448}, 115840, SIZE),
        ("tcp.bdp_bytes / tcp.min_rtt_us", {"tcp__bdp_bytes": 250e3, "tcp__min_rtt_us": 20e3}, 0.1, RATE),
        ("tcp.bdp_bytes / 100mbit", {"tcp__bdp_bytes": 250e3}, 2e7, TIME),
        ("tcp.rtt_us.p50 / tcp.min_rtt_us", {"tcp__rtt_us__p50": 60e3, "tcp__min_rtt_us": 20e3}, 3, NUMBER),
        ("2 * tcp.retrans_pct", {"tcp__retrans_pct": 1.5}, 0.03, PERCENT),
        ("tcp.retrans_pct / 3", {"tcp__retrans_pct": 1.5}, 0.005, PERCENT),
        ("tcp.retrans_pct / tcp.lost_pct", {"tcp__retrans_pct": 1.5, "tcp__lost_pct": 0.5}, 3, NUMBER),
        ("tcp.retrans_segs / tcp.data_segs_out", {"tcp__retrans_segs": 1, "tcp__data_segs_out": 4}, 0.25, NUMBER),
        ("50% * tcp.rtt_us.p50", {"tcp__rtt_us__p50": 60e3}, 3e7, TIME),
        ("-tcp.rtt_us.p50", {"tcp__rtt_us__p50": 1}, -1000, TIME),
        ("abs(tcp.rtt_us.p50 - 1ms)", {"tcp__rtt_us__p50": 400}, 600e3, TIME),
        ("max(tcp.rtt_us.p50, 1ms, 3us)", {"tcp__rtt_us__p50": 400}, 1e6, TIME),
        ("min(1, 2) / 4", {}, 0.25, BARE),
    ],
)  # fmt: skip
def test_values_and_dimensions(text: str, metrics: dict[str, float], expected: float, dimension: Dimension) -> None:
    number, found = quantity_of(text, **metrics)
    assert number == pytest.approx(expected, rel=1e-9)
    assert found == dimension


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("tcp.rtt_us.p50 > tcp.mss_bytes", "cannot compare a time and a size"),
        ("tcp.retrans_pct > tcp.rtt_us.p50", "cannot compare a percentage and a time"),
        ("tcp.rtt_us.p50 + tcp.mss_bytes > 1ms", "cannot add a time and a size"),
        ("tcp.rtt_us.p50 - 3% > 1ms", "cannot subtract a time and a percentage"),
        ("tcp.rtt_us.p50 > 30", "give the number its unit, such as 30ms"),
        ("tcp.bdp_bytes > 30", "give the number its unit, such as 256kb"),
        ("30 < tcp.delivery_rate_bps", "give the number its unit, such as 100mbit"),
        ("tcp.retrans_pct > 0.1", "write it as 5%"),
        ("tcp.rtt_us.p50 > 30mbit", "cannot compare a time and a rate"),
        ("tcp.rtt_us.p50 * tcp.rtt_us.p99 > 30ms", "cannot compare a quantity in bit^0 s^2 and a time"),
        ("max(tcp.rtt_us.p50, 5kb) > 30ms", "cannot compare a time and a size"),
    ],
)
def test_units_that_do_not_fit_are_refused_at_load(text: str, message: str) -> None:
    with pytest.raises(ConditionError, match=message.replace("^", r"\^")):
        parse_condition(text, CATALOGUE)


@pytest.mark.parametrize("text", ["tcp.rtt_us.p50 > 0", "0 < tcp.retrans_pct", "max(0, tcp.rtt_us.p50) > 1ms"])
def test_zero_needs_no_unit(text: str) -> None:
    reading = Reading(metrics={"tcp.rtt_us.p50": 5000.0, "tcp.retrans_pct": 0.5})
    assert holds(parse_condition(text, CATALOGUE), reading) is True


def test_a_share_of_counts_may_be_compared_with_a_percentage() -> None:
    reading = Reading(metrics={"tcp.retrans_segs": 6.0, "tcp.data_segs_out": 100.0})
    assert holds(parse_condition("tcp.retrans_segs / tcp.data_segs_out > 5%", CATALOGUE), reading) is True


@UNHURRIED
@given(st.integers(0, 10**9))
def test_a_threshold_in_another_unit_is_exact(microseconds: int) -> None:
    reading = Reading(metrics={"tcp.rtt_us.p50": float(microseconds * 1000)})
    assert holds(parse_condition(f"tcp.rtt_us.p50 == {microseconds}ms", CATALOGUE), reading) is True


@UNHURRIED
@given(DIMENSIONS, DIMENSIONS)
def test_products_and_quotients_undo_each_other(left: Dimension, right: Dimension) -> None:
    there_and_back = left * right / right
    assert (there_and_back.data, there_and_back.time) == (left.data, left.time)
    assert left * right == right * left


@UNHURRIED
@given(DIMENSIONS, DIMENSIONS)
def test_joining_does_not_depend_on_the_order(left: Dimension, right: Dimension) -> None:
    try:
        joined = left.joined(right, "add")
    except DimensionMismatch:
        with pytest.raises(DimensionMismatch):
            right.joined(left, "add")
        return
    assert right.joined(left, "add") == joined
    assert joined.joined(joined, "add") == joined


@UNHURRIED
@given(DIMENSIONS)
def test_everything_joins_itself(dimension: Dimension) -> None:
    assert dimension.joined(dimension, "compare") == dimension


@pytest.mark.parametrize(
    ("dimension", "base", "shown"),
    [
        (TIME, 2e7, "20 ms"), (SIZE, 8e6, "1 MB"), (RATE, 0.1, "100 Mbit/s"), (PERCENT, 0.005, "0.5 %"),
        (NUMBER, 12.0, "12"), (NUMBER, 1.23456, "1.235"), (Dimension(time=2), 1e18, "1 bit^0 s^2"),
        (Dimension(data=2), 5.0, "5 bit^2 s^0"),
    ],
)  # fmt: skip
def test_values_are_shown_in_readable_units(dimension: Dimension, base: float, shown: str) -> None:
    assert dimension.show(base) == shown
