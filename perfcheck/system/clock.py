"""Time: CLOCK_MONOTONIC in ns, as bpf_ktime_get_ns() reads it, and waiting for conditions."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

POLL_INTERVAL_S: Final = 0.001
"""Pause between two looks at a condition that the kernel cannot be asked to announce."""


def now_ns() -> int:
    """Return CLOCK_MONOTONIC in ns."""
    return time.clock_gettime_ns(time.CLOCK_MONOTONIC)


def epoch_ns() -> int:
    """Return what CLOCK_MONOTONIC lacks to the time of day (CLOCK_REALTIME), in ns."""
    return time.time_ns() - now_ns()


def wait_until(condition: Callable[[], bool], *, timeout_s: float, interval_s: float = POLL_INTERVAL_S) -> bool:
    """Look at `condition` until it holds; whether it did before `timeout_s` had passed (one look is always taken)."""
    deadline_ns = now_ns() + round(timeout_s * 1e9)
    while not condition():
        if now_ns() >= deadline_ns:
            return False
        time.sleep(interval_s)
    return True
