"""How much others keep the CPUs busy: the kernel's pressure stall information (Documentation/accounting/psi.rst)."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from perfcheck.system.clock import now_ns, wait_until

CPU_PRESSURE: Final = Path("/proc/pressure/cpu")
WINDOW_S: Final = 0.5
CALM_PCT: Final = 10.0


def stalled_us(text: str) -> int:
    """Give the `some total=` of a pressure file: microseconds in which some task waited; ValueError without it."""
    for line in text.splitlines():
        kind, _, rest = line.partition(" ")
        if kind == "some":
            return int(rest.rpartition("total=")[2])
    raise ValueError(f"no line `some` in {text!r}")


def wait_for_calm(*, timeout_s: float, path: Path = CPU_PRESSURE) -> bool:
    """Wait until tasks hardly wait for a CPU, over half a second; False where they still do after `timeout_s`.

    Where the kernel has no pressure information there is nothing to wait for: True.
    """
    try:
        before, before_ns = stalled_us(path.read_text()), now_ns()
    except (OSError, ValueError):
        return True

    def calm() -> bool:
        nonlocal before, before_ns
        elapsed_us = (now_ns() - before_ns) / 1000
        if elapsed_us < WINDOW_S * 1e6:
            return False
        total = stalled_us(path.read_text())
        stalled_pct = 100 * (total - before) / elapsed_us
        before, before_ns = total, now_ns()
        return stalled_pct < CALM_PCT

    return wait_until(calm, timeout_s=timeout_s, interval_s=0.1)
