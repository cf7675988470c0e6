"""The part of a trial that counts: from the end of the warm-up to the trial's end."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Final

from perfcheck.errors import CollectError
from perfcheck.system.clock import now_ns

TOO_SHORT: Final = "the trial ended during its warm-up: only the TCP layer was counted"


class Window:
    """Calls `opening` once the warm-up is over: at once where there is none, else from a thread of its own."""

    def __init__(self, warmup_ns: int, opening: Callable[[], None]) -> None:
        """Begin the warm-up now."""
        self._opening = opening
        self._warmup_ns = warmup_ns
        self._over = threading.Event()
        self._opened_ns = 0
        self._problem: Exception | None = None
        self._thread: threading.Thread | None = None
        if warmup_ns:
            self._thread = threading.Thread(target=self._wait, name="warm-up", daemon=True)
            self._thread.start()
        else:
            self._open()

    @property
    def opened_ns(self) -> int:
        """When the warm-up was over; 0: it is not yet."""
        return self._opened_ns

    def close(self) -> int:
        """End the window and give its length in ns, 0 where the warm-up was not over; safe to call twice.

        Raises CollectError where `opening` failed in the thread.
        """
        ended_ns = now_ns()
        self.abandon()
        if self._problem is not None:
            raise CollectError(f"the first reading after the warm-up failed: {self._problem}") from self._problem
        return max(ended_ns - self._opened_ns, 0) if self._opened_ns else 0

    def abandon(self) -> None:
        """End the window, whatever became of it; safe to call twice."""
        self._over.set()
        if self._thread is not None:
            self._thread.join()
            self._thread = None

    def _wait(self) -> None:
        if self._over.wait(self._warmup_ns / 1e9):
            return
        try:
            self._open()
        except Exception as problem:  # noqa: BLE001 - close() raises it again where it can be told
            self._problem = problem

    def _open(self) -> None:
        self._opening()
        self._opened_ns = now_ns()
