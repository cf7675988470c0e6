"""`perfctl tcp`: connections with their rates, windows, limits and bottlenecks."""

from __future__ import annotations

import argparse
from typing import Final

from perfcheck.cli.perfctl import values
from perfcheck.cli.perfctl.command import Command, Example, Watching
from perfcheck.cli.perfctl.options import flag, option, require
from perfcheck.cli.perfctl.parser import given
from perfcheck.cli.perfctl.screen_options import add_screen_options, check_tui
from perfcheck.cli.perfctl.values import value
from perfcheck.errors import UsageError

GROUPS: Final = ("connection", "process", "app", "none")
DEFAULT_HISTORY_NS: Final = 3_600_000_000_000


def _add_arguments(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("connections")
    option(group, "--event-mode", "poll: a table each interval; ebpf: only what a trigger finds "
           "(default: poll)", known=("poll", "ebpf"), metavar="MODE", default="poll")  # fmt: skip
    option(group, "--rwnd-limited-above", "trigger: the receive window limits a connection for more than this share "
           "of its busy time", dest="rwnd_limited_above_pct", type=values.percent(), metavar="PCT")  # fmt: skip
    option(group, "--cwnd-below", "trigger: the congestion window falls below this number of segments",
           dest="cwnd_below_segs", type=values.count(1, 1 << 30, "a number of segments"), metavar="N")  # fmt: skip
    option(group, "--group-by", "connection, process, app (name of the process) or none (one row); groups have "
           "P50, P90 and P99 (default: connection)", known=GROUPS, metavar="WHAT", default="connection",
           )  # fmt: skip
    option(group, "--history-file", "keep the intervals in this file, for --trend of later runs",
           type=value(values.own_file), metavar="FILE")  # fmt: skip
    option(group, "--history-duration", "how much of the past the file keeps (default: 60min)",
           dest="history_duration_ns", type=values.duration_ns(1_000_000_000, 1 << 61, "60min"),
           metavar="TIME")  # fmt: skip
    flag(group, "--trend", "say how RTT, congestion window and retransmissions change")
    flag(group, "--apply", "show advice: the sysctl, its old and new value, and why")
    add_screen_options(group, tui=True)
    flag(group, "--yes", "with --apply: change the sysctls; `perfctl undo` puts them back")


def _check(args: argparse.Namespace) -> None:
    check_tui(args, ("event_mode", "trend", "history_file", "apply", "prometheus_textfile"))
    require(args, ("history_duration_ns",), "history_file")
    require(args, ("yes",), "apply")
    for dest in ("rwnd_limited_above_pct", "cwnd_below_segs"):
        if dest in given(args) and args.event_mode != "ebpf":
            name = f"--{dest.rpartition('_')[0].replace('_', '-')}"
            raise UsageError(f"{name}: is a trigger, which has no effect without --event-mode ebpf; add it")
    if args.recording is not None:
        for name, there in (("--apply", args.apply), ("--event-mode ebpf", args.event_mode == "ebpf")):
            if there:
                raise UsageError(f"{name}: needs the live machine, which --from replaces; leave one of them out")
    if args.history_file is not None and args.history_file == args.output_file:
        raise UsageError("--history-file: is also --output-file; name two files")


def _wants_events(args: argparse.Namespace) -> bool:
    return args.event_mode == "ebpf" or args.mode in {"detail", "both"}


COMMAND: Final = Command(
    name="tcp",
    summary="connections: rates, windows, buffers, limits, retransmissions, bottlenecks",
    description="Shows TCP connections at each interval: rates, RTT, windows, buffers, what limits each connection, "
    "and retransmissions. The bottleneck of each connection is named with the share that it rests on.",
    examples=(
        Example(line="perfctl tcp --rport 443 --interval 1s --duration 30s",
                what="connections to port 443, each second for 30 seconds"),
        Example(line="perfctl tcp --comm nginx --group-by process --apply",
                what="nginx, one row a process, with advice for sysctls that limit it"),
    ),
    add_arguments=_add_arguments, check=_check,
    watching=Watching(
        layers=("socket", "tcp"), events=_wants_events, exports=True,
        views=("event_mode", "group_by", "history_file", "trend", "apply"),
    ),
)  # fmt: skip
