"""The run record, schema 1: one JSON object for each line."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from functools import cached_property
from typing import Annotated, Any, Final, Literal, Self, TypeVar

from pydantic import AfterValidator, BaseModel, ConfigDict, Field
from pydantic_core import PydanticSerializationError

from perfcheck.model.confirmation import ConfirmationRecord
from perfcheck.model.own_metric import OwnMetricRecord
from perfcheck.model.path_profile import PathProfile
from perfcheck.model.printable import ascii_json, printable
from perfcheck.model.subject import MetricKey, SubjectKind, read_key
from perfcheck.model.verdict import Verdict

T = TypeVar("T")

SUBJECTS: Final = "subjects"
PHASES: Final = "phases"
"""The record's fields that older records lack."""
RECOVERY: Final = "app.recovery_ms"
"""The metric that is absent where traffic did not recover; a record says so beside it."""


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    def model_copy(self, *, update: Mapping[str, Any] | None = None, deep: bool = False) -> Self:
        """Return a copy with these fields; `figures` is computed anew, since it may rest on one of them."""
        copied = super().model_copy(update=update, deep=deep)
        copied.__dict__.pop("figures", None)
        return copied


def _finite(values: Mapping[str, float]) -> Mapping[str, float]:
    """Return the figures that are numbers: what is none was not measured, and JSON cannot say it."""
    if all(map(math.isfinite, values.values())):
        return values
    return {name: value for name, value in values.items() if math.isfinite(value)}


Measured = Annotated[Mapping[str, float], AfterValidator(_finite)]
"""Figures of one trial by metric."""


class ScenarioRef(_Part):
    """Which scenario was run; `workload` is the digest that baselines are keyed by.

    `asked` are the keys with a subject or a phase that the scenario expects something of or compares. `own_metrics`
    are those that the scenario's commands report of themselves, measured or not.
    """

    name: str
    digest: str
    file: str
    point: Mapping[str, str] = Field(default_factory=dict)
    workload: str = ""
    title: str = ""
    asked: tuple[str, ...] = ()
    own_metrics: Mapping[str, OwnMetricRecord] = Field(default_factory=dict)
    conditions: Mapping[str, str] = Field(default_factory=dict)


class DetailRecord(_Part):
    """What detail mode followed in one trial.

    `share` of all packets was followed throughout. `records` were read of the ring, `records_lost` found no room
    in it. Of the `packets` sent `packets_whole` were seen at every station; others were dropped on the way, or
    brought nothing new, or were still under way at the end.
    """

    share: Annotated[float, Field(ge=0, le=1)]
    records: int
    records_lost: int
    packets: int
    packets_whole: int


class TrialPhase(_Part):
    """One phase of one trial: metric values of the whole lab and of each subject alone.

    `begin_ns` is when it began, after the trial's first traffic did; None: not said, as in older records.
    `unrecovered` names the measured traffic entries that did not get back to what they were before the traffic ended:
    they have no `app.recovery_ms`, and with them the phase has none.
    """

    metrics: Measured = Field(default_factory=dict)
    subjects: Mapping[str, Measured] = Field(default_factory=dict)
    unrecovered: tuple[str, ...] = ()
    begin_ns: int | None = None


class TrialRecord(_Part):
    """One trial: metric values by name, and why it does not count where it does not.

    `began_ns` is when the first generator started (CLOCK_MONOTONIC, as events have it; None in older records),
    `traffic_s` the time from there to the last one's end. `subjects` has the metrics of
    each subject alone, `phases` those of each phase. `detail` is there in detail mode only.
    """

    index: int
    metrics: Measured
    subjects: Mapping[str, Measured] = Field(default_factory=dict)
    phases: Mapping[str, TrialPhase] = Field(default_factory=dict)
    traffic_s: float = 0.0
    began_ns: int | None = None
    valid: bool = True
    invalid_reason: str | None = None
    detail: DetailRecord | None = None

    @cached_property
    def figures(self) -> Mapping[str, float]:
        """Every value under its whole key: `tcp.rtt_us.p99`, `tcp.rtt_us.p99@bulk`, `tcp.rtt_us.p99@bulk/after`."""
        found = _keyed(self.metrics, self.subjects)
        for phase, part in self.phases.items():
            found |= _keyed(part.metrics, part.subjects, phase)
        return found

    def unrecovered(self, key: str) -> tuple[str, ...]:
        """Return the traffic entries because of which a figure is absent: they did not recover."""
        asked = read_key(key)
        if asked.metric != RECOVERY or asked.phase is None or asked.phase not in self.phases:
            return ()
        names = self.phases[asked.phase].unrecovered
        return names if asked.subject is None else tuple(name for name in names if name == asked.subject)


class MetricRecord(_Part):
    """One metric over all trials: `value` is the median of `per_trial`.

    `decided_by` says whether the emulated path or the machine decides it in this scenario, so
    that records can be compared without the scenario's file; None: unknown, taken as machine.
    `host_wide`: the figure is the whole machine's, not the lab's alone.
    """

    value: float
    unit: str
    per_trial: tuple[float, ...]
    decided_by: Literal["path", "machine"] | None = None
    host_wide: bool = False


class DiagnosisRecord(_Part):
    """One cause with its evidence; `confidence` is in 0..1.

    `chain` leads from the first state that was seen to the symptom, with the lag of each step where it was seen.
    `fix_first` is what to do about the first state, where that is not the cause itself; `chain_rests_on` says what was
    recorded of the order.
    """

    cause: str
    confidence: Annotated[float, Field(ge=0, le=1)]
    evidence_for: tuple[str, ...] = Field(default=(), alias="for")
    evidence_against: tuple[str, ...] = Field(default=(), alias="against")
    chain: tuple[str, ...] = ()
    fix_first: str = ""
    chain_rests_on: str = ""
    advice: str = ""
    severity: Literal["info", "warning", "critical"] = "info"

    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)


class SubjectRecord(_Part):
    """One subject: a traffic entry, a host or a link's direction. Only an entry has a diagnosis of its own."""

    kind: SubjectKind
    metrics: Mapping[str, MetricRecord]
    diagnosis: tuple[DiagnosisRecord, ...] = ()


class PhaseRecord(_Part):
    """One phase: its begin in the traffic's time, and its metrics, of the whole lab and of each subject alone.

    `unrecovered` are the traffic entries that did not recover in one of the trials that count.
    """

    begin_ns: int
    metrics: Mapping[str, MetricRecord]
    subjects: Mapping[str, SubjectRecord] = Field(default_factory=dict)
    unrecovered: tuple[str, ...] = ()


class ExpectationRecord(_Part):
    """One `expect` line's outcome; `actual` is None where it could not be measured, and `reason` says why."""

    metric: str
    expected: str
    actual: float | str | None
    verdict: Verdict
    reason: str | None = None


class ComparisonRecord(_Part):
    """One metric against its baseline.

    `change_pct` is relative to the baseline's median (None without one), `detectable_pct` the
    smallest change that this run could have seen, `margin_pct` what counts as a change. `detectable`
    is the same smallest change in the metric's unit, for baselines of 0.
    """

    metric: str
    baseline: float | None
    current: float | None
    change_pct: float | None
    detectable_pct: float | None
    verdict: Verdict
    detectable: float | None = None
    margin_pct: float | None = None
    unit: str = ""
    reason: str | None = None
    interval_pct: tuple[float, float] | None = None
    runs_needed: int | None = None


class CrossCheck(_Part):
    """One figure of ours beside the same figure from an independent source."""

    name: str
    trial: int
    ours: float
    theirs: float
    source: str
    tolerance_pct: float
    agrees: bool


class SeriesRecord(_Part):
    """Where the run's time series are: a Parquet file, sampled at this interval (docs/series.md)."""

    file: str
    interval_ms: Annotated[float, Field(gt=0)]


class EventsRecord(_Part):
    """Where the run's events are: JSON lines, of all runs of a session. Without any event there is no file."""

    file: str


class RunRecord(_Part):
    """One scenario (one matrix point) run once, with everything needed to judge it again.

    `changed_conditions` maps a condition (`links[0].loss`) that is not the baseline's to (the
    baseline's, this run's); an empty text stands for "not set". `sides` holds the texts of A and B
    where this is B's record of a measurement side by side: its comparisons are with A, not a baseline.
    `profiles` tells of each load of mode cost where its instructions go, or where B has more or less than A.
    `confirmations` are the causes that were tested by an intervention (`perfcheck diagnose --confirm`).

    Example:
        >>> record = RunRecord.model_validate_json(line)  # doctest: +SKIP
        >>> record.metrics["tcp.rtt_us.p50"].value        # doctest: +SKIP
        20113.0
    """

    schema_version: Literal[1] = Field(default=1, alias="schema")
    run_id: str
    scenario: ScenarioRef
    started_at: str
    environment: Mapping[str, Any]
    emulators: Mapping[str, Any]
    trials: tuple[TrialRecord, ...]
    metrics: Mapping[str, MetricRecord]
    subjects: Mapping[str, SubjectRecord] = Field(default_factory=dict)
    phases: Mapping[str, PhaseRecord] = Field(default_factory=dict)
    diagnosis: Annotated[tuple[DiagnosisRecord, ...], Field(min_length=1)]
    account: tuple[str, ...] = ()
    confirmations: tuple[ConfirmationRecord, ...] = ()
    profiles: Mapping[str, PathProfile] = Field(default_factory=dict)
    expectations: tuple[ExpectationRecord, ...] = ()
    comparisons: tuple[ComparisonRecord, ...] = ()
    changed_conditions: Mapping[str, tuple[str, str]] = Field(default_factory=dict)
    sides: tuple[str, str] | None = None
    series: SeriesRecord | None = None
    events: EventsRecord | None = None
    overhead: Mapping[str, Any] = Field(default_factory=dict)
    lost_events: int = 0
    cross_checks: tuple[CrossCheck, ...] = ()
    verdict: Verdict
    invalid_reason: str | None = None
    unavailable: Mapping[str, str] = Field(default_factory=dict)
    reproduce: str = ""
    virtme: str = ""
    warnings: tuple[str, ...] = ()

    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)

    @cached_property
    def figures(self) -> Mapping[str, MetricRecord]:
        """Every metric under its whole key: `tcp.rtt_us.p99`, `tcp.rtt_us.p99@bulk`, `tcp.rtt_us.p99@bulk/after`."""
        found = _keyed(self.metrics, {name: one.metrics for name, one in self.subjects.items()})
        for phase, part in self.phases.items():
            found |= _keyed(part.metrics, {name: one.metrics for name, one in part.subjects.items()}, phase)
        return found

    @property
    def predates(self) -> tuple[str, ...]:
        """Return which kinds of figures an older perfcheck did not keep when it wrote this record.

        A record always has the keys of what was known, be they empty.
        """
        return tuple(kind for kind in (SUBJECTS, PHASES) if kind not in self.model_fields_set)

    def why_unrecovered(self, key: str) -> str | None:
        """Say which traffic did not recover where that is why a figure is absent; None for any other reason."""
        valid = [trial for trial in self.trials if trial.valid]
        stuck = [names for trial in valid if (names := trial.unrecovered(key))]
        if not stuck:
            return None
        named = ", ".join(dict.fromkeys(name for names in stuck for name in names))
        return f"{named} did not recover before the traffic ended in {len(stuck)} of {len(valid)} runs"

    def diagnosis_of(self, key: str) -> tuple[DiagnosisRecord, ...]:
        """Return the causes that concern a figure: its traffic entry's own, else the run's."""
        found = self.subjects.get(key.partition("@")[2].partition("/")[0])
        return found.diagnosis if found is not None and found.diagnosis else self.diagnosis

    def to_json(self) -> str:
        """Return the record as one line of JSON in ASCII, keys as in the design."""
        try:
            return ascii_json(self.model_dump_json(by_alias=True))
        except PydanticSerializationError:
            # Half a surrogate pair, of a name or message that was not UTF-8: no JSON can hold it.
            return json.dumps(_encodable(self.model_dump(by_alias=True)), separators=(",", ":"))


def _keyed(
    metrics: Mapping[str, T], subjects: Mapping[str, Mapping[str, T]], phase: str | None = None
) -> dict[str, T]:  # fmt: skip
    """Return the metrics of the whole lab and of its subjects under their whole keys."""
    whole = {str(MetricKey(metric=name, phase=phase)): value for name, value in metrics.items()}
    return whole | {
        str(MetricKey(metric=name, subject=subject, phase=phase)): value
        for subject, own in subjects.items()
        for name, value in own.items()
    }


def _encodable(value: Any) -> Any:
    """Return the value with texts that UTF-8 cannot hold made printable, and numbers as JSON has them."""
    if isinstance(value, Mapping):
        return {_encodable(key): _encodable(inner) for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [_encodable(inner) for inner in value]
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, str) and any("\ud800" <= each <= "\udfff" for each in value):
        return printable(value)
    return value
