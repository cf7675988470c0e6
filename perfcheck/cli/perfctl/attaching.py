"""Intervals of this machine; a terminal shows what takes the seconds before the first one."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from importlib import import_module

from perfcheck.cli.stage_line import StageLine
from perfcheck.model.interval import Intervals, LiveRequest, OpenIntervals


@contextmanager
def attached(request: LiveRequest) -> Iterator[Intervals]:
    """Attach, and detach at the block's end; a line says so meanwhile, on a terminal alone."""
    with ExitStack() as stack:
        with StageLine() as line:
            if line.is_terminal:
                line.stage("attaching to the kernel")
            live: OpenIntervals = import_module("perfcheck.live.session").open_live(request)
            intervals = stack.enter_context(live)
        yield intervals
