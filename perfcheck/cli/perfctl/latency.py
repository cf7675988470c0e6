"""`perfctl latency`: where the time of each packet goes, stage by stage."""

from __future__ import annotations

import argparse
from typing import Final

from perfcheck.cli.perfctl import values
from perfcheck.cli.perfctl.command import Command, Example, Watching
from perfcheck.cli.perfctl.options import flag, option, option_name, require
from perfcheck.cli.perfctl.parser import given
from perfcheck.cli.perfctl.values import value
from perfcheck.errors import UsageError

DETAIL_CPU_PCT: Final = 25.0
"""Share of one CPU that following packets may take where --cpu-ceiling does not say it: the ceiling of the others is
less than emptying the ring buffer takes."""
DURATION_NS: Final = 5_000_000_000
_NOT_OF_FILES: Final = (
    "recording", "save", "netns", "pid", "comm", "cgroup", "interface", "layer", "interval_ns", "duration_ns",
    "max_flows", "cpu_ceiling_pct", "report",
)  # fmt: skip
"""Options that say what a live machine is to measure."""


def _add_arguments(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("paths of packets")
    flag(group, "--detail", "follow packets: times of each stage, and the slowest packets (the same as --mode both); "
         f"may take {DETAIL_CPU_PCT:g} %% of one CPU, unless --cpu-ceiling says otherwise")  # fmt: skip
    option(group, "--slowest", "with --detail or --join: how many of the slowest packets (default: 10)",
           type=values.count(1, 1000, "a number of packets"), default=10, metavar="N")  # fmt: skip
    option(group, "--save", "with --detail: also write the packets to this file, to join it with the other host's",
           type=value(values.own_file), metavar="FILE")  # fmt: skip
    option(group, "--join", "read two files of --save, one of each end, and show the whole way", nargs=2,
           type=value(values.path), metavar="FILE")  # fmt: skip


def _check(args: argparse.Namespace) -> None:
    there = given(args)
    if args.join is not None:
        for dest in _NOT_OF_FILES:
            if dest in there:
                raise UsageError(f"{option_name(dest)}: cannot be used with --join, which reads files; leave it out")
        if args.join[0] == args.join[1]:
            raise UsageError("--join: names the same file twice; name one file of each end")
    if args.detail and "mode" in there and args.mode == "summary":
        raise UsageError("--mode: summary does not follow packets, as --detail asks for; leave one of them out")
    if args.detail and args.mode is None:
        args.mode = "both"
    follows = args.mode in {"detail", "both"} and args.join is None
    if args.recording is not None and follows:
        raise UsageError("--from: a recording has no packets; leave out --detail, or use --join with files of --save")
    if not follows and args.join is None:
        require(args, ("slowest",), "detail")
    if not follows:
        require(args, ("save",), "detail")


COMMAND: Final = Command(
    name="latency",
    summary="where the time of each packet goes, stage by stage",
    description="Tells from TCP what the path, its queues and the applications add to the latency of connections. With "
    "--detail it follows packets through the stages of this machine: socket, TCP, IP, qdisc, driver, and up again. "
    "--join puts the files of two hosts together to the whole way.",
    examples=(
        Example(line="perfctl latency --flow '10.0.0.1:40000->10.0.0.2:443' --detail",
                what="one flow, with its slowest packets"),
        Example(line="perfctl latency --lport 80 --duration 10s --output json",
                what="all connections to the own port 80, as JSON lines"),
    ),
    add_arguments=_add_arguments, check=_check, watching=Watching(layers=("tcp",), duration_ns=DURATION_NS),
)  # fmt: skip
