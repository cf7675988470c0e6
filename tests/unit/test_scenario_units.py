"""Quantities with units: parsed, refused, written back."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from functools import partial

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perfcheck.model.quantities import Loss, Queue, QueueSize, parse_loss, parse_queue
from perfcheck.model.units import (
    DURATION_NS,
    LARGEST,
    RATE_BPS,
    SIZE_BYTES,
    format_value,
    parse_duration_ns,
    parse_in_unit,
    parse_percent,
    parse_rate_bps,
    parse_size_bytes,
    split_quantity,
)
from perfcheck.scenario.notation import duration_text, loss_text, percent_text, queue_text, rate_text, size_text

PARSERS = (parse_duration_ns, parse_rate_bps, parse_size_bytes, parse_percent)


@pytest.mark.parametrize(
    ("text", "expected"),
    [("10ms", 10_000_000), ("1.5s", 1_500_000_000), ("200us", 200_000), ("7ns", 7), ("2min", 120_000_000_000),
     (" 3 ms ", 3_000_000), ("1e3us", 1_000_000), ("5MS", 5_000_000), ("0s", 0)],
)  # fmt: skip
def test_durations(text: str, expected: int) -> None:
    assert parse_duration_ns(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [("100mbit", 100_000_000), ("1gbit", 10**9), ("64kbit", 64_000), ("9bit", 9), ("2.5gbit", 2_500_000_000)],
)
def test_rates(text: str, expected: int) -> None:
    assert parse_rate_bps(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"), [("256kb", 256_000), ("64kib", 65_536), ("1mib", 1 << 20), ("160b", 160), ("1gb", 10**9)]
)
def test_sizes(text: str, expected: int) -> None:
    assert parse_size_bytes(text) == expected


@pytest.mark.parametrize(
    "text", ["5", 5, 5.0, "", "ms", "-5ms", "5 parsecs", "1e999s", "9" * 400 + "s", True, None, [], "\u0661ms"]
)
def test_no_duration(text: object) -> None:
    with pytest.raises(ValueError, match="expected a duration such as 10ms"):
        parse_duration_ns(text)


def test_a_quantity_beyond_62_bits_is_refused() -> None:
    assert parse_duration_ns("4e9s") == 4 * 10**18
    with pytest.raises(ValueError, match="fits 62 bits"):
        parse_duration_ns("5e9s")


@pytest.mark.parametrize(("text", "expected"), [("0%", 0.0), ("0.1%", 0.1), ("100%", 100.0)])
def test_percentages(text: str, expected: float) -> None:
    assert parse_percent(text) == expected


@pytest.mark.parametrize("text", ["100.1%", "5", "-1%", "%"])
def test_no_percentage(text: str) -> None:
    with pytest.raises(ValueError, match="expected a percentage"):
        parse_percent(text)


@pytest.mark.parametrize(
    ("text", "unit", "expected"),
    [("60ms", "us", 60_000.0), ("60", "us", 60.0), ("85mbit", "bps", 85e6), ("0.5%", "pct", 0.5),
     ("64kib", "bytes", 65_536.0), ("3", "segs", 3.0), ("0.9", "ratio", 0.9)],
)  # fmt: skip
def test_thresholds_in_a_metrics_unit(text: str, unit: str, expected: float) -> None:
    assert parse_in_unit(text, unit) == expected


@pytest.mark.parametrize(
    ("text", "unit"), [("60mbit", "us"), ("5%", "segs"), ("fast", "bps"), (True, "us"), ("", "us")]
)
def test_no_threshold(text: object, unit: str) -> None:
    with pytest.raises(ValueError, match="expected a"):
        parse_in_unit(text, unit)


@given(st.integers(0, 10**9), st.integers(0, 3), st.sampled_from(sorted(DURATION_NS)))
def test_decimal_durations_are_exact_to_the_nanosecond(whole: int, places: int, unit: str) -> None:
    text = f"{whole}.{'5' * places}{unit}" if places else f"{whole}{unit}"
    exact = Fraction(text.removesuffix(unit)) * DURATION_NS[unit]
    if exact < 2**52:
        assert abs(parse_duration_ns(text) - exact) <= Fraction(1, 2)


@given(st.integers(0, LARGEST - 1).filter(lambda value: value < 2**53))
def test_what_notation_writes_parses_back(value: int) -> None:
    assert parse_duration_ns(duration_text(value)) == value
    assert parse_rate_bps(rate_text(value)) == value
    assert parse_size_bytes(size_text(value)) == value


@given(st.floats(0, 100))
def test_percentages_parse_back(value: float) -> None:
    assert parse_percent(percent_text(value)) == value


def test_notation_takes_the_shortest_text() -> None:
    assert duration_text(1_500_000) == "1500us"
    assert duration_text(60 * 10**9) == "60s"
    assert rate_text(2_500_000) == "2500kbit"
    assert size_text(65_536) == "64kib"
    assert size_text(256_000) == "256kb"
    assert duration_text(0) == "0s"


@pytest.mark.parametrize("text", ["1bdp", "0.5bdp", "100p", "256kb", "64kib"])
def test_queues_parse_back(text: str) -> None:
    queue = parse_queue(text)
    assert isinstance(queue, Queue)
    assert queue_text(queue) == text


@pytest.mark.parametrize("text", ["1bdp codel", "100p codel target=10ms interval=200ms"])
def test_disciplines_are_written(text: str) -> None:
    size, discipline, *times = text.split()
    given_times = dict(time.split("=") for time in times)
    queue = Queue.model_validate({"size": size, "discipline": discipline, **given_times})
    assert queue_text(queue) == text


@pytest.mark.parametrize("value", ["0bdp", "0p", "1.5p", "0b", "1e30p", "1e9bdp", "5", [], None, True])
def test_no_queue(value: object) -> None:
    with pytest.raises(ValueError, match="expected a queue size such as 1bdp, 100p or 256kb"):
        parse_queue(value)


def test_a_queue_is_exactly_one_of_three() -> None:
    with pytest.raises(ValueError, match="exactly one"):
        QueueSize(packets=1, bdp=1.0)
    with pytest.raises(ValueError, match="exactly one"):
        QueueSize()


@pytest.mark.parametrize(
    ("queue", "expected"), [("2bdp", 500_000), ("10p", 15_000), ("4kb", 4_000), ("0.001bdp", 3_000)]
)
def test_a_queues_bytes(queue: str, expected: int) -> None:
    parsed = parse_queue(queue)
    assert isinstance(parsed, Queue)
    assert parsed.size.bytes_for(rate_bps=100_000_000, rtt_ns=20_000_000, mtu=1500) == expected


def test_losses() -> None:
    random = parse_loss("0.1%")
    assert isinstance(random, Loss)
    assert (random.mean_pct, loss_text(random)) == (0.1, "0.1%")
    burst = Loss.model_validate({"model": "gilbert-elliott", "p": "1%", "r": "25%"})
    assert burst.mean_pct == pytest.approx(100 / 26)
    assert loss_text(burst) == "gilbert-elliott p=1% r=25% h=100% k=0%"


@given(st.one_of(st.text(), st.floats(), st.integers(), st.none(), st.booleans(), st.lists(st.integers())))
def test_parsers_raise_nothing_but_value_errors(value: object) -> None:
    readers: list[Callable[[object], float]] = [
        *PARSERS,
        *(partial(parse_in_unit, unit=unit) for unit in ("us", "bps", "bytes", "pct", "ratio")),
    ]
    for reader in readers:
        parsed, refused = 0.0, ""
        try:
            parsed = reader(value)
        except ValueError as error:
            refused = str(error)
        assert parsed >= 0
        assert not refused or refused.startswith("expected a")


@given(st.floats(allow_nan=False, allow_infinity=False, min_value=0, max_value=1e15))
def test_every_split_number_is_finite_and_as_written(value: float) -> None:
    parts = split_quantity(f"{value!r}ms")
    assert parts == (value, "ms")


@pytest.mark.parametrize(
    ("value", "unit", "expected"),
    [(20_130, "us", "20.13 ms"), (95.6e6, "bps", "95.6 Mbit/s"), (0.5, "pct", "0.5 %"), (65_536, "bytes", "65.54 kB"),
     (1.25, "ratio", "1.25"), (1234, "segs", "1,234"), (0, "us", "0 ns")],
)  # fmt: skip
def test_values_for_people(value: float, unit: str, expected: str) -> None:
    assert format_value(value, unit) == expected


def test_each_table_has_its_base_unit() -> None:
    assert (DURATION_NS["ns"], RATE_BPS["bit"], SIZE_BYTES["b"]) == (1, 1, 1)
