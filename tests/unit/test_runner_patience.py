"""How often trials that do not count are made again, and that links are proved again where time was stolen."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perfcheck.runner import patience as module
from perfcheck.runner.patience import CALM_TIMEOUT_S, MAX_ATTEMPTS, MAX_IN_A_ROW, PATIENCE_S, Patience


def attempts(wanted: int, counts: list[bool]) -> tuple[int, int]:
    """Make attempts with these outcomes until enough count or patience is at its end; gives how many were made."""
    patience = Patience(wanted, wait=lambda _: None)
    made = valid = 0
    while valid < wanted and not patience.exhausted:
        patience.note(counts=counts[made])
        valid += counts[made]
        made += 1
    return made, valid


@given(st.integers(1, 20), st.data())
def test_it_ends_and_never_early(wanted: int, data: st.DataObject) -> None:
    most = MAX_ATTEMPTS * wanted
    outcomes = data.draw(st.lists(st.booleans(), min_size=most, max_size=most))
    made, valid = attempts(wanted, outcomes)
    assert made <= most
    in_vain = outcomes[made - MAX_IN_A_ROW : made] == [False] * MAX_IN_A_ROW
    assert valid == wanted or made == most or in_vain


def test_where_nothing_ever_counts_it_ends_soon() -> None:
    assert attempts(20, [False] * 80) == (MAX_IN_A_ROW, 0)


def test_a_machine_that_spoils_half_of_the_trials_still_gives_a_verdict() -> None:
    chance = random.Random(1)  # noqa: S311 - a fixed draw
    enough = sum(attempts(3, [chance.random() < 0.5 for _ in range(12)])[1] == 3 for _ in range(2000))
    assert enough > 0.9 * 2000


def test_waiting_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    clock_ns = 0
    waits: list[float] = []

    def wait(most_s: float) -> None:
        nonlocal clock_ns
        waits.append(most_s)
        clock_ns += round(most_s * 1e9)

    monkeypatch.setattr(module, "now_ns", lambda: clock_ns)
    patience = Patience(50, wait=wait)
    for _ in range(50):
        patience.wait_for_calm()
    assert sum(waits) == pytest.approx(PATIENCE_S)
    assert max(waits) == CALM_TIMEOUT_S
