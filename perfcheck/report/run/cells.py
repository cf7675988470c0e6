"""Rows of tables made of texts."""

from __future__ import annotations

from perfcheck.report.document import Cell


def cells(*texts: str) -> tuple[Cell, ...]:
    """Return a row of plain fields."""
    return tuple(Cell(text=text) for text in texts)
