"""The language of conditions: its grammar, three-valued logic, and agreement with Python's own arithmetic."""

from __future__ import annotations

import math
from dataclasses import dataclass

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from perfcheck.diagnose.condition import Junction, Not, metric_names
from perfcheck.diagnose.evaluation import Reading, facts, holds, why_unknown
from perfcheck.diagnose.parsing import ConditionError, parse_condition
from perfcheck.model.catalogue import CATALOGUE

UNHURRIED = settings(deadline=None)
"""A busy machine is no mistake."""

NAMES = ("tcp.rtt_us.p50", "tcp.rtt_us.p99", "tcp.min_rtt_us", "tcp.rttvar_us")
VALUES = st.floats(-1e6, 1e6, allow_nan=False) | st.sampled_from([0.0, 1.0, -1.0])
READINGS = st.fixed_dictionaries(dict.fromkeys(NAMES, VALUES))


@dataclass(frozen=True)
class Twin:
    """The same expression in the language of rules and in Python's, over `m`, in nanoseconds."""

    rule: str
    python: str


@st.composite
def quantities(draw: st.DrawFn, power: int, depth: int) -> Twin:
    """Draw a quantity of the given power of time (0, 1 or 2)."""
    if depth == 0 or draw(st.booleans()):
        if power == 0:
            number = draw(st.integers(1, 99))
            return Twin(str(number), f"{number}.0")
        if power == 1:
            name = draw(st.sampled_from(NAMES))
            number = draw(st.integers(0, 99999))
            return draw(
                st.sampled_from([Twin(name, f"(m[{name!r}] * 1000.0)"), Twin(f"{number}us", f"({number}.0 * 1000)")])
            )
        left, right = draw(quantities(1, 0)), draw(quantities(1, 0))
        return linked("*", left, right)
    operator = draw(st.sampled_from(["+", "-", "*", "/", "min", "max", "abs", "-()"]))
    one = draw(quantities(power, depth - 1))
    if operator in ("abs", "-()"):
        name = operator.removesuffix("()")
        return Twin(f"{name}({one.rule})", f"{name}({one.python})")
    if operator in ("min", "max"):
        two = draw(quantities(power, depth - 1))
        return Twin(f"{operator}({one.rule}, {two.rule})", f"{operator}({one.python}, {two.python})")
    if operator == "/" and power < 2 and draw(st.booleans()):
        return linked("/", draw(quantities(power + 1, depth - 1)), draw(quantities(1, depth - 1)))
    return linked(operator, one, draw(quantities(0 if operator in "*/" else power, depth - 1)))


@st.composite
def conditions(draw: st.DrawFn, depth: int = 2) -> Twin:
    """Draw a condition over times."""
    kind = draw(st.sampled_from(["and", "or", "not", "<", "<=", ">", ">=", "==", "!="])) if depth else "<"
    if kind == "not":
        one = draw(conditions(depth - 1))
        return Twin(f"not ({one.rule})", f"not ({one.python})")
    if kind in ("and", "or"):
        return linked(kind, draw(conditions(depth - 1)), draw(conditions(depth - 1)))
    power = draw(st.integers(0, 2))
    one, two = draw(quantities(power, 2)), draw(quantities(power, 2))
    return Twin(f"{one.rule} {kind} {two.rule}", f"{one.python} {kind} {two.python}")


def linked(operator: str, left: Twin, right: Twin) -> Twin:
    return Twin(f"({left.rule}) {operator} ({right.rule})", f"(({left.python}) {operator} ({right.python}))")


CONDITIONS = conditions()


def judged(text: str, metrics: dict[str, float]) -> bool | None:
    return holds(parse_condition(text, CATALOGUE), Reading(metrics=metrics))


@UNHURRIED
@given(CONDITIONS, READINGS)
def test_a_condition_is_worth_what_python_makes_of_it(twin: Twin, metrics: dict[str, float]) -> None:
    result = judged(twin.rule, metrics)
    try:
        expected = eval(twin.python, {"__builtins__": {"min": min, "max": max, "abs": abs}}, {"m": metrics})  # noqa: S307
    except ZeroDivisionError:
        return  # Python stops where the language of rules may still decide: `0/0 > 1 or true`
    if result is not None:
        assert result is expected


@UNHURRIED
@given(CONDITIONS, READINGS)
def test_without_a_division_everything_measured_is_decided(twin: Twin, metrics: dict[str, float]) -> None:
    assume("/" not in twin.rule)
    assert judged(twin.rule, metrics) is not None


@UNHURRIED
@given(CONDITIONS, READINGS, READINGS, st.sets(st.sampled_from(NAMES)))
def test_what_is_decided_without_a_metric_holds_for_each_of_its_values(
    twin: Twin, metrics: dict[str, float], others: dict[str, float], missing: set[str]
) -> None:
    known = {name: number for name, number in metrics.items() if name not in missing}
    result = judged(twin.rule, known)
    completed = judged(twin.rule, known | {name: others[name] for name in missing})
    if result is not None and completed is not None:
        assert completed is result


@UNHURRIED
@given(CONDITIONS, CONDITIONS, READINGS, st.sets(st.sampled_from(NAMES)))
def test_laws_of_three_valued_logic(one: Twin, two: Twin, metrics: dict[str, float], missing: set[str]) -> None:
    known = {name: number for name, number in metrics.items() if name not in missing}
    a, b = f"({one.rule})", f"({two.rule})"
    assert judged(f"not not {a}", known) is judged(a, known)
    assert judged(f"not ({a} and {b})", known) is judged(f"not {a} or not {b}", known)
    assert judged(f"{a} and {b}", known) is judged(f"{b} and {a}", known)
    assert judged(f"{a} or {a} and {b}", known) is judged(a, known)
    assert judged(f"{a} or not {a}", known) is not False
    assert judged(f"{a} and not {a}", known) is not True


@UNHURRIED
@given(CONDITIONS, READINGS, st.sets(st.sampled_from(NAMES)))
def test_every_outcome_can_be_explained(twin: Twin, metrics: dict[str, float], missing: set[str]) -> None:
    condition = parse_condition(twin.rule, CATALOGUE)
    reading = Reading(metrics={name: number for name, number in metrics.items() if name not in missing})
    result = holds(condition, reading)
    if result is None:
        assert why_unknown(condition, reading)
    else:
        assert facts(condition, reading, wanted=result)


@pytest.mark.parametrize(
    ("left", "right", "conjunction", "disjunction"),
    [
        (True, True, True, True), (True, False, False, True), (False, False, False, False),
        (True, None, None, True), (False, None, False, None), (None, None, None, None),
    ],
)  # fmt: skip
def test_the_truth_table(
    left: bool | None, right: bool | None, conjunction: bool | None, disjunction: bool | None
) -> None:
    texts = {True: "tcp.resets > 0", False: "tcp.resets < 0", None: "tcp.ooo_segs > 0"}
    operands = tuple(parse_condition(texts[each], CATALOGUE) for each in (left, right))
    reading = Reading(metrics={"tcp.resets": 1.0})
    assert holds(Junction(operator="and", operands=operands), reading) is conjunction
    assert holds(Junction(operator="or", operands=operands), reading) is disjunction
    assert holds(Not(operand=operands[0]), reading) is (None if left is None else not left)


@UNHURRIED
@given(st.text(max_size=60) | st.text(alphabet="0123456789.%msb()<>=+-*/ andortcp_u", max_size=60))
def test_any_text_is_read_or_refused_with_a_place(text: str) -> None:
    try:
        condition = parse_condition(text, CATALOGUE)
    except ConditionError as refused:
        offset, message = refused.offset, str(refused)
    else:
        assert holds(condition, Reading(metrics={})) in (True, False, None)
        return
    assert 0 <= offset <= len(text)
    assert message


@UNHURRIED
@given(st.sampled_from(NAMES), st.sampled_from([math.nan, math.inf, -math.inf]))
def test_a_value_that_is_no_number_is_unknown(name: str, number: float) -> None:
    assert judged(f"{name} > 1ms", {name: number}) is None
    assert judged(f"has({name})", {name: number}) is False


def test_overflow_is_unknown() -> None:
    assert judged("1e290 * tcp.rtt_us.p50 > 1ms", {"tcp.rtt_us.p50": 1e290}) is None


def test_a_division_by_zero_is_unknown_and_says_of_what() -> None:
    condition = parse_condition("tcp.retrans_segs / tcp.recovery_events > 8", CATALOGUE)
    reading = Reading(metrics={"tcp.retrans_segs": 10.0, "tcp.recovery_events": 0.0})
    assert holds(condition, reading) is None
    assert why_unknown(condition, reading) == ("a divisor other than 0 (tcp.recovery_events)",)


def test_has_is_never_unknown() -> None:
    assert judged("has(tcp.resets)", {}) is False
    assert judged("not has(tcp.resets) and tcp.ooo_segs > 1", {"tcp.ooo_segs": 2.0}) is True


def test_spread_is_over_the_trials_and_needs_three() -> None:
    condition = parse_condition("spread(tcp.delivery_rate_bps) > 15%", CATALOGUE)
    rates = [{"tcp.delivery_rate_bps": rate} for rate in (90e6, 100e6, 110e6)]
    assert holds(condition, Reading(metrics=rates[1], trials=rates)) is True
    assert holds(condition, Reading(metrics=rates[1], trials=[rates[0], rates[0], rates[0]])) is False
    reading = Reading(metrics=rates[1], trials=rates[:2])
    assert holds(condition, reading) is None
    assert why_unknown(condition, reading) == ("tcp.delivery_rate_bps in 3 runs",)
    idle = Reading(metrics={}, trials=[{"tcp.delivery_rate_bps": 0.0}] * 3)
    assert why_unknown(condition, idle) == ("tcp.delivery_rate_bps other than 0",)


def test_either_is_the_first_that_is_known() -> None:
    condition = parse_condition("either(tcp.rtt_us.p50, tcp.srtt_us.p50) > 30ms", CATALOGUE)
    both = {"tcp.rtt_us.p50": 40e3, "tcp.srtt_us.p50": 20e3}
    assert holds(condition, Reading(metrics=both)) is True
    assert holds(condition, Reading(metrics={"tcp.srtt_us.p50": 20e3})) is False
    assert holds(condition, Reading(metrics={})) is None
    assert why_unknown(condition, Reading(metrics={})) == ("tcp.rtt_us.p50", "tcp.srtt_us.p50")
    more = parse_condition("either(tcp.rtt_us.p50, tcp.srtt_us.p50) > 2 * tcp.min_rtt_us", CATALOGUE)
    assert why_unknown(more, Reading(metrics={"tcp.srtt_us.p50": 20e3})) == ("tcp.min_rtt_us",)
    with pytest.raises(ConditionError, match="cannot compare"):
        parse_condition("either(tcp.rtt_us.p50, tcp.retrans_pct) > 30ms", CATALOGUE)


def test_baseline_is_unknown_without_one() -> None:
    condition = parse_condition("tcp.min_rtt_us > 1.2 * baseline(tcp.min_rtt_us)", CATALOGUE)
    now = {"tcp.min_rtt_us": 26_000.0}
    assert holds(condition, Reading(metrics=now)) is None
    assert why_unknown(condition, Reading(metrics=now)) == ("a baseline of tcp.min_rtt_us",)
    assert holds(condition, Reading(metrics=now, baseline={"tcp.min_rtt_us": 20_000.0})) is True


def test_chained_comparisons() -> None:
    assert judged("1ms < tcp.min_rtt_us < 3ms", {"tcp.min_rtt_us": 2000.0}) is True
    assert judged("1ms < tcp.min_rtt_us < 3ms", {"tcp.min_rtt_us": 3000.0}) is False


def test_facts_tell_metric_value_and_threshold_of_what_decided() -> None:
    text = "tcp.rtt_us.p50 > 4 * tcp.min_rtt_us and (tcp.retrans_pct > 1% or tcp.queue_delay_us > 30ms)"
    metrics = {
        "tcp.rtt_us.p50": 120e3, "tcp.min_rtt_us": 20e3, "tcp.retrans_pct": 0.1, "tcp.queue_delay_us": 100e3,
    }  # fmt: skip
    assert facts(parse_condition(text, CATALOGUE), Reading(metrics=metrics)) == (
        "tcp.rtt_us.p50 (120 ms) > 4 * tcp.min_rtt_us (80 ms)",
        "tcp.queue_delay_us (100 ms) > 30 ms",
    )
    negated = parse_condition(f"not ({text}) and not has(tcp.resets)", CATALOGUE)
    assert facts(negated, Reading(metrics=metrics | {"tcp.rtt_us.p50": 30e3})) == (
        "tcp.rtt_us.p50 (30 ms) not > 4 * tcp.min_rtt_us (80 ms)",
        "tcp.resets was not measured",
    )


def test_metric_names_are_each_given_once_in_order() -> None:
    text = "tcp.rtt_us.p50 > 1ms and -tcp.rtt_us.p50 < max(tcp.min_rtt_us, 1ms) or spread(tcp.resets) > 1"
    assert metric_names(parse_condition(text, CATALOGUE)) == ("tcp.rtt_us.p50", "tcp.min_rtt_us", "tcp.resets")


@pytest.mark.parametrize(
    ("text", "offset", "message"),
    [
        ("", 0, "empty"),
        ("  ", 0, "empty"),
        ("tcp.rtt_us.p50", 0, "is a quantity where a condition is needed"),
        ("tcp.rtt_us.p50 > 1ms and 5", 25, "is a quantity where a condition is needed"),
        ("tcp.rtt_us.p50 > (1ms < 2ms)", 18, "is a condition where a quantity is needed"),
        ("tcp.rtt_us.p50 > has(tcp.resets)", 17, "has.* is a condition where a quantity is needed"),
        ("tcp.rtt_us.p55 > 1ms", 0, "'tcp.rtt_us.p55' is not a metric; did you mean tcp.rtt_us.p50"),
        ("1ms < tcp.rtt_us", 6, "needs a statistic, such as tcp.rtt_us.p50"),
        ("has(rtt)", 4, "'rtt' is not a metric"),
        ("tcp.rtt_us.p50 > 30parsec", 17, "'parsec' is not a unit"),
        ("tcp.rtt_us.p50 > 30mss", 17, "did you mean ms"),
        ("tcp.rtt_us.p50 > '30ms'", 17, "without quotes"),
        ("tcp.resets > True", 13, "expected a number"),
        ("tcp.rtt_us.p50 ** 2 > 3ms", 0, r"only \+ - \* /"),
        ("tcp.resets % 2 == 0", 0, "a percentage is written without a space"),
        ("tcp.resets is 2", 0, "compare with"),
        ("tcp.resets in (1, 2)", 14, "not part of the language"),
        ("max(tcp.resets) > 2", 0, "two or more"),
        ("abs(tcp.resets, 1) > 2", 0, "one quantity"),
        ("max(tcp.resets, key=1) > 2", 0, "two or more"),
        ("spread(5ms + 1ms) > 2", 0, "the name of one metric"),
        ("baseline() > 2ms", 0, "the name of one metric"),
        ("sqrt(tcp.resets) > 2", 0, "can be called"),
        ("spred(tcp.resets) > 2", 0, "did you mean spread"),
        ("__import__('os').system('true') > 2", 0, "can be called"),
        ("tcp.resets > 2 and\n  tcp.resets <", 33, "cannot be read"),
        ("tcp.resets > 2; tcp.resets", 14, "cannot be read"),
        ("tcp.resets > [1][0]", 13, "not part of the language"),
        ("tcp.resets > (lambda: 1)()", 13, "can be called"),
        ("tcp.resets > ____", 13, "is not a metric"),
        ("(1).real > 2", 0, "not part of the language"),
        ("tcp.resets > 1e999", 13, "too large"),
        ("tcp.rtt_us.p50 > 1e308s", 17, "too large"),
        ("tcp.resets > \N{GREEK SMALL LETTER MU}", 13, "unexpected character"),
        ("~tcp.resets > 1", 0, "not part of the language"),
        ("tcp.resets > 1if", 13, "'if' is not a unit"),
        ("tcp.resets > 1 " + "+ 1" * 800, 0, "longer than 2000"),
        ("tcp.resets > " + "-" * 300 + "1", 0, "nested more than 60 deep"),
        ("(" * 900 + "1" + ")" * 900, 0, "cannot be read|nested"),
    ],
)
def test_what_is_not_in_the_language_is_refused_at_its_place(text: str, offset: int, message: str) -> None:
    with pytest.raises(ConditionError, match=message) as caught:
        parse_condition(text, CATALOGUE)
    if "(((" not in text:  # where nesting is told depends on the Python version
        assert caught.value.offset == offset
