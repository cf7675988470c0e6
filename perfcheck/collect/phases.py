"""What the collectors had counted when each phase of a trial began."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from typing import Generic, TypeVar

from perfcheck.errors import CollectError
from perfcheck.system.clock import now_ns

T = TypeVar("T")


class PhaseSnapshots(threading.Thread, Generic[T]):
    """Calls `take` at the begin of each phase (CLOCK_MONOTONIC), and keeps what it gives."""

    def __init__(self, begins_ns: Mapping[str, int], take: Callable[[], T]) -> None:
        """Take nothing before `start`; `begins_ns` are in the order of time."""
        super().__init__(name="phases", daemon=True)
        self._begins_ns = dict(begins_ns)
        self._take = take
        self._over = threading.Event()
        self._taken: dict[str, T] = {}
        self._problem: Exception | None = None

    def run(self) -> None:
        """Wait for each phase; what goes wrong is kept for `finish`."""
        try:
            for name, begin_ns in self._begins_ns.items():
                if self._over.wait(max(begin_ns - now_ns(), 0) / 1e9):
                    return
                self._taken[name] = self._take()
        except Exception as problem:  # noqa: BLE001 - raised in the thread that waits
            self._problem = problem

    def finish(self) -> dict[str, tuple[T, T]]:
        """Take the last one, and return what was taken at the begin and the end of each phase that has begun.

        CollectError where taking one failed.
        """
        self.stop()
        if self._problem is not None:
            raise CollectError(f"a phase cannot be measured: {self._problem}") from self._problem
        if not self._taken:
            return {}
        ends = [*list(self._taken.values())[1:], self._take()]
        return {name: (first, last) for (name, first), last in zip(self._taken.items(), ends, strict=True)}

    def stop(self) -> None:
        """Take no more; safe to call twice."""
        self._over.set()
        self.join()
