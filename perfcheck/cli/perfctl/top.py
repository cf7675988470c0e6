"""`perfctl top`: a screen of connections, with keys to sort, filter, group, look into one, and go back in time."""

from __future__ import annotations

import argparse
from typing import Final

from perfcheck.cli.perfctl.command import Command, Example, Watching
from perfcheck.cli.perfctl.options import SCREEN_CPU_CEILING_PCT, option
from perfcheck.cli.perfctl.screen_options import add_screen_options, check_screen
from perfcheck.cli.perfctl.values import value

GROUPS: Final = ("connection", "process", "app", "netns")


def _add_arguments(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("screen", "The key ? shows all keys, and what each column means.")
    option(group, "--group-by", "rows at the begin: connection, process, app (name of the process) or netns; the key "
           "g changes it (default: connection)", known=GROUPS, metavar="WHAT", default="connection")  # fmt: skip
    option(group, "--filter", "rows at the begin: those that match these words; the key / changes it",
           dest="row_filter", type=value(str), metavar="TEXT")  # fmt: skip
    add_screen_options(group)


def _check(args: argparse.Namespace) -> None:
    check_screen(args, "use `perfctl tcp`")


def _wants_events(args: argparse.Namespace) -> bool:
    return args.mode in {"detail", "both"}


COMMAND: Final = Command(
    name="top",
    summary="a screen of connections, with keys to sort, filter and look into one",
    description="Shows connections on a screen that is kept up to date: rates, RTT, windows, retransmissions, and the "
    "bottleneck of each, below the diagnosis and alerts. Keys sort, filter and group the rows, show all about one "
    "connection, and go back in time; with --from, through a recording.",
    examples=(
        Example(line="perfctl top --rport 443", what="connections to port 443; ? shows the keys"),
        Example(line="perfctl top --from incident.rec --group-by process",
                what="a recording, one row a process; Space stops it, [ and ] step"),
    ),
    add_arguments=_add_arguments, check=_check,
    watching=Watching(layers=("socket", "tcp", "ip"), events=_wants_events, cpu_ceiling_pct=SCREEN_CPU_CEILING_PCT),
)  # fmt: skip
