"""The arguments of `perfcheck report`; what runs it is imported when it is used."""

from __future__ import annotations

import argparse
from typing import Any

from perfcheck.runner.option_values import path


def add_report(subparsers: Any) -> None:
    """Add the command."""
    made = subparsers.add_parser(
        "report", help="write run records as a page: what failed, why, and all that was measured",
        description="Writes a report of stored run records, in several forms at once if you like. Time series and "
        "events are read from the files that the records name, there or beside the records. The exit status does not "
        "depend on the verdicts.",
    )  # fmt: skip
    made.add_argument(
        "records",
        nargs="+",
        type=path,
        metavar="RECORDS",
        help="run records as `perfcheck run --json` writes them",
    )
    made.add_argument(
        "--baseline-record", type=path, metavar="R",
        help="records to set beside these: their trials, distributions and environment",
    )  # fmt: skip
    made.add_argument("--history", type=path, metavar="DIR", help="show how metrics changed over the runs in DIR")
    made.add_argument("--html", type=path, metavar="PATH", help="write one self-contained HTML page to PATH")
    made.add_argument("--md", type=path, metavar="PATH", help="write Markdown to PATH ('-': standard output)")
    made.add_argument("--pdf", type=path, metavar="PATH", help="write a PDF to PATH; needs chromium")
    made.set_defaults(command=_report, streaming=("--md",))


def _report(arguments: argparse.Namespace) -> int:
    from perfcheck.cli.reporting import report

    return report(arguments)
