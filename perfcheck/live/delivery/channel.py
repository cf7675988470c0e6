"""One target's queue and thread: it tries again, tells of outages, and accounts for every notice."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from perfcheck.live.delivery.notice import NotDelivered, Notice, Sender
from perfcheck.model.units import plain_number

MOST_WAITING: Final = 1024
MOST_KEYS: Final = 1000
"""Undelivered notices that are named; all are counted."""
MOST_NEWS: Final = 16
_DOWN_S: Final = 1.0
"""How long a target that is down at the end may take to come back."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Patience:
    """How long one attempt may take, and the pauses between attempts: doubled from the first to the longest."""

    attempt_s: float = 5.0
    first_pause_s: float = 0.2
    longest_pause_s: float = 10.0


PATIENCE: Final = Patience()


@dataclass(frozen=True, slots=True, kw_only=True)
class ChannelReport:
    """What became of all notices of one target: `put = delivered + undelivered`; `keys` name the first of the latter.

    `delivered` came in time or late. `attempts` counts failed ones, too; `why` is the last failure. `waiting` are the
    undelivered ones that were still at hand at the end.
    """

    label: str
    put: int
    delivered: int
    undelivered: int
    attempts: int
    keys: tuple[str, ...] = ()
    why: str = ""
    waiting: tuple[Notice, ...] = ()


class Channel:
    """Delivers in the order of `put`, each at least once; what does not fit into the queue goes to `overflow`."""

    def __init__(
        self, sender: Sender, *, most_waiting: int = MOST_WAITING, patience: Patience = PATIENCE,
        overflow: Callable[[Notice], None] | None = None, what: str = "alert",
    ) -> None:  # fmt: skip
        """Start the thread; `what` names one notice in messages."""
        self._what = what
        self._sender = sender
        self._most_waiting = most_waiting
        self._patience = patience
        self._overflow = overflow
        self._changed = threading.Condition()
        self._queue: deque[Notice] = deque()
        self._news: deque[str] = deque(maxlen=MOST_NEWS)
        self._keys: list[str] = []
        self._put = self._delivered = self._given_up = self._attempts = 0
        self._why = self._refused_for = ""
        self._down_since_s: float | None = None
        self._deadline_s: float | None = None
        self._asked_s = 0.0
        self._over = False
        self._thread = threading.Thread(target=self._work, name=f"perfctl {sender.label}"[:60], daemon=True)
        self._thread.start()

    def put(self, notice: Notice) -> None:
        """Queue a notice; returns at once, whatever the target does."""
        with self._changed:
            self._put += 1
            fits = len(self._queue) < self._most_waiting and not self._over
            if fits:
                self._queue.append(notice)
                self._changed.notify()
            else:
                self._give_up(notice, "its queue is full")
        if not fits and self._overflow is not None:
            self._overflow(notice)

    def news(self) -> tuple[str, ...]:
        """Return what happened since the last call: an outage, a recovery, a refusal that is new."""
        with self._changed:
            found = tuple(self._news)
            self._news.clear()
        return found

    @property
    def waiting(self) -> int:
        """How many notices wait."""
        with self._changed:
            return len(self._queue)

    def finish_by(self, deadline_s: float) -> None:
        """Ask for an end: what waits is tried until then (time.monotonic), without pauses longer than it takes."""
        with self._changed:
            self._deadline_s, self._asked_s = deadline_s, time.monotonic()
            self._changed.notify()

    def report(self) -> ChannelReport:
        """Wait until the thread is done or its deadline is over, and return what became of everything.

        A notice whose attempt is under way then counts as undelivered, though it may arrive.
        """
        if self._deadline_s is None:
            raise ValueError("finish_by comes first")
        self._thread.join(max(self._deadline_s - time.monotonic(), 0.0))
        with self._changed:
            self._over = True
            waiting = tuple(self._queue)
            keys = [*self._keys, *(notice.key for notice in waiting)][:MOST_KEYS]
            return ChannelReport(
                label=self._sender.label, put=self._put, delivered=self._delivered,
                undelivered=self._given_up + len(waiting), attempts=self._attempts, keys=tuple(keys), why=self._why,
                waiting=waiting,
            )  # fmt: skip

    def _work(self) -> None:
        failures = 0
        while (notice := self._next(failures)) is not None:
            self._attempts += 1
            try:
                self._sender.send(notice, self._time_left_s())
            except NotDelivered as problem:
                failures = self._failed(problem, failures)
            except Exception as problem:  # noqa: BLE001 - a defect of one sender must not lose alerts silently
                failures = self._failed(NotDelivered(f"{type(problem).__name__}: {problem}", final=True), failures)
            else:
                self._succeeded()
                failures = 0

    def _next(self, failures: int) -> Notice | None:
        """Wait for a notice, and for the pause after failures; None: it is time to end."""
        pause_s = 0.0
        if failures:
            pause_s = min(self._patience.first_pause_s * 2.0 ** min(failures - 1, 30), self._patience.longest_pause_s)
        resume_s = time.monotonic() + pause_s
        with self._changed:
            while True:
                now_s = time.monotonic()
                if self._deadline_s is not None:
                    down = self._down_since_s is not None and now_s >= self._asked_s + _DOWN_S
                    if not self._queue or now_s >= self._deadline_s or down:
                        return None
                    # Near the end there is no time for long pauses.
                    resume_s = min(resume_s, now_s + self._patience.first_pause_s)
                if self._queue and now_s >= resume_s:
                    return self._queue[0]
                self._changed.wait(max(resume_s - now_s, 0.0) if self._queue else None)

    def _time_left_s(self) -> float:
        with self._changed:
            if self._deadline_s is None:
                return self._patience.attempt_s
            return max(min(self._patience.attempt_s, self._deadline_s - time.monotonic()), 0.01)

    def _succeeded(self) -> None:
        with self._changed:
            if self._over:
                return  # it has been counted as undelivered
            self._queue.popleft()
            self._delivered += 1
            self._refused_for = ""
            if self._down_since_s is not None:
                lasted_s = time.monotonic() - self._down_since_s
                self._down_since_s = None
                self._news.append(
                    f"{self._sender.label}: takes {self._what}s again after {plain_number(lasted_s, 3)} s; "
                    f"{len(self._queue)} wait, and are delivered now"
                )

    def _failed(self, problem: NotDelivered, failures: int) -> int:
        """Note a failure and return how many there were in a row."""
        with self._changed:
            self._why = str(problem)
            if self._over:
                return failures
            if problem.final:
                notice = self._queue.popleft()
                self._give_up(notice, str(problem))
                # A wrong token refuses every interval: once is enough, all are counted.
                if self._refused_for != str(problem):
                    self._refused_for = str(problem)
                    self._news.append(f"{self._sender.label}: refused {self._what} {notice.key}: {problem}")
                return 0
            if self._down_since_s is None:
                self._down_since_s = time.monotonic()
                self._news.append(f"{self._sender.label}: {problem}; {self._what}s wait, and are tried again")
            return failures + 1

    def _give_up(self, notice: Notice, why: str) -> None:
        self._given_up += 1
        self._why = why
        if len(self._keys) < MOST_KEYS:
            self._keys.append(notice.key)
