"""`perfcheck calibrate FILE`: how much metrics vary here when nothing changes, and which settings the file needs."""

from __future__ import annotations

import argparse
import difflib
import stat
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from rich.table import Table
from rich.text import Text

from perfcheck.errors import CouldNotMeasure, Unavailable, UsageError
from perfcheck.model.record import RunRecord
from perfcheck.model.scenario import Scenario
from perfcheck.model.units import format_value, readable_pct
from perfcheck.output import ConsoleProgress
from perfcheck.output.terminal import SafeConsole, console_for
from perfcheck.runner import Runner, RunOptions
from perfcheck.scenario import read
from perfcheck.scenario.edit import with_values
from perfcheck.scenario.loader import MAX_BYTES
from perfcheck.system.bounded_read import read_bounded
from perfcheck.system.files import replace_file
from perfcheck.system.printing import say

if TYPE_CHECKING:
    from perfcheck.compare import Calibration


def calibrate(arguments: argparse.Namespace) -> int:
    """Measure each scenario of the file in several sessions, print its noise, and the patch that follows from it."""
    from perfcheck.compare import calibrate as learn

    path: Path = arguments.file
    file = read(path, commands=not arguments.no_commands, trace_outside=arguments.trace_outside)
    text = _text(path)
    scenarios = [each for each in file.scenarios if arguments.select is None or arguments.select in each.label]
    if not scenarios:
        raise UsageError(f"--select: no scenario's label contains {arguments.select!r}; `perfcheck list` lists them")
    console = console_for()
    found: list[Calibration] = []
    with ConsoleProgress(console) as progress, Runner.create(RunOptions(repeat=arguments.repeat), progress) as runner:
        for scenario in scenarios:
            records = _sessions(runner, scenario, arguments.sessions)
            progress.clear()
            found.append(learn(scenario, records))
            _print_noise(console, scenario, found[-1], runs=arguments.repeat or scenario.repeat)
    repeats = [each.repeat for each in found]
    if None in repeats:
        console.print("repeat: even 20 runs would not detect a change of twice the margin; not changed")
    repeat = None if None in repeats else max(filter(None, repeats))
    edited = with_values(
        text, str(path), repeat=None if repeat == scenarios[0].repeat else repeat, tolerance_pct=_widest(found)
    )
    if edited == text:
        console.print("nothing to change: repeat and margins fit this machine")
        return 0
    say(_patch(text, edited, path).removesuffix("\n"))
    if arguments.write:
        _replace(path, text, edited)
        console.print(f"written to {path}")
    return 0


def _sessions(runner: Runner, scenario: Scenario, count: int) -> list[RunRecord]:
    """Measure so many sessions; one that could not be measured is left out, CouldNotMeasure for fewer than two."""
    valid: list[RunRecord] = []
    reason = ""
    for _ in range(count):
        try:
            record = runner.run(scenario)
        except Unavailable:
            raise
        except CouldNotMeasure as error:
            reason = str(error)
            continue
        if record.invalid_reason is None:
            valid.append(record)
        else:
            reason = record.invalid_reason
    if len(valid) < 2:
        raise CouldNotMeasure(f"{scenario.label}: only {len(valid)} of {count} sessions count: {reason}")
    return valid


def _print_noise(console: SafeConsole, scenario: Scenario, found: Calibration, *, runs: int) -> None:
    said = f": {found.sessions} sessions of {runs} runs without any change"
    console.print(Text.assemble((scenario.label, "bold"), said))
    table = Table(
        "metric", "median", "runs vary by", "sessions by", "margin", "proposed", box=None, header_style="bold"
    )
    for noise in found.noises:
        proposed = "" if noise.tolerance_pct is None else f"{noise.tolerance_pct:g} %"
        shares = (readable_pct(pct, 2) for pct in (noise.run_pct, noise.session_pct, noise.margin_pct))
        table.add_row(noise.metric, format_value(noise.centre, noise.unit), *shares, proposed)
    console.print(table)


def _widest(found: Sequence[Calibration]) -> dict[str, float]:
    """All points of a matrix share one `tolerance:` block."""
    widest: dict[str, float] = {}
    for each in found:
        for metric, pct in each.tolerance_pct.items():
            widest[metric] = max(pct, widest.get(metric, 0.0))
    return widest


def _text(path: Path) -> str:
    # Without newline translation: what is written back must be the same bytes.
    return read_bounded(path, MAX_BYTES).decode("utf-8")


def _patch(before: str, after: str, path: Path) -> str:
    """Return a patch for `patch -p1` or `git apply`; with an absolute path, for `patch -p0`."""
    names = (str(path), str(path)) if path.is_absolute() else (f"a/{path}", f"b/{path}")
    lines = difflib.unified_diff(before.splitlines(keepends=True), after.splitlines(keepends=True), *names)
    return "".join(line if line.endswith("\n") else f"{line}\n\\ No newline at end of file\n" for line in lines)


def _replace(path: Path, before: str, after: str) -> None:
    """Put the new text in the file's place, whole or not at all; UsageError where somebody changed it meanwhile."""
    if _text(path) != before:
        raise UsageError(f"{path}: the file changed during the measurement; apply the patch above by hand")
    target = path.resolve()
    replace_file(target, after.encode(), mode=stat.S_IMODE(target.stat().st_mode))
