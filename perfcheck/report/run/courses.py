"""The charts over time of one run: the most telling metrics of one of its trials, with phases and events."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from perfcheck.errors import RecordError
from perfcheck.model.metric import Direction
from perfcheck.model.subject import SubjectKind, read_key
from perfcheck.output.cases import Case
from perfcheck.output.courses import (
    COUNTED,
    TELLING,
    WHOLE,
    meaning_of,
    phase_begins,
    spec_of,
    subject_name,
    trial_began_ns,
    unit_of,
)
from perfcheck.output.series import Drawn, SeriesReader
from perfcheck.report.charts.happenings import happenings
from perfcheck.report.charts.lines import Labels, Line, Moments, Phase, lines
from perfcheck.report.charts.shares import areas
from perfcheck.report.document import Block, Bullets, Chart, Figures, Fold, Paragraph
from perfcheck.report.run.source import Run

MOST_CHARTS: Final = 8
FIRST: Final = 4
"""Charts that are seen at once; the others are folded."""
MOST_LINES: Final = 6
"""Lines of one chart; of more subjects those with the largest values are drawn, and the others named."""
_FINEST: Final = 400
_COARSEST: Final = 24
"""Moments of a chart at most, and at least."""
STATES: Final = {
    "tcp.limited_cwnd_pct": "congestion window or path", "tcp.limited_rwnd_pct": "receive window",
    "tcp.limited_sndbuf_pct": "send buffer", "tcp.limited_app_pct": "application",
}  # fmt: skip
"""What limits a sender, by the metric that says for what share of the time."""
_ROWS: Final = 14
"""Rows of events at most."""
_MARKS: Final = 120
"""Marks of one row of events at most."""
_NS: Final = 1e9
_OFTEN: Final = ("drop", "reset_sent", "reset_received")
"""Alerts at the end of nearly every connection; they stand last."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Course:
    """What is drawn: one trial, `moments` times of `width_ns` from `begin_ns` on."""

    trial: int
    begin_ns: int
    end_ns: int
    moments: int
    single: bool

    @property
    def t_s(self) -> npt.NDArray[np.float64]:
        """The middle of each stretch of time."""
        edges = np.linspace(self.begin_ns, self.end_ns, self.moments + 1)
        return (edges[:-1] + edges[1:]) / 2 / _NS


def course_blocks(run: Run, values: int) -> Iterator[Block]:
    """Yield the charts over time, in no more than so many values, and what is to be said of them."""
    if not run.record.trials:
        return
    if run.series.reader is None:
        yield Paragraph(text=f"There are no charts over time: {run.series.missing}.")
        return
    if not values:
        yield Paragraph(text="There are no charts of this scenario: the report has too many; it can be made alone.")
        return
    try:
        yield from _blocks(run, run.series.reader, values)
    except RecordError as error:
        yield Paragraph(text=f"There are no charts over time: {error}.")


def _blocks(run: Run, reader: SeriesReader, values: int) -> Iterator[Block]:
    trial, why = chosen_trial(run)
    metrics = telling(run, trial)
    course = _course(run, reader, trial, max(values // max(_lines_of(run, metrics, trial), 1), 1))
    counted = [metric for metric, _ in COUNTED if run.series.subjects(metric, trial)]
    wanted = list(dict.fromkeys([*metrics, *counted, *STATES]))
    drawn = reader.drawn(
        run.record.run_id, trial, wanted, span_ns=(course.begin_ns, course.end_ns), columns=course.moments
    )  # fmt: skip
    moments = Moments(
        t_s=course.t_s.tolist(), phases=_phases(run, course), events=_events(drawn, course.moments)
    )  # fmt: skip
    colours = [*run.record.subjects, WHOLE]
    left_out: list[str] = []
    charts = [
        _chart(run, metric, [one for one in drawn if one.metric == metric], moments, colours, left_out)
        for metric in metrics
    ]  # fmt: skip
    yield Paragraph(text=f"{why} {_how_drawn(course, run)}")
    yield Figures(charts=(*charts[:FIRST], *_alerts(run, course)))
    more = (*charts[FIRST:], *_states(run, drawn, moments))
    if more:
        yield Fold(summary=f"{len(more)} more charts over time", blocks=(Figures(charts=more),), printed=False)
    if left_out:
        yield Bullets(items=tuple(left_out))
    if run.no_alerts:
        yield Paragraph(text=f"Events are not marked: {run.no_alerts}.")


def _course(run: Run, reader: SeriesReader, trial: int, most: int) -> Course:
    """Return which moments are drawn: each sample where there is room for it, else stretches of time."""
    begin_ns, end_ns = reader.span_ns(run.record.run_id, trial)
    interval_ns = run.series.interval_ms * 1e6
    samples = max(round((end_ns - begin_ns) / interval_ns) + 1, 1)
    moments = min(samples, max(_COARSEST, min(most, _FINEST)))
    # A sample is in the middle of its stretch.
    return Course(
        trial=trial, begin_ns=round(begin_ns - interval_ns / 2), end_ns=round(end_ns + interval_ns / 2),
        moments=moments, single=moments == samples,
    )  # fmt: skip


def _lines_of(run: Run, metrics: Sequence[str], trial: int) -> int:
    """Return how many numbers all charts have for each moment, at most: a line has three, and each chart a time."""
    lines_there = sum(min(len(run.series.subjects(metric, trial)), MOST_LINES) for metric in metrics)
    return 3 * lines_there + 4 * len(metrics) + 3 * len(STATES)


def chosen_trial(run: Run) -> tuple[int, str]:
    """Return the trial to be drawn, with a sentence that says which it is: the worst of what failed, else the first."""
    trials = [trial for trial in run.valid if any(kind.trial == trial.index for kind in run.series.kinds)]
    indices = [trial.index for trial in trials] or sorted({kind.trial for kind in run.series.kinds})
    if not trials:
        return indices[0], f"Drawn is trial {indices[0] + 1}."
    of = f"Drawn is trial {{}} of {len(run.record.trials)}"
    for case in run.failed:
        found = {trial.index: trial.figures[case.metric] for trial in trials if case.metric in trial.figures}
        spec = spec_of(_base(case))
        if len(found) > 1 and spec is not None:
            worst = min if spec.direction is Direction.HIGHER else max
            index = worst(found, key=lambda place: found[place])
            return index, f"{of.format(index + 1)}, the one with the worst {case.metric}."
    return indices[0], f"{of.format(indices[0] + 1)}, the first one that counts."


def _base(case: Case) -> str:
    try:
        return read_key(case.metric).metric
    except ValueError:
        return case.metric


def telling(run: Run, trial: int) -> list[str]:
    """Return the metrics to be drawn: those that failed, then the most telling ones that have values."""
    there = {kind.metric for kind in run.series.kinds if kind.trial == trial}
    failed = [found for case in run.failed if (found := _series_metric(_base(case), there)) is not None]
    # Tails tell more than medians do.
    order = sorted(TELLING, key=lambda metric: metric.endswith(".p50"))
    wanted = list(dict.fromkeys([*failed, *(metric for metric in order if metric in there)]))
    return (wanted or sorted(there))[:MOST_CHARTS]


def _series_metric(metric: str, there: set[str]) -> str | None:
    """Return the series that shows a metric: its own, else that of another stat of it."""
    if metric in there:
        return metric
    stem = metric.rpartition(".")[0]
    return next((name for name in sorted(there) if stem.count(".") and name.rpartition(".")[0] == stem), None)


def _chart(
    run: Run, metric: str, drawn: Sequence[Drawn], moments: Moments, colours: Sequence[str], left_out: list[str]
) -> Chart:  # fmt: skip
    largest = sorted(drawn, key=lambda one: -float(np.nan_to_num(one.high).max()))
    chosen = largest[:MOST_LINES]
    if len(largest) > MOST_LINES:
        left_out.append(
            f"{metric}: the {MOST_LINES} of {len(largest)} subjects with the largest values are drawn; the tables of "
            "subjects have all of them"
        )
    place = {name: number for number, name in enumerate(colours)}
    chosen.sort(key=lambda one: place.get(subject_name(one.subject), len(place)))
    return lines(
        Labels(
            name=run.named(f"course-{metric.replace('.', '-').replace('_', '-')}"),
            title=f"{metric}: {meaning_of(metric)}", quantity=metric, unit=unit_of(metric),
        ),
        moments, [_line(one) for one in chosen], colours=_related(run, chosen, colours),
    )  # fmt: skip


def _related(run: Run, drawn: Sequence[Drawn], colours: Sequence[str]) -> list[str]:
    """Return the names that share the colours: subjects of the kind that is drawn, so that few colours do."""
    kinds = {found.kind for one in drawn if (found := run.record.subjects.get(subject_name(one.subject))) is not None}
    if kinds <= {SubjectKind.TRAFFIC}:
        same = [name for name in colours if name in run.record.subjects and run.record.subjects[name].kind in kinds]
        return same if len(same) <= MOST_LINES else [subject_name(one.subject) for one in drawn]
    return [subject_name(one.subject) for one in drawn]


def _line(one: Drawn) -> Line:
    name, mean = subject_name(one.subject), one.mean.tolist()
    if np.array_equal(one.low, one.high, equal_nan=True):
        return Line(name=name, mean=mean)
    return Line(name=name, mean=mean, low=one.low.tolist(), high=one.high.tolist())


def _phases(run: Run, course: Course) -> tuple[Phase, ...]:
    begins = [
        (name, begin_ns / _NS) for name, begin_ns in phase_begins(run.record, course.trial)
        if begin_ns < course.end_ns
    ]  # fmt: skip
    ends = [begin_s for _, begin_s in begins[1:]] + [course.end_ns / _NS]
    return tuple(
        Phase(name=name, begin_s=begin_s, end_s=end_s) for (name, begin_s), end_s in zip(begins, ends, strict=False)
    )  # fmt: skip


def _events(drawn: Sequence[Drawn], moments: int) -> list[str]:
    """Return what the series counted in each moment: `2 RTO at bulk, 5 drops at client>server`."""
    told: list[list[str]] = [[] for _ in range(moments)]
    for metric, word in COUNTED:
        for one in drawn:
            if one.metric == metric:
                for place in np.flatnonzero(np.nan_to_num(one.total) > 0).tolist():
                    told[place].append(f"{one.total[place]:,.0f} {word} at {subject_name(one.subject)}")
    return [", ".join(texts) for texts in told]


def _states(run: Run, drawn: Sequence[Drawn], moments: Moments) -> Iterator[Chart]:
    """Yield what limits the sender over time, of the traffic entry that has most to say."""
    subjects = list(dict.fromkeys(one.subject for one in drawn if one.metric in STATES))
    if not subjects:
        return

    def changes(subject: str | None) -> float:
        return sum(
            float(np.nan_to_num(one.mean).std())
            for one in drawn
            if (one.subject, one.metric in STATES) == (subject, True)
        )

    subject = max(subjects, key=changes)
    of = {one.metric: one.mean.tolist() for one in drawn if one.subject == subject}
    shares = {word: of[metric] for metric, word in STATES.items() if metric in of}
    name = subject_name(subject)
    yield areas(
        Labels(
            name=run.named("limits"), title=f"What limits the sender of {name}: share of its connections' time",
            quantity="share of the time", unit="pct",
        ),
        moments, shares,
    )  # fmt: skip


def _alerts(run: Run, course: Course) -> Iterator[Chart]:
    """Yield the chart of the trial's events, a row for each kind and host."""
    began_ns = trial_began_ns(run.record, course.trial)
    alerts = run.alerts.get(course.trial, ())
    if began_ns is None or not alerts:
        return
    width_ns = max((course.end_ns - course.begin_ns) / _MARKS, 1)
    rows: dict[tuple[str, str], Counter[int]] = {}
    for alert in alerts:
        place = int((alert.ns - began_ns - course.begin_ns) // width_ns)
        rows.setdefault((alert.kind, alert.host), Counter())[min(max(place, 0), _MARKS - 1)] += 1
    order = sorted(rows, key=lambda row: (row[0] in _OFTEN, row))
    counts = {
        f"{kind.replace('_', ' ')} at {host or WHOLE}": [
            ((course.begin_ns + (place + 0.5) * width_ns) / _NS, count)
            for place, count in sorted(rows[kind, host].items())
        ]
        for kind, host in order[:_ROWS]
    }  # fmt: skip
    more = f"; {len(order) - _ROWS} more kinds are in the file of events" if len(order) > _ROWS else ""
    yield happenings(
        Labels(
            name=run.named("events"), title=f"Events as the kernel told them, by kind and host{more}", quantity="",
            unit="",
        ),
        counts, span_s=(course.begin_ns / _NS, course.end_ns / _NS),
    )  # fmt: skip


def _how_drawn(course: Course, run: Run) -> str:
    length_s = (course.end_ns - course.begin_ns) / _NS / course.moments
    if course.single:
        return f"Each point is one sample, of {run.series.interval_ms:g} ms; triangles mark counted events."
    return (
        f"Each point is the mean of {length_s:.3g} s of samples of {run.series.interval_ms:g} ms, the band is "
        "from the smallest to the largest of them; triangles mark counted events."
    )
