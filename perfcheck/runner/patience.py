"""How often trials that do not count are repeated: bounded in their number and in the time spent waiting."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from perfcheck.system.clock import now_ns
from perfcheck.system.pressure import wait_for_calm

MAX_ATTEMPTS: Final = 4
"""So many times the wanted number are made in all: half of the trials may be spoilt."""
MAX_IN_A_ROW: Final = 5
"""So many in a row that do not count, the machine waited for after each: it is not a burst, it is this machine."""
CALM_WINDOWS: Final = 4
"""Stolen time comes and goes within a second while the hypervisor is short of CPUs: calm must last two."""
CALM_TIMEOUT_S: Final = 30.0
"""After a trial that does not count, others get so long to finish what keeps the CPUs busy."""
PATIENCE_S: Final = 90.0
"""So long is waited in all; after that, trials are made again at once."""


def await_calm(most_s: float = CALM_TIMEOUT_S) -> None:
    """Wait until the machine leaves its CPUs to us, at most so long."""
    wait_for_calm(timeout_s=most_s, windows=CALM_WINDOWS)


class Patience:
    """Decides on the next attempt by how many counted, never by what they measured."""

    def __init__(self, wanted: int, wait: Callable[[float], object] = await_calm) -> None:
        """Expect to need `wanted` trials (or pairs); `wait` waits for a calm machine, at most so many seconds."""
        self._left = MAX_ATTEMPTS * wanted
        self._in_a_row = 0
        self._left_s = PATIENCE_S
        self._wait = wait

    @property
    def exhausted(self) -> bool:
        """Whether no other attempt is to be made."""
        return self._left <= 0 or self._in_a_row >= MAX_IN_A_ROW

    def note(self, *, counts: bool) -> None:
        """One attempt was made."""
        self._left -= 1
        self._in_a_row = 0 if counts else self._in_a_row + 1

    def wait_for_calm(self) -> None:
        """Wait before the next attempt, as long as there is patience left."""
        if self._left_s <= 0:
            return
        began_ns = now_ns()
        self._wait(min(CALM_TIMEOUT_S, self._left_s))
        self._left_s -= (now_ns() - began_ns) / 1e9
