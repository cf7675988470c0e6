"""Records and cases as flat JUnit properties; pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from perfcheck.model.printable import printable
from perfcheck.model.record import RunRecord
from perfcheck.output.cases import Case
from perfcheck.output.rows import cause_text


def metric_properties(record: RunRecord) -> Iterator[tuple[str, str]]:
    """Yield the medians of a record by metric name, numbers with all their digits, then what was diagnosed."""
    asked = {name: record.figures[name] for name in record.scenario.asked if name in record.figures}
    for name, metric in sorted({**record.metrics, **asked}.items()):
        yield printable(name), repr(metric.value)
    if record.trials:
        yield "diagnosis", printable(cause_text(record.diagnosis[0]))
    for name, subject in record.subjects.items():
        if subject.diagnosis:
            yield printable(f"diagnosis@{name}"), printable(cause_text(subject.diagnosis[0]))


def environment_properties(environment: Mapping[str, object], prefix: str = "environment") -> Iterator[tuple[str, str]]:
    """Yield the fingerprint as flat properties such as `environment.kernel`."""
    for key, value in environment.items():
        if isinstance(value, Mapping):
            yield from environment_properties(value, f"{prefix}.{key}")
        elif isinstance(value, (list, tuple)):
            yield printable(f"{prefix}.{key}"), printable(", ".join(str(part) for part in value))
        else:
            yield printable(f"{prefix}.{key}"), printable(str(value))


def case_properties(case: Case, record: RunRecord | None) -> Iterator[tuple[str, str]]:
    """Yield what is the case's own (`perfcheck.verdict`, `perfcheck.actual`...), then all metrics of its run."""
    yield "perfcheck.scenario", case.scenario
    yield "perfcheck.metric", case.metric
    for key, value in case.properties.items():
        yield f"perfcheck.{key}", value
    if record is not None:
        yield "perfcheck.run_id", printable(record.run_id)
        yield from metric_properties(record)
