"""What a report is made of: records, the files beside them, and what they are compared with."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final

from perfcheck.errors import RecordError
from perfcheck.model.record import RunRecord, TrialRecord
from perfcheck.output.alerts import Alert, read_alerts_of
from perfcheck.output.cases import Case, Status, cases, failures
from perfcheck.output.courses import file_there
from perfcheck.output.rows import scenario_label
from perfcheck.output.series import SeriesKind, SeriesReader
from perfcheck.report.history.story import Story

_SLUG: Final = 40


_Told = tuple[Mapping[int, tuple[Alert, ...]], str]
"""The alerts of a run by trial, and why there are none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """A record with the folder of its file: what it names is looked for there, too."""

    record: RunRecord
    folder: Path = Path()


@dataclass(frozen=True, slots=True, kw_only=True)
class Given:
    """What a report is to be made of.

    `baselines` are records to compare with, and `stories` histories of metrics, both by the scenario's label.
    `strict` fails what has no baseline or is unavailable. `notes` are to be told of the report as a whole.
    """

    sources: Sequence[Source]
    baselines: Mapping[str, Source] = field(default_factory=dict)
    stories: Mapping[str, Sequence[Story]] = field(default_factory=dict)
    strict: bool = False
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Recorded:
    """The time series of one record, as far as its file is there; `missing` says why it is not."""

    reader: SeriesReader | None = None
    kinds: tuple[SeriesKind, ...] = ()
    interval_ms: float = 0.0
    missing: str = ""

    def subjects(self, metric: str, trial: int) -> list[str | None]:
        """Return the subjects that a metric has curves of in a trial."""
        return [kind.subject for kind in self.kinds if (kind.metric, kind.trial) == (metric, trial)]


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """One run of the report; `repeated`: there are others of the same scenario."""

    number: int
    source: Source
    cases: tuple[Case, ...]
    series: Recorded
    repeated: bool = False
    alerts: Mapping[int, tuple[Alert, ...]] = field(default_factory=dict)
    no_alerts: str = ""
    baseline: Source | None = None
    baseline_series: Recorded = Recorded()
    stories: tuple[Story, ...] = ()

    @property
    def record(self) -> RunRecord:
        """The run's record."""
        return self.source.record

    @property
    def label(self) -> str:
        """The scenario, with the values of its matrix point."""
        return scenario_label(self.record)

    @property
    def title(self) -> str:
        """The scenario, with the time of the run where it needs that to be told from others."""
        return f"{self.label} ({self.record.started_at})" if self.repeated else self.label

    @property
    def anchor(self) -> str:
        """Where the scenario's section is."""
        slug = re.sub(r"[^a-z0-9]+", "-", self.label.lower())[:_SLUG].strip("-")
        return f"run-{self.number}-{slug}".rstrip("-")

    @property
    def failed(self) -> tuple[Case, ...]:
        """The cases that failed or could not be measured."""
        return tuple(failures(self.cases))

    @property
    def status(self) -> Status:
        """The worst of its cases: what failed counts more than what could not be measured."""
        order = (Status.FAILED, Status.ERROR, Status.PASSED, Status.SKIPPED)
        return min((case.status for case in self.cases), key=order.index, default=Status.SKIPPED)

    @property
    def valid(self) -> tuple[TrialRecord, ...]:
        """The trials that count; all of them where none does."""
        return tuple(trial for trial in self.record.trials if trial.valid) or self.record.trials

    def named(self, text: str) -> str:
        """Return a name for a chart or a section of this run."""
        return f"r{self.number}-{text}"


def runs_of(given: Given) -> tuple[Run, ...]:
    """Read the files that the records name, and return the runs in the order given.

    Of a measurement side by side the record of A is what B, which comes after it, is compared with.
    """
    told = list(_paired(given))
    alerts = _alerts_of([source for source, _ in told])
    often = Counter(scenario_label(source.record) for source, _ in told)
    return tuple(
        replace(
            _run(number, source, baseline, given, alerts[source.record.run_id]),
            repeated=often[scenario_label(source.record)] > 1,
        )
        for number, (source, baseline) in enumerate(told, start=1)
    )


def _paired(given: Given) -> Iterator[tuple[Source, Source | None]]:
    """Yield each record with what it is compared with, as far as that is given."""
    sides: dict[str, Source] = {}
    after = [*given.sources[1:], None]
    for source, following in zip(given.sources, after, strict=False):
        record, label = source.record, scenario_label(source.record)
        if record.sides is None and following is not None and _is_other_side(following.record, label):
            sides[label] = source
        else:
            yield source, sides.pop(label, None) if record.sides is not None else given.baselines.get(label)


def _is_other_side(record: RunRecord, label: str) -> bool:
    """Whether a record is B of a measurement side by side of this scenario."""
    return record.sides is not None and scenario_label(record) == label


def _run(number: int, source: Source, baseline: Source | None, given: Given, alerts: _Told) -> Run:
    by_trial, no_alerts = alerts
    return Run(
        number=number, source=source, cases=cases(source.record, strict=given.strict), series=recorded(source),
        alerts=by_trial, no_alerts=no_alerts, baseline=baseline,
        baseline_series=recorded(baseline) if baseline is not None else Recorded(),
        stories=tuple(given.stories.get(scenario_label(source.record), ())),
    )  # fmt: skip


def recorded(source: Source) -> Recorded:
    """Return a record's time series; a file that is missing or damaged is told, and keeps no report from being made."""
    named = source.record.series
    if named is None:
        return Recorded(missing="it was run without time series (`perfcheck run --series PATH` writes them)")
    path = file_there(Path(named.file), source.folder)
    if path is None:
        return Recorded(missing=f"its time series, {named.file}, are not there, nor beside the record")
    reader = SeriesReader(path)
    try:
        kinds = tuple(kind for kind in reader.kinds() if kind.run == source.record.run_id)
    except RecordError as error:
        return Recorded(missing=f"its time series cannot be read: {error}")
    if not kinds:
        return Recorded(missing=f"{named.file} has no time series of this run")
    return Recorded(reader=reader, kinds=kinds, interval_ms=named.interval_ms)


def _alerts_of(sources: Sequence[Source]) -> dict[str, _Told]:
    """Return the alerts of each run by trial, and why there are none; each file is read once for all of its runs."""
    found: dict[str, _Told] = {}
    by_file: dict[Path, list[RunRecord]] = {}
    for source in sources:
        record = source.record
        found[record.run_id] = ({}, "")
        if record.events is None:
            continue
        path = file_there(Path(record.events.file), source.folder)
        if path is None:
            found[record.run_id] = ({}, f"no file of events, {record.events.file}; a run without any leaves none")
        else:
            by_file.setdefault(path, []).append(record)
    for path, records in by_file.items():
        wanted = {(record.run_id, trial.index) for record in records for trial in record.trials}
        gathered: dict[str, dict[int, list[Alert]]] = {}
        said = ""
        try:
            for (run, trial), alert in read_alerts_of(path, wanted):
                gathered.setdefault(run, {}).setdefault(trial, []).append(alert)
        except RecordError as error:
            said = f"the events cannot be read: {error}"
        for record in records:
            by_trial = gathered.get(record.run_id, {})
            found[record.run_id] = ({trial: tuple(alerts) for trial, alerts in by_trial.items()}, said)
    return found
