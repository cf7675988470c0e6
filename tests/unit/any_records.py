"""Arbitrary run records within the schema, for the tests that hold the forms of output against each other."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import median
from typing import Any, Final

from hypothesis import strategies as st

from perfcheck.model.catalogue import CATALOGUE
from perfcheck.model.causes import CAUSES
from perfcheck.model.own_metric import OwnMetricRecord, own_unit
from perfcheck.model.record import (
    ComparisonRecord,
    DiagnosisRecord,
    ExpectationRecord,
    MetricRecord,
    PhaseRecord,
    RunRecord,
    ScenarioRef,
    SubjectRecord,
    TrialRecord,
)
from perfcheck.model.subject import SubjectKind
from perfcheck.model.unavailable import verdict_of
from perfcheck.model.verdict import Verdict

Texts = st.SearchStrategy[str]
HOSTILE: Final = st.text(max_size=12) | st.sampled_from([
    "a | b", "`x`", "<b>", "]]>", "&amp;", "\n# h", "\x1b[31m", "\x00", "\ud800", "{=} ,", 'a"b\\', "ok 1 x # SKIP",
    "::error::x", "\u202e", "- x", "1..9", "@octocat", "$$x$$", "%", "é" * 5,
])  # fmt: skip
"""Texts of a file or a machine: reasons, causes, releases of kernels."""
NAMES: Final = st.from_regex(r"[b-dg-k][b-dg-k-]{0,12}", fullmatch=True)
OWN_NAMES: Final = st.builds(
    "app.{}_{}{}".format,
    st.sampled_from(["x", "get", "x_seconds", "x_bytes", "x_ratio", "x_per_second", "x_segs", "recovery", "latency"]),
    st.sampled_from(["us", "bps", "per_s", "count", "pct", "bytes"]), st.sampled_from(["", ".p99", ".max"]),
).filter(lambda name: name not in CATALOGUE)  # fmt: skip
FIGURES: Final = st.one_of(
    st.just(0.0), st.floats(1e-9, 1e12), st.floats(1e-6, 1.0), st.integers(0, 10**15).map(float), st.just(1e24),
    st.just(1e-29),
)  # fmt: skip
PCT: Final = st.floats(-100, 1e5).map(lambda value: round(value, 9))
SHARES: Final = st.floats(0, 1).map(lambda value: round(value, 9))


@st.composite
def comparisons(draw: Any, metric: str, unit: str, texts: Texts) -> ComparisonRecord:
    """Draw a metric's comparison, whose interval has the change in it."""
    verdict = draw(st.sampled_from([verdict for verdict in Verdict if verdict is not Verdict.FAIL]))
    if verdict in (Verdict.NO_BASELINE, Verdict.INVALID):
        return ComparisonRecord(
            metric=metric, baseline=None, current=draw(FIGURES) if verdict is Verdict.NO_BASELINE else None,
            change_pct=None, detectable_pct=None, verdict=verdict, unit=unit, reason=draw(st.none() | texts),
        )  # fmt: skip
    change = draw(st.none() | PCT)
    around = None if change is None else (round(change - abs(draw(PCT)), 9), round(change + abs(draw(PCT)), 9))
    return ComparisonRecord(
        metric=metric, baseline=draw(FIGURES), current=draw(FIGURES), change_pct=change, unit=unit, verdict=verdict,
        detectable_pct=draw(st.none() | PCT.map(abs)), margin_pct=draw(st.none() | PCT.map(abs)),
        interval_pct=draw(st.sampled_from([None, around])), runs_needed=draw(st.none() | st.integers(1, 99)),
    )  # fmt: skip


@st.composite
def records(draw: Any, texts: Texts = HOSTILE) -> RunRecord:
    """Draw a record: some metrics of the catalogue and of an application, subjects, phases, checks of any outcome."""
    own = {
        name: OwnMetricRecord(unit=own_unit(name), better=draw(st.sampled_from(["lower", "higher", "neither"])))
        for name in draw(st.lists(OWN_NAMES, max_size=4, unique=True))
    }  # fmt: skip
    units = {name: CATALOGUE[name].unit for name in draw(st.lists(st.sampled_from(list(CATALOGUE)), max_size=6))}
    units |= {name: one.unit for name, one in own.items()}
    trials = draw(st.integers(0, 4))
    whole = _metrics(draw, units, max(trials, 1))
    names = draw(st.lists(NAMES, max_size=3, unique=True))
    subjects = {
        name: SubjectRecord(kind=draw(st.sampled_from(SubjectKind)), metrics=_metrics(draw, units, 1)) for name in names
    }
    phases = {
        name: PhaseRecord(begin_ns=place * 10**9, metrics=_metrics(draw, units, 1), subjects=subjects)
        for place, name in enumerate(draw(st.lists(NAMES, max_size=2, unique=True)))
    }  # fmt: skip
    compared = tuple(draw(comparisons(name, unit, texts)) for name, unit in units.items() if draw(st.booleans()))
    expected = tuple(_expectation(draw, name, texts) for name in draw(st.lists(st.sampled_from([*units, "diagnosis"]))))
    causes = draw(st.lists(st.sampled_from(CAUSES), min_size=1, max_size=3, unique=True))
    untrusted = draw(st.sampled_from([None, None, None, "the link lost packets", "a\nb"]))
    lacking = draw(st.lists(st.sampled_from(["tcp", "iperf3", "command", *units]), max_size=2))
    made = RunRecord(
        run_id="1", started_at="2026-01-02T03:04:05+00:00", environment={"kernel.release": draw(texts)},
        scenario=ScenarioRef(
            name=draw(NAMES), digest="d", file="f.yaml", own_metrics=own,
            point=draw(st.dictionaries(NAMES, st.text("abc=,[]", max_size=40), max_size=2)),
        ),
        emulators={}, trials=tuple(_trial(place, whole) for place in range(trials)), metrics=whole, subjects=subjects,
        phases=phases, expectations=expected, comparisons=compared,
        diagnosis=tuple(DiagnosisRecord(cause=cause, confidence=draw(SHARES)) for cause in causes),
        verdict=Verdict.INVALID, invalid_reason=untrusted, unavailable=dict.fromkeys(lacking, "no BTF"),
        warnings=tuple(draw(st.lists(texts, max_size=2))), reproduce=draw(texts),
    )  # fmt: skip
    return made if untrusted else made.model_copy(update={"verdict": verdict_of(made, (*expected, *compared))})


def _metrics(draw: Any, units: Mapping[str, str], trials: int) -> dict[str, MetricRecord]:
    found = {}
    for name, unit in units.items():
        values: Sequence[float] = draw(st.lists(FIGURES, min_size=trials, max_size=trials))
        found[name] = MetricRecord(value=float(median(values)), unit=unit, per_trial=tuple(values))
    return found


def _trial(place: int, whole: Mapping[str, MetricRecord]) -> TrialRecord:
    return TrialRecord(index=place, metrics={name: one.per_trial[place] for name, one in whole.items()}, traffic_s=1.5)


def _expectation(draw: Any, metric: str, texts: Texts) -> ExpectationRecord:
    verdict = draw(st.sampled_from([Verdict.PASS, Verdict.FAIL, Verdict.INVALID]))
    actual = None if verdict is Verdict.INVALID else "shaper" if metric == "diagnosis" else draw(FIGURES)
    return ExpectationRecord(
        metric=metric, expected=draw(st.sampled_from(["<= 60ms", "shaper", ">= 1"])), actual=actual, verdict=verdict,
        reason=draw(texts) if verdict is Verdict.INVALID else None,
    )  # fmt: skip
