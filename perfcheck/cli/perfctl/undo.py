"""`perfctl undo`: puts back what `perfctl tcp --apply --yes` changed."""

from __future__ import annotations

import argparse
from typing import Final

from perfcheck.cli.perfctl.command import Command, Example
from perfcheck.cli.perfctl.options import flag
from perfcheck.cli.perfctl.values import value
from perfcheck.errors import UsageError


def _add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "id", nargs="?", type=value(str), metavar="ID", help="a change or an advice, as --list shows them"
    )
    group = parser.add_argument_group("changes")
    flag(group, "--all", "undo all changes, the latest first")
    flag(group, "--list", "list the changes that can be undone, and change nothing")
    flag(group, "--force", "also put back values that somebody else has changed since")


def _check(args: argparse.Namespace) -> None:
    chosen = [name for name, there in (("ID", args.id), ("--all", args.all), ("--list", args.list)) if there]
    if not chosen:
        raise UsageError("say what to undo: an ID, or --all; `perfctl undo --list` shows the changes")
    if len(chosen) > 1:
        raise UsageError(f"{chosen[0]} and {chosen[1]}: contradict each other; give one of them")
    if args.list and args.force:
        raise UsageError("--force: has no effect with --list; leave it out")


COMMAND: Final = Command(
    name="undo",
    summary="put back sysctls that `perfctl tcp --apply --yes` changed",
    description="Puts back the old values of sysctls, the latest change first. A value that somebody else has changed "
    "since is told and left alone. Changes are kept until they are undone, or until the machine starts again.",
    examples=(
        Example(line="perfctl undo --list", what="what was changed, when, and from which value"),
        Example(line="perfctl undo --all", what="put everything back, the latest change first"),
    ),
    add_arguments=_add_arguments, check=_check,
)  # fmt: skip
