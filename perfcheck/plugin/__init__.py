"""The pytest plugin; pytest loads this module in every run, so it imports nothing until a scenario file is met.

What happens then stands in the other modules: `collection` makes the items, `measurement`
measures each scenario point once, `reporting` tells the outcomes.
"""

from __future__ import annotations

import codecs
import re
from typing import TYPE_CHECKING, Any, Final

import pytest

from perfcheck.plugin import hooks
from perfcheck.plugin.current import set_current_item
from perfcheck.plugin.options import add_options, check
from perfcheck.plugin.workers import GROUP, share_with_worker

if TYPE_CHECKING:
    from pathlib import Path

    from perfcheck.api.session import Perfcheck
    from perfcheck.model.seams import Progress
    from perfcheck.plugin.collection import ScenarioFile
    from perfcheck.plugin.options import PluginOptions

FIXTURE: Final = "perfcheck"

_SCENARIO_KEY: Final = re.compile(rb"""^(?:scenario|"scenario"|'scenario')[ \t]*:(?:\s|$)""", re.MULTILINE)
_HEAD_BYTES: Final = 65536


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the options."""
    add_options(parser)


def pytest_addhooks(pluginmanager: pytest.PytestPluginManager) -> None:
    """Add the hook by which another runner can be put in."""
    pluginmanager.add_hookspecs(hooks)


def pytest_configure(config: pytest.Config) -> None:
    """Register the marker; see wrong options before anything is measured."""
    config.addinivalue_line(
        "markers", "perfcheck: a test that measures, from a scenario file or with the fixture (set by perfcheck itself)"
    )
    check(config)


def pytest_collect_file(file_path: Path, parent: pytest.Collector) -> ScenarioFile | None:
    """Collect `*.yaml` whose top level has the key `scenario`."""
    if file_path.suffix != ".yaml" or not _has_scenario_key(file_path):
        return None
    from perfcheck.plugin.collection import ScenarioFile
    from perfcheck.plugin.reporting import register

    register(parent.config)
    return ScenarioFile.of(parent, file_path)


@pytest.fixture(name="perfcheck", scope="session")
def perfcheck_fixture(pytestconfig: pytest.Config) -> Perfcheck:
    """Measure scenarios from a test: `perfcheck.run("scenarios/office.yaml", repeat=3)` returns a record.

    `perfcheck.run_all(PATH)` measures all points of a file's matrix, `perfcheck.ab(SCENARIO, a=..., b=...)` two
    settings side by side. docs/python-tests.md tells the rest.
    """
    from perfcheck.plugin.python_tests import perfcheck_for

    return perfcheck_for(pytestconfig)


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
def pytest_perfcheck_runner(options: PluginOptions, progress: Progress | None) -> hooks.SessionRunner:
    """Return the runner that really measures."""
    from perfcheck.runner import Runner, RunOptions

    return Runner.create(
        RunOptions(
            baseline=options.baseline, baseline_dir=options.baseline_dir, baseline_name=options.baseline_name,
            baseline_ref=options.baseline_ref, commands=options.commands,
            repeat=options.repeat, mode=options.mode, tolerances=options.tolerances, rule_dirs=options.rule_dirs,
            ab=options.ab, events=options.events_path, budget_pct=options.budget_pct,
        ),
        progress,
    )  # fmt: skip


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: Any) -> None:
    """Return the pytest-xdist worker the folder that all workers share."""
    share_with_worker(node.config, node.workerinput)


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
