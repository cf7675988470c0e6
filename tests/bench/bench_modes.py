"""What measuring costs saturated traffic: goodput and CPU with the core off, in summary and in detail mode, in turns.

Part of `make bench-overhead` (bench_core.py). Each round gives every mode a turn of its own between the same two hosts,
in an order that rotates; each figure is a ratio to the turn without the core in the same round.
"""

from __future__ import annotations

import json
import statistics
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

from rich.table import Table

from perfcheck.collect import collectors, prepare
from perfcheck.collect.procfs import cpu_times
from perfcheck.errors import Unavailable
from perfcheck.lab import Lab
from perfcheck.model.observation import Observation, Scope
from perfcheck.model.seams import Collector
from perfcheck.system.clock import wait_until

OFF: Final = "off"
MODES: Final[tuple[Literal["summary", "detail"], ...]] = ("summary", "detail")
SECONDS: Final = 2
WANTED_ROWS: Final = 14
"""So many programs have a row: those that took most time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Turn:
    """One transfer: goodput, CPUs that were busy meanwhile (all work of the machine), and what the core saw."""

    goodput_bps: float
    busy_cpus: float
    seen: tuple[Observation, ...] = ()

    @property
    def core_cpus(self) -> float:
        """CPUs that the BPF programs and the collectors' own work took."""
        run_ns = sum(cost.run_ns for one in self.seen for cost in one.overhead.programs)
        return (run_ns / 1e9 + sum(one.overhead.user_cpu_s for one in self.seen)) / SECONDS


def measured(lab: Lab, scope: Scope, rounds: int) -> dict[str, list[Turn]]:
    """Give each mode's turns, one a round."""
    for mode in MODES:
        prepare("all", mode)
    turns: dict[str, list[Turn]] = {name: [] for name in (OFF, *MODES)}
    order = list(turns)
    for _ in range(rounds):
        order = order[1:] + order[:1]
        for name in order:
            turns[name].append(_turn(lab, scope, name))
    return turns


def _turn(lab: Lab, scope: Scope, name: str) -> Turn:
    with _attached(name) as attached:
        for one in attached:
            one.begin(scope)
        before = _busy_ticks()
        report = _transfer(lab)
        busy, total = (after - was for after, was in zip(_busy_ticks(), before, strict=True))
        seen = tuple(one.end() for one in attached)
    cpus = len(set(_cpu_names()))
    return Turn(goodput_bps=report, busy_cpus=cpus * busy / total, seen=seen)


@contextmanager
def _attached(name: str) -> Iterator[Sequence[Collector]]:
    with ExitStack() as stack:
        opened = []
        for mode in MODES:
            for one in collectors("all", mode) if mode == name else ():
                try:
                    one.check()
                    one.open()
                except Unavailable:
                    continue
                stack.callback(one.close)
                opened.append(one)
        yield opened


def _cpu_names() -> Iterator[str]:
    times = cpu_times(Path("/proc/stat").read_text(encoding="ascii"))
    yield from (name for name in (key.partition(".")[0] for key in times) if name != "cpu")


def _busy_ticks() -> tuple[float, float]:
    """Ticks that CPUs were busy, and all ticks."""
    times = cpu_times(Path("/proc/stat").read_text(encoding="ascii"))
    total = sum(value for name, value in times.items() if name.startswith("cpu."))
    return total - times["cpu.idle"] - times["cpu.iowait"], total


def _transfer(lab: Lab) -> float:
    """Give the goodput of one saturated transfer, in bit/s."""
    client, server = lab.hosts["client"], lab.hosts["server"]
    serving = server.popen(["iperf3", "-s", "-1"])
    try:
        if not wait_until(lambda: server.listening(5201), timeout_s=10):
            raise SystemExit("iperf3 does not listen")
        argv = ["iperf3", "-c", server.address_towards("client"), "-C", "cubic", "-t", str(SECONDS), "-J"]
        done = client.run(argv, timeout_s=SECONDS + 20)
        report = json.loads(done.stdout)
        if "error" in report:
            raise SystemExit(f"iperf3: {report['error']}")
        return float(report["end"]["sum_received"]["bits_per_second"])
    finally:
        serving.terminate()
        serving.communicate()


def modes_table(turns: dict[str, list[Turn]]) -> Table:
    """Goodput and CPU of each mode, each round against its own turn without the core."""
    table = Table(
        "core", "goodput Gbit/s", "of off", "range", "busy CPUs of off", "core's CPUs", "% of a CPU per Gbit/s",
        box=None, title="saturated iperf3 between two plain hosts",
    )  # fmt: skip
    for name, mine in turns.items():
        pairs = list(zip(mine, turns[OFF], strict=True))
        goodput = [one.goodput_bps / off.goodput_bps for one, off in pairs]
        busy = [one.busy_cpus / off.busy_cpus for one, off in pairs]
        each = [100 * one.core_cpus / (one.goodput_bps / 1e9) for one in mine]
        table.add_row(
            name, f"{statistics.median(one.goodput_bps for one in mine) / 1e9:.2f}",
            f"{statistics.median(goodput):.3f}",
            f"{min(goodput):.3f} to {max(goodput):.3f}", f"{statistics.median(busy):.3f}",
            f"{statistics.median(one.core_cpus for one in mine):.3f}", f"{statistics.median(each):.2f}",
        )  # fmt: skip
    return table


def programs_table(turns: dict[str, list[Turn]]) -> Table:
    """Calls and ns a call of each program, the kernel's own timing included, those that took most first."""
    rows: dict[tuple[str, str], list[tuple[int, int]]] = {}
    for mode in MODES:
        for turn in turns[mode]:
            for one in turn.seen:
                for cost in one.overhead.programs:
                    name = cost.program if "/" in cost.program else f"{one.collector}/{cost.program}"
                    rows.setdefault((mode, name), []).append((cost.calls, cost.run_ns))
    table = Table("mode", "program", "calls a second", "ns a call", "% of a CPU", box=None, title="programs")
    summed = {key: (sum(calls for calls, _ in found), sum(ns for _, ns in found)) for key, found in rows.items()}
    for mode in MODES:
        mine = sorted((key for key in summed if key[0] == mode), key=lambda key: -summed[key][1])[:WANTED_ROWS]
        for key in mine:
            calls, run_ns = summed[key]
            seconds = SECONDS * len(turns[mode])
            if calls:
                table.add_row(mode, key[1], f"{calls / seconds:.0f}", f"{run_ns / calls:.0f}",
                              f"{run_ns / seconds / 1e7:.2f}")  # fmt: skip
    return table


def markdown(table: Table) -> str:
    """Give a table as Markdown."""
    columns = [list(column.cells) for column in table.columns]
    heads = [str(column.header) for column in table.columns]
    lines = [f"| {' | '.join(heads)} |", f"|{'---|' * len(heads)}"]
    lines += [f"| {' | '.join(map(str, row))} |" for row in zip(*columns, strict=True)]
    return "\n".join([f"## {str(table.title or '').capitalize()}", "", *lines, ""])
