"""The hosts' own protocol counters: /proc/net/snmp, snmp6 and netstat of each network namespace."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from perfcheck.collect import declared
from perfcheck.collect.base.window import Window
from perfcheck.collect.kernel.snmp_metrics import metrics_of
from perfcheck.errors import CollectError, Unavailable
from perfcheck.model.observation import HostCounters, Observation, Overhead, Scope
from perfcheck.system.netns import NetnsThread

# `/proc/net` shows the main thread's namespace, whatever namespace the reading thread is in.
_FILES: Final = ("/proc/thread-self/net/snmp", "/proc/thread-self/net/netstat")
_FILE6: Final = Path("/proc/thread-self/net/snmp6")


def parse(text: str) -> dict[str, int]:
    """Read pairs of lines, `Tcp: names...` then `Tcp: values...`; counters are named `Tcp.RetransSegs`."""
    lines = text.splitlines()
    found: dict[str, int] = {}
    for names, values in zip(lines[::2], lines[1::2], strict=True):
        group, _, heads = names.partition(": ")
        again, _, figures = values.partition(": ")
        if group != again:
            raise ValueError(f"{group} is followed by {again}")
        pairs = zip(heads.split(), figures.split(), strict=True)
        found |= {f"{group}.{name}": int(figure) for name, figure in pairs}
    return found


def parse6(text: str) -> dict[str, int]:
    """Read snmp6's lines of a name and a value; counters keep the kernel's names, such as `Udp6InErrors`."""
    return {name: int(value) for name, value in (line.split() for line in text.splitlines())}


def _read() -> dict[str, int]:
    found: dict[str, int] = {}
    for file in _FILES:
        found |= parse(Path(file).read_text(encoding="ascii"))
    if _FILE6.exists():
        found |= parse6(_FILE6.read_text(encoding="ascii"))
    return found


def _differences(before: Mapping[str, int], after: Mapping[str, int]) -> dict[str, int]:
    return {name: value - before.get(name, 0) for name, value in after.items()}


@dataclass(frozen=True, slots=True)
class CountersLook:
    """Each host's counters at one moment; `warm`: the warm-up was over."""

    counters: Mapping[str, Mapping[str, int]]
    warm: bool


class HostCountersCollector:
    """Reads the counters of each host at the begin of a trial, when its warm-up is over, and at its end."""

    declared = declared.HOST

    def __init__(self) -> None:
        """Nothing is read before `begin`."""
        self._namespaces: NetnsThread | None = None
        self._paths: Mapping[str, str] = {}
        self._before: dict[str, dict[str, int]] = {}
        self._warm: dict[str, dict[str, int]] = {}
        self._window: Window | None = None

    @property
    def name(self) -> str:
        """The collector's name."""
        return self.declared.name

    def check(self) -> None:
        """Raise Unavailable where /proc does not show the counters."""
        for file in _FILES:
            if not Path(file).exists():
                raise Unavailable("the host's counters", f"{file} is missing", "mount /proc; a kernel with CONFIG_INET")

    def open(self) -> None:
        """Start the thread that enters the namespaces."""
        self._namespaces = NetnsThread()

    def begin(self, scope: Scope) -> None:
        """Read the counters of the scope's hosts."""
        self._paths = dict(scope.netns_paths)
        self._abandon_window()
        self._warm = self._before = self._all()
        if scope.warmup_ns:
            self._window = Window(scope.warmup_ns, self._look_warm)

    def _look_warm(self) -> None:
        self._warm = self._all()

    def end(self) -> Observation:
        """Read again and give the differences."""
        started_s = time.thread_time()
        warm = self._window is None or self._window.close() > 0
        seen = self.between(CountersLook(self._before, warm=False), CountersLook(self._all(), warm=warm))
        return replace(seen, overhead=Overhead(user_cpu_s=time.thread_time() - started_s))

    def snapshot(self) -> CountersLook:
        """Return the counters as they are now."""
        return CountersLook(self._all(), warm=self._window is None or self._window.opened_ns > 0)

    def between(self, first: object, second: object) -> Observation:
        """Return the differences of two snapshots."""
        if not (isinstance(first, CountersLook) and isinstance(second, CountersLook)):
            raise TypeError("expected two snapshots of the hosts' counters")
        warm = first.counters if first.warm else self._warm
        counted = tuple(
            HostCounters(
                host=host,
                counters=_differences(before, second.counters[host]),
                window=_differences(warm[host], second.counters[host]) if second.warm else {},
            )
            for host, before in first.counters.items()
        )
        return Observation(
            collector=self.name, host_counters=counted, metrics=metrics_of(counted),
            by_host={each.host: metrics_of([each]) for each in counted},
        )  # fmt: skip

    def close(self) -> None:
        """End the thread; safe to call twice."""
        self._abandon_window()
        if self._namespaces is not None:
            self._namespaces.close()
            self._namespaces = None

    def _abandon_window(self) -> None:
        if self._window is not None:
            self._window.abandon()
            self._window = None

    def _all(self) -> dict[str, dict[str, int]]:
        if self._namespaces is None:
            raise CollectError("the collector of host counters is not open")
        try:
            return {host: self._namespaces.inside(path, _read) for host, path in self._paths.items()}
        except (OSError, ValueError) as error:
            raise CollectError(f"the hosts' counters cannot be read: {error}") from error
