"""Requests beside a bulk transfer: each entry, host and direction has figures of its own, and a cause."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import pytest

from perfcheck.model.catalogue import CATALOGUE
from perfcheck.model.record import RunRecord
from perfcheck.model.subject import SubjectKind
from perfcheck.model.verdict import Verdict
from perfcheck.runner import Runner
from perfcheck.scenario import load

pytestmark = pytest.mark.kernel

SCENARIO: Final = Path(__file__).parents[2] / "scenarios/rpc-beside-bulk.yaml"
BOTH_HOSTS: Final = ("cpu.busy_pct", "cpu.switches_voluntary", "qdisc.packets", "nic.tx_packets", "nic.rx_packets")
LINK_COUNTS: Final = ("qdisc.link_drops", "qdisc.packets")


@pytest.fixture(scope="module")
def record(runner: Runner) -> RunRecord:
    (scenario,) = load(SCENARIO)
    return runner.run(scenario.model_copy(update={"repeat": 1}))


def test_the_requests_are_not_healthy_beside_a_bulk_transfer_that_is(record: RunRecord) -> None:
    assert record.verdict is Verdict.PASS, [line for line in record.expectations if line.verdict is not Verdict.PASS]
    assert record.diagnosis[0].cause == "cross_traffic"
    assert any("bulk fills it" in text for text in record.diagnosis[0].evidence_for)
    assert record.subjects["bulk"].diagnosis[0].cause == "healthy"


def test_an_entry_did_not_get_what_it_asked_for(record: RunRecord) -> None:
    (trial,) = record.trials
    answered = trial.subjects["rpc"]["app.requests_per_s"]
    assert answered < 27
    assert trial.subjects["rpc"]["app.achieved_pct"] == pytest.approx(100 * answered / 30)
    assert "app.achieved_pct" not in trial.subjects["bulk"]


def test_parts_add_up_to_the_whole(record: RunRecord) -> None:
    (trial,) = record.trials
    for name in [name for name, spec in CATALOGUE.items() if spec.counter and name in trial.metrics]:
        parts = [trial.subjects[entry].get(name, 0.0) for entry in ("bulk", "rpc")]
        assert sum(parts) == trial.metrics[name], name
    for name in BOTH_HOSTS:
        parts = [trial.subjects[host][name] for host in ("client", "server")]
        assert sum(parts) == pytest.approx(trial.metrics[name], rel=1e-6), name
    for name in LINK_COUNTS:
        parts = [trial.subjects[direction][name] for direction in ("client>server", "server>client")]
        assert sum(parts) == trial.metrics[name], name


def test_every_figure_is_of_a_subject_that_the_catalogue_names(record: RunRecord) -> None:
    (trial,) = record.trials
    assert trial.subjects.keys() == {"bulk", "rpc", "client", "server", "client>server", "server>client"}
    for name, found in record.subjects.items():
        assert all(found.kind in CATALOGUE[metric].subjects for metric in found.metrics), name
        assert bool(found.diagnosis) == (found.kind is SubjectKind.TRAFFIC)
