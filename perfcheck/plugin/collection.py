"""Scenario files as pytest nodes: one item for each assertion and point of the matrix."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Final

import pytest

from perfcheck.errors import PerfcheckError, Stopped
from perfcheck.model.printable import printable, printable_lines
from perfcheck.model.scenario import Scenario
from perfcheck.output.cases import Case, Status
from perfcheck.output.properties import case_properties
from perfcheck.plugin.assertions import Assertion, case_of, planned, read_once
from perfcheck.plugin.defects import defect_text
from perfcheck.plugin.measurement import Measured
from perfcheck.plugin.options import debugging
from perfcheck.plugin.session import PluginSession
from perfcheck.plugin.workers import GROUP

_NOT_MEASURED: Final = "could not measure"


class ScenarioFile(pytest.File):
    """A scenario file.

    Items of a file without a matrix hang below a node of the scenario. With a matrix they are the
    file's own children and carry the point in their names, because pytest takes everything after
    a `[` on its command line as part of one name.
    """

    @classmethod
    def of(cls, parent: pytest.Collector, path: Path) -> ScenarioFile:
        """Make the node; where the file's name cannot be shown, under a printable one."""
        name = printable(path.name)
        if name == path.name:
            return cls.from_parent(parent, path=path)
        nodeid = "/".join(part for part in (parent.nodeid, name) if part not in ("", "."))
        return cls.from_parent(parent, path=path, name=name, nodeid=nodeid)

    def collect(self) -> Iterator[pytest.Item | pytest.Collector]:
        """Yield the items of every point; CollectError carries the located messages of a malformed file."""
        session = PluginSession.of(self.config)
        try:
            chosen = session.options
            file = read_once(
                _shown(self.path), session.files, commands=chosen.commands, trace_outside=chosen.trace_outside
            )
            for scenario in file.scenarios:
                compared = session.compared(scenario)
                assertions = planned(file, scenario, compared, side_by_side=session.options.ab is not None)
                if scenario.point:
                    yield from _items(self, scenario, assertions, f"{scenario.label}::")
                else:
                    yield ScenarioNode.make(self, scenario, assertions)
        except PerfcheckError as error:
            raise self.CollectError(printable_lines(str(error))) from None
        except (pytest.UsageError, pytest.Collector.CollectError):
            raise
        except Exception as error:  # noqa: BLE001 - a defect, of which pytest would show the traceback
            told = defect_text(error, debug=debugging(self.config))
            raise self.CollectError(f"{_NOT_MEASURED}: {told}") from None


class ScenarioNode(pytest.Collector):
    """A scenario without a matrix."""

    _scenario: Scenario
    _assertions: tuple[Assertion, ...]

    @classmethod
    def make(cls, parent: ScenarioFile, scenario: Scenario, assertions: tuple[Assertion, ...]) -> ScenarioNode:
        """Make the node with the items that it will give."""
        node = cls.from_parent(parent, name=scenario.label)
        node._scenario = scenario
        node._assertions = assertions
        return node

    def collect(self) -> Iterable[pytest.Item]:
        """Return the items."""
        return _items(self, self._scenario, self._assertions, "")


class ScenarioItem(pytest.Item):
    """One assertion; the first item of a point to run measures it, in its setup."""

    def __init__(self, *, scenario: Scenario, assertion: Assertion, **known: Any) -> None:
        """Bind the assertion to its scenario; tags are keywords for `-k`."""
        super().__init__(**known)
        self.scenario = scenario
        self.assertion = assertion
        self.case: Case | None = None
        self.outcome: Measured | None = None
        self.extra_keyword_matches.update(scenario.tags)
        self.add_marker("perfcheck")
        if self.config.pluginmanager.has_plugin("xdist"):
            self.add_marker(pytest.mark.xdist_group(GROUP))

    def setup(self) -> None:
        """Measure, or take what was measured; what fails here is an error to pytest and not a failure."""
        session = PluginSession.of(self.config)
        try:
            outcome = session.measurements.of(self.scenario)
        except Stopped as stop:
            pytest.exit(
                f"{stop} while measuring {self.scenario.label}; everything that it created is removed", returncode=2
            )
        except Exception as error:  # noqa: BLE001 - a defect: an error to pytest, and never a failed assertion
            pytest.fail(f"{_NOT_MEASURED}: {defect_text(error, debug=debugging(self.config))}", pytrace=False)
        self.outcome = outcome
        self.case = case_of(self.assertion, outcome, strict=session.options.strict)
        self.user_properties.extend(case_properties(self.case, outcome.record))
        if self.case.status is Status.ERROR:
            pytest.fail(self.case.text, pytrace=False)

    def runtest(self) -> None:
        """Tell what came of the assertion."""
        assert self.case is not None  # noqa: S101 - setup ran
        if self.case.status is Status.FAILED:
            pytest.fail(self.case.text, pytrace=False)
        if self.case.status is Status.SKIPPED:
            pytest.skip(self.case.headline)

    def repr_failure(self, excinfo: pytest.ExceptionInfo[BaseException], style: Any = None) -> Any:
        """Return the case's text without a traceback, and its headline for the short summary and for JUnit."""
        if self.case is None or not isinstance(excinfo.value, pytest.fail.Exception):
            return super().repr_failure(excinfo, style)
        shown = excinfo.getrepr(style="value")
        if shown.reprcrash is not None:
            shown.reprcrash.path = str(self.path)
            shown.reprcrash.lineno = self.assertion.line
            shown.reprcrash.message = self.case.headline
        return shown

    def reportinfo(self) -> tuple[os.PathLike[str], int, str]:
        """Return the file, the line from 0 and a title."""
        return self.path, self.assertion.line - 1, f"{self.scenario.label} {self.assertion.name}"


def _items(
    parent: ScenarioFile | ScenarioNode, scenario: Scenario, assertions: Iterable[Assertion], prefix: str
) -> Iterator[ScenarioItem]:
    for assertion in assertions:
        yield ScenarioItem.from_parent(
            parent, name=f"{prefix}{assertion.name}", scenario=scenario, assertion=assertion
        )  # fmt: skip


def _shown(path: Path) -> Path:
    """Return the path as the user would type it: relative to the working directory, if it lies below."""
    here = Path.cwd()
    return path.relative_to(here) if path.is_relative_to(here) else path
