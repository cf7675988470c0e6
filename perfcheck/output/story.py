"""What a job summary says of a scenario besides its table: plots of its metrics, its causes, and diagrams.

A story is made of plain types, so that it crosses the border of a process as it is.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import numpy as np

from perfcheck.errors import PerfcheckError
from perfcheck.model.catalogue_of import catalogue_of
from perfcheck.model.record import ComparisonRecord, RunRecord
from perfcheck.model.subject import SubjectKind, read_key
from perfcheck.output import mermaid
from perfcheck.output.cases import Case, failures, untrusted
from perfcheck.output.rows import cause_text, scenario_label
from perfcheck.output.series import Drawn, SeriesKind, SeriesReader
from perfcheck.output.sparks import extremes, interval_bar, spark

_POINTS: Final = 40
"""Of a curve: a chart of a summary is a finger wide."""
_EVIDENCE: Final = 3
_ALSO: Final = 3
_LIKELY: Final = 0.05
"""From here on a further cause is named."""
_SCALES: Final[Mapping[str, tuple[float, str]]] = {
    "us": (1e-3, "ms"), "ns": (1e-6, "ms"), "bps": (1e-6, "Mbit/s"), "bytes": (1e-3, "kB"), "pct": (1.0, "%"),
}  # fmt: skip
_STATISTIC: Final = re.compile(r"\.(p[0-9]+|mean|min|max)$")
_USUAL: Final = "app.throughput_bps"


@dataclass(frozen=True, slots=True, kw_only=True)
class Story:
    """The texts of one scenario, not yet escaped but for the diagrams, which are Mermaid's.

    `runs` are plots of the values of the runs with their extremes, and `bars` plots of intervals, by metric. `cause`
    is the first cause with its probability, `told` are labelled texts that explain it.
    """

    scenario: str
    runs: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    bars: Mapping[str, str] = field(default_factory=dict)
    cause: str = ""
    advice: str = ""
    told: tuple[tuple[str, str], ...] = ()
    reproduce: str = ""
    diagrams: tuple[str, ...] = ()


def story_of(record: RunRecord, found: Sequence[Case]) -> Story:
    """Return the story of a record whose cases these are; diagrams are drawn of what failed."""
    if untrusted(record) is not None:
        return Story(scenario=scenario_label(record))
    failed = any(failures(found))
    units = {case.metric: case.properties.get("unit", "") for case in found}
    plotted = {
        metric: record.figures[metric].per_trial
        for metric in units
        if metric in record.figures and len(record.figures[metric].per_trial) > 1
    }
    first = record.diagnosis[0]
    return Story(
        scenario=scenario_label(record),
        runs={
            metric: (spark(values), shown)
            for metric, values in plotted.items()
            if (shown := extremes(values, units[metric]))
        },
        bars={part.metric: bar for part in record.comparisons if (bar := _bar(part))},
        cause=cause_text(first) if first.confidence > 0 else "not diagnosed",
        advice=first.advice,
        told=tuple(_told(record)),
        reproduce=record.reproduce,
        diagrams=tuple(_diagrams(record)) if failed else (),
    )


def _bar(part: ComparisonRecord) -> str:
    known = (part.change_pct, part.margin_pct, *(part.interval_pct or ()))
    if part.interval_pct is None or any(value is None or not math.isfinite(value) for value in known):
        return ""
    return interval_bar(part.change_pct or 0.0, part.interval_pct, part.margin_pct or 0.0)


def _told(record: RunRecord) -> Iterator[tuple[str, str]]:
    first = record.diagnosis[0]
    parts = (
        ("Because", _sentences(first.evidence_for)), ("Against it", _sentences(first.evidence_against)),
        ("Chain", " \N{RIGHTWARDS ARROW} ".join(first.chain)), ("Do first", first.fix_first),
        ("Advice", first.advice),
    )  # fmt: skip
    yield from ((label, text) for label, text in parts if text)
    also = [cause for cause in record.diagnosis[1 : 1 + _ALSO] if cause.confidence >= _LIKELY]
    if also:
        yield "Less probable", ", ".join(map(cause_text, also))


def _sentences(evidence: Sequence[str]) -> str:
    """Return the first sentences of the evidence, without the figures behind each, which the failures' texts have."""
    shown = [text.removeprefix("not so: ") for text in evidence[:_EVIDENCE]]
    shown = [text.rpartition(": ")[0] or text for text in shown]
    more = len(evidence) - len(shown)
    return "; ".join(shown) + (f"; and {more} more" if more > 0 else "")


def _diagrams(record: RunRecord) -> Iterator[str]:
    states = record.diagnosis[0].chain
    if len(states) > 1:
        yield mermaid.chain(states)
    hosts = [name for name, subject in record.subjects.items() if subject.kind is SubjectKind.HOST]
    links = list(_links(record, hosts))
    if links:
        yield mermaid.topology(hosts, links)


def _links(record: RunRecord, hosts: Sequence[str]) -> Iterator[tuple[str, str, str]]:
    """Yield each emulated link's hosts and what is set on it; a record names it `links[0] client-server`."""
    for name in record.emulators:
        place, _, ends = name.partition(" ")
        pair = next((
            (one, other) for one in hosts for other in hosts if one != other and f"{one}-{other}" == ends
        ), None)  # fmt: skip
        if pair is not None:
            begin = f"{place}."
            settings = [
                f"{key.removeprefix(begin)} {value}"
                for key, value in record.scenario.conditions.items()
                if key.startswith(begin)
            ]
            yield (*pair, ", ".join(settings))


def curve_of(record: RunRecord, found: Sequence[Case], file: Path) -> str | None:
    """Return a chart of the first metric that failed and has a curve in the file, else of the throughput."""
    trial = next((trial.index for trial in record.trials if trial.valid), None)
    if trial is None:
        return None
    try:
        reader = SeriesReader(file)
        kinds = [kind for kind in reader.kinds() if (kind.run, kind.trial) == (record.run_id, trial)]
        wanted = (_nearest(kinds, metric) for metric in (*(case.metric for case in failures(found)), _USUAL))
        kind = next((kind for kind in wanted if kind is not None), None)
        if kind is None:
            return None
        span_ns = reader.span_ns(record.run_id, trial)
        drawn = reader.drawn(record.run_id, trial, [kind.metric], span_ns=span_ns, columns=_POINTS)
    except PerfcheckError:
        return None  # a picture fewer; what failed is told in words
    curve = next((one for one in drawn if one.subject == kind.subject), None)
    return None if curve is None else _chart(record, curve, trial, span_ns[1] / 1e9)


def _nearest(kinds: Sequence[SeriesKind], metric: str) -> SeriesKind | None:
    """Return the curve of a metric: of its statistic and subject if there is one, else of others."""
    try:
        asked = read_key(metric)
    except ValueError:
        return None
    base = _STATISTIC.sub("", asked.metric)
    return min(
        (kind for kind in kinds if _STATISTIC.sub("", kind.metric) == base), default=None,
        key=lambda kind: (kind.metric != asked.metric, kind.subject != asked.subject, kind.subject is not None),
    )  # fmt: skip


def _chart(record: RunRecord, curve: Drawn, trial: int, end_s: float) -> str | None:
    known = np.flatnonzero(np.isfinite(curve.mean))
    if len(known) < 2 or end_s <= 0:
        return None
    spec = catalogue_of(record).get(curve.metric)
    factor, unit = _SCALES.get(spec.unit if spec is not None else "", (1.0, spec.unit if spec is not None else ""))
    values = np.interp(np.arange(len(curve.mean)), known, curve.mean[known]) * factor
    of = f" of {curve.subject}" if curve.subject is not None else ""
    return mermaid.curve(f"{curve.metric}{of}, run {trial + 1}", unit or "value", values.tolist(), end_s)
