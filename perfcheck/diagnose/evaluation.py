"""Evaluates conditions in Kleene's three-valued logic: what was not measured is unknown, never false."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from perfcheck.diagnose.condition import (
    Arithmetic,
    Comparison,
    Condition,
    Function,
    Has,
    Junction,
    Metric,
    Not,
    Number,
    Quantity,
    Spread,
    distinct,
    quantities,
)  # fmt: skip

MIN_TRIALS_FOR_SPREAD: Final = 3
_Known = dict[int, tuple[Condition, bool | None]]
_Amounts = dict[int, tuple[Arithmetic | Function, float | None]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """What conditions are evaluated on: values by metric name, in the units that the names carry."""

    metrics: Mapping[str, float]
    trials: Sequence[Mapping[str, float]] = ()
    baseline: Mapping[str, float] = field(default_factory=dict)
    _known: _Known = field(default_factory=dict, init=False, repr=False, compare=False)
    """What was evaluated, by the identity of its node: conditions share the trees of their terms."""
    _amounts: _Amounts = field(default_factory=dict, init=False, repr=False, compare=False)


def holds(condition: Condition, reading: Reading) -> bool | None:
    """Whether a condition holds; None where a missing value or a division by zero leaves it open."""
    known = reading._known.get(id(condition))
    if known is None:
        # The node is kept, so that its identity stays its own.
        known = reading._known[id(condition)] = condition, _evaluated(condition, reading)
    return known[1]


def _evaluated(condition: Condition, reading: Reading) -> bool | None:
    match condition:
        case Comparison():
            return _compare(condition, reading)
        case Has():
            return _finite(reading.metrics.get(condition.name)) is not None
        case Not():
            inner = holds(condition.operand, reading)
            return None if inner is None else not inner
        case Junction():
            return _junction(condition, reading)


def _junction(junction: Junction, reading: Reading) -> bool | None:
    decisive = junction.operator == "or"
    unknown = False
    for operand in junction.operands:
        result = holds(operand, reading)
        if result is decisive:
            return decisive
        unknown = unknown or result is None
    return None if unknown else not decisive


def _compare(comparison: Comparison, reading: Reading) -> bool | None:
    left, right = value(comparison.left, reading), value(comparison.right, reading)
    if left is None or right is None:
        return None
    match comparison.operator:
        case "<":
            return left < right
        case "<=":
            return left <= right
        case ">":
            return left > right
        case ">=":
            return left >= right
        case "==":
            return left == right
        case "!=":
            return left != right


def value(quantity: Quantity, reading: Reading) -> float | None:
    """Return a quantity in base units, or None where it is unknown; never infinite or NaN."""
    match quantity:
        case Number():
            return quantity.value
        case Metric():
            source = reading.metrics if quantity.of == "run" else reading.baseline
            measured = _finite(source.get(quantity.name))
            return None if measured is None else _finite(measured * quantity.scale)
        case Spread():
            return _spread(quantity.name, reading.trials)
        case _:
            known = reading._amounts.get(id(quantity))
            if known is None:
                amount = (
                    _arithmetic(quantity, reading) if isinstance(quantity, Arithmetic) else _function(quantity, reading)
                )
                known = reading._amounts[id(quantity)] = quantity, amount
            return known[1]


def _arithmetic(quantity: Arithmetic, reading: Reading) -> float | None:
    left, right = value(quantity.left, reading), value(quantity.right, reading)
    if left is None or right is None:
        return None
    match quantity.operator:
        case "+":
            return _finite(left + right)
        case "-":
            return _finite(left - right)
        case "*":
            return _finite(left * right)
        case "/":
            return None if right == 0 else _finite(left / right)


def _function(quantity: Function, reading: Reading) -> float | None:
    values = [value(argument, reading) for argument in quantity.arguments]
    known = [each for each in values if each is not None]
    if quantity.name == "either":
        return known[0] if known else None
    if len(known) < len(values):
        return None
    return {"min": min, "max": max}[quantity.name](known) if quantity.name != "abs" else abs(known[0])


def _spread(name: str, trials: Sequence[Mapping[str, float]]) -> float | None:
    measured = [each for trial in trials if (each := _finite(trial.get(name))) is not None]
    if len(measured) < MIN_TRIALS_FOR_SPREAD:
        return None
    middle = statistics.median(measured)
    return None if middle == 0 else _finite((max(measured) - min(measured)) / abs(middle))


def _finite(number: float | None) -> float | None:
    return number if number is not None and math.isfinite(number) else None


def why_unknown(condition: Condition, reading: Reading) -> tuple[str, ...]:
    """Say what a condition that is unknown lacks: metrics not measured, no baseline, too few trials, a zero divisor."""
    nodes = list(distinct(condition))
    chosen = [each for each in nodes if isinstance(each, Function) and each.name == "either"]
    spared = {id(inner) for each in chosen if value(each, reading) is not None for inner in distinct(each)}
    reasons = (
        _lack(node, reading)
        for node in nodes
        if isinstance(node, (Metric, Spread, Arithmetic)) and id(node) not in spared and value(node, reading) is None
    )
    return tuple(dict.fromkeys(reason for reason in reasons if reason))


def _lack(node: Metric | Spread | Arithmetic, reading: Reading) -> str:
    if isinstance(node, Metric):
        return node.name if node.of == "run" else f"a baseline of {node.name}"
    if isinstance(node, Spread):
        measured = sum(_finite(trial.get(node.name)) is not None for trial in reading.trials)
        few = measured < MIN_TRIALS_FOR_SPREAD
        return f"{node.name} in {MIN_TRIALS_FOR_SPREAD} runs" if few else f"{node.name} other than 0"
    if node.operator == "/" and value(node.right, reading) == 0:
        names = " and ".join(each.name for each in quantities(node.right) if isinstance(each, (Metric, Spread)))
        return f"a divisor other than 0 ({names})" if names else "a divisor other than 0"
    return ""


def facts(condition: Condition, reading: Reading, *, wanted: bool = True) -> tuple[str, ...]:
    """Return the comparisons, with their values, that made a condition come out as `wanted`."""
    match condition:
        case Comparison():
            return (_fact(condition, reading, wanted=wanted),)
        case Has():
            return () if wanted else (f"{condition.name} was not measured",)
        case Not():
            return facts(condition.operand, reading, wanted=not wanted)
        case Junction():
            decisive = [each for each in condition.operands if holds(each, reading) is wanted]
            texts = (text for operand in decisive for text in facts(operand, reading, wanted=wanted))
            return tuple(dict.fromkeys(texts))


def _fact(comparison: Comparison, reading: Reading, *, wanted: bool) -> str:
    sign = comparison.operator if wanted else f"not {comparison.operator}"
    return f"{_side(comparison.left, comparison.left_text, reading)} {sign} " + _side(
        comparison.right, comparison.right_text, reading
    )


def _side(quantity: Quantity, text: str, reading: Reading) -> str:
    amount = value(quantity, reading)
    shown = "unknown" if amount is None else quantity.dimension.show(amount)
    if isinstance(quantity, Number):
        return shown
    return f"{text} ({shown})"
