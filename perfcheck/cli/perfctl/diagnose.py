"""`perfctl diagnose`: names the causes of a problem on a live machine."""

from __future__ import annotations

import argparse
from typing import Final

from perfcheck.cli.perfctl.command import Command, Example, Watching
from perfcheck.cli.perfctl.options import flag, option
from perfcheck.errors import UsageError

WATCHED_NS: Final = 10_000_000_000
CEILING_PCT: Final = 5.0
"""All layers are watched at once, and not for long."""
PROBLEMS: Final = ("high-latency", "low-throughput", "loss")


def _add_arguments(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("diagnosis")
    option(group, "--problem", "high-latency, low-throughput or loss (default: what is found)", known=PROBLEMS,
           metavar="NAME")  # fmt: skip
    flag(group, "--auto-correlate", "join events of all layers by flow and time, and show the chain of causes")
    flag(group, "--json", "the same as --output json")


def _check(args: argparse.Namespace) -> None:
    if args.json and args.output == "console":
        raise UsageError("--json: contradicts --output console; leave one of them out")
    if args.json:
        args.output = "json"


COMMAND: Final = Command(
    name="diagnose",
    summary="name the causes of high latency, low throughput or loss",
    description="Watches, joins events, and names causes with their probability, the chain of causes, the evidence "
    "for and against, advice, and the branch of the decision tree that was taken.",
    examples=(
        Example(line="perfctl diagnose --problem low-throughput --rport 5201 --duration 10s",
                what="why connections to port 5201 are slow"),
        Example(line="perfctl diagnose --auto-correlate --from incident.rec --json",
                what="the causes in a recording, as JSON"),
    ),
    add_arguments=_add_arguments, check=_check,
    watching=Watching(layers="all", events=lambda _args: True, duration_ns=WATCHED_NS, cpu_ceiling_pct=CEILING_PCT),
)  # fmt: skip
