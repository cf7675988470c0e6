"""Whether a shared machine got into a test's way: only then may a test that failed be made again.

A hypervisor that takes the CPUs away for some milliseconds breaks any measurement of time, and so
does a product that says so itself. The rule looks at what the machine did; a wrong result on a
machine that was left alone fails at once, and one that is wrong three times fails anyway.
"""

from __future__ import annotations

import re
import time
from pathlib import Path
from typing import Final

import pytest

from perfcheck.system.pressure import wait_for_calm

RERUNS: Final = 2
STOLEN_S: Final = 0.02
"""The kernel counts stolen time in ticks of 10 ms; one may be a rounding."""

CALM_S: Final = 2.0
PATIENCE_S: Final = 60.0
_TICKS_PER_S: Final = 100
_STEAL_FIELD: Final = 8
_TOO_BUSY: Final = re.compile(
    r"machine is too busy|hypervisor gave CPU time to other guests|wait because of a CPU quota"
    r"|tasks of this machine waited"
)


def stolen_s() -> float:
    """Return how much CPU time the hypervisor has taken from all CPUs since boot (/proc/stat)."""
    with Path("/proc/stat").open(encoding="ascii") as file:
        return int(file.readline().split()[_STEAL_FIELD]) / _TICKS_PER_S


class Interference:
    """What the machine did during one test; pytest-rerunfailures calls it after each, with the error if it failed."""

    def __init__(self) -> None:
        """Begin to look."""
        self.begin()

    def begin(self) -> None:
        """Look from now on."""
        self._stolen_before_s = stolen_s()

    def __call__(self, error: BaseException | None) -> bool:
        """Whether the test may be made again; if so, the machine has been waited for.

        A test that passed has no error: nothing is made again, so nothing is waited for, whatever was stolen.
        """
        if error is None:
            return False
        stolen = stolen_s() - self._stolen_before_s
        if stolen < STOLEN_S and _TOO_BUSY.search(str(error)) is None:
            return False
        wait_until_left_alone()
        self.begin()
        return True


def wait_until_left_alone() -> None:
    """Wait, for a bounded time, until nothing was stolen for a while and no task waits for a CPU."""
    give_up = time.monotonic() + PATIENCE_S
    while time.monotonic() < give_up:
        before_s = stolen_s()
        time.sleep(CALM_S)
        if stolen_s() - before_s < STOLEN_S and wait_for_calm(timeout_s=1.0):
            return


def watch(item: pytest.Item) -> None:
    """Let a failure of this test be made again where the machine got into its way."""
    item.add_marker(pytest.mark.flaky(reruns=RERUNS, condition=Interference()))


def begin(item: pytest.Item) -> None:
    """The test begins."""
    for marker in item.iter_markers("flaky"):
        # A test's own mark has no condition.
        if "condition" in marker.kwargs:
            marker.kwargs["condition"].begin()
