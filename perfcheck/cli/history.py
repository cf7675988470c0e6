"""`perfcheck history METRIC`: show how a metric changed over all stored runs. Advice: it never fails."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import Final

from rich.table import Table
from rich.text import Text

from perfcheck.baseline import HistoryStore
from perfcheck.cli.history_plot import plot
from perfcheck.errors import UsageError
from perfcheck.model.catalogue import CATALOGUE
from perfcheck.model.history import Series
from perfcheck.model.own_metric import may_be_own
from perfcheck.model.printable import printable
from perfcheck.output.terminal import SafeConsole, console_for
from perfcheck.report.history.story import Story
from perfcheck.scenario.suggest import hint

HOW_TO_KEEP: Final = "runs are kept with `perfcheck run FILE --history DIR` or `pytest --history DIR`"


def history(arguments: argparse.Namespace) -> int:
    """Print table, plots and findings of the metric's series, and write the page where one is asked for."""
    from perfcheck.compare.outlook import outlook

    series = _series(arguments)
    stories = [Story(each, outlook(each.values)) for each in series]
    console = console_for()
    console.print(Text.assemble((arguments.metric, "bold"), f"  {_meaning(arguments.metric)}"))
    _print_table(console, stories)
    for story in stories:
        _print_story(console, story)
    if arguments.html is not None:
        _write_page(arguments, stories)
        console.print(f"\nwritten to {arguments.html}")
    return 0


def _write_page(arguments: argparse.Namespace, stories: Sequence[Story]) -> None:
    from perfcheck.report.history.page import document
    from perfcheck.report.write import Form, write_report

    write_report(document(arguments.metric, _meaning(arguments.metric), stories), arguments.html, Form.HTML)


def _series(arguments: argparse.Namespace) -> Sequence[Series]:
    folder, metric = arguments.history, arguments.metric
    if metric not in CATALOGUE and not may_be_own(metric):
        raise UsageError(f"unknown metric {metric!r}{hint(metric, CATALOGUE) or '; `perfcheck metrics` lists all'}")
    scenarios = sorted(printable(path.name) for path in folder.glob("*") if path.is_dir()) if folder.is_dir() else []
    if not scenarios:
        raise UsageError(f"no history in {folder}: {HOW_TO_KEEP}; `--history DIR` names another folder")
    if arguments.scenario is not None and arguments.scenario not in scenarios:
        raise UsageError(
            f"no history of scenario {arguments.scenario!r} in {folder}{hint(arguments.scenario, scenarios)}"
        )
    found = HistoryStore(folder).series(metric, arguments.scenario)
    if not found:
        where = arguments.scenario or ", ".join(scenarios)
        raise UsageError(f"no run of {where} in {folder} measured {metric}: {HOW_TO_KEEP}")
    return found


def _meaning(metric: str) -> str:
    spec = CATALOGUE.get(metric)
    if spec is None:
        return "the application's own figure"
    return f"{spec.meaning} ({spec.unit})" if spec.unit else spec.meaning


def _print_table(console: SafeConsole, stories: Sequence[Story]) -> None:
    table = Table(
        "scenario", "machine", "links", "runs", "last", "trend", "levels", "beyond 3 sigma", box=None,
        header_style="bold",
    )  # fmt: skip
    for story in stories:
        series = story.series
        table.add_row(
            story.label, printable(series.machine[:8]), printable(series.emulators), str(len(series.values)),
            story.value(-1), story.trend, str(len(story.outlook.levels)), story.beyond,
        )  # fmt: skip
    console.print(table)


def _print_story(console: SafeConsole, story: Story) -> None:
    console.print(f"\n{story.title}", style="bold")
    console.print("\n".join(plot(story, width=min(console.width, 100))))
    for line in story.lines():
        console.print(f"  {line}")
