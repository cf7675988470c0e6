"""Numbers for people: read back they are the value, in its order of magnitude, never 0, all or an exponent by rounding.

Each writer of a number is held against a reader that is written here and knows only units.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from typing import Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perfcheck.cli.perfctl.hist_view import short as cell
from perfcheck.diagnose.dimension import RATE, SIZE, TIME, Dimension
from perfcheck.live.short_values import short
from perfcheck.live.wording import cost
from perfcheck.model.catalogue import CATALOGUE
from perfcheck.model.units import format_value, probability_text, readable_pct, whole_pct
from perfcheck.output.rows import plain_pct, signed_pct
from perfcheck.report.charts.axis import Axis
from perfcheck.screen.columns import four
from perfcheck.system.json_bounds import LARGEST, SMALLEST

UNITS: Final = sorted({spec.unit for spec in CATALOGUE.values()} | {"count", "per_s", "ns", "s", "ms", "1", ""})
NUMBER: Final = re.compile(r"(?P<number>[+-]?(?:[0-9]+|[0-9]{1,3}(?:,[0-9]{3})+)(?:\.[0-9]+)?) ?(?P<unit>[A-Za-z%/]*)")
SCALES: Final = {
    "ns": 1e-9, "us": 1e-6, "ms": 1e-3, "s": 1.0, "bit/s": 1.0, "kbit/s": 1e3, "Mbit/s": 1e6, "Gbit/s": 1e9,
    "B": 1.0, "kB": 1e3, "MB": 1e6, "GB": 1e9, "k": 1e3, "M": 1e6, "G": 1e9, "T": 1e12, "%": 1.0,
}  # fmt: skip
BASE: Final = {"ns": 1e-9, "us": 1e-6, "ms": 1e-3, "s": 1.0}
"""Units of the catalogue that are not their own base."""
MAGNITUDES: Final = st.floats(SMALLEST, LARGEST) | st.floats(1e-6, 1e6) | st.sampled_from(
    [edge * near for edge in (1.0, 10.0, 100.0, 1e3, 1e4, 1e5, 1e6, 1e9, 1e12) for near in
     (0.99, 0.9949, 0.9951, 0.99949, 0.99951, 0.999949, 0.999951, 0.99999999, 1.0, 1.00001, 1.0049)]
)  # fmt: skip
VALUES: Final = st.one_of(st.just(0.0), st.just(-0.0), MAGNITUDES, MAGNITUDES.map(lambda value: -value))


def read(text: str) -> float:
    """Return the number that a text says, in the base unit of its own unit."""
    found = NUMBER.fullmatch(text)
    assert found is not None, text
    number = float(found["number"].replace(",", ""))
    assert number != 0 or not found["number"].startswith("-"), text
    assert not found["unit"] or found["unit"] in SCALES, text
    return number * SCALES.get(found["unit"], 1.0)


def says(text: str, value: float, share: float) -> None:
    """See that a text says a value up to a share of it, and says 0 of nothing else."""
    assert math.isclose(read(text), value, rel_tol=share), (text, value)


@given(VALUES, st.sampled_from(UNITS))
def test_a_value_in_a_readable_unit_is_the_value(value: float, unit: str) -> None:
    text = format_value(value, unit)
    says(text, value * BASE.get(unit, 1.0), 1e-3)
    if unit == "pct":
        assert text.endswith(" %")
        assert abs(value) >= 100 or abs(read(text)) < 100


@given(st.just(0.0) | st.floats(1e-9, 100), st.booleans())
def test_a_share_of_a_condition_is_never_rounded_to_all_or_nothing(value_pct: float, bare: bool) -> None:
    text = Dimension(bare=bare, percent=True).show(value_pct / 100)
    said = read(text)
    assert (said == 0) == (value_pct == 0)
    assert said < 100 or value_pct > 100 * (1 - 1e-11)


@given(MAGNITUDES, st.sampled_from([TIME, SIZE, RATE]))
def test_a_quantity_of_a_condition_has_no_exponent(value: float, dimension: Dimension) -> None:
    read(dimension.show(value))


@pytest.mark.parametrize("unit", UNITS)
@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_what_is_no_number_is_told_as_none(value: float, unit: str) -> None:
    assert format_value(value, unit) == "-"


@given(MAGNITUDES, MAGNITUDES, st.sampled_from(UNITS))
def test_a_value_beside_an_axis_is_the_value(value: float, other: float, unit: str) -> None:
    axis = Axis.of("m", unit, (value, other))
    number, _, rest = axis.text(value).partition(" ")
    assert rest == axis.unit
    says(number, value / axis.divisor, 1e-3)


@given(VALUES)
def test_a_smallest_change_has_no_exponent(value: float) -> None:
    says(plain_pct(value), value, 0.06)


@given(VALUES, st.none() | st.floats(0, 10))
def test_a_change_has_its_sign_and_is_all_only_where_nothing_is_left(change: float, margin: float | None) -> None:
    text = signed_pct(change, margin)
    said = read(text)
    assert text[0] in "+-"
    assert math.isclose(said, change, rel_tol=0.01, abs_tol=0.051)
    assert abs(change) >= 100 or abs(said) < 100


@given(st.floats(0, 1))
def test_a_probability_is_neither_nothing_nor_all_unless_it_is(probability: float) -> None:
    text = probability_text(probability)
    word, _, rest = text.rpartition("r ")
    said = read(rest if word else text) / 100
    if word:
        assert said > probability if word == "unde" else said < probability
    else:
        assert math.isclose(said, probability, abs_tol=0.00501)
        assert (said == 0) == (probability == 0)
        assert (said == 1) == (probability == 1)


@given(st.just(0.0) | st.just(100.0) | st.floats(0, 100) | st.floats(1e-6, 2) | st.floats(98, 100))
def test_a_share_in_words_is_neither_none_nor_all_unless_it_is(share_pct: float) -> None:
    text = whole_pct(share_pct)
    assert (text == "0 %") == (share_pct == 0)
    assert (text == "100 %") == (share_pct == 100)
    assert text in ("under 1 %", "over 99 %") or abs(read(text) - share_pct) <= 0.5


def test_advice_never_names_a_share_of_nothing() -> None:
    assert (whole_pct(0.3), whole_pct(99.7), whole_pct(math.nan)) == ("under 1 %", "over 99 %", "-")


SHORT: Final[dict[str, tuple[Callable[[float], str], float]]] = {
    "us": (lambda value: short(value, "us"), 1e-6), "bps": (lambda value: short(value, "bps"), 1.0),
    "bytes": (lambda value: short(value, "bytes"), 1.0), "count": (lambda value: short(value, "count"), 1.0),
    "four": (four, 1.0), "time of hist": (lambda value: cell(value, "us"), 1e-6),
    "rate of hist": (lambda value: cell(value, "bps").replace("b", ""), 1.0),
    "segments of hist": (lambda value: cell(math.ceil(value), "segs"), 1.0),
}  # fmt: skip


@given(
    st.just(0.0) | st.floats(1e-6, 9e14) | MAGNITUDES.filter(lambda value: 1e-6 <= value < 9e14),
    st.sampled_from(sorted(SHORT)),
)
def test_a_value_in_a_cell_is_the_value(value: float, unit: str) -> None:
    write, scale = SHORT[unit]
    value = math.ceil(value) if unit == "segments of hist" else value
    if unit == "four" and 0 < value < 0.1:
        assert write(value) == "<0.1" or float(write(value)) > 0
        return
    says(write(value), value * scale, 0.06)


@given(MAGNITUDES.map(lambda value: min(value, 1e12)), st.sampled_from([2, 3, 4]))
def test_a_share_in_a_sentence_has_no_exponent(value_pct: float, digits: int) -> None:
    text = readable_pct(value_pct, digits)
    says(text, value_pct, 0.06)
    assert value_pct >= 100 or read(text) < 100


@pytest.mark.parametrize(("cpu_pct", "words"), [(0.00004, "0.00004 %"), (99.7, "99 %"), (130.0, "130 %")])
def test_what_watching_cost_is_told_without_an_exponent(cpu_pct: float, words: str) -> None:
    assert cost(cpu_pct) == f"perfctl used {words} of one CPU"
