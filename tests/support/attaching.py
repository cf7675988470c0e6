"""The collectors that this machine has, attached: for tests and benchmarks."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Literal

from perfcheck.collect import Mode, collectors
from perfcheck.ebpf.run_stats import RunClock
from perfcheck.errors import Unavailable
from perfcheck.model.seams import Collector

Layers = Literal["all"] | Collection[str]


@contextmanager
def attached(layers: Layers, mode: Mode, clock: RunClock | None = None) -> Iterator[Sequence[Collector]]:
    """Check and open each; what is missing here is left out. `clock` instead of the usual one."""
    with ExitStack() as stack:
        opened = []
        for one in collectors(layers, mode, clock):
            try:
                one.check()
                one.open()
            except Unavailable:
                continue
            stack.callback(one.close)
            opened.append(one)
        yield opened
