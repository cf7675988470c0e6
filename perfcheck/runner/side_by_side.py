"""Measures A and B in interleaved pairs, on two labs that are up at the same time."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from typing import Final, Protocol

from perfcheck.compare import SideBySide, judge_pairs, order_of_pairs, pairs_wanted
from perfcheck.compare.pairs import LOOKS
from perfcheck.model.baseline import differences
from perfcheck.model.record import ComparisonRecord, RunRecord
from perfcheck.model.scenario import Scenario
from perfcheck.model.seams import Progress
from perfcheck.model.verdict import Verdict
from perfcheck.runner.bench import judged
from perfcheck.runner.patience import MAX_ATTEMPTS, Patience
from perfcheck.runner.sides import Side
from perfcheck.runner.summary import reproduce_pairs

MOST_PAIRS: Final = max(look.pairs for look in LOOKS)


class Measured(Protocol):
    """What is needed of a `Bench`."""

    def trial(self) -> bool:
        """Make one trial; gives whether it counts."""

    def summary(self) -> RunRecord:
        """Return the record of all trials so far."""


def measure_pairs(
    scenario: Scenario, sides: Mapping[str, Side], benches: Mapping[str, Measured], progress: Progress,
    patience: Patience | None = None, only: str | None = None,
) -> tuple[RunRecord, RunRecord]:  # fmt: skip
    """Return the records of A and B; B's holds the comparisons, or is INVALID where too few pairs count.

    Pairs come in random blocks ABBA and BAAB, so that a steady drift of the machine cancels out; a
    pair counts when both of its trials do. Measuring ends at the first look that settles every metric,
    and leaves the machine on side A, which is the setting as it was. `only` names the one metric that counts.
    """
    patience = patience or Patience(MOST_PAIRS)
    try:
        valid, comparisons = _until_settled(scenario, sides, benches, progress, patience, only)
    finally:
        sides["A"].switch()
    record_a, record_b = benches["A"].summary(), benches["B"].summary()
    if comparisons is None:
        spoilt = [trial.invalid_reason for each in (record_a, record_b) for trial in each.trials if not trial.valid]
        last = f"; the last that did not: {spoilt[-1]}" if spoilt else ""
        reason = f"only {valid} pairs count, and the first look at the result needs {pairs_wanted(0)}{last}"
        return record_a, record_b.model_copy(update={"verdict": Verdict.INVALID, "invalid_reason": reason})
    texts = (sides["A"].text, sides["B"].text)
    record_b = record_b.model_copy(update={"sides": texts, "reproduce": reproduce_pairs(scenario, *texts)})
    return record_a, judged(
        record_b, expectations=(), comparisons=comparisons, changed_conditions=differences_of(record_a, record_b)
    )


def _until_settled(
    scenario: Scenario, sides: Mapping[str, Side], benches: Mapping[str, Measured], progress: Progress,
    patience: Patience, only: str | None,
) -> tuple[int, tuple[ComparisonRecord, ...] | None]:  # fmt: skip
    """Measure pairs up to the look that settles all; gives how many count, and the verdicts of the last look."""
    order = iter(order_of_pairs(MAX_ATTEMPTS * MOST_PAIRS, secrets.randbits(32)))
    valid = 0
    found: SideBySide | None = None
    while (found is None or not found.decided) and (wanted := pairs_wanted(valid)) is not None:
        while valid < wanted and not patience.exhausted:
            progress.stage(scenario, f"pair {valid + 1}", valid, wanted)
            counted = []
            for name in next(order):
                sides[name].switch()
                counted.append(benches[name].trial())
            valid += all(counted)
            patience.note(counts=all(counted))
            if not all(counted) and not patience.exhausted:
                progress.stage(scenario, "waiting for the machine to calm down", valid, wanted)
                patience.wait_for_calm()
        if valid < wanted:
            break
        found = judge_pairs(scenario, benches["A"].summary(), benches["B"].summary(), only)
    return valid, None if found is None else found.comparisons


def differences_of(a: RunRecord, b: RunRecord) -> dict[str, tuple[str, str]]:
    """Return all in which the two sides really differed: the scenario's settings, and the machine's."""
    conditions = differences(a.scenario.conditions, b.scenario.conditions)
    machine = differences(*({name: str(value) for name, value in each.environment.items()} for each in (a, b)))
    return {
        prefix + each.field: (each.baseline or "", each.current or "")
        for prefix, found in (("", conditions), ("environment.", machine))
        for each in found
    }
