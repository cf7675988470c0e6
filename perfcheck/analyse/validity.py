"""Decides which trials do not count, by what the machine did. The rule never sees what was measured."""

from __future__ import annotations

from typing import Final

from perfcheck.model.metric import Metrics
from perfcheck.model.units import readable_pct

LIMITS: Final = (
    ("cpu.steal_pct", 5.0, "the hypervisor gave CPU time to other guests"),
    ("cpu.throttled_pct", 5.0, "the run had to wait because of a CPU quota"),
    ("cpu.pressure_memory_pct", 10.0, "tasks of this machine waited for memory"),
    ("cpu.pressure_io_pct", 50.0, "tasks of this machine waited for its disks"),
)
"""Metric, the most that still counts, and what it means. Pressure on the CPUs is not among them: links that keep
time in user space make it themselves, and they judge their own lateness.
"""


def why_not_counted(metrics: Metrics) -> str | None:
    """Say why a trial does not count because of what else the machine was at; None where it does."""
    for name, most, meaning in LIMITS:
        value = metrics.get(name)
        if value is not None and value > most:
            return (
                f"{meaning}: {name} was {readable_pct(value, 3)}, above the limit of {most:g} %; run again when "
                "the machine is idle"
            )
    return None
