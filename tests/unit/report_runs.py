"""Run records with files beside them, for the tests of reports."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from perfcheck.model.record import (
    ComparisonRecord,
    CrossCheck,
    DiagnosisRecord,
    EventsRecord,
    ExpectationRecord,
    MetricRecord,
    PhaseRecord,
    RunRecord,
    ScenarioRef,
    SeriesRecord,
    SubjectRecord,
    TrialRecord,
)
from perfcheck.model.series import Curve
from perfcheck.model.subject import SubjectKind
from perfcheck.model.verdict import Verdict
from perfcheck.output.series import SeriesFile
from perfcheck.report.document import Block, Document, Fold, Section

INTERVAL_NS = 100_000_000
RTT = "tcp.rtt_us.p99"
PROOF = {
    "link": 0, "emulator": "relay", "attempts": 1, "took_ms": 1.0,
    "ways": [
        {
            "way": way, "delay_asked_us": 10_000.0, "delay_p50_us": 10_100.0, "delay_min_us": 10_050.0,
            "delay_p90_us": 10_200.0, "jitter_asked_us": 0.0, "sent": 120, "lost": 0, "loss_asked_pct": 0.0,
            "rate_asked_bps": 20_000_000, "rate_bps": 20_000_100.0, "rate_over_us": 32_000.0,
        }
        for way in ("forward", "reverse")
    ],
}  # fmt: skip


def metric(values: Sequence[float], unit: str = "us") -> MetricRecord:
    return MetricRecord(value=float(np.median(values)), unit=unit, per_trial=tuple(values))


def run_record(
    name: str = "office", number: int = 1, *, entries: Sequence[str] = ("bulk", "rpc"), **changes: Any
) -> RunRecord:
    """Return a record of three trials of a scenario of two hosts; `changes` are fields of the record."""
    rtts = (20_000.0, 21_000.0, 22_000.0)
    own = {RTT: metric(rtts), "tcp.limited_cwnd_pct": metric((80.0, 80.0, 80.0), "pct"),
           "tcp.limited_app_pct": metric((20.0, 20.0, 20.0), "pct")}  # fmt: skip
    found = {one: SubjectRecord(kind=SubjectKind.TRAFFIC, metrics=own) for one in entries}
    hosts = {host: SubjectRecord(kind=SubjectKind.HOST, metrics={}) for host in ("client", "server")}
    ways = {way: SubjectRecord(kind=SubjectKind.DIRECTION, metrics={}) for way in ("client>server", "server>client")}
    fields: dict[str, Any] = {
        "run_id": f"{number:032x}", "started_at": f"2026-01-02T03:04:{number % 60:02}+00:00",
        "scenario": ScenarioRef(
            name=name, digest="d", file=f"scenarios/{name}.yaml", title="Two flows over one link",
            conditions={"links[0].delay": "10ms", "links[0].rate": "20mbit", "hosts.client.congestion": "cubic"},
        ),
        "environment": {"kernel.release": "6.12", "cpu.count": "2", "cpu.model": "Example 9000"},
        "emulators": {"links[0] client-server": {"emulator": "relay", "proof": PROOF}},
        "trials": tuple(
            TrialRecord(
                index=index, metrics={RTT: value}, subjects={one: {RTT: value} for one in entries}, began_ns=10**9
            )
            for index, value in enumerate(rtts)
        ),
        "metrics": own, "subjects": {**found, **hosts, **ways}, "phases": {},
        "diagnosis": (
            DiagnosisRecord(
                cause="bufferbloat", confidence=0.93, advice="Shorten the queue.",
                chain=("bufferbloat", "long round trips (within 100 ms)"),
                evidence_for=("round trips grow with the queue: tcp.rtt_us.p99 (21 ms) > 3 * tcp.min_rtt_us (20 ms)",),
            ),
        ),
        "account": ("yes  is latency high: tcp.rtt_us.p99 (21 ms) > 15 ms -> bufferbloat",),
        "expectations": (
            ExpectationRecord(metric=RTT, expected="<= 30ms", actual=21_000.0, verdict=Verdict.PASS),
            ExpectationRecord(metric="diagnosis", expected="bufferbloat", actual="bufferbloat", verdict=Verdict.PASS),
        ),
        "cross_checks": (
            CrossCheck(
                name="tcp.bytes_acked", trial=0, ours=1.0, theirs=1.0, source="iperf3", tolerance_pct=1.0, agrees=True
            ),
        ),
        "overhead": {"cpu_pct": 2.5, "budget_pct": 5.0, "budget_holds": "at rest"},
        "verdict": Verdict.PASS, "reproduce": f"perfcheck run scenarios/{name}.yaml",
    }  # fmt: skip
    return RunRecord.model_validate({**fields, **changes})


def failed_record(name: str = "slow", number: int = 2, **changes: Any) -> RunRecord:
    """Return a record of which an expectation failed and a comparison regressed."""
    fields: dict[str, Any] = {
        "expectations": (ExpectationRecord(metric=RTT, expected="<= 15ms", actual=21_000.0, verdict=Verdict.FAIL),),
        "comparisons": (
            ComparisonRecord(
                metric=f"{RTT}@bulk", baseline=16_000.0, current=21_000.0, change_pct=31.25, detectable_pct=2.0,
                margin_pct=5.0, verdict=Verdict.REGRESSED, unit="us", interval_pct=(28.0, 33.0),
            ),
        ),
        "changed_conditions": {"links[0].queue": ("1bdp", "8bdp"), "environment.kernel.release": ("6.11", "6.12")},
        "verdict": Verdict.FAIL,
    }  # fmt: skip
    return run_record(name, number, **{**fields, **changes})


def unmeasured_record(name: str = "gone", number: int = 3, reason: str = "link 0: asked for 20 ms") -> RunRecord:
    """Return a record of what could not be measured at all."""
    nothing = DiagnosisRecord(cause="unknown", confidence=0.0, evidence_against=("nothing was measured",))
    return run_record(
        name, number, trials=(), metrics={}, subjects={}, expectations=(), diagnosis=(nothing,), emulators={},
        account=(), cross_checks=(), overhead={}, verdict=Verdict.INVALID, invalid_reason=reason,
    )  # fmt: skip


def phased_record(name: str = "phased", number: int = 4, **changes: Any) -> RunRecord:
    """Return a record of two phases."""
    part = {RTT: metric((20_000.0,) * 3)}
    phases = {"before": PhaseRecord(begin_ns=0, metrics=part), "after": PhaseRecord(begin_ns=10**9, metrics=part)}
    return run_record(name, number, phases=phases, **changes)


def with_series(record: RunRecord, path: Path, curves: Sequence[Curve] | None = None, trials: int = 3) -> RunRecord:
    """Write curves of each trial to a file, and return the record that names it."""
    file = SeriesFile(path)
    file.open()
    for trial in range(trials):
        file.write(default_curves(record) if curves is None else curves, run_id=record.run_id, trial=trial)
    file.close()
    return record.model_copy(update={"series": SeriesRecord(file=str(path), interval_ms=100.0)})


def default_curves(record: RunRecord, length: int = 30) -> list[Curve]:
    entries = [name for name, found in record.subjects.items() if found.kind is SubjectKind.TRAFFIC]
    rise = [20_000.0 + 100 * place for place in range(length)]
    found = [curve(name, RTT, rise) for name in entries]
    found += [curve(name, "tcp.limited_cwnd_pct", [80.0] * length) for name in entries]
    return [*found, curve("client>server", "qdisc.link_drops", [0.0] * 10 + [2.0] + [0.0] * (length - 11))]


def curve(subject: str | None, name: str, values: Sequence[float]) -> Curve:
    t_ns = np.arange(1, len(values) + 1, dtype=np.int64) * INTERVAL_NS
    return Curve(subject=subject, metric=name, t_ns=t_ns, values=np.array(values, dtype=float))


def with_events(record: RunRecord, path: Path, lines: Sequence[str]) -> RunRecord:
    """Write lines of events to a file, and return the record that names it."""
    path.write_text("".join(f"{line}\n" for line in lines))
    return record.model_copy(update={"events": EventsRecord(file=str(path))})


def texts(document: Document) -> str:
    """Return all texts of a document, charts' included, as one."""
    return repr(document)


def section(document: Document, ending: str) -> Section:
    """Return the first section, or part of one, whose anchor ends so."""
    every = [inner for one in document.sections for inner in (one, *one.sections)]
    return next(one for one in every if one.anchor.endswith(ending))


def flat(blocks: Sequence[Block]) -> list[Block]:
    """Return blocks with those that are folded."""
    found: list[Block] = []
    for block in blocks:
        found.append(block)
        if isinstance(block, Fold):
            found += flat(block.blocks)
    return found


_KEPT = {"verdict", "kind", "unit", "severity", "outcome", "metric", "started_at", "run_id", "decided_by"}
"""Fields that a record is refused for, where they are something else."""


def hostile_record(text: Callable[[str], str]) -> RunRecord:
    """Return a record with what `text` makes of a usual text wherever it may have one."""

    def spoilt(value: object) -> object:
        if isinstance(value, dict):
            return {key: inner if key in _KEPT else spoilt(inner) for key, inner in value.items()}
        if isinstance(value, (list, tuple)):
            return [spoilt(inner) for inner in value]
        return text(value) if isinstance(value, str) else value

    dumped = failed_record(account=("a",), warnings=("w",), unavailable={"x": "y"}).model_dump(
        mode="json", by_alias=True
    )
    dumped["subjects"] = {text(key) if key == "bulk" else key: value for key, value in dumped["subjects"].items()}
    dumped["emulators"] = {f"links[0] {text('client')}-{text('server')}": {"emulator": text("relay")}}
    spoilt_record = spoilt(dumped)
    return RunRecord.model_validate(spoilt_record)
