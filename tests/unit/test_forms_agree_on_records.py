"""One record in its forms for programs: each says the same figure, verdict and number of failures, and nothing else."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from typing import Final

from any_records import records
from hypothesis import given, settings
from hypothesis import strategies as st
from prometheus_client.parser import text_string_to_metric_families

from perfcheck.export.names import record_place
from perfcheck.export.records import RecordsSnapshot
from perfcheck.export.text import prometheus_text
from perfcheck.model.catalogue import CATALOGUE
from perfcheck.model.metric import STATS
from perfcheck.model.own_metric import OwnMetricRecord, is_own_name, own_unit, with_own
from perfcheck.model.record import RunRecord, ScenarioRef
from perfcheck.model.subject import read_key
from perfcheck.model.verdict import Verdict
from perfcheck.output.rows import scenario_label
from perfcheck.testing import make_record

TO_BASE: Final = {
    "us": 1e-6, "ms": 1e-3, "ns": 1e-9, "s": 1.0, "bps": 1 / 8, "pct": 1 / 100,
}  # fmt: skip
"""What Prometheus' base units are: seconds, bytes, shares of 1."""
OF_FIGURES: Final = tuple(
    f"perfcheck_{layer}"
    for layer in ("app_", "tcp_", "udp_", "ip_", "qdisc_", "nic_", "cpu_", "socket_", "drops", "own_")
)
FEW: Final = settings(max_examples=40, deadline=None)


def samples_of(found: Sequence[RunRecord]) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
    told: dict[tuple[str, frozenset[tuple[str, str]]], float] = {}
    for family in text_string_to_metric_families(prometheus_text(RecordsSnapshot(records=tuple(found)).series())):
        assert family.documentation
        assert family.type == "gauge"
        for sample in family.samples:
            key = (sample.name, frozenset(sample.labels.items()))
            assert key not in told, key
            told[key] = sample.value
    return told


@FEW
@given(records())
def test_each_figure_of_a_record_is_one_series_in_base_units(record: RunRecord) -> None:
    told = samples_of([record])
    figures: Counter[float] = Counter()
    label = scenario_label(record)
    for (name, labels), value in told.items():
        whose = dict(labels)
        assert whose.get("scenario", label) == label
        if name.startswith(OF_FIGURES):
            figures[value] += 1
    expected = [one.value * TO_BASE.get(one.unit, 1.0) for one in record.figures.values()]
    assert sum(figures.values()) == len(expected)
    for said, is_ in zip(sorted(figures.elements()), sorted(expected), strict=True):
        assert math.isclose(said, is_, rel_tol=1e-12)
    for key, one in record.figures.items():
        asked = read_key(key)
        own = {
            value for (_, labels), value in told.items()
            if (dict(labels).get("subject"), dict(labels).get("phase")) == (asked.subject, asked.phase)
        }  # fmt: skip
        assert any(math.isclose(value, one.value * TO_BASE.get(one.unit, 1.0), rel_tol=1e-12) for value in own)


QUANTITIES: Final = (
    "x", "x_seconds", "x_bytes", "x_ratio", "x_per_second", "x_bytes_per_second", "x_segs", "x_segments", "x_in_number",
    *dict.fromkeys(
        name.removeprefix("app.").rsplit("_", 1)[0] for name in CATALOGUE
        if name.startswith("app.") and not name.endswith(STATS)
    ), "errors", "recovery",
)  # fmt: skip


def test_no_figure_of_an_application_takes_the_place_of_another() -> None:
    names = {
        f"app.{quantity}_{unit}{stat}" for quantity in QUANTITIES
        for unit in ("us", "bps", "per_s", "count", "pct", "bytes") for stat in ("", ".p99")
    }  # fmt: skip
    own = {name: OwnMetricRecord(unit=own_unit(name), better="lower") for name in names if is_own_name(name)}
    series: dict[tuple[str, frozenset[tuple[str, str]]], str] = {}
    for name, spec in with_own(own).items():
        place = record_place(name, spec)
        assert place is not None
        key = (place.family.name, frozenset(place.labels.items()))
        assert key not in series, (key, name, series[key])
        series[key] = name
    assert series["perfcheck_app_errors", frozenset()] == "app.errors"


def test_an_applications_errors_are_not_told_as_perfchecks() -> None:
    own = {"app.errors_count": OwnMetricRecord(unit="count", better="lower")}
    record = make_record({"app.errors": (1.0,), "app.errors_count": (7.0,)}, own=own)
    told = samples_of([record])
    whose = frozenset({("scenario", "example")})
    assert (told["perfcheck_app_errors", whose], told["perfcheck_own_errors_in_number", whose]) == (1.0, 7.0)


def test_points_of_a_matrix_that_differ_at_their_end_alone_are_two() -> None:
    found = [
        make_record(verdict=verdict, scenario=ScenarioRef(name="a", digest="d", file="f", point={"x": "y" * 200 + end}))
        for end, verdict in (("1", Verdict.PASS), ("2", Verdict.FAIL))
    ]
    told = samples_of(found)
    failed = [value for (name, _), value in told.items() if name == "perfcheck_case_failed"]
    assert sorted(failed) == [0.0, 1.0]


@FEW
@given(st.lists(records(), min_size=2, max_size=3, unique_by=scenario_label))
def test_no_record_takes_the_place_of_anothers_series(found: list[RunRecord]) -> None:
    apart = sum(len(samples_of([record])) - 1 for record in found)
    assert len(samples_of(found)) - 1 == apart
