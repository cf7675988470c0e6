"""The NIC layer by BPF (bpf/nic.bpf.c): network softirqs and NAPI polls.

Softirqs and the CPUs' backlog serve the whole machine, so their figures are not only the lab's.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

import numpy.typing as npt

from perfcheck.collect import declared
from perfcheck.collect.base import programs
from perfcheck.collect.base.collector import BpfCollector, Seen
from perfcheck.collect.base.look import Look, Maps
from perfcheck.collect.series.hosts import SoftirqTimes
from perfcheck.model.flow import Histogram
from perfcheck.model.observation import Scope

# In the order in which they are attached: no run is seen to begin whose end is not, and no wait.
SOFTIRQS: Final = ("softirq_exit", "softirq_entry", "softirq_raise")
_VECTORS: Final = (("tx", 0), ("rx", 1))


class NicCollector(BpfCollector):
    """Measures the CPUs' network softirqs and polls."""

    declared = declared.NIC
    states = frozenset({"raised_ns", "entered_ns"})

    def __init__(self) -> None:
        """Nothing is loaded before `open`."""
        cpus = programs.cpu_count()
        sizes = {"softirqs": 2 * cpus, "napi": cpus}
        super().__init__(sizes, sampled=SOFTIRQS)

    def forget(self, scope: Scope) -> None:
        """Begin at 0."""
        del scope
        for name in ("softirqs", "napi"):
            programs.forget(self.programs.view(name))

    def series(self) -> SoftirqTimes:
        """Return the source of the trial's time series."""
        return SoftirqTimes(self.programs.view, self.programs.covered_ns)

    def counted(self) -> Maps:
        """Return softirqs and polls by CPU."""
        return {name: self.programs.view(name) for name in ("softirqs", "napi")}

    def read(self, look: Look) -> Seen:
        """Add all CPUs up; the share of time is the busiest one's."""
        softirqs, napi = look.maps["softirqs"], look.maps["napi"]
        covered_ns = min(look.covered_ns, look.length_ns)
        metrics = {"nic.softirqs_timed_pct": 100 * covered_ns / look.length_ns} | dict(napi_metrics(napi))
        if covered_ns:
            metrics |= dict(softirq_metrics(softirqs, covered_ns))
        return Seen(metrics=metrics, distributions=dict(_distributions(softirqs, napi)))


def softirq_metrics(softirqs: npt.NDArray[Any], length_ns: int) -> Iterator[tuple[str, float]]:
    """Return the busiest CPU's share of time in each of the two softirqs, from `pc_softirq` records by CPU and vector.

    `length_ns` is the time in which they were watched.
    """
    for name, vector in _VECTORS:
        run_ns = softirqs[vector::2]["run_ns"]["spread"]["total"]
        # A run that was under way when the window opened counts as a whole.
        yield f"nic.{name}_softirq_pct", min(100 * float(run_ns.max(initial=0)) / length_ns, 100.0)


def napi_metrics(napi: npt.NDArray[Any]) -> Iterator[tuple[str, float]]:
    """Return polls and how many of them used their whole budget, from `pc_napi` records."""
    polls, full = int(napi["polls"].sum()), int(napi["full"].sum())
    yield "nic.napi_polls", polls
    if polls:
        yield "nic.napi_full_pct", 100 * full / polls


def _distributions(softirqs: npt.NDArray[Any], napi: npt.NDArray[Any]) -> Iterator[tuple[str, Histogram]]:
    for name, vector in _VECTORS:
        for quantity in ("delay", "run"):
            histogram = programs.histogram_of(softirqs[vector::2][f"{quantity}_ns"], "us", divisor=1000.0)
            if histogram is not None:
                yield f"nic.{name}_softirq_{quantity}_us", histogram
    if (work := programs.histogram_of(napi["work"], "packets")) is not None:
        yield "nic.napi_work_packets", work
