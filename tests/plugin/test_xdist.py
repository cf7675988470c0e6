"""Two pytest-xdist workers: one measurement a point, whoever comes first; one report."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from execnet import XSpec

from perfcheck.plugin.workers import SHARED_KEY, share_with_worker

if TYPE_CHECKING:
    from plugin_suite import Suite

pytest_plugins = ("pytester", "plugin_suite")


def test_two_workers_measure_each_point_once(suite: Suite) -> None:
    suite.scenario("lan", suite.EXPECT, suite.MATRIX)
    suite.answers('ANSWERS["zzz"] = InvalidLink("link 0 is not what the file asks for")')
    suite.scenario("zzz")
    result = suite.run("-n", "2", "--maxschedchunk", "1")
    result.assert_outcomes(passed=6, errors=2)
    assert sorted(suite.calls()) == ["lan[congestion=cubic]", "lan[congestion=reno]", "wan", "zzz"]
    result.stdout.fnmatch_lines(["2 INVALID, 6 PASS"])


def test_both_workers_judge_the_record_that_one_of_them_measured(suite: Suite) -> None:
    suite.answers(
        """
import os, pathlib

class Watched(FakeRunner):
    def run(self, scenario):
        record = super().run(scenario)
        pathlib.Path(f"measured-by-{os.environ['PYTEST_XDIST_WORKER']}").touch()
        return record

FakeRunner = Watched

import pytest

@pytest.hookimpl(trylast=True)
def pytest_runtest_logreport(report):
    if report.when == "call" and "PYTEST_XDIST_WORKER" in os.environ:
        pathlib.Path(f"judged-by-{os.environ['PYTEST_XDIST_WORKER']}").touch()
"""
    )
    result = suite.run("-n", "2", "--maxschedchunk", "1")
    result.assert_outcomes(passed=2)
    names = sorted(path.name for path in suite.pytester.path.glob("*-by-*"))
    assert len([name for name in names if name.startswith("measured")]) == 1
    assert [name for name in names if name.startswith("judged")] == ["judged-by-gw0", "judged-by-gw1"]


def test_the_summary_and_the_save_note_are_told_by_the_controller_once(suite: Suite) -> None:
    result = suite.run("-n", "2", "--baseline-save", "--perfcheck-json", "records.jsonl")
    assert suite.calls("save") == ["wan"]
    assert result.outlines.count("wan: baseline written to baselines/wan.json") == 1
    assert len((suite.pytester.path / "records.jsonl").read_text().splitlines()) == 1


def test_the_shared_folder_is_gone_afterwards(suite: Suite, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = suite.pytester.mkdir("temporary")
    monkeypatch.setattr("tempfile.tempdir", str(folder))
    suite.run("-n", "2").assert_outcomes(passed=2)
    assert [path.name for path in folder.iterdir() if path.name.startswith("perfcheck")] == []


def test_each_worker_writes_files_of_its_own(suite: Suite) -> None:
    suite.pytester.makeconftest(
        """
from perfcheck.plugin import options


def pytest_sessionstart(session):
    if hasattr(session.config, "workerinput"):
        found = options.read(session.config)
        (session.config.rootpath / f"told-{found.events_path.name}-{found.series_path.name}").touch()
"""
    )
    suite.run("-n", "2", "--perfcheck-events", "e.jsonl", "--perfcheck-series", "s.parquet")
    names = sorted(path.name for path in suite.pytester.path.glob("told-*"))
    assert names == ["told-e.gw0.jsonl-s.gw0.parquet", "told-e.gw1.jsonl-s.gw1.parquet"]


def test_what_the_workers_deselected_is_told_once(suite: Suite) -> None:
    cost = (
        "scenario: cost-bulk\nhosts: {client: {}, server: {}}\nlinks: [{between: [client, server]}]\n"
        "traffic: [{load: {from: client, to: server, kind: stream, count: 64, size: 1kb}}]\nmeasure: {mode: cost}\n"
    )
    (suite.scenario("wan").parent / "cost.yaml").write_text(cost)
    result = suite.run("-n", "2")
    result.assert_outcomes(passed=2)
    assert sum(line.startswith("1 scenario of mode: cost is deselected") for line in result.outlines) == 1


@pytest.mark.parametrize(
    ("spec", "shared"),
    [("popen", True), ("popen//chdir=x", True), ("ssh=root@lab1", False), ("popen//via=lab1", False)],
)
def test_a_worker_of_another_machine_has_no_folder_of_this_one(
    pytester: pytest.Pytester, spec: str, shared: bool
) -> None:
    told: dict[str, object] = {}
    share_with_worker(pytester.parseconfigure(), told, XSpec(spec))
    assert (SHARED_KEY in told) == shared
