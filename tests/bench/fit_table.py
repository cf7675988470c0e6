"""What a fit of the diagnosis sees: the states of all evidence on each reading, and how much each reading counts.

Beside the runs of campaigns these are the cases of the unit tests, and readings of which whole layers are missing:
numbers that are fitted on runs with every metric must not fail where there are few.
"""

from __future__ import annotations

import random
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import median
from typing import Final

import numpy as np
import numpy.typing as npt
from fault_runs import PATH_LATENCY, Reading, Run, from_programs, golden_runs, other_golden_runs
from textbook_runs import FAULTS, HEALTHY, five_trials, noisy_trials

from perfcheck.diagnose import Judgement, RuleSet, posterior
from perfcheck.diagnose.condition import Condition, Has, Junction, Metric, Not, Spread, quantities
from perfcheck.diagnose.network import Posterior
from perfcheck.diagnose.rule import Evidence, Rule, Symptom
from perfcheck.diagnose.verdicts import MIN_CONFIDENCE
from perfcheck.diagnose.weighed import log_likelihoods
from perfcheck.model.causes import HEALTHY as WELL

Floats = npt.NDArray[np.float64]

MASKED_RUNS: Final = 1
"""Runs of each injector, and of each healthy network, of which layers are hidden: more take long and say the same."""
RANDOM_MASKS: Final = 2
"""Readings of each run with layers hidden by chance, beside those that `_MASKS` hide."""
NOISE_SEEDS: Final = 5
_SURE: Final = 0.5
_ALARM: Final = 0.3
"""What a case of the unit tests asks: its cause with 0.5 or more, and healthy, or what is harmful, with 0.3 at most."""
_NAMED: Final = MIN_CONFIDENCE
_HEALTHY_COUNTS: Final = 4.0
"""Healthy runs together count as much as this number of causes: a false alarm is worse than a wrong name."""
_MASKED_COUNT: Final = 0.2
"""A reading with hidden layers counts as much as this share of a whole one."""
_CASE_COUNTS: Final = 0.05
"""A case of the unit tests counts as much as this share of a whole cause."""

_MASKS: Final[Mapping[str, Callable[[str], bool]]] = {
    "without BPF": from_programs,
    "without the application's figures": lambda name: name.startswith("app."),
    "TCP alone": lambda name: not name.startswith(("tcp.", "app.")),
    "TCP_INFO alone": lambda name: not name.startswith("tcp.") or from_programs(name),
    "counters alone": lambda name: not name.startswith(("nic.", "ip.", "qdisc.", "cpu.")),
}
_LAYERS: Final = ("tcp.", "app.", "udp.", "socket.", "ip.", "qdisc.", "nic.", "cpu.")


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One reading that is fitted on: `judgement` by the hand-written numbers; `entries` of its traffic entries.

    `counts` is how much it counts. A `case` must stay right with the fitted numbers.
    """

    run: Run
    judgement: Judgement
    entries: tuple[Judgement, ...] = ()
    counts: float = 0.0
    case: bool = False
    measured: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """States of all evidence on all rows (NaN where it was not measured), and what counts beside it.

    `further` is the log-likelihood of each hypothesis by rules and symptoms.
    """

    rows: tuple[Row, ...]
    states: Floats
    further: Floats

    def only(self, chosen: Iterable[int]) -> Table:
        """Return some rows."""
        at = list(chosen)
        rows = tuple(self.rows[row] for row in at)
        return Table(rows=rows, states=self.states[at], further=self.further[at])


def table_of(rules: RuleSet, rows: Iterable[Row]) -> Table:
    """Take the states out of judgements."""
    kept = tuple(rows)
    network = rules.network
    return Table(
        rows=kept,
        states=np.array([network.states(row.judgement.states()) for row in kept]),
        further=np.array([log_likelihoods(row.judgement) for row in kept]),
    )


def rows_of(rules: RuleSet, runs: Sequence[Run]) -> list[Row]:
    """Return what is fitted on: runs of campaigns with and without layers, recorded runs, and synthetic ones."""
    recorded = (*golden_runs(), *other_golden_runs())
    seen: Counter[str] = Counter()
    rows = []
    for run in runs:
        seen[run.group] += 1
        rows += list(_readings(rules, run, masked=seen[run.group] <= MASKED_RUNS))
    return weighed(
        [
            *rows,
            *(Row(run=run, judgement=run.reading.judged(rules), case=True) for run in (*recorded, *synthetic_runs())),
        ]
    )


def _readings(rules: RuleSet, run: Run, *, masked: bool) -> Iterator[Row]:
    """Yield a run, the run without a baseline, and the run without some layers where it is still recognised."""
    whole = run.reading.judged(rules)
    entries = tuple(entry.judged(rules) for entry in run.entries)  # they have no baseline
    yield Row(run=run, judgement=whole, entries=entries)
    if run.reading.baseline and run.label != PATH_LATENCY:
        # Users diagnose with a baseline and without one.
        whole = judged_again(rules, whole, run.alone().reading, lambda of, _: of == "baseline")
        run = run.alone()
        yield Row(run=run, judgement=whole, entries=entries)
    for hidden in _hidden_of(run) if masked else ():
        rest = run.without(hidden)
        again = judged_again(rules, whole, rest.reading, _of_run(hidden))
        if stays_right(posterior(again), run, rules):
            yield Row(run=rest, judgement=again, measured=False)


def _hidden_of(run: Run) -> Iterator[Callable[[str], bool]]:
    yield from _MASKS.values()
    chance = random.Random(run.name)  # noqa: S311 - a simulation
    for _ in range(RANDOM_MASKS):
        gone = tuple(layer for layer in _LAYERS if chance.random() < 0.5)
        yield _in_layers(gone)


def _in_layers(layers: tuple[str, ...]) -> Callable[[str], bool]:
    return lambda name: name.startswith(layers)


def _of_run(hidden: Callable[[str], bool]) -> Callable[[str, str], bool]:
    """Hide a metric of the run and of the baseline alike."""
    return lambda _, name: hidden(name)


def judged_again(
    rules: RuleSet, before: Judgement, reading: Reading, hidden: Callable[[str, str], bool]
) -> Judgement:  # fmt: skip
    """Judge a reading of which some values were hidden: only the conditions that read one of them anew.

    `hidden` takes of what the value is, `run` or `baseline`, and the metric's name.
    """
    every: tuple[Rule | Symptom | Evidence, ...] = (*rules.rules, *rules.symptoms, *rules.evidence)
    concerned = {each.name for each in every if any(hidden(of, name) for of, name in _read_by(each))}
    some = replace(
        rules, rules=tuple(each for each in rules.rules if each.name in concerned),
        symptoms=tuple(each for each in rules.symptoms if each.name in concerned),
        evidence=tuple(each for each in rules.evidence if each.name in concerned),
    )  # fmt: skip
    anew = reading.judged(some)
    of_rules = {each.rule.name: each for each in anew.rules}
    of_symptoms = {each.symptom.name: each for each in anew.symptoms}
    of_evidence = {each.evidence.name: each for each in anew.evidence}
    return Judgement(
        rule_set=rules, measured=anew.measured,
        rules=tuple(of_rules.get(each.rule.name, each) for each in before.rules),
        symptoms=tuple(of_symptoms.get(each.symptom.name, each) for each in before.symptoms),
        evidence=tuple(of_evidence.get(each.evidence.name, each) for each in before.evidence),
    )  # fmt: skip


def _read_by(each: Rule | Symptom | Evidence) -> Iterator[tuple[str, str]]:
    """Yield the values that an entry reads: of the run or of the baseline, and their metrics."""
    conditions: list[Condition | None] = [each.condition]
    if isinstance(each, Rule):
        conditions += [counter.condition for counter in each.against]
    if isinstance(each, Evidence):
        conditions.append(each.given)
    for condition in conditions:
        if condition is not None:
            yield from _values(condition)


def _values(condition: Condition) -> Iterator[tuple[str, str]]:
    match condition:
        case Has():
            yield "run", condition.name
        case Not():
            yield from _values(condition.operand)
        case Junction():
            for operand in condition.operands:
                yield from _values(operand)
        case _:
            for node in quantities(condition):
                if isinstance(node, Metric):
                    yield node.of, node.name
                elif isinstance(node, Spread):
                    yield "run", node.name


def stays_right(found: Posterior, run: Run, rules: RuleSet) -> bool:
    """Whether a case gets its name, as the unit tests ask it."""
    harmful = {cause: share for cause, share in found.causes.items() if cause not in rules.harmless}
    if not run.causes:
        return found.healthy >= _SURE and max(harmful.values()) <= _ALARM
    if run.accepted <= rules.harmless:
        # It is told before `healthy` where it is the surer of the two.
        return all(found.causes[cause] > found.healthy >= _SURE for cause in run.accepted)
    best = max(harmful, key=lambda cause: harmful[cause])
    if len(run.causes) > 1:
        return best in run.causes and all(found.causes[cause] >= _NAMED for cause in run.causes)
    return best in run.accepted and harmful[best] >= _SURE and found.healthy <= _ALARM


def synthetic_runs() -> Iterator[Run]:
    """Yield the cases of tests/support/textbook_runs.py: with five trials, one and none, and with noise."""
    for cause, name, values in [
        *((WELL, name, values) for name, values in HEALTHY.items()),
        *((cause, name, values) for name, (cause, values) in FAULTS.items()),
    ]:
        yield _synthetic(cause, name, Reading(metrics=values, trials=tuple(five_trials(values))))
        yield _synthetic(cause, name, Reading(metrics=values, trials=(values,)))
        yield _synthetic(cause, name, Reading(metrics=values, trials=()))
    for name, values in HEALTHY.items():
        for seed in range(NOISE_SEEDS):
            trials = noisy_trials(values, 0.06, seed)
            medians = {key: median(trial[key] for trial in trials) for key in values}
            yield _synthetic(WELL, name, Reading(metrics=medians, trials=tuple(trials)))


def _synthetic(cause: str, name: str, reading: Reading) -> Run:
    causes = frozenset({cause}) - {WELL}
    return Run(
        name=f"synthetic/{name}", causes=causes, accepted=frozenset({cause}), injector=f"synthetic/{name}",
        path="synthetic", fit=True, reading=reading,
    )  # fmt: skip


def weighed(rows: Sequence[Row]) -> list[Row]:
    """Say how much each row counts: causes alike, their injectors alike, and healthy runs more than a cause.

    All double faults together count as one cause.
    """
    shares: dict[str, dict[str, float]] = defaultdict(lambda: defaultdict(float))
    for row in rows:
        if not row.case:
            shares[row.run.kind][row.run.group] += _share(row)
    cases = Counter(row.run.name for row in rows if row.case)
    found = []
    for row in rows:
        if row.case:
            counts = _CASE_COUNTS / cases[row.run.name]
        else:
            groups = shares[row.run.kind]
            counts = _share(row) / (groups[row.run.group] * len(groups)) * (1 if row.run.causes else _HEALTHY_COUNTS)
        found.append(replace(row, counts=counts))
    return found


def _share(row: Row) -> float:
    return 1.0 if row.measured else _MASKED_COUNT
