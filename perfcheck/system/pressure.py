"""Measures how much other work keeps the CPUs busy, and waits until it stops.

Two accounts: the kernel's pressure stall information (Documentation/accounting/psi.rst) for other
tasks here, and the stolen time of /proc/stat (proc(5)) for other guests of the same hypervisor.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self

from perfcheck.system.clock import now_ns, wait_until

CPU_PRESSURE: Final = Path("/proc/pressure/cpu")
STAT: Final = Path("/proc/stat")
WINDOW_S: Final = 0.5
CALM_PCT: Final = 10.0
CALM_STOLEN_PCT: Final = 1.0
"""One tick of 10 ms in a window on two CPUs; a trial does not count from 5 % on (`analyse.validity`)."""

_STOLEN_FIELD: Final = 7
_TIME_FIELDS: Final = 8
"""user nice system idle iowait irq softirq steal; the guests' times that follow are in the first two already."""


def stalled_us(text: str) -> int:
    """Return the `some total=` of a pressure file: microseconds in which some task waited; ValueError without it."""
    for line in text.splitlines():
        kind, _, rest = line.partition(" ")
        if kind == "some":
            return int(rest.rpartition("total=")[2])
    raise ValueError(f"no line `some` in {text!r}")


@dataclass(frozen=True, slots=True, kw_only=True)
class CpuTicks:
    """Time of all CPUs since boot, in ticks: what the hypervisor gave to others, and all of it."""

    stolen: int
    every: int

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read the first line of /proc/stat; ValueError where it is not the sum over the CPUs."""
        name, *times = text.partition("\n")[0].split()
        if name != "cpu" or len(times) < _TIME_FIELDS:
            raise ValueError(f"no line `cpu` with a stolen time in {text[:80]!r}")
        ticks = [int(value) for value in times[:_TIME_FIELDS]]
        return cls(stolen=ticks[_STOLEN_FIELD], every=sum(ticks))

    def stolen_pct_since(self, earlier: CpuTicks) -> float:
        """Return the share of the CPUs' time that was stolen between two looks."""
        return 100 * (self.stolen - earlier.stolen) / max(self.every - earlier.every, 1)


@dataclass(frozen=True, slots=True, kw_only=True)
class CpuLook:
    """A look at what keeps CPUs from this machine's tasks; None where the kernel does not tell."""

    at_ns: int
    stalled_us: int | None
    ticks: CpuTicks | None

    @classmethod
    def now(cls, path: Path = CPU_PRESSURE, stat: Path = STAT) -> Self:
        """Look at both accounts."""
        stalled = ticks = None
        with suppress(OSError, ValueError):
            stalled = stalled_us(path.read_text(encoding="ascii"))
        with suppress(OSError, ValueError):
            ticks = CpuTicks.parse(stat.read_text(encoding="ascii"))
        return cls(at_ns=now_ns(), stalled_us=stalled, ticks=ticks)

    def calm_until(self, later: CpuLook) -> bool:
        """Whether tasks hardly waited for a CPU between the two looks, and hardly any CPU time was stolen."""
        if self.stalled_us is not None and later.stalled_us is not None:
            elapsed_us = max(later.at_ns - self.at_ns, 1) / 1000
            if 100 * (later.stalled_us - self.stalled_us) / elapsed_us >= CALM_PCT:
                return False
        if self.ticks is None or later.ticks is None:
            return True
        return later.ticks.stolen_pct_since(self.ticks) <= CALM_STOLEN_PCT


def wait_for_calm(*, timeout_s: float, windows: int = 1, path: Path = CPU_PRESSURE, stat: Path = STAT) -> bool:
    """Wait until the CPUs are left to this machine's tasks, and enough for all, over so many half seconds in a row.

    False where that does not come about before `timeout_s` has passed. What the kernel does not
    tell is not waited for.
    """
    before = CpuLook.now(path, stat)
    if before.stalled_us is None and before.ticks is None:
        return True
    in_a_row = 0

    def calm() -> bool:
        nonlocal before, in_a_row
        if now_ns() - before.at_ns < WINDOW_S * 1e9:
            return False
        now = CpuLook.now(path, stat)
        in_a_row = in_a_row + 1 if before.calm_until(now) else 0
        before = now
        return in_a_row >= windows

    return wait_until(calm, timeout_s=timeout_s, interval_s=0.1)
