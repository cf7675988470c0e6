"""`perfctl latency`: where the time of each packet goes, stage by stage."""

from __future__ import annotations

import argparse
from typing import Final

from perfcheck.cli.perfctl import values
from perfcheck.cli.perfctl.command import Command, Example, Watching
from perfcheck.cli.perfctl.options import flag, option, require
from perfcheck.cli.perfctl.parser import given
from perfcheck.cli.perfctl.values import value
from perfcheck.errors import UsageError


def _add_arguments(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("paths of packets")
    flag(group, "--detail", "also show the slowest packets and a histogram of each stage")
    option(group, "--slowest", "with --detail: how many of the slowest packets (default: 10)",
           type=values.count(1, 1000, "a number of packets"), default=10, metavar="N")  # fmt: skip
    option(group, "--peer", "with --from: the recording of the other end, to join both", dest="peer",
           type=value(values.path), metavar="FILE")  # fmt: skip


def _check(args: argparse.Namespace) -> None:
    require(args, ("slowest",), "detail")
    require(args, ("peer",), "recording")
    if "mode" in given(args) and args.mode == "summary":
        raise UsageError("--mode: summary does not follow packets; use detail or both, or `perfctl tcp`")
    if args.peer is not None and args.peer == args.recording:
        raise UsageError("--peer: is the recording of --from; name that of the other end")


COMMAND: Final = Command(
    name="latency",
    summary="where the time of each packet goes, stage by stage",
    description="Follows packets of a flow through the stages of this machine: socket, TCP, IP, qdisc, driver, and up "
    "again. With two recordings, one of each end, the whole way is joined.",
    examples=(
        Example(line="perfctl latency --flow '10.0.0.1:40000->10.0.0.2:443' --detail",
                what="one flow, with its slowest packets"),
        Example(line="perfctl latency --lport 80 --duration 10s --output json",
                what="all connections to the own port 80, as JSON lines"),
    ),
    add_arguments=_add_arguments, check=_check,
    watching=Watching(layers="all", mode="detail", events=lambda _args: True),
)  # fmt: skip
