"""A and B in turns: their order, when measuring ends, what does not count, and what the machine is left with."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from perfcheck.compare.pairs import LOOKS
from perfcheck.errors import LabError
from perfcheck.model.record import RunRecord, TrialRecord
from perfcheck.model.scenario import Scenario
from perfcheck.model.verdict import Verdict
from perfcheck.runner.patience import MAX_IN_A_ROW, Patience
from perfcheck.runner.side_by_side import measure_pairs
from perfcheck.runner.sides import Side
from perfcheck.testing import make_record, make_scenario

RTT = "tcp.rtt_us.p50"


class Silent:
    def stage(self, scenario: Scenario, text: str, done: int, total: int) -> None:
        """Ignore."""


@dataclass
class FakeBench:
    """Notes its name in `made` and measures what `value` gives; `spoilt` says which of its trials do not count."""

    name: str
    made: list[str]
    value: Callable[[], float]
    spoilt: Callable[[int], bool] = lambda index: False
    trials: list[TrialRecord] = field(default_factory=list)

    def trial(self) -> bool:
        self.made.append(self.name)
        index = len(self.trials)
        valid = not self.spoilt(index)
        reason = None if valid else "stolen"
        self.trials.append(TrialRecord(index=index, metrics={RTT: self.value()}, valid=valid, invalid_reason=reason))
        return valid

    def summary(self) -> RunRecord:
        values = tuple(trial.metrics[RTT] for trial in self.trials if trial.valid)
        return make_record({RTT: values or (0.0,)}, trials=tuple(self.trials))


def sides(a: str = "file", b: str = "nic tso=off") -> dict[str, Side]:
    return {"A": Side.parse(a), "B": Side.parse(b)}


def noisy(centre: float, deviation: float = 10.0) -> Callable[[], float]:
    chance = random.Random(f"{centre} {deviation}")  # noqa: S311 - a fixed draw
    return lambda: chance.gauss(centre, deviation)


def measured(
    a: Callable[[], float], b: Callable[[], float], spoilt: Callable[[int], bool] = lambda index: False
) -> tuple[RunRecord, RunRecord, list[str]]:
    made: list[str] = []
    benches = {"A": FakeBench("A", made, a, spoilt), "B": FakeBench("B", made, b)}
    patience = Patience(LOOKS[-1].pairs, wait=lambda _: None)
    before, after = measure_pairs(make_scenario(), sides(), benches, Silent(), patience)
    return before, after, made


def test_a_clear_regression_ends_at_the_first_look_in_mirrored_blocks() -> None:
    _, after, made = measured(noisy(20_000.0), noisy(30_000.0))
    assert after.verdict is Verdict.REGRESSED
    assert after.sides == ("file", "nic tso=off")
    assert len(made) == 2 * LOOKS[0].pairs
    blocks = ["".join(made[start : start + 4]) for start in range(0, 16, 4)]
    assert set(blocks) <= {"ABBA", "BAAB"}


def test_what_is_not_settled_goes_on_to_the_last_look() -> None:
    _, after, made = measured(noisy(20_000.0, 3000.0), noisy(21_500.0, 3000.0))
    assert [each.verdict for each in after.comparisons] == [Verdict.INCONCLUSIVE]
    assert len(made) == 2 * LOOKS[-1].pairs


def test_a_pair_counts_when_both_of_its_trials_do() -> None:
    before, after, made = measured(noisy(20_000.0), noisy(20_000.0), spoilt=lambda index: index % 3 == 0)
    assert after.verdict is Verdict.PASS
    assert sum(trial.valid for trial in before.trials) == LOOKS[0].pairs
    assert len(made) > 2 * LOOKS[0].pairs


def test_where_no_pair_counts_it_is_invalid_and_says_why() -> None:
    _, after, made = measured(noisy(20_000.0), noisy(20_000.0), spoilt=lambda index: True)
    assert after.verdict is Verdict.INVALID
    assert (
        after.invalid_reason
        == "only 0 pairs count, and the first look at the result needs 9; the last that did not: stolen"
    )
    assert len(made) == 2 * MAX_IN_A_ROW


def test_commands_switch_before_each_trial_and_leave_a_in_force(tmp_path: Path) -> None:
    commands = sides(f"command cp /dev/null {tmp_path}/a", f"command cp /dev/null {tmp_path}/b")

    def switched_to(wanted: str, other: str) -> Callable[[], float]:
        def value() -> float:
            assert (tmp_path / wanted).exists()
            (tmp_path / other).unlink(missing_ok=True)
            (tmp_path / wanted).unlink()
            return 20_000.0

        return value

    made: list[str] = []
    benches = {
        "A": FakeBench("A", made, switched_to("a", "b")), "B": FakeBench("B", made, switched_to("b", "a")),
    }  # fmt: skip
    measure_pairs(make_scenario(), commands, benches, Silent())
    assert (tmp_path / "a").exists()
    assert not (tmp_path / "b").exists()


def test_a_command_that_fails_ends_the_measurement() -> None:
    made: list[str] = []
    benches = {name: FakeBench(name, made, noisy(1.0)) for name in ("A", "B")}
    with pytest.raises(LabError, match="nowhere"):
        measure_pairs(make_scenario(), sides("file", "command cat /nowhere"), benches, Silent())
