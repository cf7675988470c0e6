"""Rows of tables made of texts, and of a metric's values."""

from __future__ import annotations

from perfcheck.model.catalogue import Catalogue
from perfcheck.model.record import MetricRecord
from perfcheck.model.units import format_value
from perfcheck.report.document import Cell


def cells(*texts: str) -> tuple[Cell, ...]:
    """Return a row of plain fields."""
    return tuple(Cell(text=text) for text in texts)


def metric_row(name: str, found: MetricRecord, catalogue: Catalogue) -> tuple[Cell, ...]:
    """Return a metric's median, smallest and largest value of the trials, and what it is."""
    spec = catalogue.get(name)
    meaning = spec.meaning if spec is not None else "the application's own figure"
    values = found.per_trial or (found.value,)
    return cells(
        name, *(format_value(value, found.unit) for value in (found.value, min(values), max(values))),
        meaning + ("; of the whole machine" if found.host_wide else ""),
    )  # fmt: skip
