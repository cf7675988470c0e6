"""A pytest suite of scenarios whose runner is a fake.

The test modules name this module and pytester in `pytest_plugins`, and import it for types only: pytest
wants to be the first to import a plugin.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Final

# Imported here so that pytester's inner runs, which forget what they imported, need not load them again;
# DuckDB cannot be loaded twice into one process.
import duckdb  # noqa: F401
import pytest

import perfcheck.api.session
import perfcheck.cli.arguments
import perfcheck.plugin.collection
import perfcheck.plugin.python_reports
import perfcheck.plugin.reporting
import perfcheck.runner.history
import perfcheck.testing  # noqa: F401

SCENARIO: Final = """\
scenario: {name}
title: A wide-area path
tags: [bulk]
hosts: {{client: {{}}, server: {{}}}}
links:
  - between: [client, server]
    delay: 10ms
    rate: 100mbit
traffic:
  - iperf3: {{from: client, to: server, duration: 1s}}
repeat: 3
"""

EXPECT: Final = """\
expect:
  tcp.rtt_us.p99: "<= 60ms"
  app.throughput_bps: ">= 85mbit"
"""

MATRIX: Final = """\
matrix: {client.congestion: [cubic, reno]}
"""

CONFTEST: Final = """\
from perfcheck.errors import *
from perfcheck.model.record import ComparisonRecord, DiagnosisRecord, TrialRecord
from perfcheck.model.verdict import Verdict
from perfcheck.testing import FakeRunner, make_judged_record

METRICS = {"tcp.rtt_us.p99": (45e3, 46e3, 47e3), "app.throughput_bps": (91e6, 92e6, 93e6)}
COMPARED = ()
MOVED = ()
ANSWERS = {}
OPTIONS = []

def compared(metric, verdict, baseline, current, **more):
    change = None if baseline is None else (current / baseline - 1) * 100
    return ComparisonRecord(metric=metric, verdict=verdict, baseline=baseline, current=current, change_pct=change,
                            **{"detectable_pct": 1.2, "margin_pct": 5.0} | more)

def answer(metrics=METRICS, **fields):
    return lambda scenario: make_judged_record(scenario, metrics, **fields)

# --- of the test ---
@ANSWERS@
# -------------------

def pytest_perfcheck_runner(config, options, progress):
    OPTIONS.append(options)
    return FakeRunner(answers=ANSWERS, metrics=METRICS, compared=COMPARED if options.compares else (), moved=MOVED,
                      progress=progress, baseline_dir=options.baseline_dir, log=config.rootpath / "calls.log")
"""


@dataclass(frozen=True, slots=True)
class Suite:
    """Scenario files and the answers of the fake runner, in pytester's folder."""

    EXPECT: ClassVar = EXPECT
    MATRIX: ClassVar = MATRIX
    pytester: pytest.Pytester

    def answers(self, source: str) -> None:
        """Write the conftest: `source` fills ANSWERS (by label), COMPARED and METRICS."""
        self.pytester.makeconftest(CONFTEST.replace("@ANSWERS@", source))

    def scenario(self, name: str, *parts: str) -> Path:
        """Write scenarios/NAME.yaml."""
        path = self.pytester.path / "scenarios" / f"{name}.yaml"
        path.parent.mkdir(exist_ok=True)
        path.write_text(SCENARIO.format(name=name) + "".join(parts or (EXPECT,)))
        return path

    def run(self, *arguments: str) -> pytest.RunResult:
        """Run pytest on the scenarios, warnings being errors."""
        return self.run_at("scenarios", *arguments)

    def run_at(self, *arguments: str) -> pytest.RunResult:
        """Run pytest with these arguments only."""
        return self.pytester.runpytest("-W", "error", "-p", "no:cacheprovider", "-p", "no:hypothesispytest", *arguments)

    def calls(self, kind: str = "run") -> list[str]:
        """Return what the runners of all processes were asked, e.g. the labels that were run."""
        log = self.pytester.path / "calls.log"
        lines: Iterable[str] = log.read_text().splitlines() if log.exists() else ()
        return [line.partition(" ")[2] for line in lines if line.partition(" ")[0] == kind]


@pytest.fixture
def suite(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> Suite:
    """Return a suite with the scenario `wan`, which passes; what a CI service sets is taken away."""
    for name in ("CI", "BUILD_NUMBER", "GITHUB_ACTIONS", "GITHUB_STEP_SUMMARY", "GITHUB_WORKSPACE", "PYTEST_ADDOPTS"):
        monkeypatch.delenv(name, raising=False)
    made = Suite(pytester)
    made.answers("")
    made.scenario("wan")
    return made
