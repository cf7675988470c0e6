"""Each host's time on the CPUs and its waits for one, and the machine's network softirqs, at each interval."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from perfcheck.collect.series.copies import Copies
from perfcheck.collect.series.named import NamedSeries
from perfcheck.collect.series.source import Moment

View = Callable[[str], npt.NDArray[Any]]
_SELDOM: Final = 16
"""One tick in so many looks for tasks that are new; what they did is counted when they leave a CPU all the same."""
_NEAR: Final = 512
"""Tasks' slots that are copied in one piece, those between them that are free, too."""
_VECTORS: Final = (("tx", 0), ("rx", 1))


class HostTimes(NamedSeries):
    """From the maps of bpf/cpu.bpf.c; a wait for a CPU counts when it ends, or while its task was preempted."""

    def __init__(self, view: View, hosts: Sequence[str], cpus: int) -> None:
        """Take the mapped arrays, the hosts by their numbers, and the number of CPUs."""
        super().__init__(
            [(host, f"cpu.{name}") for name in ("busy_pct", "runq_wait_pct") for host in hosts],
            [(host, "cpu.runq_delay_us") for host in hosts], divisor=1000.0,
        )  # fmt: skip
        self._sums = Copies(view("cpus")[cpus : (1 + len(hosts)) * cpus].reshape(len(hosts), cpus))
        self._all_tasks, self._opened = view("tasks"), view("scope")["window_ns"].data
        self._task_bytes = self._all_tasks.view(np.uint8).data
        self._tasks: list[bytes] = []
        self._moments: list[tuple[Moment, int]] = []
        self._had = np.zeros((2, 1, len(hosts)))
        self._known = np.zeros(0, np.int64)
        self._near: slice | None = None

    def sample(self, moment: Moment) -> None:
        """Copy the sums, and what tasks are doing."""
        opened_ns = self._opened[0]
        if not 0 < opened_ns <= moment.now_ns:
            return
        self._sums.take()
        if not moment.tick % _SELDOM or not self._known.size:
            self._look()
        if self._near is not None:
            self._tasks.append(bytes(self._task_bytes[self._near]))
        else:
            self._tasks.append(self._all_tasks[self._known].tobytes())
        self._moments.append((moment, opened_ns))
        if self._sums.full:
            self.spool()

    def _look(self) -> None:
        """Find out where tasks are noted."""
        # All tasks' slots are half a megabyte.
        self._known = np.flatnonzero(self._all_tasks["pid"])
        self._near = None
        if self._known.size and self._known[-1] - self._known[0] < _NEAR:
            size = self._all_tasks.itemsize
            self._near = slice(int(self._known[0]) * size, (int(self._known[-1]) + 1) * size)

    def spool(self) -> None:
        """Spool shares of the intervals, and the waits that ended in them."""
        moments, self._moments = self._moments, []
        tasks, self._tasks = self._tasks, []
        sums = self._sums.taken()
        if not moments:
            return
        spent = np.stack([sums[name].sum(axis=2, dtype=float) for name in ("busy_ns", "waited_ns")])
        spent += self._under_way(tasks, moments)
        # A wait that is under way is an estimate until it ends.
        busy_ns, waited_ns = np.maximum(np.diff(spent, axis=1, prepend=self._had), 0)
        self._had = spent[:, -1:]
        runnable_ns = busy_ns + waited_ns
        lengths_ns = np.array([min(moment.length_ns, moment.now_ns - opened_ns) for moment, opened_ns in moments])
        ticks = [moment.tick for moment, _ in moments]
        with np.errstate(invalid="ignore", divide="ignore"):
            busy_pct, wait_pct = 100 * busy_ns / lengths_ns[:, None], 100 * waited_ns / runnable_ns
        self.add_values(ticks, np.concatenate([busy_pct, wait_pct], axis=1))
        self.add_counts(ticks, sums["delay_ns"]["counts"])

    def _under_way(
        self, copied: Sequence[bytes], moments: Sequence[tuple[Moment, int]]
    ) -> npt.NDArray[np.float64]:  # fmt: skip
        """Return what the tasks of each host had been doing since their last switch: running and waiting, by tick."""
        tasks, hosts = np.frombuffer(b"".join(copied), self._all_tasks.dtype), self._had.shape[2]
        at = np.repeat(np.arange(len(copied)), [len(each) // tasks.itemsize for each in copied])
        known = (tasks["pid"] > 0) & (tasks["class"] <= hosts)
        tasks, at = tasks[known], at[known]
        now_ns, opened_ns = np.array([(moment.now_ns, opened_ns) for moment, opened_ns in moments]).T
        in_ns, out_ns = tasks["in_ns"].astype(np.int64), tasks["out_ns"].astype(np.int64)
        spent_ns = np.maximum(now_ns[at] - np.maximum(np.maximum(in_ns, out_ns), opened_ns[at]), 0)
        place = at * (hosts + 1) + tasks["class"]
        found = []
        for doing in (in_ns > out_ns, (out_ns > in_ns) & (tasks["forced"] > 0)):
            summed = np.bincount(place[doing], spent_ns[doing], minlength=len(copied) * (hosts + 1))
            found.append(summed.reshape(len(copied), hosts + 1)[:, 1:])
        return np.stack(found)


class SoftirqTimes(NamedSeries):
    """From the maps of bpf/nic.bpf.c: shares of the busiest CPU, and delays, of the time in which programs watched."""

    def __init__(self, view: View, covered_ns: Callable[[], int]) -> None:
        """Take the mapped arrays, and how long the programs have watched in the window."""
        super().__init__(
            [(None, f"nic.{name}_softirq_pct") for name, _ in _VECTORS],
            [(None, f"nic.{name}_softirq_delay_us") for name, _ in _VECTORS], divisor=1000.0,
        )  # fmt: skip
        softirqs = view("softirqs").reshape(-1, 2)
        self._softirqs = Copies(softirqs)
        self._covered_ns = covered_ns
        self._watched: list[tuple[int, int]] = []
        self._had_ns = np.zeros((1, *softirqs.shape))
        self._had_covered_ns = 0

    def sample(self, moment: Moment) -> None:
        """Copy what was counted; nothing where nobody watched."""
        covered_ns = self._covered_ns()
        watched_ns = min(covered_ns - self._had_covered_ns, moment.length_ns)
        if watched_ns <= 0:
            return
        self._had_covered_ns = covered_ns
        self._softirqs.take()
        self._watched.append((moment.tick, watched_ns))
        if self._softirqs.full:
            self.spool()

    def spool(self) -> None:
        """Spool the intervals' shares and delays."""
        watched, self._watched = self._watched, []
        softirqs = self._softirqs.taken()
        if not watched:
            return
        ticks, watched_ns = zip(*watched, strict=True)
        run_ns = softirqs["run_ns"]["spread"]["total"].astype(float)
        grew = np.maximum(np.diff(run_ns, axis=0, prepend=self._had_ns), 0).max(axis=1)
        self._had_ns = run_ns[-1:]
        self.add_values(ticks, np.minimum(100 * grew / np.array(watched_ns)[:, None], 100))
        self.add_counts(ticks, softirqs["delay_ns"]["counts"].swapaxes(1, 2))
