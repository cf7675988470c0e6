"""Asks several machines at the same time: what each of them does takes far longer than the question."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

T = TypeVar("T")
U = TypeVar("U")


def together(machines: Mapping[str, T], work: Callable[[T], U]) -> dict[str, U]:
    """Return what `work` gives for each machine, by name; the first error in their order is raised, once all are done.

    An interruption does not wait for them: what they wait for ends with their connections.
    """
    executor = ThreadPoolExecutor(max_workers=max(len(machines), 1), thread_name_prefix="machine")
    try:
        futures = {name: executor.submit(work, machine) for name, machine in machines.items()}
        for future in futures.values():
            # All are waited for before one is looked at, so that none is still under way when an error is told.
            future.exception()
        return {name: future.result() for name, future in futures.items()}
    finally:
        executor.shutdown(wait=False, cancel_futures=True)
