"""The plugin's reports: letters and words, failure texts, JUnit properties, the summary, GitHub's annotations.

A report is made in the process that runs the item and read in the process with the terminal. Under pytest-xdist
these are two processes, so `report.perfcheck` carries all data, as plain types only.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any, Final

import pytest

from perfcheck.model.printable import printable
from perfcheck.model.verdict import Verdict
from perfcheck.output.cases import Case, Status, cases
from perfcheck.output.explain import reasoned
from perfcheck.output.github import publish
from perfcheck.output.properties import environment_properties
from perfcheck.output.rows import Row, circumstances, collapsed, needs, notes, remarks, shared_remarks
from perfcheck.output.story import Story
from perfcheck.output.table import plain_table, plain_tally, styled_table
from perfcheck.plugin.collection import ScenarioItem
from perfcheck.plugin.guests import note_of_left_out
from perfcheck.plugin.options import telling_why
from perfcheck.plugin.stories import sent_stories
from perfcheck.plugin.writing import Terminal

_WORDS: Final[Mapping[str, tuple[str, str, dict[str, bool]]]] = {
    Verdict.NO_BASELINE.value: ("no baseline", "n", {"yellow": True}),
    Verdict.INCONCLUSIVE.value: ("inconclusive", "i", {"yellow": True}),
    Verdict.IMPROVED.value: ("improved", "+", {"green": True}),
}
"""Verdicts that pytest has no outcome for: category in the counts, letter, colour."""


def payload(item: ScenarioItem) -> dict[str, Any]:
    """Return what the reporter needs of an item that has its case."""
    assert item.case is not None  # noqa: S101 - the caller saw to it
    record = item.outcome.record if item.outcome is not None else None
    case = asdict(item.case) | {"status": item.case.status.value, "properties": dict(item.case.properties)}
    told = [*circumstances(record), *needs(record), *remarks(record)] if record is not None else []
    saved = item.outcome.saved if item.outcome is not None else None
    return {
        "cases": [case],
        "word": item.case.row.verdict,
        "remarks": [(item.case.scenario, text) for text in told],
        "why": [list(reasoned(record))] if record is not None else [],
        "stories": sent_stories(record, cases(record)) if record is not None else [],
        "environment": json.loads(json.dumps(record.environment, default=str)) if record is not None else {},
        "saved": {} if saved is None else {item.case.scenario: saved},
    }


def category_of(report: Any) -> tuple[str, str, tuple[str, dict[str, bool]]] | None:
    """Return category, letter and word of a verdict that pytest has no outcome for; None where pytest's own fit."""
    verdict = report.perfcheck["word"]
    if report.failed or verdict not in _WORDS:
        return None
    category, letter, markup = _WORDS[verdict]
    return category, letter, (verdict, markup)


def case_from(sent: Mapping[str, Any]) -> Case:
    """Make the case again."""
    return Case(**{**sent, "row": Row(**sent["row"]), "status": Status(sent["status"])})


def complete(report: pytest.TestReport, item: pytest.Item, call: pytest.CallInfo[None]) -> None:
    """Put the text and the place of a scenario's case into its report; other items' reports stay as they are."""
    if not isinstance(item, ScenarioItem) or item.case is None or report.when == "teardown":
        return
    excinfo = call.excinfo
    if excinfo is not None and isinstance(excinfo.value, pytest.fail.Exception):
        report.longrepr = item.repr_failure(excinfo)
    elif report.skipped:
        report.longrepr = (os.fspath(item.path), item.assertion.line, f"Skipped: {item.case.headline}")
    if report.when == "call" or report.failed:
        vars(report)["perfcheck"] = payload(item)


class Reporter:
    """Collects what the reports carry, and prints the summary."""

    def __init__(self, config: pytest.Config) -> None:
        """Begin with nothing."""
        self._config = config
        self._cases: list[Case] = []
        self._remarks: dict[tuple[str, str], None] = {}
        self._why: dict[str, None] = {}
        self._stories: dict[str, Story] = {}
        self._saved: dict[str, str] = {}
        self._told: set[str] = set()

    def take(self, sent: Mapping[str, Any]) -> None:
        """Keep what the summary needs; give the environment to JUnit's suite."""
        self._cases += [case_from(each) for each in sent["cases"]]
        self._remarks.update(dict.fromkeys((scenario, remark) for scenario, remark in sent["remarks"]))
        self._stories.update((sent_story["scenario"], Story(**sent_story)) for sent_story in sent["stories"])
        self._why.update(dict.fromkeys("\n".join(lines) for lines in sent["why"]))
        self._saved.update(sent["saved"])
        self._tell_junit(sent["environment"])

    def summarise(self, terminalreporter: Any) -> None:
        """Print the table, then what a reader must know besides, then GitHub's commands."""
        terminal = Terminal(terminalreporter)
        left_out = note_of_left_out(self._config)
        if left_out is not None and self._config.get_verbosity() > -2:
            terminal.ensure_newline()
            terminal.line(left_out)
        if not self._cases:
            return
        if self._config.get_verbosity() > -2:
            self._tell(terminal)
        terminal.ensure_newline()
        publish(self._ordered(), os.environ, terminal, tuple(self._stories.values()))

    def _tell(self, terminal: Terminal) -> None:
        rows = [case.row for case in self._ordered()]
        shown = collapsed(rows)
        terminal.section("perfcheck")
        if terminal.hasmarkup:
            terminal.rendered(_with_escapes(shown, shutil.get_terminal_size().columns))
        else:
            terminal.line(plain_table(shown))
        terminal.line("")
        terminal.line(plain_tally(rows))
        for note in notes(shown):
            terminal.line(printable(note))
        for line in shared_remarks(self._remarks):
            terminal.line(printable(line))
        for line in "\n".join(self._why).splitlines() if telling_why(self._config) else ():
            terminal.line(printable(line))
        for scenario, saved in self._saved.items():
            terminal.line(
                printable(f"{scenario}: baseline {saved}"),
                yellow=not saved.startswith("written") or "ALTHOUGH" in saved,
            )

    def _ordered(self) -> list[Case]:
        """Bring the cases of a scenario together, which xdist workers report in any order."""
        places: dict[str, int] = {}
        for case in self._cases:
            places.setdefault(case.scenario, len(places))
        return sorted(self._cases, key=lambda case: places[case.scenario])

    def _tell_junit(self, environment: Mapping[str, object]) -> None:
        # pytest's JUnit writer is the plugin that can take a property of the whole suite.
        writers = [found for found in self._config.pluginmanager.get_plugins() if hasattr(found, "add_global_property")]
        for name, value in environment_properties(environment):
            if name not in self._told:
                self._told.add(name)
                for writer in writers:
                    writer.add_global_property(name, value)


def _with_escapes(rows: Sequence[Row], columns: int) -> str:
    """Render the coloured table to a text; pytest's own writer prints it."""
    from io import StringIO

    from perfcheck.output.terminal import SafeConsole

    stream = StringIO()
    console = SafeConsole(file=stream, force_terminal=True, color_system="standard", legacy_windows=False)
    console.print(styled_table(rows, columns), soft_wrap=True)
    return stream.getvalue().rstrip("\n")
