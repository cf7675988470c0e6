"""When a kernel test is made again: only one that failed, and only where the machine got into its way."""

from __future__ import annotations

import interference
import pytest


@pytest.fixture
def waits(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Return what is appended to for each wait for the machine; nothing really waits."""
    waited: list[str] = []
    monkeypatch.setattr(interference, "wait_until_left_alone", lambda: waited.append("waited"))
    return waited


def steal(monkeypatch: pytest.MonkeyPatch, *seconds: float) -> None:
    """Have the looks at the stolen time read these values, one after the other."""
    values = iter(seconds)
    monkeypatch.setattr(interference, "stolen_s", lambda: next(values))


def test_a_test_that_passed_is_not_waited_for_whatever_was_stolen(
    monkeypatch: pytest.MonkeyPatch, waits: list[str]
) -> None:
    steal(monkeypatch, 1.0, 5.0)
    assert not interference.Interference()(None)
    assert waits == []


def test_a_failure_is_made_again_where_time_was_stolen_once_the_machine_is_calm(
    monkeypatch: pytest.MonkeyPatch, waits: list[str]
) -> None:
    steal(monkeypatch, 1.0, 1.0 + interference.STOLEN_S, 2.0)
    assert interference.Interference()(AssertionError("31 ms instead of 20 ms"))
    assert waits == ["waited"]


def test_a_failure_on_a_machine_that_was_left_alone_stays_one(
    monkeypatch: pytest.MonkeyPatch, waits: list[str]
) -> None:
    steal(monkeypatch, 1.0, 1.0)
    assert not interference.Interference()(AssertionError("31 ms instead of 20 ms"))
    assert waits == []


def test_a_failure_in_which_the_product_names_the_machine_is_made_again(
    monkeypatch: pytest.MonkeyPatch, waits: list[str]
) -> None:
    steal(monkeypatch, 1.0, 1.0, 1.0)
    assert interference.Interference()(AssertionError("INVALID: the tasks of this machine waited 12 % of the time"))
    assert waits == ["waited"]
