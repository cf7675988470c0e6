"""Scenarios that guests of the kernel lab alone measure: deselected in a session that names no kernel."""

from __future__ import annotations

from collections.abc import MutableSequence

import pytest

from perfcheck.plugin.collection import ScenarioItem
from perfcheck.plugin.session import PluginSession
from perfcheck.plugin.workers import left_out, note_left_out
from perfcheck.runner.placing import in_guests
from perfcheck.runner.sides import Side


def leave_out_of_guests(config: pytest.Config, items: MutableSequence[pytest.Item]) -> None:
    """Deselect what measures the cost of a kernel's path, unless the session names a kernel or another mode."""
    if PluginSession.of(config).options.mode is not None:
        return
    deselected = [item for item in items if _measures_cost(item)]
    if deselected and not _names_a_kernel(config):
        items[:] = [item for item in items if not _measures_cost(item)]
        note_left_out(config, len({item.scenario.label for item in deselected if isinstance(item, ScenarioItem)}))
        config.hook.pytest_deselected(items=deselected)


def note_of_left_out(config: pytest.Config) -> str | None:
    """Say how many scenarios were deselected and how to run them; None where none were."""
    count = left_out(config)
    if not count:
        return None
    what = "1 scenario of mode: cost is" if count == 1 else f"{count} scenarios of mode: cost are"
    return (
        f"{what} deselected: they measure a kernel in a guest. To run them: add --kernel NAME "
        "(`perfcheck kernel list` shows the kernels of this machine; docs/kernels.md)"
    )


def _measures_cost(item: pytest.Item) -> bool:
    return isinstance(item, ScenarioItem) and item.scenario.measure.mode == "cost"


def _names_a_kernel(config: pytest.Config) -> bool:
    chosen = PluginSession.of(config).options
    return in_guests(chosen.kernel, *map(Side.parse, chosen.ab or ()))
