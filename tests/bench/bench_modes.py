"""What measuring costs saturated traffic: goodput and CPU with the core off, in summary and in detail mode, in turns.

Part of `make bench-overhead` (bench_core.py). In each round every mode has a turn within one transfer
(bench_saturated.py), in an order that rotates. Each figure is a ratio to the turn without the core in the same round.
"""

from __future__ import annotations

import json
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

import attaching
import bench_saturated
from attaching import Layers
from rich.table import Table

from perfcheck.collect import prepare
from perfcheck.collect.events.collector import EventsCollector
from perfcheck.collect.kernel.procfs import cpu_times
from perfcheck.collect.series.queues import HostQueues
from perfcheck.collect.series.sampler import Sampler
from perfcheck.collect.series.source import Charted, Source
from perfcheck.collect.session import Core
from perfcheck.ebpf.run_stats import RunClock
from perfcheck.lab import Lab
from perfcheck.lab.hosts import LabHost
from perfcheck.model.budget import Budget
from perfcheck.model.measure import Measure
from perfcheck.model.observation import Observation, Overhead, Scope
from perfcheck.model.seams import Collector
from perfcheck.system.clock import wait_until

OFF: Final = "off"
MODES: Final[tuple[Literal["summary", "detail"], ...]] = ("summary", "detail")
EMPTY: Final = "empty program"
SERIES: Final = "summary, series"
"""The summary mode, with time series sampled every 100 ms."""
EVERYTHING: Final = "summary, series, events"
"""The same, with the programs of `--events`."""
SECONDS: Final = 2
PACED_BPS: Final = 1_000_000_000
PACED_SECONDS: Final = 10
WANTED_ROWS: Final = 14
"""So many programs have a row: those that took most time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Turn:
    """One transfer: goodput, CPUs that were busy meanwhile (all work of the machine), and what the core saw."""

    goodput_bps: float
    busy_cpus: float
    seen: tuple[Observation, ...] = ()
    seconds: float = SECONDS

    @property
    def core_cpus(self) -> float:
        """CPUs that the BPF programs and the collectors' own work took."""
        run_ns = sum(cost.run_ns for one in self.seen for cost in one.overhead.programs)
        return (run_ns / 1e9 + sum(one.overhead.user_cpu_s for one in self.seen)) / self.seconds


def measured(
    lab: Lab, scope: Scope, rounds: int, empty: Callable[[], AbstractContextManager[object]]
) -> dict[str, list[Turn]]:
    """Return each mode's turns, one a round; `empty` attaches a program that does nothing, which has turns, too."""
    for mode in MODES:
        prepare("all", mode)
    turns: dict[str, list[Turn]] = {name: [] for name in (OFF, EMPTY, *MODES, SERIES, EVERYTHING)}
    order = list(turns)
    for _ in range(rounds):
        order = order[1:] + order[:1]
        longest_s = 2 * len(order) * (bench_saturated.SETTLE_S + bench_saturated.WINDOW_S)
        with bench_saturated.saturating(lab, longest_s, bench_saturated.steady_options()) as server_pid:
            for name in order:
                with empty() if name == EMPTY else nullcontext():
                    turns[name].append(_turn_within(lab, scope, name, server_pid))
    return turns


def _turn_within(lab: Lab, scope: Scope, name: str, server_pid: int) -> Turn:
    """Return a part of a transfer that goes on: the core has found its pace before goodput is looked at."""
    with attached_core(name, "all") as attached:
        began_s = time.monotonic()
        for one in attached:
            one.begin(scope)
        sampler = _sampler(lab, attached, scope) if name in (SERIES, EVERYTHING) else None
        time.sleep(bench_saturated.SETTLE_S)
        before = _busy_ticks()
        goodput_bps = bench_saturated.goodput_bps(server_pid)
        busy, total = (after - was for after, was in zip(_busy_ticks(), before, strict=True))
        seen: tuple[Observation, ...] = ()
        if sampler is not None:
            sampled = Overhead(user_cpu_s=sampler.finish().cpu_s)
            seen = (Observation(collector="series", overhead=sampled),)
            sampler.close()
        seen, seconds = (*seen, *(one.end() for one in attached)), time.monotonic() - began_s
    cpus = len(set(_cpu_names()))
    return Turn(goodput_bps=goodput_bps, busy_cpus=cpus * busy / total, seen=seen, seconds=seconds)


def _sampler(lab: Lab, attached: Sequence[Collector], scope: Scope) -> Sampler:
    """Return a sampler of all collectors and the hosts' queues, which has begun."""
    sources: list[Source] = [one.series() for one in attached if isinstance(one, Charted)]
    sampler = Sampler([*sources, HostQueues(scope.netns_paths, lab.directions)], Measure().interval_ns)
    sampler.start()
    return sampler


def turn(lab: Lab, scope: Scope, name: str, layers: Layers = "all", options: Sequence[str] = ()) -> Turn:
    """Return one transfer with the collectors of a mode attached; with none for a name that is no mode."""
    with attached_core(name, layers) as attached:
        for one in attached:
            one.begin(scope)
        before = _busy_ticks()
        report = transfer(lab, options)
        busy, total = (after - was for after, was in zip(_busy_ticks(), before, strict=True))
        seen = tuple(one.end() for one in attached)
    cpus = len(set(_cpu_names()))
    return Turn(goodput_bps=report, busy_cpus=cpus * busy / total, seen=seen)


@contextmanager
def attached_core(name: str, layers: Layers, clock: RunClock | None = None) -> Iterator[Sequence[Collector]]:
    """Return a mode's collectors, attached; none for a name that is no mode. `clock` instead of the usual one."""
    mode = MODES[0] if name in (SERIES, EVERYTHING) else next((mode for mode in MODES if mode == name), None)
    if mode is None:
        yield ()
        return
    with attaching.attached(layers, mode, clock) as opened:
        if name != EVERYTHING:
            yield opened
            return
        events = EventsCollector()
        events.open()
        try:
            yield (*opened, events)
        finally:
            events.close()


def _cpu_names() -> Iterator[str]:
    times = cpu_times(Path("/proc/stat").read_text(encoding="ascii"))
    yield from (name for name in (key.partition(".")[0] for key in times) if name != "cpu")


def _busy_ticks() -> tuple[float, float]:
    """Ticks that CPUs were busy, and all ticks."""
    times = cpu_times(Path("/proc/stat").read_text(encoding="ascii"))
    total = sum(value for name, value in times.items() if name.startswith("cpu."))
    return total - times["cpu.idle"] - times["cpu.iowait"], total


def transfer(lab: Lab, options: Sequence[str] = (), seconds: int = SECONDS) -> float:
    """Return the goodput of one transfer by iperf3, in bit/s; saturated where the options do not pace it."""
    client, server = lab.hosts["client"], lab.hosts["server"]
    serving = server.popen(["iperf3", "-s", "-1"])
    try:
        if not wait_until(lambda: server.listening(5201), timeout_s=10):
            raise SystemExit("iperf3 does not listen")
        argv = ["iperf3", "-c", server.address_towards("client"), "-C", "cubic", "-t", str(seconds), "-J", *options]
        done = client.run(argv, timeout_s=seconds + 20)
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
        "core", "goodput Gbit/s", "of off", "95 % interval", "range", "busy CPUs of off", "core's CPUs",
        "% of a CPU per Gbit/s",
        box=None, title="saturated iperf3 between two plain hosts",
    )  # fmt: skip
    for name, mine in turns.items():
        pairs = list(zip(mine, turns[OFF], strict=True))
        goodput = [one.goodput_bps / off.goodput_bps for one, off in pairs]
        busy = [one.busy_cpus / off.busy_cpus for one, off in pairs]
        each = [100 * one.core_cpus / (one.goodput_bps / 1e9) for one in mine]
        table.add_row(
            name, f"{statistics.median(one.goodput_bps for one in mine) / 1e9:.2f}",
            f"{statistics.median(goodput):.3f}", "{:.3f} to {:.3f}".format(*bench_saturated.median_interval(goodput)),
            f"{min(goodput):.3f} to {max(goodput):.3f}", f"{statistics.median(busy):.3f}",
            f"{statistics.median(one.core_cpus for one in mine):.3f}", f"{statistics.median(each):.2f}",
        )  # fmt: skip
    return table


@dataclass(frozen=True, slots=True, kw_only=True)
class Paced:
    """One transfer: what all programs took of one CPU, and this process, but for the benchmark itself.

    `once_s` is what each trial costs, however long it is: begin and end of all collectors.
    """

    goodput_bps: float
    bpf_pct: float
    own_pct: float
    once_s: float
    calls_per_s: float


def paced(lab: Lab, scope: Scope, rounds: int, name: str = MODES[0]) -> list[Paced]:
    """Return transfers of PACED_SECONDS beside all layers in summary mode, and what else `name` says."""
    prepare("all")
    with attached_core(name, "all") as attached:
        sampled = name in (SERIES, EVERYTHING)
        return [beside(lab, scope, attached, ["-b", str(PACED_BPS)], sampled=sampled) for _ in range(rounds)]


def beside(
    lab: Lab, scope: Scope, attached: Sequence[Collector], options: Sequence[str], *, sampled: bool = False
) -> Paced:
    """Return what the core took beside one transfer, `sampled` with time series."""
    # Nothing is shed: it is the whole core's cost that is asked for.
    core = Core(attached, Budget(cpu_pct=100.0))
    began_s = time.process_time()
    core.begin(scope)
    sampler = _sampler(lab, attached, scope) if sampled else None
    begin_s = time.process_time() - began_s
    # While the traffic runs this thread and the lab's do the benchmark's work and no other; collectors have their own.
    began_s, mine_s, clock_s = time.process_time(), _benchmarks_s(lab), time.monotonic()
    goodput_bps = transfer(lab, options, PACED_SECONDS)
    length_s = time.monotonic() - clock_s
    own_s = time.process_time() - began_s - (_benchmarks_s(lab) - mine_s)
    began_s = time.process_time()
    if sampler is not None:
        sampler.finish()
        sampler.close()
    seen = core.end()
    once_s = begin_s + time.process_time() - began_s
    costs = [cost for one in seen for cost in one.overhead.programs]
    return Paced(
        goodput_bps=goodput_bps, bpf_pct=100 * sum(cost.run_ns for cost in costs) / 1e9 / length_s,
        own_pct=100 * own_s / length_s, once_s=once_s, calls_per_s=sum(cost.calls for cost in costs) / length_s,
    )  # fmt: skip


def _benchmarks_s(lab: Lab) -> float:
    """CPU seconds of the calling thread and of the one that starts processes inside hosts."""
    host = next(iter(lab.hosts.values()))
    assert isinstance(host, LabHost)
    return time.thread_time() + host.inside(time.thread_time)


def paced_table(turns: dict[str, list[Paced]]) -> Table:
    """What the core took of one CPU beside traffic at a given rate, and once a trial; the goal is below 1 %."""
    table = Table(
        "what runs", "goodput Gbit/s", "BPF programs, % of a CPU", "collectors' own, % of a CPU", "sum", "largest",
        "ms a trial", "of a trial of 10 s, %", "calls a second", box=None,
        title="the core, all layers in summary mode, at 1 Gbit/s: while traffic runs, and once a trial",
    )  # fmt: skip
    for name, mine in turns.items():
        both = [one.bpf_pct + one.own_pct for one in mine]
        once_s = statistics.median(one.once_s for one in mine)
        table.add_row(
            name, f"{statistics.median(one.goodput_bps for one in mine) / 1e9:.2f}",
            f"{statistics.median(one.bpf_pct for one in mine):.2f}",
            f"{statistics.median(one.own_pct for one in mine):.2f}", f"{statistics.median(both):.2f}",
            f"{max(both):.2f}", f"{1000 * once_s:.0f}", f"{statistics.median(both) + 100 * once_s / 10:.2f}",
            f"{statistics.median(one.calls_per_s for one in mine):.0f}",
        )  # fmt: skip
    return table


def programs_table(turns: dict[str, list[Turn]], empty_ns: float) -> Table:
    """Calls and ns a call of each program, the kernel's own timing included, and net of an empty one; dearest first."""
    rows: dict[tuple[str, str], list[tuple[int, int]]] = {}
    for mode in MODES:
        for turn in turns[mode]:
            for one in turn.seen:
                for cost in one.overhead.programs:
                    name = cost.program if "/" in cost.program else f"{one.collector}/{cost.program}"
                    rows.setdefault((mode, name), []).append((cost.calls, cost.run_ns))
    table = Table("mode", "program", "calls a second", "ns a call", "net ns", "% of a CPU", box=None,
                  title=f"programs (an empty one in the same run: {empty_ns:.0f} ns a call)")  # fmt: skip
    summed = {key: (sum(calls for calls, _ in found), sum(ns for _, ns in found)) for key, found in rows.items()}
    for mode in MODES:
        seconds = sum(turn.seconds for turn in turns[mode])
        mine = {name: found for (of, name), found in summed.items() if of == mode and found[0]}
        dearest = sorted(mine, key=lambda name: -mine[name][1])[:WANTED_ROWS]
        all_calls, all_ns = (sum(found[index] for found in mine.values()) for index in (0, 1))
        for name, (calls, run_ns) in [("all", (all_calls, all_ns)), *((name, mine[name]) for name in dearest)]:
            if calls:
                table.add_row(mode, name, f"{calls / seconds:.0f}", f"{run_ns / calls:.0f}",
                              f"{run_ns / calls - empty_ns:.0f}", f"{run_ns / seconds / 1e7:.2f}")  # fmt: skip
    return table


def markdown(table: Table) -> str:
    """Return a table as Markdown."""
    columns = [list(column.cells) for column in table.columns]
    heads = [str(column.header) for column in table.columns]
    lines = [f"| {' | '.join(heads)} |", f"|{'---|' * len(heads)}"]
    lines += [f"| {' | '.join(map(str, row))} |" for row in zip(*columns, strict=True)]
    title = str(table.title or "")
    return "\n".join([f"## {title[:1].upper()}{title[1:]}", "", *lines, ""])
