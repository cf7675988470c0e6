"""Each host's time on the CPUs and its waits for one, and the machine's network softirqs, at each interval."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from perfcheck.collect.series.named import NamedSeries
from perfcheck.collect.series.source import Moment

View = Callable[[str], npt.NDArray[Any]]
_SELDOM: Final = 10
"""One tick in so many looks for tasks that are new; what they did is counted when they leave a CPU all the same."""
_VECTORS: Final = (("tx", 0), ("rx", 1))


class HostTimes(NamedSeries):
    """From the maps of bpf/cpu.bpf.c; a wait for a CPU counts when it ends, or while its task was preempted."""

    def __init__(self, view: View, hosts: Sequence[str], cpus: int) -> None:
        """Take the mapped arrays, the hosts by their numbers, and the number of CPUs."""
        super().__init__(
            [(host, f"cpu.{name}") for name in ("busy_pct", "runq_wait_pct") for host in hosts],
            [(host, "cpu.runq_delay_us") for host in hosts], divisor=1000.0,
        )  # fmt: skip
        self._sums = view("cpus")[cpus : (1 + len(hosts)) * cpus].reshape(len(hosts), cpus)
        self._tasks, self._scope = view("tasks"), view("scope")
        self._had = np.zeros((2, len(hosts)))
        self._known = np.zeros(0, np.int64)

    def sample(self, moment: Moment) -> None:
        """Spool shares of the interval, and the waits that ended in it."""
        opened_ns = int(self._scope[0]["window_ns"])
        if not 0 < opened_ns <= moment.now_ns:
            return
        spent = np.stack([self._sums[name].sum(axis=1, dtype=float) for name in ("busy_ns", "waited_ns")])
        if not moment.tick % _SELDOM or not self._known.size:
            # All tasks' slots are half a megabyte.
            self._known = np.flatnonzero(self._tasks["pid"])
        spent += self._under_way(moment.now_ns, opened_ns, spent.shape[1])
        # A wait that is under way is an estimate until it ends.
        busy_ns, waited_ns = np.maximum(spent - self._had, 0)
        self._had = spent
        runnable_ns = busy_ns + waited_ns
        busy_pct = 100 * busy_ns / min(moment.length_ns, moment.now_ns - opened_ns)
        with np.errstate(invalid="ignore", divide="ignore"):
            self.add_values(moment.tick, np.concatenate([busy_pct, 100 * waited_ns / runnable_ns]))
        self.add_counts(moment.tick, self._sums["delay_ns"]["counts"].sum(axis=1, dtype=np.uint32))

    def _under_way(self, now_ns: int, opened_ns: int, hosts: int) -> npt.NDArray[np.float64]:
        """Return what the tasks of each host have been doing since their last switch: running, and waiting."""
        tasks = self._tasks[self._known]
        tasks = tasks[tasks["pid"] > 0]
        in_ns, out_ns = tasks["in_ns"].astype(np.int64), tasks["out_ns"].astype(np.int64)
        spent_ns = np.maximum(now_ns - np.maximum(np.maximum(in_ns, out_ns), opened_ns), 0)
        found = []
        for doing in (in_ns > out_ns, (out_ns > in_ns) & (tasks["forced"] > 0)):
            classes = tasks["class"][doing]
            found.append(np.bincount(classes, spent_ns[doing], minlength=hosts + 1)[1 : hosts + 1])
        return np.stack(found)


class SoftirqTimes(NamedSeries):
    """From the maps of bpf/nic.bpf.c: shares of the busiest CPU, and delays, of the time in which programs watched."""

    def __init__(self, view: View, covered_ns: Callable[[], int]) -> None:
        """Take the mapped arrays, and how long the programs have watched in the window."""
        super().__init__(
            [(None, f"nic.{name}_softirq_pct") for name, _ in _VECTORS],
            [(None, f"nic.{name}_softirq_delay_us") for name, _ in _VECTORS], divisor=1000.0,
        )  # fmt: skip
        softirqs = view("softirqs")
        self._softirqs = softirqs.reshape(len(softirqs) // 2, 2)
        self._covered_ns = covered_ns
        self._had_ns = np.zeros(self._softirqs.shape)
        self._had_covered_ns = 0

    def sample(self, moment: Moment) -> None:
        """Spool the interval's shares and delays; nothing where nobody watched."""
        covered_ns = self._covered_ns()
        watched_ns = min(covered_ns - self._had_covered_ns, moment.length_ns)
        if watched_ns <= 0:
            return
        self._had_covered_ns = covered_ns
        run_ns = self._softirqs["run_ns"]["spread"]["total"].astype(float)
        grew = np.maximum(run_ns - self._had_ns, 0).max(axis=0)
        self._had_ns = run_ns
        self.add_values(moment.tick, np.minimum(100 * grew / watched_ns, 100))
        self.add_counts(moment.tick, self._softirqs["delay_ns"]["counts"].sum(axis=0, dtype=np.uint32))
