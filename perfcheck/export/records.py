"""Records of runs as families of Prometheus: the last run of each scenario, one gauge a figure."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Final

from perfcheck.errors import OutputError, UsageError
from perfcheck.export import own_families as own
from perfcheck.export.buckets import rounded
from perfcheck.export.family import Family
from perfcheck.export.names import record_place
from perfcheck.export.snapshot import Labels, Series, labels_of
from perfcheck.export.text import prometheus_text
from perfcheck.export.textfile import MODE, textfile_path
from perfcheck.model.catalogue_of import catalogue_of
from perfcheck.model.causes import CAUSES
from perfcheck.model.record import RunRecord
from perfcheck.model.subject import read_key
from perfcheck.model.verdict import Verdict
from perfcheck.output.rows import scenario_label
from perfcheck.system.files import replace_file, require_writable

MOST_SERIES: Final = 50_000
"""Of a file; series of further records are left out, and counted."""
_PERCENT: Final = 100.0
Sample = tuple[Family, Labels, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordsSnapshot:
    """Records, the last of each scenario."""

    records: tuple[RunRecord, ...]
    most: int = MOST_SERIES

    def series(self) -> Iterator[Series]:
        """Yield the families, each once; metrics of applications' own come as they are declared."""
        found: dict[str, tuple[Family, dict[Labels, float]]] = {}
        kept = left_out = 0
        for record in self.records:
            for family, labels, value in samples(record):
                if kept >= self.most:
                    left_out += 1
                    continue
                kept += 1
                found.setdefault(family.name, (family, {}))[1][labels] = value
        for family, rows in found.values():
            yield Series(family=family, values=tuple(rows.items()))
        yield Series(family=own.RECORD_SERIES_LEFT_OUT, values=(((), float(left_out)),))


def samples(record: RunRecord) -> Iterator[Sample]:
    """Yield what a record says: its verdict first, its many figures last."""
    label = scenario_label(record)
    scenario = labels_of({"scenario": label})
    for verdict in Verdict:
        yield own.VERDICT, (*scenario, ("verdict", verdict.value)), float(record.verdict is verdict)
    failed = record.verdict.fails_a_build or record.verdict is Verdict.INVALID
    yield own.CASE_FAILED, scenario, float(failed)
    began_s = _epoch_s(record.started_at)
    if began_s is not None:
        yield own.RUN_TIMESTAMP, scenario, began_s
    probabilities = {one.cause: one.confidence for one in record.diagnosis}
    for cause in CAUSES:
        yield own.DIAGNOSIS, (*scenario, ("cause", cause)), probabilities.get(cause, 0.0)
    yield from _comparisons(record, scenario)
    yield from _figures(record, label)


def _comparisons(record: RunRecord, scenario: Labels) -> Iterator[Sample]:
    for one in record.comparisons:
        labels = (*scenario, *labels_of({"metric": one.metric}))
        yield own.COMPARISON, (*labels, ("verdict", one.verdict.value)), 1.0
        for family, percent in ((own.CHANGE, one.change_pct), (own.DETECTABLE, one.detectable_pct)):
            if percent is not None and math.isfinite(percent):
                yield family, labels, rounded(percent / _PERCENT)


def _figures(record: RunRecord, label: str) -> Iterator[Sample]:
    catalogue = catalogue_of(record)
    for key, one in record.figures.items():
        asked = read_key(key)
        place = record_place(asked.metric, catalogue.get(asked.metric))
        if place is None or not math.isfinite(one.value):
            continue
        whose = {"scenario": label}
        if asked.subject is not None:
            whose["subject"] = asked.subject
        if asked.phase is not None:
            whose["phase"] = asked.phase
        yield place.family, (*labels_of(whose), *place.labels.items()), rounded(one.value * place.scale)


def _epoch_s(text: str) -> float | None:
    try:
        return datetime.fromisoformat(text).timestamp()
    except (ValueError, OverflowError):
        return None


class PrometheusOutput:
    """Replaces a text file for node_exporter with each record: it has the last run of each scenario of the session."""

    def __init__(self, path: Path) -> None:
        """Touch nothing until `open`."""
        self._path = path
        self._records: dict[str, RunRecord] = {}

    @property
    def name(self) -> str:
        """Name of the format."""
        return "prometheus"

    def open(self) -> None:
        """Make the folder; UsageError where that cannot be done, before anything is measured."""
        try:
            textfile_path(str(self._path))
        except ValueError as problem:
            raise UsageError(f"{self._path}: {problem}") from None
        try:
            if self._path.is_dir():
                raise IsADirectoryError(0, "is a folder")
            require_writable(self._path.parent)
        except OSError as problem:
            raise UsageError(f"{self._path}: cannot be written: {problem.strerror}; name another file") from None

    def write(self, record: RunRecord) -> None:
        """Add the record, and replace the file."""
        self._records[scenario_label(record)] = record
        snapshot = RecordsSnapshot(records=tuple(self._records.values()))
        try:
            replace_file(self._path, prometheus_text(snapshot.series()).encode(), mode=MODE, durable=False)
        except OSError as problem:
            raise OutputError(f"{self._path}: cannot be written: {problem.strerror or problem}") from None

    def close(self) -> None:
        """Nothing is open between two records."""
