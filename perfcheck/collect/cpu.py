"""The CPU layer: how long the processes of the lab's hosts wait for a CPU, and what takes it from them.

bpf/cpu.bpf.c counts at each switch: tasks in a host's network namespace, and separately the processes that
carry links. This process counts as neither.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Final

import numpy.typing as npt

from perfcheck.collect import declared
from perfcheck.collect.base import programs
from perfcheck.collect.base.collector import BpfCollector, Seen
from perfcheck.collect.kernel import procfs
from perfcheck.model.flow import Histogram
from perfcheck.model.observation import Scope
from perfcheck.system.clock import now_ns

TASKS: Final = 8192  # PC_TASKS
HOSTS: Final = 16  # PC_CPU_HOSTS
_EMULATOR: Final = 0  # PC_OF_EMULATOR
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

    def read(self, length_ns: int) -> Seen:
        """Add up all CPUs' sums and what is still under way."""
        ended_ns = now_ns()
        sums, tasks = self.programs.view("cpus"), self.programs.view("tasks").copy()
        known = tasks[tasks["pid"] > 0]
        metrics: dict[str, float] = {}
        delays: dict[str, Histogram] = {}
        for prefix, part, own in (
            ("", sums[self._cpus :], known[known["class"] != _EMULATOR]),
            ("emulator_", sums[: self._cpus], known[known["class"] == _EMULATOR]),
        ):
            metrics |= self._metrics(prefix, part, own, length_ns, ended_ns)
            if metrics and (delay := programs.histogram_of(part["delay_ns"], "us", divisor=1000.0)) is not None:
                delays[f"cpu.{prefix}runq_delay_us"] = delay
        return Seen(
            metrics=metrics, distributions=delays, by_host=dict(self._of_each_host(sums, known, length_ns, ended_ns))
        )

    def _of_each_host(
        self, sums: npt.NDArray[Any], tasks: npt.NDArray[Any], length_ns: int, ended_ns: int
    ) -> Iterator[tuple[str, dict[str, float]]]:  # fmt: skip
        """Return each host's metrics by its name; nothing where hosts share sums."""
        hosts = self.programs.hosts
        for number, host in enumerate(hosts if len(hosts) <= HOSTS else (), start=1):
            part = sums[number * self._cpus : (number + 1) * self._cpus]
            found = self._metrics("", part, tasks[tasks["class"] == number], length_ns, ended_ns)
            yield host, found

    def _metrics(
        self, prefix: str, part: npt.NDArray[Any], tasks: npt.NDArray[Any], length_ns: int, ended_ns: int
    ) -> dict[str, float]:
        """Return the metrics of the tasks of some sums; nothing where there was none."""
        if not len(tasks) and not int(part["stints"].sum()):
            return {}
        found = totals(part)
        under_way(found, tasks, self.programs.opened_ns, ended_ns, procfs.run_delay_ns)
        return dict(_metrics(prefix, found, length_ns))


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
