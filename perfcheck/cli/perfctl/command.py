"""What each command of perfctl says of itself; its module has it as `COMMAND`."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Example:
    """One example of a command's help: the whole line, and what it does."""

    line: str
    what: str


def _nothing(_args: argparse.Namespace) -> None:
    return


def _never(_args: argparse.Namespace) -> bool:
    return False


@dataclass(frozen=True, slots=True, kw_only=True)
class Watching:
    """What a command that watches a machine asks for where the options do not say it.

    `layers` is the default of --layer, `mode` of --mode, `cpu_ceiling_pct` of --cpu-ceiling, `duration_ns` of
    --duration on a live machine. `events` tells from the options whether single events are wanted, `send_side` whether
    segments are sampled when they leave, too. `reads_recordings` False: `--from` is refused. `exports`: it has figures
    of each interval for Prometheus and InfluxDB, which `views` among its own options have no part in. The module
    `perfctl/<name>_run.py` has `run(args, request, out, open_intervals) -> int`.
    """

    layers: tuple[str, ...] | str = ("tcp",)
    mode: str = "summary"
    events: Callable[[argparse.Namespace], bool] = _never
    send_side: Callable[[argparse.Namespace], bool] = _never
    reads_recordings: bool = True
    duration_ns: int | None = None
    cpu_ceiling_pct: float | None = None
    exports: bool = False
    views: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Command:
    """A command: its name and texts, its own options, and what is contradictory among them.

    `check` raises UsageError. `watching` None: the command watches nothing, and `perfctl/<name>_run.py` has
    `run(args) -> int`.
    """

    name: str
    summary: str
    description: str
    examples: tuple[Example, Example]
    add_arguments: Callable[[argparse.ArgumentParser], None]
    check: Callable[[argparse.Namespace], None] = _nothing
    watching: Watching | None = None
