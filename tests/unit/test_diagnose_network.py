"""The noisy-OR network: its probabilities against a sum over all sets of causes that is written otherwise."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import product
from math import comb, prod
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from perfcheck.diagnose.network import Bit, Network
from perfcheck.model.causes import CAUSES

UNHURRIED = settings(deadline=None)
"""A busy machine is no mistake."""

PROBABILITY = st.floats(0.001, 0.999)
FEW: Sequence[str] = CAUSES[1:6]


@st.composite
def bits(draw: st.DrawFn, causes: Sequence[str] = FEW, most: int = 6) -> tuple[Bit, ...]:
    count = draw(st.integers(0, most))
    return tuple(
        Bit(
            name=f"bit-{index}",
            says=draw(st.dictionaries(st.sampled_from(["healthy", *causes]), PROBABILITY, max_size=4)),
            leak=draw(PROBABILITY), weight=draw(st.floats(0, 1)),
        )
        for index in range(count)
    )  # fmt: skip


@st.composite
def problems(draw: st.DrawFn) -> tuple[dict[str, float], tuple[Bit, ...], dict[str, float | None], frozenset[str]]:
    priors = {cause: draw(st.floats(0.01, 0.6)) for cause in FEW[: draw(st.integers(1, len(FEW)))]}
    drawn = draw(bits())
    state = st.none() | st.sampled_from([0.0, 0.5, 1.0])
    states = {bit.name: draw(state) for bit in drawn}
    return priors, drawn, states, draw(st.sampled_from([frozenset(), frozenset(FEW[:1])]))


def summed(
    priors: Mapping[str, float], drawn: Sequence[Bit], states: Mapping[str, float | None], harmless: frozenset[str],
    most: int,
) -> tuple[dict[str, float], float]:  # fmt: skip
    """Add up, one assignment of all causes after another, what a noisy-OR gate each says of the bits."""
    total, healthy, each = 0.0, 0.0, dict.fromkeys(priors, 0.0)
    for chosen in product([False, True], repeat=len(priors)):
        present = {cause for cause, there in zip(priors, chosen, strict=True) if there}
        if len(present) > most:
            continue
        weight = prod(priors[cause] if cause in present else 1 - priors[cause] for cause in priors)
        well = present <= harmless
        for bit in drawn:
            state = states[bit.name]
            if state is None:
                continue
            off = 1 - bit.leak
            for cause, strength in bit.says.items():
                if cause in present or (cause == "healthy" and well):
                    off *= 1 - strength
            off = min(max(off, 1e-6), 1 - 1e-6)
            weight *= (1 - off) ** (bit.weight * state) * off ** (bit.weight * (1 - state))
        total += weight
        healthy += weight * well
        for cause in present:
            each[cause] += weight
    return {cause: share / total for cause, share in each.items()}, healthy / total


@UNHURRIED
@given(problems(), st.integers(1, 3))
def test_probabilities_are_those_of_a_sum_over_all_sets_of_causes(
    problem: tuple[dict[str, float], tuple[Bit, ...], dict[str, float | None], frozenset[str]], most: int
) -> None:
    priors, drawn, states, harmless = problem
    network = Network(priors, drawn, harmless=harmless, most=most)
    found = network.posterior(network.states(states))
    causes, healthy = summed(priors, drawn, states, harmless, most)
    assert found.causes == pytest.approx(causes, rel=1e-6, abs=1e-9)
    assert found.healthy == pytest.approx(healthy, rel=1e-6, abs=1e-9)


@UNHURRIED
@given(problems())
def test_probabilities_are_between_0_and_1_and_add_up(
    problem: tuple[dict[str, float], tuple[Bit, ...], dict[str, float | None], frozenset[str]],
) -> None:
    priors, drawn, states, harmless = problem
    network = Network(priors, drawn, harmless=harmless)
    found = network.posterior(network.states(states))
    assert found.hypotheses.sum() == pytest.approx(1)
    assert all(0 <= share <= 1 for share in [found.healthy, *found.causes.values(), *found.hypotheses])


@UNHURRIED
@given(problems(), st.floats(0.01, 0.98), PROBABILITY, st.floats(0, 1))
def test_evidence_that_a_cause_turns_on_never_makes_it_less_probable(
    problem: tuple[dict[str, float], tuple[Bit, ...], dict[str, float | None], frozenset[str]], strength: float,
    leak: float, weight: float,
) -> None:  # fmt: skip
    priors, drawn, states, harmless = problem
    cause = next(iter(priors))
    further = Bit(name="further", says={cause: strength}, leak=leak, weight=weight)
    network = Network(priors, (*drawn, further), harmless=harmless)
    before = network.posterior(network.states(states)).causes[cause]
    after = network.posterior(network.states(states | {"further": 1.0})).causes[cause]
    off = network.posterior(network.states(states | {"further": 0.0})).causes[cause]
    assert off - 1e-9 <= before <= after + 1e-9


@UNHURRIED
@given(problems(), bits(most=2))
def test_a_bit_that_was_not_measured_changes_nothing(
    problem: tuple[dict[str, float], tuple[Bit, ...], dict[str, float | None], frozenset[str]], more: tuple[Bit, ...]
) -> None:
    priors, drawn, states, harmless = problem
    unseen = tuple(Bit(name=f"unseen-{bit.name}", says=bit.says, leak=bit.leak) for bit in more)
    without = Network(priors, drawn, harmless=harmless)
    among = Network(priors, (*unseen, *drawn), harmless=harmless)
    expected = without.posterior(without.states(states))
    found = among.posterior(among.states(states))
    assert found.causes == pytest.approx(expected.causes)
    assert found.healthy == pytest.approx(expected.healthy)


@UNHURRIED
@given(problems(), st.randoms())
def test_the_order_of_causes_and_bits_changes_nothing(
    problem: tuple[dict[str, float], tuple[Bit, ...], dict[str, float | None], frozenset[str]], chance: Random
) -> None:
    priors, drawn, states, harmless = problem
    mixed_bits, mixed_causes = list(drawn), list(priors)
    chance.shuffle(mixed_bits)
    chance.shuffle(mixed_causes)
    network = Network(priors, drawn, harmless=harmless)
    mixed = Network({cause: priors[cause] for cause in mixed_causes}, mixed_bits, harmless=harmless)
    expected = network.posterior(network.states(states))
    found = mixed.posterior(mixed.states(states))
    assert found.causes == pytest.approx(expected.causes)
    assert found.healthy == pytest.approx(expected.healthy)


def test_up_to_three_causes_at_once_are_enumerated() -> None:
    network = Network(dict.fromkeys(CAUSES[1:], 0.02), ())
    assert len(network.log_prior) == sum(comb(23, size) for size in range(4)) == 2048
    assert network.row(["jitter", "policer", "shaper"]) is not None
    assert network.row([]) == 0
    assert network.row(["jitter", "policer", "shaper", "reordering"]) is None
    assert network.row(["healthy"]) is None


def test_evidence_that_one_cause_explains_absolves_the_other() -> None:
    """Explaining away: both causes turn the shared bit on; a bit of the first one's own makes the second improbable."""
    shared = Bit(name="shared", says={"policer": 0.9, "jitter": 0.9}, leak=0.01)
    own = Bit(name="own", says={"policer": 0.9}, leak=0.01)
    network = Network({"policer": 0.1, "jitter": 0.1}, [shared, own])
    before = network.posterior(network.states({"shared": 1.0})).causes["jitter"]
    after = network.posterior(network.states({"shared": 1.0, "own": 1.0})).causes["jitter"]
    assert before > 0.5
    assert after < 0.2


def test_a_bit_that_is_off_speaks_against_its_cause() -> None:
    network = Network({"policer": 0.1, "jitter": 0.1}, [Bit(name="one", says={"policer": 0.9}, leak=0.01)])
    off = network.posterior(network.states({"one": 0.0}))
    assert off.causes["policer"] < 0.02
    assert off.causes["jitter"] == pytest.approx(0.1)
    assert network.contributions(network.states({"one": 0.0}), "policer")[0] < -2
    assert network.contributions(network.states({"one": 1.0}), "policer")[0] > 4
    assert network.contributions(network.states({"one": None}), "policer")[0] == 0
