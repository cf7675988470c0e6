"""The text of a failure: what was expected, what was measured, what else moved, and why; pure."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final, Self

from perfcheck.model.catalogue import CATALOGUE
from perfcheck.model.catalogue_of import catalogue_of
from perfcheck.model.metric import Direction, Layer, MetricSpec
from perfcheck.model.record import ComparisonRecord, ExpectationRecord, RunRecord
from perfcheck.model.subject import is_diagnosis
from perfcheck.model.units import format_value
from perfcheck.model.verdict import Verdict
from perfcheck.output.profile import profile_lines
from perfcheck.output.rows import cause_text, changes_of, plain_pct, remarks, scenario_label, signed_pct, value_text

WIDTH: Final = 100
_INDENT: Final = 13
_MOST_MOVED: Final = 6

LAYER_WORDS: Final = {
    Layer.APP: "application",
    Layer.SOCKET: "socket (buffers and queues)",
    Layer.TCP: "TCP (transport)",
    Layer.UDP: "UDP (transport)",
    Layer.IP: "IP (routing, conntrack, neighbours)",
    Layer.QDISC: "queueing discipline",
    Layer.NIC: "network interface and softirq",
    Layer.CPU: "CPU and scheduler",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """What failed: an `expect` line, a comparison, or an `expect` line whose metric was compared as well."""

    metric: str
    spec: MetricSpec | None
    expectation: ExpectationRecord | None = None
    comparison: ComparisonRecord | None = None

    @classmethod
    def of(
        cls, record: RunRecord, metric: str, *, expectation: ExpectationRecord | None = None,
        comparison: ComparisonRecord | None = None,
    ) -> Self:  # fmt: skip
        """Return what failed of a record, with the metric's declaration where it is a metric."""
        spec = catalogue_of(record).get(metric)
        return cls(metric=metric, spec=spec, expectation=expectation, comparison=comparison)

    @property
    def unit(self) -> str:
        """The catalogue's unit of the metric; empty for the diagnosis."""
        return "" if self.spec is None else self.spec.unit


def headline(record: RunRecord, subject: Subject) -> str:
    """Return the failure in one line."""
    if subject.expectation is not None:
        expected = subject.expectation
        if is_diagnosis(subject.metric):
            entry = subject.metric.partition("@")[2]
            found = cause_text(record.diagnosis_of(subject.metric)[0])
            return f"{f'{entry}: ' if entry else ''}diagnosed {found}, expected {expected.expected}"
        if expected.actual is None and expected.reason:
            return f"{subject.metric}: {expected.reason}, expected {expected.expected}"
        return f"{subject.metric} is {value_text(expected.actual, subject.unit)}, expected {expected.expected}"
    compared = subject.comparison
    assert compared is not None  # noqa: S101 - a subject has one of the two
    if compared.current is None and compared.reason:
        before = value_text(compared.baseline, subject.unit)
        return f"{subject.metric}: {compared.reason}, {_against(record)} {before}"
    return (
        f"{subject.metric} went from {value_text(compared.baseline, subject.unit)} to "
        f"{value_text(compared.current, subject.unit)} ({signed_pct(compared.change_pct, compared.margin_pct)}), "
        f"margin {plain_pct(compared.margin_pct)}"
    )


def details(record: RunRecord, subject: Subject) -> str:
    """Return what is this failure's own: values, bounds, layer."""
    return _lines((*_values(record, subject), *_layer(subject)))


def background(record: RunRecord, subject: Subject | None = None) -> str:
    """Return what all failures of a run share: cause, other metrics that moved, changed conditions, a command."""
    return _lines(
        (
            *_cause(record, subject),
            *_moved(record, subject),
            *_circumstances(record),
            *_reproduce(record.reproduce, record.virtme),
        )
    )


def why_lines(record: RunRecord) -> tuple[str, ...]:
    """Return what the diagnosis rests on: the chain of its first cause, and the account of all questions."""
    first = record.diagnosis[0]
    parts = (
        ("chain", " -> ".join(first.chain)), ("rests on", first.chain_rests_on), ("first", first.fix_first),
        ("asked", "\n".join(record.account)),
    )  # fmt: skip
    lines = (
        f"  {label if number == 0 else '':<{_INDENT - 2}}{line}"
        for label, text in parts if text
        for number, line in enumerate(text.split("\n"))
    )  # fmt: skip
    return tuple(line.rstrip() for line in lines)


def reasoned(record: RunRecord) -> tuple[str, ...]:
    """Return a run's diagnosis in one line, and what it rests on."""
    return (f"{scenario_label(record)}: diagnosis: {cause_text(record.diagnosis[0])}", *why_lines(record))


def unmeasured(reason: str, reproduce: str = "") -> str:
    """Return what the headline, the first line of the reason, does not say of something that was not measured."""
    rest = reason.partition("\n")[2]
    return _lines((*([("because", rest)] if rest else ()), *_reproduce(reproduce)))


def place(file: str, line: int | None) -> str:
    """Return the block that says where the assertion stands."""
    return _lines((("at", file if line is None else f"{file}:{line}"),))


def _reproduce(command: str, virtme: str = "") -> Iterator[tuple[str, str]]:
    """Yield the command that measures it again, and the one that boots the same kernel with virtme-ng."""
    if command:
        yield "reproduce", command
    if virtme:
        yield "virtme-ng", virtme


def _lines(blocks: Sequence[tuple[str, str]]) -> str:
    return "\n".join(line for block in blocks for line in _laid_out(*block))


def _laid_out(label: str, text: str) -> Iterator[str]:
    """Yield `label  text`, wrapped to WIDTH; commands and places stay on one line, to be copied."""
    parts = text.split("\n")
    if label not in ("at", "reproduce", "virtme-ng"):
        # A percentage and its sign stay together.
        whole = [part.replace(" %", "\N{NO-BREAK SPACE}%") for part in parts]
        parts = [piece for part in whole for piece in textwrap.wrap(part, WIDTH - _INDENT) or [""]]
        parts = [part.replace("\N{NO-BREAK SPACE}%", " %") for part in parts]
    for number, part in enumerate(parts):
        yield f"  {label if number == 0 else '':<{_INDENT - 2}}{part}".rstrip()


def _values(record: RunRecord, subject: Subject) -> Iterator[tuple[str, str]]:
    expected, compared = subject.expectation, subject.comparison
    if expected is not None:
        yield "expected", expected.expected
        actual = expected.actual if expected.actual is not None else expected.reason
    else:
        assert compared is not None  # noqa: S101 - a subject has one of the two
        yield "expected", _bound(compared, subject, _against(record))
        actual = compared.current if compared.current is not None else compared.reason
    yield "actual", _actual(record, subject, actual)
    if compared is None:
        return
    if compared.baseline is None:
        yield _against(record), compared.reason or "none"
        return
    yield _against(record), format_value(compared.baseline, subject.unit)
    if compared.current is None:
        return
    yield "change", _change(compared)
    yield "margin", _margin(compared)


def _against(record: RunRecord) -> str:
    return "baseline" if record.sides is None else "A"


def _bound(compared: ComparisonRecord, subject: Subject, against: str) -> str:
    """Say which values would have passed, e.g. `at most 49.01 ms (baseline + 5 %)`."""
    if compared.baseline is None:
        return f"a value of {against} to compare with" if against == "A" else "a baseline to compare with"
    if compared.margin_pct is None:
        return f"no worse than {format_value(compared.baseline, subject.unit)}"
    rises = subject.spec is None or subject.spec.direction is not Direction.HIGHER
    margin = compared.margin_pct / 100 * abs(compared.baseline)
    bound = compared.baseline + (margin if rises else -margin)
    return (
        f"{'at most' if rises else 'at least'} {format_value(bound, subject.unit)} "
        f"({against} {'+' if rises else '-'} {plain_pct(compared.margin_pct)})"
    )


def _actual(record: RunRecord, subject: Subject, actual: float | str | None) -> str:
    if is_diagnosis(subject.metric):
        return cause_text(record.diagnosis_of(subject.metric)[0])
    text = value_text(actual, subject.unit)
    metric = record.figures.get(subject.metric)
    if metric is None or len(metric.per_trial) < 2:
        return text
    low, high = (format_value(bound, subject.unit) for bound in (min(metric.per_trial), max(metric.per_trial)))
    # A comparison may rest on some of the runs only: those that were made to confirm it.
    count = len(metric.per_trial)
    of = f"median of {count} runs," if actual == metric.value else f"median of the runs that decided; all {count}:"
    return f"{text}  ({of} {low} to {high})"


def _change(compared: ComparisonRecord) -> str:
    text = signed_pct(compared.change_pct, compared.margin_pct)
    if compared.interval_pct is None:
        return text
    low, high = compared.interval_pct
    return f"{text}  (interval {signed_pct(low, compared.margin_pct)} to {signed_pct(high, compared.margin_pct)})"


def _margin(compared: ComparisonRecord) -> str:
    parts = []
    if compared.margin_pct is not None:
        parts.append(plain_pct(compared.margin_pct))
    if compared.detectable_pct is not None:
        parts.append(f"the smallest change that this run could detect is {plain_pct(compared.detectable_pct)}")
    if compared.runs_needed is not None:
        parts.append(f"{compared.runs_needed} runs would decide it")
    return "; ".join(parts)


def _layer(subject: Subject) -> Iterator[tuple[str, str]]:
    if subject.spec is not None:
        yield "layer", f"{LAYER_WORDS[subject.spec.layer]}: {subject.spec.meaning}"


def _cause(record: RunRecord, subject: Subject | None) -> Iterator[tuple[str, str]]:
    first = record.diagnosis[0] if subject is None else record.diagnosis_of(subject.metric)[0]
    if record.profiles:
        yield "where", "\n".join(profile_lines(record))
        return
    if first.confidence == 0:
        yield "cause", "\n".join(("not diagnosed", *first.evidence_against))
        return
    if first.cause == "healthy":
        yield "cause", "none found: the diagnosis is healthy"
        return
    yield "cause", cause_text(first)
    if first.evidence_for:
        yield "because", "\n".join(first.evidence_for)
    if first.evidence_against:
        yield "against it", "\n".join(first.evidence_against)
    if first.chain:
        yield "chain", " -> ".join(first.chain)
    if first.chain_rests_on:
        yield "rests on", first.chain_rests_on
    if first.fix_first:
        yield "first", first.fix_first
    if first.advice:
        yield "advice", first.advice


def _moved(record: RunRecord, subject: Subject | None) -> Iterator[tuple[str, str]]:
    own = subject.metric if subject is not None else None
    moved = [other for other in record.comparisons if other.metric != own and _beyond_margin(other)]
    if moved:
        yield "also moved" if own else "moved", "\n".join(_moved_lines(moved))


def _beyond_margin(compared: ComparisonRecord) -> bool:
    """Whether a metric moved by more than its margin and its noise, whatever the direction is worth."""
    if compared.verdict in (Verdict.REGRESSED, Verdict.IMPROVED):
        return True
    if compared.change_pct is None or compared.verdict is Verdict.INVALID:
        return False
    return abs(compared.change_pct) > max(compared.margin_pct or 0.0, compared.detectable_pct or 0.0)


def _moved_lines(moved: Sequence[ComparisonRecord]) -> Iterator[str]:
    largest = sorted(moved, key=lambda other: -abs(other.change_pct or 0.0))
    for other in largest[:_MOST_MOVED]:
        unit = CATALOGUE[other.metric].unit if other.metric in CATALOGUE else other.unit
        values = f"{value_text(other.baseline, unit)} -> {value_text(other.current, unit)}"
        judged = f", {other.verdict.value.lower()}" if other.verdict in (Verdict.REGRESSED, Verdict.IMPROVED) else ""
        yield f"{other.metric}  {values}  ({signed_pct(other.change_pct, other.margin_pct)}{judged})"
    if len(largest) > _MOST_MOVED:
        yield f"... and {len(largest) - _MOST_MOVED} more"


def _circumstances(record: RunRecord) -> Iterator[tuple[str, str]]:
    if changes := changes_of(record):
        yield "conditions", "\n".join(changes)
    if said := remarks(record):
        yield "note", "\n".join(said)
