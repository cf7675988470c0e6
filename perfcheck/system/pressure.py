"""How much others keep the CPUs from this machine's tasks, and waiting until they do not.

Two accounts: the kernel's pressure stall information (Documentation/accounting/psi.rst) for other
tasks here, and the stolen time of /proc/stat (proc(5)) for other guests of the same hypervisor.
"""

from __future__ import annotations

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
    """Give the `some total=` of a pressure file: microseconds in which some task waited; ValueError without it."""
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
        """Give the share of the CPUs' time that was stolen between two looks."""
        return 100 * (self.stolen - earlier.stolen) / max(self.every - earlier.every, 1)


def stolen_pct_since(earlier: CpuTicks | None, path: Path = STAT) -> float:
    """Give the share of the CPUs' time that was stolen since a look; 0 where the kernel does not tell."""
    now = read_ticks(path)
    return 0.0 if earlier is None or now is None else now.stolen_pct_since(earlier)


def read_ticks(path: Path = STAT) -> CpuTicks | None:
    """Look at the CPUs' time; None where the kernel does not tell."""
    try:
        return CpuTicks.parse(path.read_text(encoding="ascii"))
    except (OSError, ValueError):
        return None


def wait_for_calm(*, timeout_s: float, windows: int = 1, path: Path = CPU_PRESSURE, stat: Path = STAT) -> bool:
    """Wait until tasks hardly wait for a CPU and hardly any CPU time is stolen, over so many half seconds in a row.

    False where that does not come about before `timeout_s` has passed. What the kernel does not
    tell is not waited for.
    """
    in_a_row = 0
    before, before_ticks, before_ns = _read_stalled(path), read_ticks(stat), now_ns()
    if before is None and before_ticks is None:
        return True

    def calm() -> bool:
        nonlocal before, before_ticks, before_ns, in_a_row
        elapsed_us = (now_ns() - before_ns) / 1000
        if elapsed_us < WINDOW_S * 1e6:
            return False
        now, ticks = _read_stalled(path), read_ticks(stat)
        stalled_pct = 0.0 if now is None or before is None else 100 * (now - before) / elapsed_us
        stolen_pct = 0.0 if ticks is None or before_ticks is None else ticks.stolen_pct_since(before_ticks)
        before, before_ticks, before_ns = now, ticks, now_ns()
        in_a_row = in_a_row + 1 if stalled_pct < CALM_PCT and stolen_pct <= CALM_STOLEN_PCT else 0
        return in_a_row >= windows

    return wait_until(calm, timeout_s=timeout_s, interval_s=0.1)


def _read_stalled(path: Path) -> int | None:
    try:
        return stalled_us(path.read_text(encoding="ascii"))
    except (OSError, ValueError):
        return None
