"""How values are spread: over the time of the trials, and from trial to trial, beside the baseline's."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from perfcheck.errors import RecordError
from perfcheck.model.catalogue_of import catalogue_of
from perfcheck.model.record import RunRecord
from perfcheck.model.subject import is_diagnosis, read_key
from perfcheck.output.courses import subject_name, unit_of
from perfcheck.report.charts.distribution import Side, cdf
from perfcheck.report.charts.lines import Labels
from perfcheck.report.charts.trials import trials
from perfcheck.report.document import Block, Chart, Figures, Fold, Paragraph
from perfcheck.report.run.source import Recorded, Run, Source

NOW: Final = "this run"
BASELINE: Final = "baseline"
_SPREAD: Final = (
    "app.latency_us.p99", "app.latency_us.p50", "tcp.rtt_us.p50", "tcp.rtt_us.p99", "app.throughput_bps",
    "app.first_byte_us.p99",
)  # fmt: skip
"""Metrics of which distributions over time are drawn, the most telling first."""
_MOST_SPREAD: Final = 3
_MOST_SIDES: Final = 4
_MOST_TRIALS: Final = 6
_FIRST_TRIALS: Final = 2
"""Metrics whose trials are seen at once, where no more failed."""


def spread_blocks(run: Run) -> Iterator[Block]:
    """Yield the distributions of the sampled values, now and in the baseline, or of the subjects among one another."""
    try:
        charts = tuple(_spread(run))
    except RecordError as error:
        yield Paragraph(text=f"There are no distributions: {error}.")
        return
    if charts:
        yield Paragraph(
            text="Distributions are of the sampled values of the time series, one an interval, of all trials that "
            "count: how large a share of them is not larger than each value. They are not of single requests or "
            "segments."
        )
        yield Figures(charts=charts)


def _spread(run: Run) -> Iterator[Chart]:
    kinds = dict.fromkeys((kind.metric, kind.subject) for kind in run.series.kinds)
    there = {metric for metric, _ in kinds}
    failed = [read_key(case.metric).metric for case in run.failed if is_metric(case.metric)]
    metrics = [metric for metric in dict.fromkeys([*failed, *_SPREAD]) if metric in there][:_MOST_SPREAD]
    compared = run.baseline is not None and run.baseline_series.reader is not None
    for metric in metrics:
        subjects = [subject for name, subject in kinds if name == metric]
        if compared:
            for place, subject in enumerate(subjects[: 1 if len(metrics) > 1 else _MOST_SPREAD]):
                yield _compared(run, metric, subject, f"-{place + 1}" if place else "")
        else:
            yield _of_subjects(run, metric, subjects)


def _compared(run: Run, metric: str, subject: str | None, suffix: str) -> Chart:
    assert run.baseline is not None  # noqa: S101 - the caller has looked
    name = subject_name(subject)
    sides = [
        Side(name=BASELINE, values=_values(run.baseline, run.baseline_series, metric, subject)),
        Side(name=NOW, values=_values(run.source, run.series, metric, subject)),
    ]
    return cdf(
        Labels(
            name=run.named(slug("spread", metric) + suffix), title=f"{metric} of {name}, {NOW} and its baseline",
            quantity=metric, unit=unit_of(metric),
        ),
        sides,
    )  # fmt: skip


def _of_subjects(run: Run, metric: str, subjects: Sequence[str | None]) -> Chart:
    drawn = subjects[:_MOST_SIDES]
    sides = [
        Side(name=subject_name(one), values=_values(run.source, run.series, metric, one)) for one in drawn
    ]  # fmt: skip
    more = f" (the first {len(drawn)} of {len(subjects)} subjects)" if len(drawn) < len(subjects) else ""
    return cdf(
        Labels(
            name=run.named(slug("spread", metric)), title=f"{metric} by subject{more}", quantity=metric,
            unit=unit_of(metric),
        ),
        sides,
    )  # fmt: skip


def _values(source: Source, series: Recorded, metric: str, subject: str | None) -> list[float]:
    if series.reader is None:
        return []
    record = source.record
    counted = [trial.index for trial in record.trials if trial.valid] or [trial.index for trial in record.trials]
    return [float(value) for value in series.reader.values(record.run_id, counted, metric, subject)]


def trial_blocks(run: Run) -> Iterator[Block]:
    """Yield the values of single trials, beside the baseline's, of what failed and what was compared."""
    charts = tuple(_trials(run))
    if charts:
        yield Paragraph(text=_how(run))
        first = max(sum(is_metric(case.metric) for case in run.failed), _FIRST_TRIALS)
        yield Figures(charts=charts[:first])
        if charts[first:]:
            more = Figures(charts=charts[first:])
            yield Fold(summary=f"{len(more.charts)} more metrics, each trial", blocks=(more,), printed=False)


def _how(run: Run) -> str:
    text = "Each dot is one trial, the bar is the median, which is the run's value."
    if run.baseline is None and any(compared.baseline is not None for compared in run.record.comparisons):
        text += " Of the stored baseline the median is known here; with --baseline-record its trials are shown."
    return text


def _trials(run: Run) -> Iterator[Chart]:
    catalogue = catalogue_of(run.record)
    failed = [case.metric for case in run.failed if is_metric(case.metric)]
    wanted = [*failed, *(compared.metric for compared in run.record.comparisons)]
    drawn = 0
    for key in dict.fromkeys(wanted):
        now = run.record.figures.get(key)
        if now is None or len(now.per_trial) < 2 or drawn >= _MOST_TRIALS:
            continue
        drawn += 1
        spec = catalogue.get(key)
        yield trials(
            Labels(
                name=run.named(slug("trials", key)),
                title=f"{key}: {spec.meaning}" if spec is not None else key,
                quantity=key, unit=now.unit,
            ),
            [Side(name=NOW, values=now.per_trial), *_before(run, key)],
        )  # fmt: skip


def _before(run: Run, key: str) -> Iterator[Side]:
    """Yield the baseline's values: its trials where its record was given, else the value that was compared with."""
    record: RunRecord | None = run.baseline.record if run.baseline is not None else None
    if record is not None:
        found = record.figures.get(key)
        if found is not None:
            yield Side(name=BASELINE, values=found.per_trial)
        return
    compared = next((one for one in run.record.comparisons if one.metric == key), None)
    if compared is not None and compared.baseline is not None:
        yield Side(name="A" if run.record.sides is not None else BASELINE, values=[compared.baseline])


def is_metric(text: str) -> bool:
    """Whether a case's metric is one, as against the diagnosis or the run as a whole."""
    if is_diagnosis(text):
        return False
    try:
        read_key(text)
    except ValueError:
        return False
    return True


def slug(what: str, key: str) -> str:
    """Return a part of a chart's name: letters, digits and hyphens."""
    return f"{what}-{''.join(each if each.isalnum() and each.isascii() else '-' for each in key.lower())}"
