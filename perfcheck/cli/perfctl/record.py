"""`perfctl record`: a bounded recording that every other command reads."""

from __future__ import annotations

import argparse
from typing import Final

from perfcheck.cli.perfctl import values
from perfcheck.cli.perfctl.command import Command, Example, Watching
from perfcheck.cli.perfctl.options import DEFAULT_INTERVAL_NS, flag, option
from perfcheck.cli.perfctl.parser import given
from perfcheck.errors import UsageError

DEFAULT_HINDSIGHT_NS: Final = 300_000_000_000


def _add_arguments(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("recording")
    option(group, "--hindsight", "how much of the past the ring on disk keeps (default: 5min; with --duration "
           "alone: all of it is recorded)", dest="hindsight_ns",
           default=DEFAULT_HINDSIGHT_NS, metavar="TIME",
           type=values.duration_ns(values.LEAST_INTERVAL_NS, 24 * 3600 * 10**9, "5min"))  # fmt: skip
    flag(group, "--send-side", "also sample connections when their segments leave, for `perfctl hist --perspective "
         "tx`; this costs a program at each segment")  # fmt: skip
    flag(group, "--recover", "write what a killed `perfctl record` left to the file, and measure nothing")


def _check(args: argparse.Namespace) -> None:
    if args.hindsight_ns < (args.interval_ns or DEFAULT_INTERVAL_NS):
        raise UsageError(f"--hindsight: {values.length(args.hindsight_ns)} is shorter than one interval; raise it")
    if args.recover and given(args) - {"recover", "output_file"}:
        raise UsageError("--recover: measures nothing; leave out all options but --output-file")
    if args.output == "json":
        raise UsageError("--output: a recording has its own format; leave it out, and read it with --from")


COMMAND: Final = Command(
    name="record",
    summary="keep the last minutes in a bounded ring, and dump them",
    description="Keeps the last minutes in a ring on disk. The ring is dumped to the recording on SIGUSR1, on an "
    "alert, and at Ctrl-C. Every command reads a recording with --from as if it were live.",
    examples=(
        Example(line="perfctl record --hindsight 5min --output-file incident.rec",
                what="keep the last 5 minutes; Ctrl-C writes them to incident.rec"),
        Example(line="perfctl record --duration 60s --remote-ip 10.0.0.0/8 --layer all",
                what="record one minute of flows to 10.0.0.0/8, all layers"),
    ),
    add_arguments=_add_arguments, check=_check,
    watching=Watching(layers="all", mode="summary", events=lambda _args: True, send_side=lambda args: args.send_side,
                      reads_recordings=False),
)  # fmt: skip
