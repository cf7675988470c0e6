"""Readers of the kernel's text files that have no netlink counterpart. Reading and parsing are separate functions."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Final

_TIMES: Final = ("user", "nice", "system", "idle", "iowait", "irq", "softirq", "steal")
_PRESSURE: Final = Path("/proc/pressure")
_NODES: Final = Path("/sys/devices/system/node")
_CGROUP_ROOT: Final = Path("/sys/fs/cgroup")
_SOFTNET: Final = ("processed", "dropped", "squeezed")


def cpu_times(text: str) -> dict[str, float]:
    """Read the cpu lines of /proc/stat: ticks by `cpu.idle` (all CPUs), `cpu0.idle`...; guests' are in user."""
    found: dict[str, float] = {}
    for line in text.splitlines():
        name, *values = line.split()
        if name.startswith("cpu"):
            found |= {f"{name}.{kind}": float(value) for kind, value in zip(_TIMES, values, strict=False)}
    return found


def interrupts(text: str) -> float:
    """Return how many interrupts all CPUs have served, from /proc/stat."""
    return next(float(line.split()[1]) for line in text.splitlines() if line.startswith("intr "))


def softirqs(text: str) -> dict[str, float]:
    """Read /proc/softirqs: how often each kind ran, on all CPUs together."""
    lines = (line.partition(":") for line in text.splitlines()[1:])
    return {name.strip(): float(sum(map(int, counts.split()))) for name, _, counts in lines}


def softnet(text: str) -> dict[str, float]:
    """Read /proc/net/softnet_stat: packets processed and dropped, and times that budget or time ran out."""
    rows = [[int(word, 16) for word in line.split()] for line in text.splitlines()]
    return {name: float(sum(row[column] for row in rows)) for column, name in enumerate(_SOFTNET)}


def pressure(folder: Path = _PRESSURE) -> dict[str, float]:
    """Read the time in us that some task has waited, by resource; OSError where the kernel has no such files."""
    return {name: stalled_us((folder / name).read_text(encoding="ascii")) for name in ("cpu", "memory", "io")}


def stalled_us(text: str) -> float:
    """Return the total of the `some` line of a pressure file."""
    line = next(line for line in text.splitlines() if line.startswith("some "))
    return float(line.rpartition("total=")[2])


def numa(folder: Path = _NODES) -> dict[str, float]:
    """Add up pages allocated on the CPU's own node and on others; OSError on a machine of one node."""
    files = sorted(folder.glob("node[0-9]*/numastat"))
    if len(files) < 2:
        raise FileNotFoundError(folder)
    found = {"local_node": 0.0, "other_node": 0.0}
    for file in files:
        for name, value in key_values(file.read_text(encoding="ascii").splitlines()).items():
            if name in found:
                found[name] += value
    return found


def cgroup(root: Path = _CGROUP_ROOT, membership: Path = Path("/proc/self/cgroup")) -> dict[str, float]:
    """Read how this process's control group was throttled, version 2 or 1 of control groups.

    OSError where nothing can be throttled: the root group and machines without the CPU controller.
    """
    groups = dict(_groups(membership.read_text(encoding="utf-8")))
    places = [root / groups[""].lstrip("/"), root / "unified" / groups[""].lstrip("/")] if "" in groups else []
    places += [root / name / groups["cpu"].lstrip("/") for name in ("cpu,cpuacct", "cpu") if "cpu" in groups]
    for place in places:
        file = place / "cpu.stat"
        if file.is_file() and "nr_throttled" in (found := key_values(file.read_text(encoding="ascii").splitlines())):
            # Version 1 counts ns under another name.
            found.setdefault("throttled_usec", found.get("throttled_time", 0.0) / 1000)
            return found
    raise FileNotFoundError(root)


def scheduled_ns(pid: int) -> tuple[int, int] | None:
    """Read how long a task has run and waited for CPUs in its life (/proc/PID/schedstat); None where it is gone."""
    try:
        ran, waited = Path(f"/proc/{pid}/schedstat").read_text(encoding="ascii").split()[:2]
        return int(ran), int(waited)
    except (OSError, ValueError):
        return None


def key_values(lines: Iterable[str]) -> dict[str, float]:
    """Read lines of `name value`."""
    return {name: float(value) for name, value in (line.split()[:2] for line in lines if line.strip())}


def _groups(text: str) -> Iterable[tuple[str, str]]:
    """Controllers and path of each line of /proc/PID/cgroup; the controller of version 2 is ""."""
    for line in text.splitlines():
        _, controllers, path = line.split(":", 2)
        for controller in controllers.split(","):
            yield controller, path
