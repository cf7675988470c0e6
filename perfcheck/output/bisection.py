"""What a bisect prints: a line for each step, then a table of all, and the first bad kernel."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Final

from rich.table import Table
from rich.text import Text

from perfcheck.model.bisection import BisectOutcome, BisectStep, Finding
from perfcheck.model.printable import printable
from perfcheck.output.rows import interval_text, signed_pct
from perfcheck.output.table import STYLES

Described = Callable[[str], str]
"""How a kernel is called."""

_COUNTS_AS: Final = {Finding.GOOD: "green", Finding.BAD: "bold red", Finding.SKIPPED: "yellow"}
_HEADINGS: Final = ("step", "kernel", "change", "interval", "pairs", "verdict", "counts as")
_MOST_NAMED: Final = 20
_HALF: Final = 0.5


def step_line(number: int, step: BisectStep, described: Described) -> str:
    """Return the line that tells of a step when it ends."""
    size = f" {_change(step)} ({_interval(step)})" if step.interval_pct else ""
    why = f": {step.reason}" if step.reason else ""
    return printable(f"{number}: {described(step.candidate)}: {step.verdict}{size}, counts as {step.finding}{why}")


def steps_table(outcome: BisectOutcome, described: Described) -> Table:
    """Return a table of all steps."""
    table = Table(*_HEADINGS, box=None, header_style="bold")
    for column in table.columns:
        column.no_wrap = column.header != "kernel"
    for number, step in enumerate(outcome.steps, 1):
        table.add_row(
            str(number), Text(printable(described(step.candidate))), _change(step),
            _interval(step), str(step.pairs or ""), Text(step.verdict, STYLES.get(step.verdict, "")),
            Text(step.finding, _COUNTS_AS[step.finding]),
        )  # fmt: skip
    return table


def outcome_lines(outcome: BisectOutcome, described: Described) -> Iterator[str]:
    """Say which kernel is the first bad one, by how much, and what to know about that; or why none is named."""
    if outcome.first_bad is not None:
        yield printable(f"first bad kernel: {described(outcome.first_bad)}")
        yield from _sizes(outcome, described)
    elif outcome.suspects:
        skipped = [step.candidate for step in outcome.steps if step.candidate in outcome.suspects[:-1]]
        yield f"the first bad kernel is one of {len(outcome.suspects)}; {len(skipped)} of them could not be judged:"
        for candidate in outcome.suspects[:_MOST_NAMED]:
            yield printable(f"  {described(candidate)}{_why(outcome, candidate)}")
        if len(outcome.suspects) > _MOST_NAMED:
            yield f"  and {len(outcome.suspects) - _MOST_NAMED} more"
    else:
        yield printable(f"nothing to bisect: {outcome.reason}")


def _why(outcome: BisectOutcome, candidate: str) -> str:
    step = _step(outcome, candidate)
    return f": {step.reason}" if step is not None and step.reason else ""


def _change(step: BisectStep) -> str:
    return signed_pct(step.change_pct, step.margin_pct)


def _interval(step: BisectStep) -> str:
    return interval_text(step.interval_pct, step.margin_pct)


def _step(outcome: BisectOutcome, candidate: str) -> BisectStep | None:
    return next((step for step in outcome.steps if step.candidate == candidate), None)


def _sizes(outcome: BisectOutcome, described: Described) -> Iterator[str]:
    first = _step(outcome, outcome.first_bad or "")
    if first is None or first.change_pct is None:
        return
    interval = f" ({_interval(first)})" if first.interval_pct else ""
    yield printable(f"{outcome.metric} {_change(first)}{interval} against {described(outcome.good)}")
    good = [step for step in outcome.steps if step.finding is Finding.GOOD and step.change_pct is not None]
    if good:
        yield printable(f"last good kernel: {described(good[-1].candidate)}, {_change(good[-1])}")
    yield from _remarks(outcome, first.change_pct, max((abs(step.change_pct or 0.0) for step in good), default=0.0))


def _remarks(outcome: BisectOutcome, change_pct: float, largest_good_pct: float) -> Iterator[str]:
    """Say where the step that was found is not the whole story."""
    whole = _step(outcome, outcome.bad)
    if whole is not None and whole.change_pct is not None and abs(change_pct) < _HALF * abs(whole.change_pct):
        yield (
            f"note: that is the smaller part of {_change(whole)} in all: kernels after it add more. "
            "Bisect again with this one as the good kernel"
        )
    if largest_good_pct > _HALF * abs(change_pct):
        yield (
            f"note: a good kernel has {largest_good_pct:.2f} % already: the change came in several steps, and this "
            "one went beyond the margin"
        )
