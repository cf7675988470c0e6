"""`perfcheck show`: time series of a run in the terminal."""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt
from rich.text import Text

from perfcheck.errors import UsageError
from perfcheck.model.record import RunRecord
from perfcheck.output import read_records
from perfcheck.output.alerts import Alert, read_alerts
from perfcheck.output.chart import (
    DOTS_ACROSS,
    Axis,
    Strip,
    axis_lines,
    chart,
    columns_for,
    lines_of_each,
    marks,
    phase_names,
)
from perfcheck.output.courses import (
    COUNTED,
    TELLING,
    file_there,
    phase_begins,
    subject_name,
    trial_began_ns,
    unit_of,
)
from perfcheck.output.rows import scenario_label
from perfcheck.output.series import Drawn, SeriesKind, SeriesReader
from perfcheck.output.terminal import SafeConsole, console_for
from perfcheck.scenario.suggest import hint

HOW_TO: Final = "a run writes them with `perfcheck run FILE --series PATH` (pytest: --perfcheck-series PATH)"
_MAGIC: Final = b"PAR1"
_WIDEST: Final = 160
_IN_A_FILE: Final = 100
_MOST_MARKED: Final = 24
"""Lines of alerts: nine kinds in several hosts are fewer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Run:
    """What is drawn: a run of a file, and its record, where that was given and not the series alone."""

    file: Path
    run_id: str
    title: str
    record: RunRecord | None = None
    folder: Path = Path()

    def phases(self, trial: int) -> tuple[tuple[str, int], ...]:
        """Return each phase's begin in the trial, in ns; that of the scenario where the trial does not say it."""
        return () if self.record is None else phase_begins(self.record, trial)


def show(arguments: argparse.Namespace) -> int:
    """Draw the metrics of one trial; UsageError names what the file has where it has not what was asked for."""
    run = _chosen(arguments.file, arguments.run)
    reader = SeriesReader(run.file)
    kinds = [kind for kind in reader.kinds() if kind.run == run.run_id]
    trial = _trial(kinds, arguments.trial, run)
    kinds = [kind for kind in kinds if kind.trial == trial]
    asked = _asked(arguments.metrics, kinds)
    console = console_for()
    width = min(console.width, _WIDEST) if console.is_terminal else _IN_A_FILE
    for line in _lines(reader, run, trial, kinds, asked, columns_for(width)):
        console.print(line, soft_wrap=True)
    _tell_others(console, kinds, asked, width)
    return 0


def _lines(
    reader: SeriesReader, run: _Run, trial: int, kinds: Sequence[SeriesKind], asked: Sequence[tuple[str, str | None]],
    columns: int,
) -> Iterator[Text]:  # fmt: skip
    begin_ns, end_ns = reader.span_ns(run.run_id, trial)
    phases = [(name, begin_ns) for name, begin_ns in run.phases(trial) if begin_ns < end_ns]
    axis = Axis(begin_ns=min(begin_ns, 0), end_ns=end_ns, phases=phases)
    events = {name for name, _ in COUNTED} & {kind.metric for kind in kinds}
    wanted = dict.fromkeys([*(metric for metric, _ in asked), *sorted(events)])
    drawn = reader.drawn(
        run.run_id, trial, list(wanted), span_ns=(axis.begin_ns, axis.end_ns), columns=columns * DOTS_ACROSS
    )
    yield Text.assemble((run.title, "bold"), f"  trial {trial + 1}")
    yield from phase_names(axis, columns)
    rows = lines_of_each(len(asked))
    for metric in dict.fromkeys(metric for metric, _ in asked):
        subjects = [subject for name, subject in asked if name == metric]
        strips = [_strip(one) for one in drawn if one.metric == metric and subject_name(one.subject) in subjects]
        if strips:
            yield Text()
            yield from chart(metric, unit_of(metric), strips, axis, columns, rows)
    shown = {subject for _, subject in asked}
    happened = [
        marks(subject_name(one.subject), word, np.nan_to_num(one.total) > 0)
        for metric, word in COUNTED
        for one in drawn
        if one.metric == metric
        and np.nansum(one.total) > 0
        and (subject_name(one.subject) in shown or ">" in (one.subject or ""))
    ]
    told = [*happened, *_alerts(run, trial, axis, columns)]
    if told:
        yield Text()
        yield from told
    yield from axis_lines(axis, columns)


def _alerts(run: _Run, trial: int, axis: Axis, columns: int) -> Iterator[Text]:
    """Yield a line for each kind of alert and host, as far as the run has a file of events."""
    record = run.record
    began_ns = None if record is None else trial_began_ns(record, trial)
    if record is None or record.events is None or began_ns is None:
        return
    path = file_there(Path(record.events.file), run.folder)
    if path is None:
        yield Text(f"events: no {record.events.file}; a run without any leaves none", style="dim")
        return
    dots = columns * DOTS_ACROSS
    found: dict[tuple[str, str], npt.NDArray[np.bool_]] = {}
    for alert in read_alerts(path, run_id=run.run_id, trial=trial):
        there = found.setdefault(_line_of(alert), np.zeros(dots, bool))
        there[axis.column(alert.ns - began_ns, dots)] = True
    for (host, kind), there in sorted(found.items())[:_MOST_MARKED]:
        yield marks(subject_name(host), kind, there)
    if len(found) > _MOST_MARKED:
        yield Text(f"and {len(found) - _MOST_MARKED:,} more kinds of alerts", style="dim")


def _line_of(alert: Alert) -> tuple[str, str]:
    return alert.host, alert.kind.replace("_", " ")


def _strip(one: Drawn) -> Strip:
    return Strip(subject=subject_name(one.subject), low=one.low, high=one.high, mean=one.mean)


def _asked(words: Sequence[str], kinds: Sequence[SeriesKind]) -> list[tuple[str, str]]:
    """Return metrics and subjects to be drawn, in the order in which they were asked for."""
    known = dict.fromkeys((kind.metric, subject_name(kind.subject)) for kind in kinds)
    if not words:
        names = {metric for metric, _ in known}
        words = [metric for metric in TELLING if metric in names] or sorted(names)[:4]
    found: list[tuple[str, str]] = []
    for word in words:
        metric, _, subject = word.partition("@")
        fitting = [
            (name, whose) for name, whose in known
            if (not metric or name == metric or name.startswith(f"{metric}.")) and (not subject or whose == subject)
        ]  # fmt: skip
        if not fitting:
            raise UsageError(_unknown(word, metric, subject, known))
        found += [one for one in fitting if one not in found]
    return found


def _unknown(word: str, metric: str, subject: str, known: Iterable[tuple[str, str]]) -> str:
    names, subjects = ({one[place] for one in known} for place in (0, 1))
    if metric and not any(name == metric or name.startswith(f"{metric}.") for name in names):
        return f"no series of {metric!r}{hint(metric, sorted(names))}; the file has {', '.join(sorted(names))}"
    if subject and subject not in subjects:
        there = ", ".join(sorted(subjects))
        return f"no series of subject {subject!r}{hint(subject, sorted(subjects))}; there are {there}"
    having = sorted(whose for name, whose in known if name == metric or name.startswith(f"{metric}."))
    return f"no series of {word!r}: {metric} is of {', '.join(dict.fromkeys(having))}"


def _trial(kinds: Sequence[SeriesKind], wanted: int, run: _Run) -> int:
    trials = sorted({kind.trial for kind in kinds})
    if wanted - 1 in trials:
        return wanted - 1
    if not trials:
        raise UsageError(f"{run.file}: no series of run {run.run_id}; {HOW_TO}")
    raise UsageError(f"--trial: {run.file} has trials {', '.join(str(one + 1) for one in trials)}, not {wanted}")


def _tell_others(
    console: SafeConsole, kinds: Sequence[SeriesKind], asked: Sequence[tuple[str, str]], width: int
) -> None:
    drawn = {metric for metric, _ in asked}
    others = sorted({kind.metric for kind in kinds} - drawn)
    if others:
        console.print(Text(f"\nmore: {', '.join(others)}", style="dim"), width=width)


def _chosen(file: Path, wanted: str | None) -> _Run:
    """Return the run to be drawn: of a Parquet file, or of the record that names one."""
    if _is_parquet(file):
        runs = dict.fromkeys(kind.run for kind in SeriesReader(file).kinds())
        found = [run for run in runs if wanted is None or wanted in run]
        run_id = _one(found, wanted, [str(run) for run in runs], file)
        return _Run(file=file, run_id=run_id, title=f"run {run_id[:12]}")
    every = read_records(file)
    records = [record for record in every if record.series is not None]
    if not records:
        older = "; its records are older than time series" if any(record.predates for record in every) else ""
        raise UsageError(f"{file}: none of its runs has time series{older}; {HOW_TO}")
    labels = {record.run_id: scenario_label(record) for record in records}
    found = [
        record.run_id for record in records
        if wanted is None or wanted in labels[record.run_id] or record.run_id.startswith(wanted)
    ]  # fmt: skip
    run_id = _one(found, wanted, list(labels.values()), file)
    record = next(record for record in records if record.run_id == run_id)
    return _Run(
        file=_series_of(record, file), run_id=run_id, title=labels[run_id], record=record, folder=file.parent
    )  # fmt: skip


def _is_parquet(file: Path) -> bool:
    try:
        with file.open("rb") as stream:
            return stream.read(len(_MAGIC)) == _MAGIC
    except OSError:
        return False  # read_records says what is wrong


def _one(found: Sequence[str], wanted: str | None, names: Sequence[str], file: Path) -> str:
    if not found:
        raise UsageError(f"--run: no run of {file} has {wanted!r} in its name; there are {', '.join(names)}")
    if len(found) > 1 and wanted is None and len(set(names)) > 1:
        raise UsageError(f"{file} has {len(found)} runs; choose one with --run: {', '.join(names)}")
    return found[-1]


def _series_of(record: RunRecord, file: Path) -> Path:
    """Return the file of a record's series: where it was written, or beside the record."""
    assert record.series is not None  # noqa: S101 - the caller has chosen those that have one
    written = Path(record.series.file)
    found = file_there(written, file.parent)
    if found is None:
        beside = file.parent / written.name
        also = "" if beside == written else f", nor is {beside}"
        raise UsageError(f"{file}: the series of this run, {written}, is not there{also}")
    return found
