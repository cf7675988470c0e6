"""What is evaluated once and remembered is what would be evaluated each time."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from perfcheck.diagnose.condition import Condition, Quantity, distinct, quantities
from perfcheck.diagnose.evaluation import Reading, facts, holds, why_unknown
from perfcheck.diagnose.parsing import parse_condition, parse_term
from perfcheck.model.catalogue import CATALOGUE

VALUES = st.one_of(st.none(), st.just(0.0), st.floats(-1e9, 1e9))
NAMES = ("tcp.retrans_pct", "tcp.rtt_us.p50", "tcp.min_rtt_us", "tcp.srtt_us.p50")
TERMS = {
    "mid": "either(tcp.rtt_us.p50, tcp.srtt_us.p50)",
    "grown": "mid / tcp.min_rtt_us",
    "queue": "grown > 2 and mid - tcp.min_rtt_us > 10ms",
    "lost": "tcp.retrans_pct > 1%",
}


def condition(text: str) -> Condition:
    terms: dict[str, Quantity | Condition] = {}
    for name, each in TERMS.items():
        terms[name] = parse_term(each, CATALOGUE, terms)
    return parse_condition(text, CATALOGUE, terms)


CONDITIONS = tuple(
    map(condition, ("queue or lost", "not queue and (lost or grown > 3)", "lost and queue and not lost"))
)


def reading(values: dict[str, float | None]) -> Reading:
    return Reading(metrics={name: number for name, number in values.items() if number is not None})


@given(st.fixed_dictionaries(dict.fromkeys(NAMES, VALUES)), st.permutations(range(len(CONDITIONS))))
def test_conditions_that_share_terms_say_the_same_in_any_order(
    values: dict[str, float | None], order: list[int]
) -> None:
    shared = reading(values)
    for place in order:
        each, alone = CONDITIONS[place], reading(values)
        assert holds(each, shared) == holds(each, alone)
        assert why_unknown(each, shared) == why_unknown(each, alone)
        assert facts(each, shared) == facts(each, alone)


def test_each_quantity_is_visited_once_in_the_order_of_the_text() -> None:
    for each in CONDITIONS:
        every = list(quantities(each))
        assert list(distinct(each)) == list({id(node): node for node in every}.values())


def test_terms_that_double_at_each_step_are_evaluated_once_each() -> None:
    terms: dict[str, Quantity | Condition] = {"t0": parse_term("tcp.retrans_pct + 1%", CATALOGUE, {})}
    for step in range(1, 10):
        terms[f"t{step}"] = parse_term(f"t{step - 1} + t{step - 1}", CATALOGUE, terms)
    doubled = parse_condition("t9 > 1%", CATALOGUE, terms)
    assert len(list(quantities(doubled))) > 1000
    assert len(list(distinct(doubled))) < 20
    assert holds(doubled, Reading(metrics={"tcp.retrans_pct": 1.0})) is True
