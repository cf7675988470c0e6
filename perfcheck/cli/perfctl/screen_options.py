"""The options of the terminal screen: of `perfctl top`, and of commands that have `--tui`."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import Any

from perfcheck.cli.perfctl.options import flag, option_name
from perfcheck.cli.perfctl.parser import given
from perfcheck.errors import UsageError


def add_screen_options(group: Any, *, tui: bool = False) -> None:
    """Add the options; `tui`: the command has other outputs, and this chooses the screen."""
    if tui:
        flag(group, "--tui", "show a screen with keys, as `perfctl top` does")
    flag(group, "--no-colour", "use no colours on the screen (NO_COLOR in the environment does the same)")


def check_screen(args: argparse.Namespace, screen: str, others: Sequence[str] = ()) -> None:
    """Raise UsageError for options that have no effect on a screen; `screen` is what the user asked for."""
    for dest in ("output", "output_file", *others):
        if dest in given(args) and not (dest == "output" and args.output == "console"):
            raise UsageError(f"{option_name(dest)}: has no effect on a screen; leave it out, or {screen}")


def check_tui(args: argparse.Namespace, others: Sequence[str] = ()) -> None:
    """Raise the same for a command that has `--tui`."""
    if args.tui:
        check_screen(args, "--tui", others)
    elif args.no_colour:
        raise UsageError("--no-colour: has no effect without --tui; add it")
