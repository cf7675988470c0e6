"""Prints completion scripts, made of the parsers by shtab."""

from __future__ import annotations

import argparse
from typing import Final

import shtab

from perfcheck.cli.perfctl.registry import COMMANDS, PROG, parser_of_all
from perfcheck.system.printing import say

_NAMES_A_FILE: Final = "FILE"


def run(args: argparse.Namespace) -> int:
    """Print the script of a shell; return the exit status."""
    say(script(args.shell))
    return 0


def script(shell: str) -> str:
    """Return a shell's completion script."""
    parser, parsers = parser_of_all()
    for name, each in parsers.items():
        each.description = COMMANDS[name].summary
        for action in each._actions:
            if action.metavar == _NAMES_A_FILE:
                action.complete = shtab.FILE  # type: ignore[attr-defined]
    return shtab.complete(parser, shell, root_prefix=PROG).rstrip("\n")
