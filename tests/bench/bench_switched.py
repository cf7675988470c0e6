"""Goodput with the core's programs attached and detached every 20 ms, within one transfer.

Part of `make bench-overhead`. On a shared machine goodput changes by a third within seconds. A cost of a few percent is
visible only if both sides of a pair are milliseconds apart. Programs can be attached that fast. The collectors'
threads cannot be switched that fast, so their CPU time is counted instead.
"""

from __future__ import annotations

import math
import os
import statistics
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Final

import bench_modes
import bench_saturated
from rich.table import Table

from perfcheck.collect import nic, prepare
from perfcheck.collect.base.collector import BpfCollector
from perfcheck.collect.tcp.collector import ITERATORS, TcpCollector
from perfcheck.ebpf.libbpf import Libbpf
from perfcheck.ebpf.object import BpfObject
from perfcheck.ebpf.run_stats import OFF_S, ON_S, RunClock
from perfcheck.lab import Lab
from perfcheck.model.observation import Scope

TURN_S: Final = 0.02
TURNS: Final = 400
"""So many rounds of four turns in one transfer."""
WARM_S: Final = 0.5
OFF: Final = "off"
UNTIMED: Final = "programs, as they run most of the time"
TIMED: Final = "programs, while they are timed"
TIMED_SHARE: Final = ON_S / (ON_S + sum(OFF_S) / 2)


class Switch:
    """The BPF programs of all layers, attached or not, timed or not."""

    def __init__(self, objects: Sequence[BpfObject], sampled: Sequence[str]) -> None:
        """Take the programs, which are attached, and which of them run only while they are timed."""
        self._objects = objects
        self._sampled = frozenset(sampled)
        self._lib = Libbpf()
        self._stats_fd = -1

    def turn(self, state: str) -> None:
        """Go into OFF, UNTIMED or TIMED."""
        if self._stats_fd >= 0:
            os.close(self._stats_fd)
            self._stats_fd = -1
        for one in self._objects:
            for name, program in tuple(one.programs.items()):
                if name in ITERATORS or "/" in name:
                    continue
                if state == OFF or (state == UNTIMED and name in self._sampled):
                    one.detach(name)
                elif program.link_fd < 0:
                    one.attach(name)
        if state == TIMED:
            self._stats_fd = self._lib.enable_stats()


@contextmanager
def _switch(scope: Scope) -> Iterator[Switch]:
    clock, objects = RunClock(), list[BpfObject]()
    with bench_modes.attached_core("summary", "all", clock) as attached:
        for one in attached:
            if isinstance(one, BpfCollector | TcpCollector):
                one.begin(scope)
                objects.append(one.programs.loaded if isinstance(one, BpfCollector) else one.loaded)
        # From here on this benchmark says when programs are timed.
        clock.rest()
        switch = Switch(objects, nic.SOFTIRQS)
        try:
            yield switch
        finally:
            switch.turn(UNTIMED)


def measured(lab: Lab, scope: Scope, transfers: int) -> tuple[dict[str, list[float]], list[bench_modes.Paced]]:
    """Return goodput of off, round by round, with the programs untimed and timed, and what the threads took."""
    prepare("all")
    found: dict[str, list[float]] = {UNTIMED: [], TIMED: []}
    longest_s = 2 * WARM_S + 16 * TURNS * TURN_S
    for _ in range(transfers):
        with (
            bench_saturated.saturating(lab, longest_s, bench_saturated.steady_options()) as server_pid,
            _switch(scope) as switch,
        ):
            bench_saturated.goodput_bps(server_pid, WARM_S)
            for turn in range(TURNS):
                state = (UNTIMED, TIMED)[turn % 2]
                rates = []
                # So that a drift meets both alike.
                for now in (OFF, state, state, OFF):
                    switch.turn(now)
                    rates.append(bench_saturated.goodput_bps(server_pid, TURN_S))
                if min(rates) > 0:
                    found[state].append(math.sqrt(rates[1] * rates[2] / (rates[0] * rates[3])))
    with bench_modes.attached_core("summary", "all") as attached:
        options = bench_saturated.steady_options()
        return found, [bench_modes.beside(lab, scope, attached, options) for _ in range(max(2, transfers // 2))]


def table(ratios: dict[str, list[float]], threads: Sequence[bench_modes.Paced]) -> Table:
    """What saturated goodput is of that without the core; of the threads' CPUs nothing is taken to be idle time."""
    made = Table(
        "what runs", "share of the time", "rounds", "goodput of off", "95 % interval", box=None,
        title=f"saturated iperf3, the core's programs on and off every {1000 * TURN_S:.0f} ms",
    )  # fmt: skip
    shares = {UNTIMED: 1 - TIMED_SHARE, TIMED: TIMED_SHARE}
    middle, low, high = 0.0, 0.0, 0.0
    for state, values in ratios.items():
        bounds = bench_saturated.median_interval(values)
        made.add_row(
            state, f"{shares[state]:.2f}", str(len(values)), f"{statistics.median(values):.3f}",
            "{:.3f} to {:.3f}".format(*bounds),
        )  # fmt: skip
        middle += shares[state] * statistics.median(values)
        low, high = low + shares[state] * bounds[0], high + shares[state] * bounds[1]
    own = statistics.median(one.own_pct for one in threads) / 100
    made.add_row("collectors' threads, by their share of one CPU", "1.00", str(len(threads)), f"{1 - own:.3f}", "")
    made.add_row("all of it", "", "", f"{middle - own:.3f}", f"{low - own:.3f} to {high - own:.3f}")
    return made
