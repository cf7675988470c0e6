"""Runs `perfctl diagnose`: watches for some seconds, and tells the causes."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final

from rich.text import Text

from perfcheck.cli.perfctl.output_choice import OutputChoice
from perfcheck.cli.perfctl.writing import console_of, json_lines_of, wrapped
from perfcheck.diagnose import load_rules
from perfcheck.errors import CouldNotMeasure, Stopped
from perfcheck.live.diagnosis import LiveDiagnosis, answers, diagnosed, is_part
from perfcheck.live.lacking import lacking_lines
from perfcheck.live.wording import count, left_out, lost, watched, without_room
from perfcheck.model.event import utc_text
from perfcheck.model.interval import Interval, LiveRequest, OpenIntervals
from perfcheck.model.record import DiagnosisRecord
from perfcheck.output.diagnosis import block, cause_lines
from perfcheck.output.rows import cause_text
from perfcheck.output.terminal import console_for
from perfcheck.system.printing import complain

_TOLD: Final = 3
_WIDTH: Final = 100


def run(
    args: argparse.Namespace, request: LiveRequest, out: OutputChoice, open_intervals: Callable[[], OpenIntervals]
) -> int:  # fmt: skip
    """Watch, and tell the causes; return 0, or raise CouldNotMeasure where nothing was seen."""
    rules, part = load_rules(()), is_part(request)
    seen: list[Interval] = []
    progress = console_for(stderr=True)
    stopped: Stopped | None = None
    try:
        with open_intervals() as intervals:
            for interval in intervals:
                seen.append(interval)
                if progress.is_terminal:
                    found = diagnosed(seen, rules, correlate=False, part=part)
                    progress.print(f"{found.whole.seconds:4.0f} s  {cause_text(found.causes[0])}", style="dim")
    except KeyboardInterrupt:
        complain(f"{out.prog}: interrupted: this is what was seen until then")
    except Stopped as stop:
        stopped = stop
    if not seen:
        raise stopped or CouldNotMeasure("nothing was watched: no interval was over")
    found = diagnosed(seen, rules, correlate=args.auto_correlate, part=part)
    _tell(found, args, out)
    if stopped is not None:
        raise stopped  # what was seen until then is told
    return 0


def _tell(found: LiveDiagnosis, args: argparse.Namespace, out: OutputChoice) -> None:
    if out.format == "json":
        with json_lines_of(out.file) as say:
            say(json.dumps(as_dict(found, args.problem, out.prog), separators=(",", ":")))
        return
    with console_of(out.file) as console:
        for line in lines(found, args.problem, correlate=args.auto_correlate, width=min(console.width, _WIDTH)):
            console.print(line, soft_wrap=True)


def lines(found: LiveDiagnosis, problem: str | None, *, correlate: bool, width: int) -> Iterator[Text]:
    """Yield what is told of a watch in the terminal."""
    whole = found.whole
    yield Text.assemble((watched(whole.seconds, found.looks), "bold"), f": {count(len(whole.flows), 'connection')}")
    if (missing := answers(found, problem)) is not None:
        yield Text(missing)
    for cause in found.causes[:_TOLD]:
        yield from cause_lines(cause, width)
    rest = found.causes[_TOLD:]
    if rest:
        yield from block("also", ", ".join(cause_text(cause) for cause in rest), width)
    if correlate and found.account:
        yield Text("  decision tree", style="bold")
        for line in _taken(found.account):
            yield from map(Text, wrapped(f"    {line}", width))
    yield from _left_out(found, width)


def _taken(account: Sequence[str]) -> Iterator[str]:
    """Yield the branch that was taken: the questions that were answered with yes, and what events showed."""
    return (line for line in account if line.lstrip().startswith(("yes", "events", "series")) or line[:5] == "    ")


def _left_out(found: LiveDiagnosis, width: int) -> Iterator[Text]:
    accounting = found.whole.accounting
    for line in lacking_lines(found.whole.lacks):
        yield from block("not measured", line, width)
    if accounting.refused:
        yield from block("left out", without_room(accounting.refused), width)
    if accounting.lost:
        yield from block("left out", lost(accounting.lost), width)
    if accounting.shed:
        yield from block("shed", left_out(accounting.shed), width)


def as_dict(found: LiveDiagnosis, problem: str | None, tool: str) -> dict[str, Any]:
    """Return the diagnosis as one JSON object."""
    whole = found.whole
    return {
        "timestamp": utc_text(whole.end_ns + whole.epoch_ns), "timestamp_ns": whole.end_ns, "tool": tool,
        "type": "summary", "watched_s": round(whole.seconds, 3), "connections": len(whole.flows), "problem": problem,
        "problem_seen": answers(found, problem) is None, "symptoms": list(found.symptoms),
        "diagnosis": [_cause(cause) for cause in found.causes], "account": list(found.account),
        "metrics": dict(sorted(whole.metrics.items())), "lacks": dict(whole.lacks),
        "accounting": {
            "refused": whole.accounting.refused, "lost": whole.accounting.lost, "shed": list(whole.accounting.shed),
            "cpu_pct": round(whole.accounting.cpu_pct, 3),
        },
    }  # fmt: skip


def _cause(cause: DiagnosisRecord) -> dict[str, Any]:
    return cause.model_dump(mode="json", by_alias=True)
