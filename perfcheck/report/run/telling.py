"""The metrics that a reader needs: what was asked for, what differs from the baseline, what the cause rests on."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from perfcheck.model.catalogue import Catalogue
from perfcheck.model.record import DiagnosisRecord
from perfcheck.model.verdict import Verdict
from perfcheck.report.document import Block, Table
from perfcheck.report.run.against import is_metric
from perfcheck.report.run.cells import metric_row
from perfcheck.report.run.source import Run

MOST: Final = 30
HEADINGS: Final = ("metric", "median", "smallest", "largest", "what it is")
NUMERIC: Final = frozenset({1, 2, 3})
_NAME: Final = re.compile(r"[a-z][a-z0-9]*(?:\.[a-z0-9_]+)+")
_ALIKE: Final = frozenset({Verdict.PASS, Verdict.NO_BASELINE})


def telling_metrics(run: Run, catalogue: Catalogue) -> Iterator[Block]:
    """Yield their table; nothing where there are none."""
    figures = run.record.figures
    names = [name for name in telling_names(run) if name in figures]
    if not names:
        return
    shown = names[:MOST]
    rest = len(figures) - len(shown)
    others = f" The other {rest:,} values are in the folded tables of the HTML page, not on paper." if rest else ""
    yield Table(
        headings=HEADINGS, numeric=NUMERIC, stacks=True,
        rows=tuple(metric_row(name, figures[name], catalogue) for name in shown),
        caption="What was asked for, what differs from the baseline, and what the most probable cause rests on: "
        f"median, smallest and largest of the trials that count.{others}",
    )  # fmt: skip


def telling_names(run: Run) -> list[str]:
    """Return the keys of these metrics, those that failed first."""
    record = run.record
    failed = [case.metric for case in run.failed]
    differing = [one.metric for one in record.comparisons if one.verdict not in _ALIKE]
    asked = [one.metric for one in record.expectations]
    found = [name for name in (*failed, *differing, *asked) if is_metric(name)]
    return list(dict.fromkeys([*found, *_named(record.diagnosis[0])]))


def _named(cause: DiagnosisRecord) -> list[str]:
    """Return the metrics that the evidence for a cause names."""
    return [name for text in cause.evidence_for for name in _NAME.findall(text)]
