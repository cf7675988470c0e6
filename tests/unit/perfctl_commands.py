"""Commands of perfctl that read intervals made by tests in place of a live machine's."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from importlib import import_module

from perfcheck.cli.perfctl.options import output_of, request_of
from perfcheck.cli.perfctl.registry import parse
from perfcheck.model.interval import Interval, Intervals


def run_command(words: str, intervals: Iterable[Interval]) -> int:
    """Run `perfctl WORDS` on these intervals, and return its exit status."""
    args, command = parse(words.split())
    run: Callable[..., int] = import_module(f"perfcheck.cli.perfctl.{command.name}_run").run

    @contextmanager
    def opened() -> Iterator[Intervals]:
        yield intervals

    return run(args, request_of(args, command), output_of(args, command), opened)
