"""What a tick of time series costs, and which source it is spent in: with few flows, many, and many idle connections.

Part of `make bench-series`. Real iperf3 streams over a relayed link, all layers attached. Figures are CPU time of the
sampler's own thread.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from attaching import attached

from perfcheck.collect import prepare
from perfcheck.collect.series.queues import HostQueues, LinkQueues
from perfcheck.collect.series.sampler import Sampler
from perfcheck.collect.series.source import Charted, Source
from perfcheck.lab import Lab
from perfcheck.lab.links.relay.emulator import RelayEmulator, RelayLink
from perfcheck.model.observation import Scope
from perfcheck.model.seams import WatchedLink
from perfcheck.system import Journal, new_tag
from perfcheck.system.clock import wait_until
from perfcheck.testing import make_scenario

INTERVAL_NS: Final = 100_000_000
LINK: Final = {"between": ["client", "server"], "delay": "5ms", "rate": "200mbit", "queue": "1bdp"}
DIRECTIONS: Final = ("client>server", "server>client")
PORT: Final = 5302
SETTLE_S: Final = 1.0


@dataclass
class Timed:
    """A source, and the CPU time that each of its calls has taken."""

    source: Any
    spent_s: dict[str, float] = field(default_factory=dict)

    def __getattr__(self, name: str) -> Any:
        """Return the source's own member, its calls timed."""
        member = getattr(self.source, name)
        return self._timed(name, member) if callable(member) else member

    def _timed(self, name: str, call: Callable[..., Any]) -> Callable[..., Any]:
        def timed(*arguments: Any) -> Any:
            began_s = time.thread_time()
            try:
                return call(*arguments)
            finally:
                self.spent_s[name] = self.spent_s.get(name, 0.0) + time.thread_time() - began_s

        return timed


@contextmanager
def relayed() -> Iterator[Lab]:
    """Two hosts and a link whose queues can be watched."""
    scenario = make_scenario(links=[LINK], traffic=[])
    with Journal.create(new_tag()) as journal, Lab(scenario, journal, {"relay": RelayEmulator()}) as lab:
        lab.apply_settings()
        yield lab


@contextmanager
def streams(lab: Lab, count: int, seconds: float) -> Iterator[None]:
    """So many streams of iperf3."""
    client, server = lab.hosts["client"], lab.hosts["server"]
    serving = server.popen(["iperf3", "-s", "-1"])
    try:
        if not wait_until(lambda: server.listening(5201), timeout_s=10):
            raise SystemExit("iperf3 does not listen")
        address = server.address_towards("client")
        running = client.popen(["iperf3", "-c", address, "-P", str(count), "-t", str(round(seconds))])
        try:
            yield
        finally:
            running.terminate()
            running.communicate()
    finally:
        serving.terminate()
        serving.communicate()


@contextmanager
def idle(lab: Lab, count: int, seconds: float) -> Iterator[None]:
    """So many connections that have said something once."""
    del seconds
    client, server = lab.hosts["client"], lab.hosts["server"]
    program = str(Path(__file__).with_name("bench_sockets.py"))
    serving = server.popen([sys.executable, program, "server"], stdin=subprocess.PIPE)
    try:
        if not wait_until(lambda: server.listening(PORT), timeout_s=10):
            raise SystemExit("the server does not listen")
        argv = [sys.executable, program, "idle", server.address_towards("client"), str(count)]
        running = client.popen(argv, stdin=subprocess.PIPE)
        assert running.stdout is not None
        running.stdout.readline()
        yield
        running.communicate()
    finally:
        serving.communicate()


TRAFFIC: Final = {"streams": streams, "idle": idle}


def measured(kind: str, count: int, seconds: float) -> str:
    """Return what a tick costs beside such traffic."""
    with relayed() as lab, attached("all", "summary") as collectors:
        scope = Scope(
            namespaces={name: host.netns_inode for name, host in lab.hosts.items()},
            netns_paths={name: host.netns_path for name, host in lab.hosts.items()},
            warmup_ns=0,
            emulator_pids=tuple(link.pid for link in lab.links if isinstance(link, RelayLink)),
        )
        for link in lab.links:
            if isinstance(link, WatchedLink):
                link.watch_queues(INTERVAL_NS // 10)
        lab.begin_trial(0)
        for one in collectors:
            one.begin(scope)
        with TRAFFIC[kind](lab, count, seconds + 2 * SETTLE_S + 5):
            time.sleep(SETTLE_S)
            sources: list[Source] = [one.series() for one in collectors if isinstance(one, Charted)]
            sources.append(HostQueues(scope.netns_paths, lab.directions))
            sources += [LinkQueues([(DIRECTIONS, link.queues)]) for link in lab.links if isinstance(link, WatchedLink)]
            told = _sampled(sources, seconds)
        for one in collectors:
            one.end()
        return told


def _sampled(sources: Sequence[Source], seconds: float) -> str:
    timed = [Timed(source) for source in sources]
    sampler = Sampler(timed, INTERVAL_NS)
    sampler.start()
    time.sleep(seconds)
    samples = sampler.finish()
    ticks = len(samples.ticks_ns)
    parts = [
        f"{type(one.source).__name__}.{name} {1e6 * one.spent_s[name] / ticks:.0f}"
        for one in timed
        for name in one.spent_s
        if name not in ("samples", "warnings")
    ]
    told = (
        f"{ticks} ticks in {seconds:g} s, {1e6 * samples.cpu_s / ticks:.0f} us of CPU a tick, "
        f"{100 * samples.cpu_s / seconds:.2f} % of a CPU\n  us a tick: {', '.join(parts)}"
    )
    sampler.close()
    return "\n  ".join([told, *samples.warnings])


def main() -> int:
    """Print the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--streams", type=int, nargs="*", default=[1, 16])
    parser.add_argument("--idle", type=int, nargs="*", default=[10_000])
    arguments = parser.parse_args()
    prepare("all")
    for kind in TRAFFIC:
        for count in getattr(arguments, kind):
            print(f"{count} {kind}: {measured(kind, count, arguments.seconds)}", flush=True)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
