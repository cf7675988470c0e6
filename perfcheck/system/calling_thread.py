"""CPUs and nice value of the calling thread for a moment; the processes that it starts inherit them."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager


@contextmanager
def on_cpus(cpus: Sequence[int] | None) -> Iterator[None]:
    """Put the calling thread on these CPUs for the block."""
    if cpus is None:
        yield
        return
    former = os.sched_getaffinity(0)
    os.sched_setaffinity(0, cpus)
    try:
        yield
    finally:
        os.sched_setaffinity(0, former)


@contextmanager
def at_priority(nice: int) -> Iterator[None]:
    """Give the calling thread this nice value for the block; what it starts inherits it."""
    if nice == 0:
        yield
        return
    thread = threading.get_native_id()
    former = os.getpriority(os.PRIO_PROCESS, thread)
    os.setpriority(os.PRIO_PROCESS, thread, nice)
    try:
        yield
    finally:
        os.setpriority(os.PRIO_PROCESS, thread, former)
