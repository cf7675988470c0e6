"""Runs `perfctl undo`: lists the changes of `perfctl tcp --apply --yes`, or puts old values back."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from datetime import UTC, datetime

from perfcheck.cli.perfctl.values import hint
from perfcheck.errors import UsageError
from perfcheck.live.applied import Applied, Undone, applied_changes, undo_changes
from perfcheck.live.sysctls import NamespaceSysctls
from perfcheck.model.units import shown
from perfcheck.system.printing import complain, say


def run(args: argparse.Namespace) -> int:
    """List or undo changes; return 1 where one was not undone."""
    changes = applied_changes()
    if args.list:
        for each in changes:
            say(line_of(each))
        if not changes:
            say("there are no changes to undo")
        return 0
    chosen = changes if args.all else _chosen(args.id, changes)
    if not chosen:
        say("there are no changes to undo")
        return 0
    with NamespaceSysctls() as sysctls:
        outcomes = undo_changes(chosen, sysctls, force=args.force)
    return told(outcomes)


def _chosen(text: str, changes: Sequence[Applied]) -> Sequence[Applied]:
    """Return the changes of an id, or of an advice."""
    found = [each for each in changes if text in {each.id, each.advice}]
    if not found:
        known = [*sorted({each.advice for each in changes}), *dict.fromkeys(each.id for each in changes)]
        raise UsageError(f"ID: there is no change {shown(text)}"
                         f"{hint(text, known) or '; `perfctl undo --list` shows them'}")  # fmt: skip
    return found


def line_of(applied: Applied) -> str:
    """Return a change as `--list` shows it."""
    at = datetime.fromtimestamp(applied.at_ns / 1e9, UTC).strftime("%Y-%m-%d %H:%M:%SZ")
    change = applied.change
    where = "" if applied.path.startswith("/proc/self/") else f"  {applied.path}"
    old_boot = "" if applied.same_boot else "  (before the last start of the machine)"
    return f"{applied.id}  {at}  {applied.advice}  {change.key}: {change.old} -> {change.new}{where}{old_boot}"


def told(outcomes: Sequence[Undone]) -> int:
    """Print what became of each change; return the exit status."""
    status = 0
    for each in outcomes:
        change = each.applied.change
        if each.outcome in {"changed", "failed"}:
            complain(f"perfctl undo: {change.key}: not undone: {each.reason}")
            status = 1
        elif each.outcome == "undone":
            say(f"{each.applied.id}  {change.key}: {change.new} -> {change.old}")
        else:
            say(f"{each.applied.id}  {change.key}: nothing to undo: {each.reason}")
    return status
