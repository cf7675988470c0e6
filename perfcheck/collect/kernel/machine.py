"""The machine as a whole, from /proc and /sys: CPU time, pressure, interrupts, softirqs, NUMA, and the run's cgroup.

These figures are not separate for hosts or flows: they include other work on the machine. A figure that the
kernel does not show is absent; a kernel without pressure information has no `cpu.pressure_pct`.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Final

from perfcheck.collect import declared
from perfcheck.collect.base.collector import LookingCollector, Seen
from perfcheck.collect.kernel import procfs
from perfcheck.errors import Unavailable
from perfcheck.system.netns import NetnsThread

PARTS: Final[Mapping[str, tuple[str, str, str]]] = {
    "pressure information": (
        "pressure", "/proc/pressure cannot be read",
        "a kernel with CONFIG_PSI=y, booted with psi=1 if PSI is off by default",
    ),
    "several NUMA nodes": ("numa", "this machine has one NUMA node", "use a machine with several NUMA nodes"),
    "CPU quotas": (
        "cgroup", "this control group has no CPU quota",
        "start perfcheck in a control group with a CPU quota (systemd-run -p CPUQuota=100% ...)",
    ),
}  # fmt: skip
"""Sources that not every machine has, by the words of MetricSpec.needs: which one, why it lacks, how to get it."""

MachineLook = Mapping[str, Mapping[str, float]]
"""One moment, by source; a source that this machine does not have is left out."""

STAT: Final = Path("/proc/stat")
_SOURCES: Final[Mapping[str, Callable[[], Mapping[str, float]]]] = {
    "cpus": lambda: procfs.cpu_times(STAT.read_text(encoding="ascii")),
    "interrupts": lambda: {"total": procfs.interrupts(STAT.read_text(encoding="ascii"))},
    "softirqs": lambda: procfs.softirqs(Path("/proc/softirqs").read_text(encoding="ascii")),
    "softnet": lambda: procfs.softnet(Path("/proc/net/softnet_stat").read_text(encoding="ascii")),
    "pressure": procfs.pressure,
    "numa": procfs.numa,
    "cgroup": procfs.cgroup,
}


class MachineCollector(LookingCollector[MachineLook]):
    """Reads all sources that this machine has."""

    declared = declared.MACHINE

    def check(self) -> None:
        """Raise Unavailable where /proc does not show the CPUs' time."""
        if not STAT.exists():
            raise Unavailable("the machine's counters", f"{STAT} is missing", "mount /proc")

    def look(self, namespaces: NetnsThread, paths: Mapping[str, str]) -> MachineLook:
        """Read the machine, which all hosts share."""
        del namespaces, paths
        return read()

    def compare(self, before: MachineLook, after: MachineLook, length_ns: int) -> Seen:
        """Return the differences."""
        return Seen(metrics=dict(metrics_of(before, after, length_ns)))


def require_part(part: str, sources: Mapping[str, Callable[[], Mapping[str, float]]] = _SOURCES) -> None:
    """Raise Unavailable where this machine lacks a source of PARTS."""
    source, why, fix = PARTS[part]
    try:
        sources[source]()
    except (OSError, ValueError) as error:
        raise Unavailable(part, why, fix) from error


def read() -> MachineLook:
    """Read all sources that this machine has."""
    found: dict[str, Mapping[str, float]] = {}
    for name, read in _SOURCES.items():
        with contextlib.suppress(OSError, ValueError):
            found[name] = read()
    return found


def metrics_of(before: MachineLook, after: MachineLook, length_ns: int) -> Iterator[tuple[str, float]]:
    """Return the metrics of the time between two looks, `length_ns` apart."""
    grew = {
        source: {name: value - before[source][name] for name, value in values.items() if name in before[source]}
        for source, values in after.items()
        if source in before
    }
    yield from _of_cpus(grew.get("cpus", {}))
    seconds = length_ns / 1e9
    if "interrupts" in grew:
        yield "nic.interrupts_per_s", grew["interrupts"]["total"] / seconds
    for name, metric in (("NET_RX", "nic.rx_softirqs"), ("NET_TX", "nic.tx_softirqs")):
        if name in grew.get("softirqs", {}):
            yield metric, grew["softirqs"][name]
    for name, value in grew.get("softnet", {}).items():
        yield f"nic.softnet_{name}", value
    for name, metric in (
        ("cpu", "cpu.pressure_pct"), ("memory", "cpu.pressure_memory_pct"), ("io", "cpu.pressure_io_pct"),
    ):  # fmt: skip
        if name in grew.get("pressure", {}):
            # The kernel adds up every 2 s: what it adds within the window may have been before it.
            yield metric, min(100 * grew["pressure"][name] * 1000 / length_ns, 100.0)
    yield from _of_numa(grew.get("numa", {}))
    if "throttled_usec" in grew.get("cgroup", {}):
        # Each CPU's run queue of the group is held back, and counted, on its own.
        yield "cpu.throttled_pct", min(100 * grew["cgroup"]["throttled_usec"] * 1000 / length_ns, 100.0)
        yield "cpu.throttled_periods", grew["cgroup"].get("nr_throttled", 0)


def _of_cpus(grew: Mapping[str, float]) -> Iterator[tuple[str, float]]:
    """From ticks by `CPU.kind`, e.g. `cpu0.idle`; `cpu` alone stands for all of them."""
    # iowait may count backwards (proc(5)): a share of the time is then of what grew.
    grew = {name: max(value, 0.0) for name, value in grew.items()}
    names = {name.partition(".")[0] for name in grew}
    busy = {}
    for cpu in names:
        whole = sum(value for name, value in grew.items() if name.partition(".")[0] == cpu)
        if whole > 0:
            busy[cpu] = 100 * (1 - (grew[f"{cpu}.idle"] + grew[f"{cpu}.iowait"]) / whole)
    whole = sum(value for name, value in grew.items() if name.startswith("cpu."))
    if "cpu" not in busy or len(busy) < 2:
        return
    yield "cpu.host_busy_pct", busy.pop("cpu")
    yield "cpu.busiest_pct", max(busy.values())
    yield "cpu.host_softirq_pct", 100 * grew["cpu.softirq"] / whole
    yield "cpu.steal_pct", 100 * grew["cpu.steal"] / whole


def _of_numa(grew: Mapping[str, float]) -> Iterator[tuple[str, float]]:
    everywhere = grew.get("local_node", 0) + grew.get("other_node", 0)
    if everywhere > 0:
        yield "cpu.numa_remote_pct", 100 * grew["other_node"] / everywhere
