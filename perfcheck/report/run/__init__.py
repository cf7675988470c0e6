"""The report of run records: what failed, why, and all that was measured."""

from __future__ import annotations

from perfcheck.report.run.document import run_document
from perfcheck.report.run.source import Given, Source

__all__ = ["Given", "Source", "run_document"]
