"""Runs with known faults, as a campaign stored them: what fitting and reporting read."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from statistics import median
from typing import Any, Final

import yaml
from run_lines import read_lines

from perfcheck.collect import declared
from perfcheck.collect.base.declaration import Declaration
from perfcheck.diagnose import Judgement, RuleSet, judge
from perfcheck.model.catalogue import CATALOGUE
from perfcheck.model.causes import HEALTHY
from perfcheck.model.subject import SubjectKind

ROOT: Final = Path(__file__).parents[2]
RUNS: Final = ROOT / "results" / "faults" / "runs.jsonl"
GOLDEN: Final = ROOT / "tests" / "golden" / "diagnosis.jsonl"
GOLDEN_OF_CAMPAIGN: Final = tuple(GOLDEN.with_name(name) for name in ("faults.jsonl", "campaign.jsonl"))
_PROGRAMS_ONLY: Final = re.compile(
    r"tcp\.(rtt_us|handshake_us|ttfb_us|state_|recovery_|retrans_(fast|rto|tlp|syn)|resets|ooo_segs|reord_seen)"
)
"""Of the TCP layer's metrics, those that TCP_INFO does not give."""

PATH_LATENCY: Final = "path_latency"
"""A fault against a baseline alone: without one nobody knows how long a path should be."""

Metrics = Mapping[str, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """What one diagnosis sees: medians, each trial's values, and what a healthy run of the same network read."""

    metrics: Metrics
    trials: tuple[Metrics, ...]
    baseline: Metrics = field(default_factory=dict)

    def without(self, hidden: Callable[[str], bool]) -> Reading:
        """Return the reading without some metrics."""
        return Reading(
            metrics={name: value for name, value in self.metrics.items() if not hidden(name)},
            trials=tuple({name: value for name, value in trial.items() if not hidden(name)} for trial in self.trials),
            baseline={name: value for name, value in self.baseline.items() if not hidden(name)},
        )

    def judged(self, rules: RuleSet) -> Judgement:
        """Apply rules to it; only states and probabilities are wanted, no texts."""
        return judge(rules, self.metrics, self.trials, self.baseline, told=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """One labelled run.

    `causes` are the faults that were made at the same time, none in a healthy run. `accepted` are the names of which
    one must come first. `entries` are readings of each traffic entry where there are several.
    """

    name: str
    causes: frozenset[str]
    accepted: frozenset[str]
    injector: str
    path: str
    fit: bool
    reading: Reading
    entries: tuple[Reading, ...] = ()
    before: tuple[tuple[str, float], ...] = field(default=())

    @property
    def label(self) -> str:
        """The name under which it is counted: its cause, `healthy`, or several joined by +."""
        return "+".join(sorted(self.causes)) or HEALTHY

    @property
    def kind(self) -> str:
        """The label, or one name for all double faults."""
        return self.label if len(self.causes) < 2 else "two faults"

    @property
    def group(self) -> str:
        """What is left out whole when numbers are tried on runs that they were not fitted on."""
        return self.injector if self.causes else self.path

    def alone(self) -> Run:
        """Return the run as it looks without a baseline."""
        return replace(
            self, reading=replace(self.reading, baseline={}),
            entries=tuple(replace(each, baseline={}) for each in self.entries),
        )  # fmt: skip

    def without(self, hidden: Callable[[str], bool]) -> Run:
        """Return the run as it looks without some metrics."""
        return replace(
            self, reading=self.reading.without(hidden), entries=tuple(each.without(hidden) for each in self.entries)
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Campaign:
    """Runs of which the label counts, and how many were left out for each reason."""

    runs: tuple[Run, ...]
    left_out: Mapping[str, int]


def read_campaign(path: Path) -> Campaign:
    """Read a campaign's lines; a fault that moved no metric is left out, since its label says nothing.

    Each run has the medians of its healthy twin's runs as its baseline, a twin those of its other runs.
    """
    runs: list[Run] = []
    left_out = {"moved nothing": 0, "not valid": 0, "not a whole line": 0}
    rows: list[dict[str, Any]] = []
    for line in read_lines(path):
        try:
            rows.append(json.loads(line))
        except json.JSONDecodeError:
            left_out["not a whole line"] += 1  # the last one, of a campaign that goes on
    twins = _twins(rows)
    for row in rows:
        if row.get("valid") is False or not row.get("trials"):
            left_out["not valid"] += 1
        elif row.get("moved") is False:
            left_out["moved nothing"] += 1
        else:
            runs.append(_run(row, _baseline(row, twins)))
    return Campaign(runs=tuple(runs), left_out=left_out)


def _twins(rows: Sequence[Mapping[str, Any]]) -> Mapping[str, list[Mapping[str, Any]]]:
    found: dict[str, list[Mapping[str, Any]]] = {}
    for row in rows:
        if row.get("twin") is None and row.get("valid") is not False and row.get("trials"):
            found.setdefault(row["name"], []).append(row)
    return found


def _baseline(row: Mapping[str, Any], twins: Mapping[str, Sequence[Mapping[str, Any]]]) -> Metrics:
    read = [_numbers(one["metrics"]) for one in twins.get(row.get("twin") or row["name"], ()) if one is not row]
    names = {name for one in read for name in one}
    return {name: float(median(one[name] for one in read if name in one)) for name in names}


def _run(row: Mapping[str, Any], baseline: Metrics) -> Run:
    causes = frozenset(row["causes"]) - {HEALTHY}
    entries = {
        name: subject for name, subject in row.get("subjects", {}).items()
        if subject.get("kind") == SubjectKind.TRAFFIC.value and subject.get("diagnosis")
    }  # fmt: skip
    trials = [trial for trial in row["trials"] if trial.get("valid", True)]
    whole = replace(
        _reading(row.get("metrics", {}), [trial.get("metrics", trial) for trial in trials]), baseline=baseline
    )
    return Run(
        name=row["name"], causes=causes, accepted=causes or frozenset({HEALTHY}),
        injector=f"{'+'.join(sorted(causes)) or HEALTHY}/{row['injector']}", path=f"{row['path']}/{row['load']}",
        fit=bool(row["fit"]), reading=whole,
        entries=tuple(_entry(whole, name, subject, trials) for name, subject in entries.items())
        if len(entries) > 1 else (),
        before=tuple((each["cause"], float(each["confidence"])) for each in row.get("diagnosis", ())),
    )  # fmt: skip


def _entry(
    whole: Reading, name: str, subject: Mapping[str, Any], trials: Sequence[Mapping[str, Any]]
) -> Reading:  # fmt: skip
    """Return what the diagnosis of one traffic entry sees: its own figures, and of all that no entry has, the run's."""
    shared = whole.without(lambda metric: SubjectKind.TRAFFIC in CATALOGUE[metric].subjects)
    own = _reading(subject["metrics"], [trial.get("subjects", {}).get(name, {}) for trial in trials])
    return Reading(
        metrics={**shared.metrics, **own.metrics},
        trials=tuple({**one, **other} for one, other in zip(shared.trials, own.trials, strict=True)),
    )


def _reading(metrics: Mapping[str, Any], trials: Sequence[Mapping[str, Any]]) -> Reading:
    each = tuple(_numbers(trial) for trial in trials)
    names = {name for trial in each for name in trial}
    medians = {name: float(median(trial[name] for trial in each if name in trial)) for name in names}
    return Reading(metrics=medians | _numbers(metrics), trials=each)


def _numbers(metrics: Mapping[str, Any]) -> dict[str, float]:
    plain = {name: value["value"] if isinstance(value, Mapping) else value for name, value in metrics.items()}
    return {name: float(value) for name, value in plain.items() if name in CATALOGUE and value is not None}


def golden_runs() -> tuple[Run, ...]:
    """Return the recorded runs of the unit tests; several causes of one of them are alternatives."""
    return tuple(_golden(json.loads(line)) for line in GOLDEN.read_text(encoding="utf-8").splitlines())


def _golden(row: Mapping[str, Any]) -> Run:
    accepted = frozenset(row["causes"])
    first = row["causes"][0]
    link = yaml.safe_load(row["scenario"])["links"][0]
    kind = re.sub(r"[\d.]+", "", re.sub(r"^(x|y)\d+-\d+-|^[a-z]-", "", row["name"]))
    return Run(
        name=row["name"], causes=frozenset({first}) - {HEALTHY}, accepted=accepted, injector=f"{first}/{kind}",
        path=f"{link.get('delay', 0)}/{link.get('rate', 'any')}", fit=True, reading=_reading({}, row["trials"]),
    )  # fmt: skip


def other_golden_runs() -> tuple[Run, ...]:
    """Return the campaign's runs that the unit tests hold; several causes of one of them were made together."""
    lines = (line for path in GOLDEN_OF_CAMPAIGN for line in path.read_text(encoding="utf-8").splitlines())
    return tuple(_golden_of_campaign(json.loads(line)) for line in lines)


def _golden_of_campaign(row: Mapping[str, Any]) -> Run:
    causes = frozenset(row["causes"]) - {HEALTHY}
    injector, *path = row["name"].split("/")[1 if causes else 0 :]
    return Run(
        name=row["name"], causes=causes, accepted=frozenset(row["causes"]),
        injector=f"{'+'.join(sorted(causes)) or HEALTHY}/{injector}", path="/".join(path[:2]), fit=True,
        reading=_reading({}, row["trials"]),
    )  # fmt: skip


def drop_reasons(metric: str) -> bool:
    """Whether a metric tells why packets were dropped; an injector often shows itself by the reason."""
    return CATALOGUE[metric].needs[0] == declared.DROPS.name


def from_programs(metric: str) -> bool:
    """Whether a metric needs BPF."""
    with_programs = {each.name for each in _declarations() if each.group}
    needed = CATALOGUE[metric].needs[0]
    return bool(_PROGRAMS_ONLY.match(metric)) if needed == declared.TCP.name else needed in with_programs


def _declarations() -> Iterator[Declaration]:
    yield from (value for value in vars(declared).values() if isinstance(value, Declaration))
