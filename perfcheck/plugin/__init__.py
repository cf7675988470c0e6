"""The pytest plugin: every hook that it has stands here.

pytest loads this module in every run, so it imports nothing until a scenario file is met or a test asks for the
fixture. What happens then stands in the other modules: `collection` makes the items, `measurement` measures each
scenario point once, `reporting` and `python_reports` say what came of it.
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Generator
from functools import partial
from typing import TYPE_CHECKING, Any, Final

import pytest

from perfcheck.plugin import hookspecs
from perfcheck.plugin.current import set_current_item
from perfcheck.plugin.options import add_options, check
from perfcheck.plugin.workers import GROUP, LEFT_OUT_KEY, RECORDS, note_left_out, share_with_worker

if TYPE_CHECKING:
    from pathlib import Path

    from perfcheck.api.session import Perfcheck
    from perfcheck.model.seams import Progress
    from perfcheck.plugin.collection import ScenarioFile
    from perfcheck.plugin.options import PluginOptions
    from perfcheck.plugin.python_tests import PythonTests
    from perfcheck.plugin.reporting import Reporter

FIXTURE: Final = "perfcheck"

_SCENARIO_KEY: Final = re.compile(rb"""^(?:scenario|"scenario"|'scenario')[ \t]*:(?:\s|$)""", re.MULTILINE)
_HEAD_BYTES: Final = 65536


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the options."""
    add_options(parser)


def pytest_addhooks(pluginmanager: pytest.PytestPluginManager) -> None:
    """Add the hook by which another runner can be put in."""
    pluginmanager.add_hookspecs(hookspecs)


def pytest_configure(config: pytest.Config) -> None:
    """Register the marker and the hooks that need the session; see wrong options before anything is measured."""
    config.addinivalue_line(
        "markers", "perfcheck: a test that measures, from a scenario file or with the fixture (set by perfcheck itself)"
    )
    check(config)
    config.pluginmanager.register(SessionHooks(config), SessionHooks.NAME)


def pytest_collect_file(file_path: Path, parent: pytest.Collector) -> ScenarioFile | None:
    """Collect `*.yaml` whose top level has the key `scenario`."""
    if file_path.suffix != ".yaml" or not _has_scenario_key(file_path):
        return None
    from perfcheck.plugin.collection import ScenarioFile

    SessionHooks.of(parent.config).reporter()
    return ScenarioFile.of(parent, file_path)


@pytest.fixture(name="perfcheck", scope="session")
def perfcheck_fixture(pytestconfig: pytest.Config) -> Perfcheck:
    """Measure scenarios from a test: `perfcheck.run("scenarios/office.yaml", repeat=3)` returns a record.

    `perfcheck.run_all(PATH)` measures all points of a file's matrix, `perfcheck.ab(SCENARIO, a=..., b=...)` two
    settings side by side. docs/python-tests.md tells the rest.
    """
    from perfcheck.api.session import Perfcheck

    return Perfcheck(SessionHooks.of(pytestconfig).python_tests())


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_protocol(item: pytest.Item) -> None:
    """Note which test begins: the fixture lasts longer than one."""
    set_current_item(item)


def pytest_itemcollected(item: pytest.Item) -> None:
    """Mark what measures: it cannot be done side by side, so one pytest-xdist worker takes it all."""
    if FIXTURE not in getattr(item, "fixturenames", ()):
        return
    item.add_marker("perfcheck")
    if item.config.pluginmanager.has_plugin("xdist") and item.get_closest_marker("xdist_group") is None:
        item.add_marker(pytest.mark.xdist_group(GROUP))


def pytest_make_parametrize_id(val: object) -> str | None:
    """Name the values of a parametrized test: `office[delay=20ms]` for a scenario, `10ms` for a quantity."""
    if not str(type(val).__module__).startswith("perfcheck.api."):
        return None
    found = getattr(val, "label", None) or getattr(val, "notation", None)
    return found if isinstance(found, str) else None


@pytest.hookimpl(trylast=True)
def pytest_perfcheck_runner(options: PluginOptions, progress: Progress | None) -> hookspecs.SessionRunner:
    """Return the runner that really measures."""
    from perfcheck.runner import Runner, RunOptions

    return Runner.create(
        RunOptions(
            baseline=options.baseline, baseline_dir=options.baseline_dir, baseline_name=options.baseline_name,
            baseline_ref=options.baseline_ref, commands=options.commands,
            repeat=options.repeat, mode=options.mode, tolerances=options.tolerances, rule_dirs=options.rule_dirs,
            ab=options.ab, events=options.events_path, series=options.series_path, budget_pct=options.budget_pct,
            kernel=options.kernel, time=options.time,
        ),
        progress,
    )  # fmt: skip


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: Any) -> None:
    """Tell a pytest-xdist worker the folder that all workers of this machine share."""
    share_with_worker(node.config, node.workerinput, node.gateway.spec, partial(_write_report, node.config))


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    """Take from a pytest-xdist worker how many scenarios it deselected."""
    count = getattr(node, "workeroutput", {}).get(LEFT_OUT_KEY, 0)
    if count:
        note_left_out(node.config, count)
        SessionHooks.of(node.config).reporter()


class SessionHooks:
    """The hooks that need to know the session: what is reported, made at the first scenario or at the fixture."""

    NAME: Final = "perfcheck-session"

    def __init__(self, config: pytest.Config) -> None:
        """Wait: a session without scenarios needs neither of the two."""
        self._config = config
        self._reporter: Reporter | None = None
        self._python_tests: PythonTests | None = None

    @classmethod
    def of(cls, config: pytest.Config) -> SessionHooks:
        """Return the hooks of this process."""
        found = config.pluginmanager.get_plugin(cls.NAME)
        assert isinstance(found, cls)  # noqa: S101 - registered with the configuration
        return found

    def reporter(self) -> Reporter:
        """Return the reporter of this process, made at the first call."""
        if self._reporter is None:
            from perfcheck.plugin.reporting import Reporter

            self._reporter = Reporter(self._config)
        return self._reporter

    def python_tests(self) -> PythonTests:
        """Return what measures for the Python tests of this process, made at the first call."""
        self.reporter()
        if self._python_tests is None:
            from perfcheck.plugin.python_tests import PythonTests

            self._python_tests = PythonTests(self._config)
        return self._python_tests

    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        """Leave out what guests of the kernel lab alone measure, where the session names no kernel."""
        if self._reporter is not None:
            from perfcheck.plugin.guests import leave_out_of_guests

            leave_out_of_guests(self._config, items)

    def pytest_collection_finish(self) -> None:
        """Refuse options that fit no collected scenario, and kernels that are not there."""
        if self._reporter is not None:
            from perfcheck.plugin.session import PluginSession

            PluginSession.of(self._config).check_options()

    def pytest_assertrepr_compare(self, op: str, left: object, right: object) -> list[str] | None:
        """Explain a comparison of a record's metric or cause that failed."""
        if self._python_tests is None:
            return None
        from perfcheck.plugin.python_reports import note_comparison

        return note_comparison(self._python_tests, self._config, op, left, right)

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(
        self, item: pytest.Item, call: pytest.CallInfo[None]
    ) -> Generator[None, pytest.TestReport, pytest.TestReport]:
        """Put failure text, place and cases into the reports of what measures."""
        if self._python_tests is None:
            report = yield
        else:
            from perfcheck.plugin.python_reports import making_report

            report = yield from making_report(self._python_tests, item, call)
        if self._reporter is not None:
            from perfcheck.plugin.reporting import complete

            complete(report, item, call)
        return report

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_teardown(self, item: pytest.Item) -> Generator[None, object, object]:
        """Write and save what a Python test measured, after it and its fixtures have judged it."""
        try:
            return (yield)
        finally:
            if self._python_tests is not None:
                self._python_tests.keep(item)

    def pytest_report_teststatus(self, report: Any) -> tuple[str, str, tuple[str, dict[str, bool]]] | None:
        """Give verdicts that are neither a plain pass nor a failure a category of their own."""
        if not hasattr(report, "perfcheck"):
            return None
        from perfcheck.plugin.reporting import category_of

        return category_of(report)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Keep what the summary needs; under pytest-xdist only the controller prints one."""
        sent = getattr(report, "perfcheck", None)
        if sent is not None and not hasattr(self._config, "workerinput"):
            self.reporter().take(sent)

    def pytest_runtest_logfinish(self, nodeid: str) -> None:
        """Let go of the records of a test that has ended."""
        if self._python_tests is not None:
            self._python_tests.forget(nodeid)

    def pytest_terminal_summary(self, terminalreporter: Any) -> None:
        """Print the table, then what a reader must know besides, then GitHub's commands."""
        if self._reporter is not None:
            self._reporter.summarise(terminalreporter)


def _write_report(config: pytest.Config, folder: Path) -> None:
    """Write the report of what pytest-xdist's workers measured, where one was asked for."""
    if (folder / RECORDS).exists():
        from perfcheck.plugin.final_report import write_final_report

        write_final_report(config, folder)


def _has_scenario_key(path: Path) -> bool:
    """Look for the key without loading a YAML library, unless the file is written in braces and names the key."""
    try:
        with path.open("rb") as stream:
            head = stream.read(_HEAD_BYTES).removeprefix(codecs.BOM_UTF8)
    except OSError:
        return False
    if _SCENARIO_KEY.search(head):
        return True
    if not (head.lstrip().startswith(b"{") and b"scenario" in head):
        return False
    from perfcheck.scenario import is_scenario

    return is_scenario(path)
