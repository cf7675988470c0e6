"""Runs a command whose results go to Prometheus or InfluxDB alone."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import Final

from perfcheck.cli.perfctl.exports import exports_of, wait_for_end
from perfcheck.cli.perfctl.output_choice import OutputChoice
from perfcheck.live.lacking import lacking_lines
from perfcheck.model.interval import OpenIntervals
from perfcheck.system.printing import complain

EXPORTED: Final = ("prometheus", "influx")
"""Formats that no command lays out by itself."""


def run_exporting(args: argparse.Namespace, out: OutputChoice, open_intervals: Callable[[], OpenIntervals]) -> int:
    """Export each interval until the end, Ctrl-C or a signal; return the exit status."""
    told: set[str] = set()
    with exports_of(args, out) as exports:
        try:
            with open_intervals() as intervals:
                for interval in intervals:
                    exports.take(interval)
                    for line in lacking_lines(interval.lacks):
                        if line not in told:
                            told.add(line)
                            complain(f"{out.prog}: not measured: {line}")
            exports.end()
            if out.recording is not None and out.format == "prometheus":
                wait_for_end(out)
        except KeyboardInterrupt:
            exports.end()  # how a run without --duration ends
        except BaseException:
            exports.end()
            raise
    return 0
