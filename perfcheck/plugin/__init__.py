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
from perfcheck.plugin.options import add_options, check
from perfcheck.plugin.workers import share_with_worker

if TYPE_CHECKING:
    from pathlib import Path

    from perfcheck.model.seams import Progress
    from perfcheck.plugin.collection import ScenarioFile
    from perfcheck.plugin.options import PluginOptions

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
    config.addinivalue_line("markers", "perfcheck: an assertion of a scenario file (set by perfcheck itself)")
    check(config)


def pytest_collect_file(file_path: Path, parent: pytest.Collector) -> ScenarioFile | None:
    """Collect `*.yaml` whose top level has the key `scenario`."""
    if file_path.suffix != ".yaml" or not _has_scenario_key(file_path):
        return None
    from perfcheck.plugin.collection import ScenarioFile
    from perfcheck.plugin.reporting import register

    register(parent.config)
    return ScenarioFile.from_parent(parent, path=file_path)


@pytest.hookimpl(trylast=True)
def pytest_perfcheck_runner(options: PluginOptions, progress: Progress | None) -> hooks.SessionRunner:
    """Give the runner that really measures."""
    from perfcheck.runner import Runner, RunOptions

    return Runner.create(
        RunOptions(
            baseline=options.baseline, baseline_dir=options.baseline_dir, baseline_name=options.baseline_name,
            repeat=options.repeat, mode=options.mode, tolerances=options.tolerances, rule_dirs=options.rule_dirs,
            ab=options.ab, events=options.events_path, budget_pct=options.budget_pct,
        ),
        progress,
    )  # fmt: skip


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: Any) -> None:
    """Give the pytest-xdist worker the folder that all workers share."""
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
