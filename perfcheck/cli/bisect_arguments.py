"""The arguments of `perfcheck bisect`."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any, Final

from perfcheck.cli.bisecting import bisect
from perfcheck.runner.option_values import path

if TYPE_CHECKING:
    _Subparsers = argparse._SubParsersAction[Any]

_TEXT: Final = """\
Finds the kernel that made a metric worse. Each kernel is compared with the good one as `perfcheck ab` does: REGRESSED
counts as bad, PASS and IMPROVED as good; INCONCLUSIVE, and what does not build or boot, is skipped as git bisect does.
Steps are kept in a file as they end: the same command goes on after any interruption.

With --step the tree is built and judged as it is checked out, for `git bisect run`: exit status 0 good, 1 bad, 125
cannot tell, 128 ends the bisect (wrong usage, or the machine cannot measure)."""
_EXAMPLES: Final = """\
examples:
  perfcheck bisect scenarios/cost/requests.yaml --metric cpu.insns_per_request \\
      --kernels 6.12.100-cloud,6.12.101-cloud,6.12.107-cloud,6.12.111-cloud --good 6.12.100-cloud --bad 6.12.111-cloud
  perfcheck bisect scenarios/cost/bulk.yaml --metric cpu.insns_per_byte --tree ~/src/linux --good v6.12 --bad v6.13

  git bisect start v6.13 v6.12
  git bisect run perfcheck bisect bulk.yaml --metric cpu.insns_per_byte --good 6.12-cloud --step

exit status: 0 the first bad kernel is found; 2 bad usage or a bad file; 3 it is not found (the bad kernel is no worse,
or only skipped ones are left), or nothing could be measured"""


def add_bisect(subparsers: _Subparsers) -> argparse.ArgumentParser:
    """Add `perfcheck bisect` and return its parser, for the options that it shares with other commands."""
    parser: argparse.ArgumentParser = subparsers.add_parser(
        "bisect", help="find the kernel that made a metric worse", description=_TEXT, epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    parser.add_argument("file", type=path, metavar="FILE", help="a scenario file with measure: {mode: cost}")
    parser.add_argument(
        "--metric", required=True, metavar="METRIC", help="the metric that decides, e.g. cpu.insns_per_request"
    )
    parser.add_argument(
        "--kernels", metavar="LIST",
        help="kernels of the store, oldest first: A,B,C, or a file with one in each line; NAME:WORDS adds words to the "
        "kernel's command line",
    )  # fmt: skip
    parser.add_argument("--tree", type=path, metavar="DIR", help="a kernel's git tree; it is only read")
    parser.add_argument("--good", metavar="A", help="the kernel or commit that all others are compared with")
    parser.add_argument("--bad", metavar="B", help="a later one, where the metric is worse")
    _add_building(parser)
    parser.add_argument(
        "--step", action="store_true", help="judge the tree (default: this folder) as it is, for git bisect run"
    )
    parser.add_argument(
        "--state", type=path, metavar="PATH", help="file of the steps (default: below ~/.local/state/perfcheck)"
    )
    parser.add_argument("--restart", action="store_true", help="drop the steps that the state has")
    parser.add_argument("--no-verify", action="store_true", help="do not compare B with A first")
    parser.add_argument("--select", metavar="TEXT", help="the scenario whose label contains TEXT")
    parser.add_argument(
        "--no-commands", action="store_true", help="refuse files that run commands (setup:); see docs/security.md"
    )
    parser.set_defaults(command=bisect, judges=True, trace_outside=False)
    return parser


def _add_building(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--build", action="append", default=[], metavar="CMD",
        help="command that builds the tree, split into words, no shell; can be repeated (default: make olddefconfig, "
        "then make -jN bzImage modules)",
    )  # fmt: skip
    parser.add_argument(
        "--built", type=path, metavar="PATH",
        help="what the build makes, a path in the tree that `perfcheck kernel add` takes (default: the tree itself)",
    )  # fmt: skip
    parser.add_argument(
        "--config", type=path, metavar="FILE", help="configuration of all builds (default: .config of the tree)"
    )
