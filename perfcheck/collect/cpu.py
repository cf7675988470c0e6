"""The CPU layer: how long the processes of the lab's hosts wait for a CPU, and what takes it from them.

bpf/cpu.bpf.c counts at each switch: tasks in a host's network namespace, and separately the processes that
carry links. This process counts as neither.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from perfcheck.collect import declared
from perfcheck.collect.base import programs
from perfcheck.collect.base.collector import BpfCollector, Seen
from perfcheck.collect.base.look import Look, Maps, grown
from perfcheck.collect.kernel import procfs
from perfcheck.collect.series.hosts import HostTimes
from perfcheck.model.flow import Histogram
from perfcheck.model.observation import Scope

TASKS: Final = 8192  # PC_TASKS
HOSTS: Final = 16  # PC_CPU_HOSTS
_EMULATOR: Final = 0  # PC_OF_EMULATOR
_LONG_NS: Final = 50_000_000
"""Of a stint on a CPU: the kernel's account of it is up to a tick (10 ms) late."""
_NO_CPU: Final = 0xFFFFFFFF
_SUMS: Final = ("busy_ns", "waited_ns", "blocked_ns", "forced_ns", "stints", "voluntary", "forced", "migrations")


class CpuCollector(BpfCollector):
    """Measures the tasks of the scope's namespaces by BPF."""

    declared = declared.CPU

    def __init__(self) -> None:
        """Nothing is loaded before `open`."""
        self._cpus = programs.cpu_count()
        super().__init__({"cpus": (1 + HOSTS) * self._cpus})

    def forget(self, scope: Scope) -> None:
        """Forget all tasks; those that carry links are known beforehand."""
        programs.forget(self.programs.view("cpus"))
        tasks = self.programs.view("tasks")
        tasks[:] = 0
        for pid in scope.emulator_pids:
            slot = tasks[pid % TASKS]
            slot["class"], slot["cpu"], slot["pid"] = _EMULATOR, _NO_CPU, pid

    def series(self) -> HostTimes:
        """Return the source of the trial's time series."""
        return HostTimes(self.programs.view, self.programs.hosts[:HOSTS], self._cpus)

    def counted(self) -> Maps:
        """Return the sums of the links' processes and of each host, and all tasks."""
        used = (1 + min(len(self.programs.hosts), HOSTS)) * self._cpus
        return {"cpus": self.programs.view("cpus")[:used], "tasks": self.programs.view("tasks")}

    def look_beside(self) -> dict[int, tuple[int, int] | None]:
        """Return how long tasks that are running now have run and waited in all their lives, by number."""
        tasks = self.programs.view("tasks")
        running = tasks["pid"][(tasks["pid"] > 0) & (tasks["in_ns"] > tasks["out_ns"])]
        return {int(pid): procfs.scheduled_ns(int(pid)) for pid in running}

    def compare(self, before: Look | None, after: Look) -> Seen:
        """Add up all CPUs' sums, and what is under way at either end."""
        metrics: dict[str, float] = {}
        delays: dict[str, Histogram] = {}
        grew = waits_between(before, after)
        emulators, hosts = slice(self._cpus), slice(self._cpus, None)
        for prefix, own, classes in (("", hosts, range(1, HOSTS + 1)), ("emulator_", emulators, range(_EMULATOR + 1))):
            metrics |= self._metrics(prefix, own, classes, before, after)
            if metrics and (delay := programs.histogram_of(grew[own], "us", divisor=1000.0)) is not None:
                delays[f"cpu.{prefix}runq_delay_us"] = delay
        return Seen(metrics=metrics, distributions=delays, by_host=dict(self._of_each_host(before, after)))

    def read(self, look: Look) -> Seen:
        """Return what the whole window tells."""
        return self.compare(None, look)

    def _of_each_host(self, before: Look | None, after: Look) -> Iterator[tuple[str, dict[str, float]]]:
        """Return each host's metrics by its name; nothing where hosts share sums."""
        hosts = self.programs.hosts
        for number, host in enumerate(hosts if len(hosts) <= HOSTS else (), start=1):
            own = slice(number * self._cpus, (number + 1) * self._cpus)
            yield host, self._metrics("", own, range(number, number + 1), before, after)

    def _metrics(
        self, prefix: str, own: slice, classes: range, before: Look | None, after: Look
    ) -> dict[str, float]:  # fmt: skip
        """Return the metrics of the tasks of some sums and classes; nothing where there was none."""
        found = self._totals(own, classes, after)
        if found is None:
            return {}
        length_ns = after.length_ns
        if before is not None:
            length_ns = max(after.taken_ns - before.taken_ns, 1)
            earlier = self._totals(own, classes, before) or {}
            # A wait that lasts is an estimate until it ends.
            found = {name: max(value - earlier.get(name, 0), 0) for name, value in found.items()}
        return dict(_metrics(prefix, found, length_ns))

    def _totals(self, own: slice, classes: range, look: Look) -> dict[str, int] | None:
        """Return the totals of a window up to a look; None where there was no task."""
        part, tasks = look.maps["cpus"][own], look.maps["tasks"]
        tasks = tasks[(tasks["pid"] > 0) & (tasks["class"] >= classes.start) & (tasks["class"] < classes.stop)]
        if not len(tasks) and not int(part["stints"].sum()):
            return None
        found = totals(part)
        tasks = still_running(tasks, look.taken_ns, look.beside)
        delays = {pid: times[1] for pid, times in look.beside.items() if times is not None}
        under_way(found, tasks, self.programs.opened_ns, look.taken_ns, delays.get)
        return found


def still_running(
    tasks: npt.NDArray[Any], ended_ns: int, scheduled_ns: Mapping[int, tuple[int, int] | None]
) -> npt.NDArray[Any]:  # fmt: skip
    """Leave out tasks that seem to have run on and on, where the kernel's own account says that they have not.

    A few tasks of other PID namespaces are seen coming to a CPU and not leaving it.
    """
    stints_ns = ended_ns - tasks["in_ns"].astype(np.int64)
    suspects = np.flatnonzero((tasks["in_ns"] > tasks["out_ns"]) & (stints_ns > _LONG_NS))
    idle = [
        row
        for row in suspects
        if (times := scheduled_ns.get(int(tasks["pid"][row]))) is not None
        and times[0] - int(tasks["runtime_ns"][row]) < stints_ns[row] / 2
    ]
    return np.delete(tasks, idle)


def waits_between(before: Look | None, after: Look) -> npt.NDArray[Any]:
    """Return the distributions of waits that ended between two looks, by class and CPU."""
    delays: npt.NDArray[Any] = after.maps["cpus"]["delay_ns"]
    return delays if before is None else grown(before.maps["cpus"]["delay_ns"], delays)


def totals(part: npt.NDArray[Any]) -> dict[str, int]:
    """Add `pc_cpu` records up, one total a member."""
    return {name: int(part[name].sum(dtype="u8")) for name in _SUMS}


def under_way(
    found: dict[str, int], tasks: npt.NDArray[Any], opened_ns: int, ended_ns: int,
    run_delay_ns: Callable[[int], int | None],
) -> None:  # fmt: skip
    """Add to the totals what tasks have been doing since their last switch, within the window.

    How a task that is running came to its CPU would be settled when it leaves: `run_delay_ns` gives by its
    number how long it has waited in all its life; None where it is gone.
    """
    for task in tasks:
        in_ns, out_ns = int(task["in_ns"]), int(task["out_ns"])
        if in_ns == out_ns:
            continue
        spent_ns = max(ended_ns - max(in_ns, out_ns, opened_ns), 0)
        if in_ns > out_ns:
            found["busy_ns"] += spent_ns
            if in_ns > opened_ns and (life_ns := run_delay_ns(int(task["pid"]))) is not None:
                off_ns = int(task["off_ns"])
                waited_ns = min(max(life_ns - int(task["run_delay_ns"]), 0), off_ns)
                found["waited_ns"] += waited_ns
                found["forced_ns"] += off_ns if task["forced"] else 0
                found["blocked_ns"] += 0 if task["forced"] else off_ns - waited_ns
        elif task["forced"]:
            # Still waiting for a CPU, and counted nowhere else.
            found["forced_ns"] += spent_ns
            found["waited_ns"] += spent_ns
        else:
            found["blocked_ns"] += spent_ns


def _metrics(prefix: str, found: dict[str, int], length_ns: int) -> Iterator[tuple[str, float]]:
    runnable_ns = found["busy_ns"] + found["waited_ns"]
    yield f"cpu.{prefix}busy_pct", 100 * found["busy_ns"] / length_ns
    if runnable_ns:
        yield f"cpu.{prefix}runq_wait_pct", 100 * found["waited_ns"] / runnable_ns
    if prefix:
        return
    yield "cpu.off_voluntary_us", found["blocked_ns"] / 1000
    yield "cpu.off_forced_us", found["forced_ns"] / 1000
    yield "cpu.switches_voluntary", found["voluntary"]
    yield "cpu.switches_forced", found["forced"]
    yield "cpu.migrations", found["migrations"]
