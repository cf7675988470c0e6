"""The courses of both sides over time, over one another: the mean of all runs of a side, and the range of them."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from perfcheck.errors import RecordError
from perfcheck.model.printable import printable
from perfcheck.model.record import RunRecord
from perfcheck.output.courses import TELLING, phase_begins, spec_of, subject_name, unit_of
from perfcheck.output.series import SeriesReader
from perfcheck.report.charts.lines import Labels, Line, Moments, Phase, lines
from perfcheck.report.compare.sides import Compared
from perfcheck.report.document import Block, Chart, Figures, Paragraph
from perfcheck.report.run.source import Recorded, Source, recorded

MOST_CHARTS: Final = 8
MOST_RUNS: Final = 20
MOST_MOMENTS: Final = 120
_FEWEST: Final = 12
"""Moments of a chart at most, and at least."""
_NS: Final = 1e9


@dataclass(frozen=True, slots=True, kw_only=True)
class _Side:
    """One side's series; `trials` are those that count and have any, by index."""

    name: str
    record: RunRecord
    reader: SeriesReader
    series: Recorded
    trials: tuple[int, ...]

    def spans_ns(self) -> list[tuple[int, int]]:
        """Return begin and end of each trial's series."""
        return [self.reader.span_ns(self.record.run_id, trial) for trial in self.trials]

    def subjects(self, metric: str) -> set[str | None]:
        """Return the subjects that a metric has curves of in the first trial."""
        return set(self.series.subjects(metric, self.trials[0]))


def course_figures(compared: Compared, number: int, most: int = MOST_CHARTS) -> tuple[Block, ...]:
    """Return the charts over time; nothing where neither side has series, and why where one lacks them."""
    sources = [
        Source(record=record, folder=folder)
        for record, folder in zip((compared.before, compared.after), compared.folders, strict=True)
    ]
    if not any(source.record.series for source in sources):
        return ()
    found = [recorded(source) for source in sources]
    missing = [f"{letter}: {one.missing}" for letter, one in zip("AB", found, strict=True) if one.missing]
    if missing:
        return (Paragraph(text=f"There are no charts over time. {'; '.join(missing)}."),)
    try:
        return _figures(compared, number, found, most)
    except RecordError as error:
        return (Paragraph(text=f"There are no charts over time: {error}."),)


def _figures(compared: Compared, number: int, found: Sequence[Recorded], most: int) -> tuple[Block, ...]:
    records = (compared.before, compared.after)
    sides = [
        _side(name, record, series)
        for name, record, series in zip(compared.chart_names, records, found, strict=True)
    ]  # fmt: skip
    if any(not side.trials for side in sides):
        return (Paragraph(text="There are no charts over time: no run that counts has series."),)
    spans = [span for side in sides for span in side.spans_ns()]
    begin_ns, end_ns = min(begin for begin, _ in spans), max(end for _, end in spans)
    wanted = list(_wanted(sides))[:most]
    if not wanted:
        return ()
    moments_drawn = _moments(records, end_ns - begin_ns)
    edges = np.linspace(begin_ns, max(end_ns, begin_ns + 1), moments_drawn + 1)
    moments = Moments(
        t_s=((edges[:-1] + edges[1:]) / 2 / _NS).tolist(), phases=_phases(compared.after, end_ns)
    )  # fmt: skip
    drawn = [_means(side, wanted, (begin_ns, end_ns), moments_drawn) for side in sides]
    charts = tuple(
        _chart(f"course-{number}-{place}", metric, subject, moments, sides, drawn)
        for place, (metric, subject) in enumerate(wanted, 1)
    )
    counts = " and ".join(f"{len(side.trials)} of {letter}" for letter, side in zip("AB", sides, strict=True))
    told = f"Lines are means over the runs ({counts}), bands reach from the smallest to the largest of them."
    return (Paragraph(text=told), Figures(charts=charts))


def _moments(records: Sequence[RunRecord], length_ns: int) -> int:
    """Return how many moments are drawn: one for each sample of the coarser series, as long as there is room."""
    interval_ns = max(record.series.interval_ms * 1e6 for record in records if record.series is not None)
    return max(_FEWEST, min(MOST_MOMENTS, round(length_ns / interval_ns)))


def _side(name: str, record: RunRecord, series: Recorded) -> _Side:
    assert series.reader is not None  # noqa: S101 - nothing is missing
    counted = {trial.index for trial in record.trials if trial.valid}
    there = sorted({kind.trial for kind in series.kinds} & counted)
    return _Side(name=name, record=record, reader=series.reader, series=series, trials=tuple(there[:MOST_RUNS]))


def _wanted(sides: Sequence[_Side]) -> Iterator[tuple[str, str | None]]:
    """Yield metric and subject of each chart: the whole where both sides have it, else the first entry of both."""
    for metric in TELLING:
        both = set.intersection(*(side.subjects(metric) for side in sides))
        order = [None, *sides[-1].record.subjects]
        subject = next((each for each in order if each in both), ...)
        if subject is not ...:
            yield metric, subject


_Stack = tuple[npt.NDArray[np.float64], npt.NDArray[np.float64], npt.NDArray[np.float64]]


def _means(
    side: _Side, wanted: Sequence[tuple[str, str | None]], span_ns: tuple[int, int], moments: int
) -> dict[tuple[str, str | None], _Stack]:  # fmt: skip
    """Return mean, smallest and largest over the trials of a side, of each curve."""
    runs: dict[tuple[str, str | None], list[npt.NDArray[np.float64]]] = {each: [] for each in wanted}
    metrics = list(dict.fromkeys(metric for metric, _ in wanted))
    for trial in side.trials:
        for one in side.reader.drawn(side.record.run_id, trial, metrics, span_ns=span_ns, columns=moments):
            if (one.metric, one.subject) in runs:
                runs[one.metric, one.subject].append(one.mean)
    found = {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # a moment in which no run has a value
        for curve, values in runs.items():
            stack = np.array(values) if values else np.full((1, moments), np.nan)
            found[curve] = (np.nanmean(stack, axis=0), np.nanmin(stack, axis=0), np.nanmax(stack, axis=0))
    return found


def _chart(
    name: str, metric: str, subject: str | None, moments: Moments, sides: Sequence[_Side],
    drawn: Sequence[dict[tuple[str, str | None], _Stack]],
) -> Chart:  # fmt: skip
    spec = spec_of(metric)
    of = "" if subject is None else f" of {printable(subject_name(subject))}"
    series = []
    for side, means in zip(sides, drawn, strict=True):
        mean, low, high = (one.tolist() for one in means[metric, subject])
        series.append(Line(name=side.name, mean=mean, low=low, high=high))
    labels = Labels(
        name=name, title=f"{metric}{of}{f': {spec.meaning}' if spec is not None else ''}", quantity=metric,
        unit=unit_of(metric),
    )  # fmt: skip
    return lines(labels, moments, series)


def _phases(record: RunRecord, end_ns: int) -> tuple[Phase, ...]:
    trial = next((trial.index for trial in record.trials if trial.valid), 0)
    begins = [(printable(name), at_ns / _NS) for name, at_ns in phase_begins(record, trial) if at_ns < end_ns]
    if not begins:
        return ()
    ends = [begin_s for _, begin_s in begins[1:]] + [end_ns / _NS]
    return tuple(
        Phase(name=name, begin_s=begin_s, end_s=end_s) for (name, begin_s), end_s in zip(begins, ends, strict=True)
    )
