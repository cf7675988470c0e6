"""All figures of a run as tables: of the whole run, of each subject, of each phase."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from perfcheck.model.catalogue import Catalogue
from perfcheck.model.catalogue_of import catalogue_of
from perfcheck.model.record import MetricRecord, SubjectRecord
from perfcheck.model.subject import SubjectKind
from perfcheck.model.units import format_value
from perfcheck.output.courses import TELLING
from perfcheck.report.document import Block, Fold, Paragraph, Table
from perfcheck.report.run.cells import cells, metric_row
from perfcheck.report.run.source import Run
from perfcheck.report.run.telling import HEADINGS, NUMERIC, telling_metrics

_MOST_SUBJECTS: Final = 6
"""Columns of subjects in one table."""
_MOST_NAMED: Final = 60
_WORDS: Final = {
    SubjectKind.TRAFFIC: "traffic entries", SubjectKind.HOST: "hosts", SubjectKind.DIRECTION: "directions of links",
}  # fmt: skip


def metric_blocks(run: Run, most: int) -> Iterator[Block]:
    """Yield the tables, in no more than so many rows each."""
    catalogue = catalogue_of(run.record)
    yield from telling_metrics(run, catalogue)
    yield from _phases(run)
    yield Fold(
        summary=f"all metrics of the whole run: {len(run.record.metrics)}",
        blocks=tuple(_whole(run.record.metrics, catalogue, most)), printed=False,
    )  # fmt: skip
    for kind, word in _WORDS.items():
        of = {name: found for name, found in run.record.subjects.items() if found.kind is kind}
        if of:
            blocks = tuple(_subjects(of, run.record.metrics, most))
            yield Fold(summary=f"{word}: {_names(list(of))}", blocks=blocks, printed=False)
    if run.record.predates:
        yield Paragraph(
            text=f"An older perfcheck wrote this record: it has no figures of {' and '.join(run.record.predates)}."
        )


def _names(names: Sequence[str]) -> str:
    shown = ", ".join(name for name in names[:_MOST_SUBJECTS])
    return shown if len(names) <= _MOST_SUBJECTS else f"{shown} and {len(names) - _MOST_SUBJECTS} more"


def _whole(metrics: Mapping[str, MetricRecord], catalogue: Catalogue, most: int) -> Iterator[Block]:
    told = {name: found for name, found in metrics.items() if any(found.per_trial) or found.value}
    yield Table(
        headings=HEADINGS,
        rows=tuple(metric_row(name, found, catalogue) for name, found in list(told.items())[:most]),
        numeric=NUMERIC,
        caption="Median, smallest and largest of the trials that count." + _rest(len(told), most),
    )
    zeros = [name for name in metrics if name not in told]
    if zeros:
        yield Paragraph(text=f"0 in every trial: {_listed(zeros)}.")


def _subjects(of: Mapping[str, SubjectRecord], whole: Mapping[str, MetricRecord], most: int) -> Iterator[Block]:
    """Yield a table with a column for each subject; of many those that differ most from the others have one."""
    shown = _telling(of)
    names = [
        name for name in dict.fromkeys(name for found in of.values() for name in found.metrics)
        if any(_value(found, name) for found in of.values())
    ]  # fmt: skip
    names.sort(key=lambda name: (name not in TELLING, list(whole).index(name) if name in whole else len(whole)))
    rows = [cells(name, *(_text(of[one], name) for one in shown)) for name in names[:most]]
    left_out = (
        f" Of {len(of)} subjects those with the largest values have a column; the record has all of them."
        if len(shown) < len(of) else ""
    )  # fmt: skip
    yield Table(
        headings=("metric", *shown), rows=tuple(rows),
        numeric=frozenset(range(1, len(shown) + 1)),
        caption="Medians of the trials that count; what is 0 for all is left out. The table of the whole run says what "
        f"each metric is.{_rest(len(names), most)}{left_out}",
    )  # fmt: skip


def _telling(of: Mapping[str, SubjectRecord]) -> list[str]:
    """Return the subjects that have columns: the first ones by the first telling metric that they have."""
    if len(of) <= _MOST_SUBJECTS:
        return list(of)
    metric = next((name for name in TELLING if any(name in found.metrics for found in of.values())), "")
    largest = sorted(of, key=lambda name: -(_value(of[name], metric) or 0.0))[:_MOST_SUBJECTS]
    return [name for name in of if name in largest]


def _value(found: SubjectRecord, metric: str) -> float | None:
    metrics = found.metrics.get(metric)
    return None if metrics is None else metrics.value


def _text(found: SubjectRecord, metric: str) -> str:
    own = found.metrics.get(metric)
    return "" if own is None else format_value(own.value, own.unit)


def _phases(run: Run) -> Iterator[Block]:
    """Yield the telling metrics by phase, of the whole run and of what the scenario asks of subjects."""
    phases = run.record.phases
    if not phases:
        return
    names = [name for name in TELLING if any(name in part.metrics for part in phases.values())]
    yield Table(
        headings=("metric", "whole time", *(phases)),
        rows=tuple(
            cells(name, _of(run.record.metrics, name), *(_of(part.metrics, name) for part in phases.values()))
            for name in (*names, *_only_phased(run))
        ),
        numeric=frozenset(range(1, len(phases) + 2)),
        caption="By phase: medians of the trials that count, of the whole run.",
    )  # fmt: skip


def _only_phased(run: Run) -> list[str]:
    names = (name for part in run.record.phases.values() for name in part.metrics if name.startswith("app.recovery"))
    return list(dict.fromkeys(names))


def _of(metrics: Mapping[str, MetricRecord], name: str) -> str:
    found = metrics.get(name)
    return "" if found is None else format_value(found.value, found.unit)


def _rest(there: int, most: int) -> str:
    return f" The first {most} of {there} are here; the record has all of them." if there > most else ""


def _listed(names: Sequence[str]) -> str:
    shown = ", ".join(name for name in names[:_MOST_NAMED])
    return shown if len(names) <= _MOST_NAMED else f"{shown} and {len(names) - _MOST_NAMED} more"
