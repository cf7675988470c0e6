"""One line of a table of results, as texts; every table and summary is built from these."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields
from itertools import groupby
from typing import Final

from perfcheck.model.label import label_of, point_text
from perfcheck.model.printable import printable
from perfcheck.model.record import ComparisonRecord, DiagnosisRecord, RunRecord
from perfcheck.model.units import format_value, plain_number, probability_text
from perfcheck.model.verdict import Verdict

UNAVAILABLE: Final = "UNAVAILABLE"
"""Shown for a metric that this machine cannot measure; not a verdict, since nothing was judged."""

HEADINGS: Final = ("scenario", "metric", "value", "against", "change", "interval", "detectable", "verdict")

_MOST_DROPPED: Final = 3

_MOST_NAMES: Final = 4
_WORST_FIRST: Final = (
    Verdict.FAIL.value, Verdict.REGRESSED.value, Verdict.INVALID.value, Verdict.INCONCLUSIVE.value,
    Verdict.NO_BASELINE.value, UNAVAILABLE, Verdict.IMPROVED.value, Verdict.PASS.value,
)  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """What a table says of one assertion; texts only, so that it crosses process borders as it is.

    `against` is what the value was held against: the threshold of an `expect` line or the
    baseline's value. `interval` is that of the change. `note` is the reason of a verdict that needs one.
    """

    scenario: str
    metric: str
    value: str = ""
    against: str = ""
    change: str = ""
    interval: str = ""
    detectable: str = ""
    verdict: str = ""
    note: str = ""

    def __post_init__(self) -> None:
        """Make each text printable, on one line."""
        for each in fields(self):
            object.__setattr__(self, each.name, printable(getattr(self, each.name)))

    def cells(self, headings: Sequence[str]) -> tuple[str, ...]:
        """Its texts in the order of these headings."""
        texts = {
            "scenario": self.scenario, "metric": self.metric, "value": self.value, "against": self.against,
            "change": self.change, "interval": self.interval, "detectable": self.detectable, "verdict": self.verdict,
        }  # fmt: skip
        return tuple(texts[heading] for heading in headings)


def headings_of(rows: Iterable[Row]) -> tuple[str, ...]:
    """Return the headings of a table of these rows; intervals have a column where any row has one."""
    shown = any(row.interval for row in rows)
    return tuple(heading for heading in HEADINGS if shown or heading != "interval")


def scenario_label(record: RunRecord) -> str:
    """Return the label that `Scenario.label` gave: the name with the values of the matrix point."""
    return printable(label_of(record.scenario.name, point_text(record.scenario.point.items())))


def signed_pct(change_pct: float | None, margin_pct: float | None = None) -> str:
    """Return `+31.2 %`, `+412 %`; `+0.47 %` where the margin is below 1 %; empty for None."""
    if change_pct is None:
        return ""
    digits = 2 if margin_pct is not None and margin_pct < 1 and abs(change_pct) < 10 else 1
    shown = round(change_pct, digits) or 0.0  # no `-0.0`
    if shown <= -100 < change_pct:
        # What fell by nearly all of it is not gone.
        shown = 10.0**-digits - 100
    # Not of `shown`: what is rounded twice may be one off (110.526, 110.5, 110).
    return f"{shown:+.{digits}f} %" if abs(shown) < 100 else f"{change_pct:+.0f} %"


def interval_text(interval_pct: tuple[float, float] | None, margin_pct: float | None = None) -> str:
    """Return `+28.0 to +33.1 %`; empty for None."""
    if interval_pct is None:
        return ""
    low, high = (signed_pct(end, margin_pct) for end in interval_pct)
    return f"{low.removesuffix(' %')} to {high}"


def plain_pct(share_pct: float | None) -> str:
    """Return `1.1 %`, `1100 %`: two digits that count; empty for None."""
    if share_pct is None:
        return ""
    return f"{plain_number(float(f'{share_pct:.2g}'), 2)} %"


def detectable_text(compared: ComparisonRecord, unit: str) -> str:
    """Return `1.1 %`, or for a baseline of 0, of which there is no percentage, the value `at 0.12 %`."""
    if compared.detectable_pct is None and compared.detectable is not None and not compared.baseline:
        return f"at {value_text(compared.detectable, unit)}"
    return plain_pct(compared.detectable_pct)


def value_text(value: float | str | None, unit: str) -> str:
    """Return a value in a readable unit; a text (a cause) as it is; empty for None."""
    if value is None or isinstance(value, str):
        return value or ""
    return format_value(value, unit)


def cause_text(diagnosis: DiagnosisRecord) -> str:
    """Return `bufferbloat (93 %)`."""
    return f"{diagnosis.cause} ({probability_text(diagnosis.confidence)})"


def remarks(record: RunRecord) -> tuple[str, ...]:
    """What a reader must know of a run besides its verdicts: lost events, disagreeing cross-checks, warnings."""
    found = []
    if record.lost_events:
        found.append(f"{record.lost_events} events were lost; counts may be too low by up to that number")
    found += [
        f"cross-check {check.name}, run {check.trial + 1}: measured {plain_number(check.ours, 6)}, {check.source} says "
        f"{plain_number(check.theirs, 6)} (tolerance {check.tolerance_pct:g} %)"
        for check in record.cross_checks
        if not check.agrees
    ]
    dropped = [f"{trial.invalid_reason} (run {trial.index + 1})" for trial in record.trials if not trial.valid]
    if dropped and record.invalid_reason is None:
        shown = "; ".join(dropped[:_MOST_DROPPED])
        more = f"; and {len(dropped) - _MOST_DROPPED} more" if len(dropped) > _MOST_DROPPED else ""
        found.append(f"{len(dropped)} of {len(record.trials)} runs do not count: {shown}{more}")
    return (*found, *record.warnings)


def changes_of(record: RunRecord, most: int = 12) -> tuple[str, ...]:
    """Return each setting that is not the baseline's (or A's) as `links[0].loss: not set -> 1%`, the scenario first."""
    lines = [
        f"{field}: {before or 'not set'} -> {now or 'not set'}"
        for field, (before, now) in sorted(
            record.changed_conditions.items(), key=lambda item: (item[0].startswith("environment."), item[0])
        )
    ]
    return tuple(lines if len(lines) <= most else [*lines[: most - 1], f"and {len(lines) - most + 1} more"])


def circumstances(record: RunRecord) -> tuple[str, ...]:
    """Say what was compared: A and B by name and in how many pairs, or in what this run is not as its baseline.

    A failure's own text says the latter.
    """
    changes = "; ".join(changes_of(record))
    if record.sides is None:
        return (f"changed since the baseline: {changes}",) if changes and not record.verdict.fails_a_build else ()
    pairs = sum(trial.valid for trial in record.trials)
    return (
        f"A: {record.sides[0]}",
        f"B: {record.sides[1]}  ({pairs} interleaved pairs; value is B's, against is A's)",
        f"differ in {changes}" if changes else "the two environments do not differ",
    )


def needs(record: RunRecord) -> tuple[str, ...]:
    """Say for which metrics noise hides a change of twice the margin, and what would show it: runs, pairs, sessions."""
    blunt = [
        each for each in record.comparisons
        if each.verdict in (Verdict.PASS, Verdict.IMPROVED) and each.detectable_pct is not None
        and each.margin_pct is not None and each.detectable_pct > 2 * each.margin_pct
    ]  # fmt: skip
    more = [f"{each.metric} {each.runs_needed}" for each in blunt if each.runs_needed is not None]
    apart = [f"{each.metric} ({plain_pct(each.detectable_pct)})" for each in blunt if each.runs_needed is None]
    found = []
    if more:
        found.append(f"{'pairs' if record.sides is not None else 'runs per side'} for {', '.join(more)}")
    if apart and record.sides is None:
        found.append(f"sessions in the baseline, or a wider margin, for {', '.join(apart)}")
    return (f"to detect a change of twice the margin, measure more {'; and more '.join(found)}",) if found else ()


def collapsed(rows: Iterable[Row]) -> tuple[Row, ...]:
    """Make one row of neighbouring rows that could not be measured for one and the same reason."""
    found: list[Row] = []
    for (scenario, verdict, note), group in groupby(rows, key=lambda row: (row.scenario, row.verdict, row.note)):
        same = list(group)
        if verdict == Verdict.INVALID.value and len(same) > 1:
            same = [Row(scenario=scenario, metric=f"{len(same)} assertions", verdict=verdict, note=note)]
        found += same
    return tuple(found)


def tally(rows: Iterable[Row]) -> tuple[tuple[str, int], ...]:
    """Count verdicts, worst first."""
    counts = Counter(row.verdict for row in rows if row.verdict)
    return tuple((word, counts[word]) for word in _WORST_FIRST if counts[word])


def shared_remarks(remarks: Iterable[tuple[str, str]]) -> tuple[str, ...]:
    """Return one line for each remark, in the order given; what is said of many scenarios is said once."""
    scenarios: dict[str, list[str]] = {}
    for scenario, remark in remarks:
        scenarios.setdefault(remark, []).append(scenario)
    return tuple(
        f"{', '.join(names) if len(names) <= _MOST_NAMES else f'{len(names)} scenarios'}: {remark}"
        for remark, names in scenarios.items()
    )


def notes(rows: Sequence[Row], most: int = 12) -> tuple[str, ...]:
    """Return the reasons of verdicts, one line a verdict, scenario and reason, with the metrics that share it."""
    shared: dict[tuple[str, str, str], list[str]] = {}
    for row in rows:
        if row.note and row.verdict != Verdict.PASS.value:
            shared.setdefault((row.verdict, row.scenario, row.note), []).append(row.metric)
    order = {word: place for place, word in enumerate(_WORST_FIRST)}
    lines = [
        f"{verdict}  {scenario}: {', '.join(metrics)}: {note}"
        for (verdict, scenario, note), metrics in sorted(shared.items(), key=lambda item: order.get(item[0][0], 99))
    ]
    if len(lines) > most:
        lines[most - 1 :] = [f"... and {len(lines) - most + 1} more"]
    return tuple(lines)
