"""The environment fingerprint: what may change a measurement and does not change by itself.

Momentary values (MHz, load, temperature, free memory) are left out on purpose: with them no two
fingerprints would be the same.
"""

from __future__ import annotations

import ctypes
import functools
import hashlib
import importlib.metadata
import importlib.util
import json
import math
import os
import platform
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from perfcheck.errors import CouldNotMeasure
from perfcheck.system import commands
from perfcheck.version import VERSION

MACHINE_FIELDS: Final = ("arch", "cpu.model", "cpu.count", "cpu.numa_nodes", "memory.class", "virtualisation")
"""What makes two machines alike. Kernel and settings are not among them: their changes are what is measured."""

SYSCTLS: Final = (
    "kernel.numa_balancing", "kernel.sched_autogroup_enabled", "net.core.bpf_jit_enable", "net.core.busy_poll",
    "net.core.busy_read", "net.core.default_qdisc", "net.core.dev_weight", "net.core.netdev_budget",
    "net.core.netdev_budget_usecs", "net.core.netdev_max_backlog", "net.core.optmem_max", "net.core.rmem_default",
    "net.core.rmem_max", "net.core.rps_sock_flow_entries", "net.core.somaxconn", "net.core.wmem_default",
    "net.core.wmem_max", "net.ipv4.tcp_allowed_congestion_control", "net.ipv4.tcp_congestion_control",
    "net.ipv4.tcp_rmem", "net.ipv4.tcp_wmem",
)  # fmt: skip
"""Host-wide settings, and those that a new network namespace takes over from the host; the rest start at defaults."""

_CMDLINE_WORDS: Final = (
    "mitigations", "isolcpus", "nohz_full", "rcu_nocbs", "preempt", "idle", "intel_idle.max_cstate",
    "processor.max_cstate", "threadirqs", "transparent_hugepage",
)  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """One field in which two fingerprints differ; None where one has no such field."""

    field: str
    was: str | None
    now: str | None

    def __str__(self) -> str:
        """Return one line for a person."""
        return f"{self.field}: {self.was or 'absent'} -> {self.now or 'absent'}"


def fingerprint() -> dict[str, str]:
    """Describe this machine, its settings and the versions of the tools; readable without privileges."""
    return {**describe_machine(Path("/")), **_versions()}


def machine_digest(environment: Mapping[str, object]) -> str:
    """Return 12 hexadecimal digits of the fields that decide whether two machines are alike."""
    text = json.dumps([str(environment.get(field, "")) for field in MACHINE_FIELDS])
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def difference(was: Mapping[str, object], now: Mapping[str, object]) -> tuple[Difference, ...]:
    """Return the fields in which two fingerprints differ, by name."""
    pairs = ((name, _text(was.get(name)), _text(now.get(name))) for name in sorted(was.keys() | now.keys()))
    return tuple(Difference(field=name, was=old, now=new) for name, old, new in pairs if old != new)


def describe_machine(root: Path) -> dict[str, str]:
    """Describe hardware, kernel and settings as the proc and sys below `root` show them; absent ones are left out."""
    cpu = root / "sys/devices/system/cpu"
    cpuinfo = _read(root / "proc/cpuinfo") or ""
    found = {
        "arch": platform.machine(),
        "cpu.count": str(_count_cpus(_read(cpu / "online"))),
        "cpu.governor": _read(cpu / "cpu0/cpufreq/scaling_governor"),
        "cpu.boost": _read(cpu / "cpufreq/boost"),
        "cpu.isolated": _read(cpu / "isolated"),
        "cpu.model": _cpu_model(cpuinfo),
        "cpu.no_turbo": _read(cpu / "intel_pstate/no_turbo"),
        "cpu.numa_nodes": str(max(1, len(list((root / "sys/devices/system/node").glob("node[0-9]*"))))),
        "cpu.smt": _read(cpu / "smt/active"),
        "kernel.clocksource": _read(root / "sys/devices/system/clocksource/clocksource0/current_clocksource"),
        "kernel.cmdline": _cmdline(_read(root / "proc/cmdline") or ""),
        "kernel.hugepages": _chosen(_read(root / "sys/kernel/mm/transparent_hugepage/enabled")),
        "kernel.release": _read(root / "proc/sys/kernel/osrelease"),
        "kernel.version": _read(root / "proc/sys/kernel/version"),
        "memory.class": _memory_class(_read(root / "proc/meminfo") or ""),
        "virtualisation": _virtualisation(root, cpuinfo),
        **{key: _read(root / "proc/sys" / key.replace(".", "/")) for key in SYSCTLS},
    }
    return {field: value for field, value in sorted(found.items()) if value}


def _text(value: object) -> str | None:
    return None if value is None else str(value)


def _read(path: Path) -> str | None:
    try:
        return path.read_text(encoding="utf-8", errors="replace").strip().replace("\t", " ")
    except OSError:
        return None


def _count_cpus(online: str | None) -> int:
    """Count the CPUs of a list such as `0-3,8`."""
    if not online:
        return os.cpu_count() or 1
    bounds = [[int(end) for end in part.split("-")] for part in online.split(",")]
    return sum(pair[-1] - pair[0] + 1 for pair in bounds)


def _cpu_model(cpuinfo: str) -> str:
    for key in ("model name", "cpu model", "Hardware", "CPU part"):
        if (found := re.search(rf"^{key}\s*:\s*(.+)$", cpuinfo, re.MULTILINE)) is not None:
            return " ".join(found[1].split())
    return "unknown"


def _memory_class(meminfo: str) -> str | None:
    """Return the nominal size (a power of two or 1.5 times one), so that a few MB more or less do not count."""
    found = re.search(r"^MemTotal:\s*([0-9]+) kB", meminfo, re.MULTILINE)
    if found is None or not int(found[1]):
        return None
    gib = int(found[1]) / 2**20
    sizes = [step * 2.0**power for power in range(-3, 14) for step in (1.0, 1.5)]
    return f"{min(sizes, key=lambda size: abs(math.log(size / gib))):g} GiB"


def _virtualisation(root: Path, cpuinfo: str) -> str:
    found = []
    marks = ("run/.containerenv", ".dockerenv", "run/systemd/container")
    if any((root / mark).exists() for mark in marks):
        found.append("container")
    hypervisor = _read(root / "sys/hypervisor/type")
    if hypervisor or re.search(r"^flags\s*:.*\bhypervisor\b", cpuinfo, re.MULTILINE):
        product = _read(root / "sys/class/dmi/id/product_name")
        found.append(f"virtual machine {hypervisor or product or ''}".strip())
    return " in ".join(found) or "none"


def _chosen(text: str | None) -> str | None:
    found = re.search(r"\[(\w+)\]", text or "")
    return found[1] if found else None


def _cmdline(text: str) -> str:
    return " ".join(word for word in text.split() if word.split("=", 1)[0] in _CMDLINE_WORDS)


@functools.cache
def _versions() -> dict[str, str]:
    return {
        "version.bcc": _bcc_version(),
        "version.iperf3": _iperf3_version(),
        "version.libbpf": _libbpf_version(),
        "version.perfcheck": VERSION,
        "version.pyroute2": importlib.metadata.version("pyroute2"),
        "version.python": platform.python_version(),
    }


def _bcc_version() -> str:
    # Read, not imported: importing bcc loads the whole of LLVM.
    spec = importlib.util.find_spec("bcc")
    places = [Path(place) for place in (spec.submodule_search_locations or ())] if spec else []
    for place in [*places, Path("/usr/lib/python3/dist-packages/bcc")]:
        found = re.search(r"__version__\s*=\s*['\"]([^'\"]+)", _read(place / "version.py") or "")
        if found is not None:
            return found[1]
    return "none"


def _libbpf_version() -> str:
    for name in ("libbpf.so.1", "libbpf.so.0"):
        try:
            version = ctypes.CDLL(name).libbpf_version_string
        except (OSError, AttributeError):
            continue
        version.restype = ctypes.c_char_p
        return str(version().decode())
    return "none"


def _iperf3_version() -> str:
    try:
        done = commands.run(["iperf3", "--version"], timeout_s=5.0)
    except CouldNotMeasure:
        return "none"
    found = re.match(rb"iperf (\S+)", done.stdout)
    return found[1].decode() if found else "unknown"
