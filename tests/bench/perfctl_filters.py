"""What filters of `perfctl tcp` save: time of its BPF programs a call, and goodput, beside saturated traffic.

    python tests/bench/perfctl_filters.py [--rounds 3] [--seconds 3]

One filter leaves the transfer out, another one takes it in, by each of port, process and cgroup. Each round is one
transfer in which every filter has a turn, in an order that the next round reverses, with a turn of nothing before each
two of them. Prints a Markdown table.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import bench_saturated
from bench_core import two_hosts
from bench_tools import Tool, programs_of, running
from perfctl_overhead import NOTHING, SETTLE_S, TIMED_S, cpu_s_of, turns

from perfcheck.ebpf.libbpf import Libbpf
from perfcheck.lab import Lab

IPERF3_PORT: Final = "5201"
OTHER_PORT: Final = "9"


@dataclass(slots=True)
class Seen:
    """The turns of one filter: ratios of goodput, ns a call of all programs, calls a second, shares of a CPU."""

    ratios: list[float] = field(default_factory=list)
    ns: list[float] = field(default_factory=list)
    calls: list[float] = field(default_factory=list)
    bpf: list[float] = field(default_factory=list)
    own: list[float] = field(default_factory=list)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=3.0)
    args = parser.parse_args()
    seen: dict[str, Seen] = {}
    with two_hosts() as lab, cgroups() as (own, other):
        for number in range(args.rounds):
            one_round(lab, seen, (own, other), args.seconds, backwards=number % 2 == 1)
    print("\n".join(table(seen, args.rounds)))
    return 0


@contextmanager
def cgroups() -> Iterator[tuple[Path, Path]]:
    """Yield a cgroup that this process and what it starts are in, and one that nobody is in."""
    lines = Path("/proc/self/mountinfo").read_text(encoding="utf-8").splitlines()
    mount = next(Path(line.split()[4]) for line in lines if " - cgroup2 " in line)
    here = Path("/proc/self/cgroup").read_text(encoding="utf-8").splitlines()
    home = mount / next(line[3:].lstrip("/") for line in here if line.startswith("0::"))
    own, other = (mount / f"pcf{os.getpid()}{name}" for name in ("own", "other"))
    try:
        for folder in (own, other):
            folder.mkdir()
        (own / "cgroup.procs").write_text(str(os.getpid()), encoding="ascii")
        yield own, other
    finally:
        (home / "cgroup.procs").write_text(str(os.getpid()), encoding="ascii")
        for folder in (own, other):
            folder.rmdir()


def one_round(
    lab: Lab, seen: dict[str, Seen], groups: tuple[Path, Path], seconds: float, *, backwards: bool
) -> None:  # fmt: skip
    """Give each filter a turn within one transfer."""
    longest_s = 15 * (seconds + TIMED_S + SETTLE_S + 5)
    with bench_saturated.saturating(lab, longest_s, bench_saturated.steady_options()) as server_pid:
        time.sleep(SETTLE_S)
        own, other = map(str, groups)
        filters: Mapping[str, tuple[str, ...]] = {
            "no filter": (),
            "another port": ("--dst-port", OTHER_PORT), "the transfer's port": ("--dst-port", IPERF3_PORT),
            "another process": ("--pid", str(os.getpid())), "the transfer's process": ("--pid", str(server_pid)),
            "another cgroup": ("--cgroup", other), "the transfer's cgroup": ("--cgroup", own),
        }  # fmt: skip
        order = list(turns(tuple(filters), backwards=backwards))
        rates = []
        for name in order:
            if name == NOTHING:
                time.sleep(SETTLE_S)
                rates.append(bench_saturated.goodput_bps(server_pid, seconds))
            else:
                rates.append(turn(lab, filters[name], seen.setdefault(name, Seen()), server_pid, seconds))
    for place, name in enumerate(order):
        if name != NOTHING:
            around = [rates[at] for at in (place - 2, place - 1, place + 1, place + 2)
                      if 0 <= at < len(order) and order[at] == NOTHING]  # fmt: skip
            seen[name].ratios.append(rates[place] / statistics.mean(around))


def turn(lab: Lab, words: tuple[str, ...], seen: Seen, server_pid: int, seconds: float) -> float:
    """Return goodput beside `perfctl tcp` with a filter, and add what its programs took."""
    where = [word for host in lab.hosts.values() for word in ("--netns", host.netns_path)]
    argv = (sys.executable, "-m", "perfcheck.cli.perfctl", "tcp", "--layer", "tcp", "--interval", "1s", *words, *where)
    with running(Tool(argv=argv, environment=dict(os.environ), lines=2)) as pid:
        time.sleep(SETTLE_S)
        began, own = time.monotonic(), cpu_s_of(pid)
        rate = bench_saturated.goodput_bps(server_pid, seconds)
        seen.own.append((cpu_s_of(pid) - own) / (time.monotonic() - began))
        stats_fd = Libbpf().enable_stats()
        try:
            began, before = time.monotonic(), programs_of(pid)
            time.sleep(TIMED_S)
            after, passed = programs_of(pid), time.monotonic() - began
        finally:
            os.close(stats_fd)
        run_ns, calls = (sum(after[key][index] - before[key][index] for key in before) for index in (0, 1))
        seen.ns.append(run_ns / max(calls, 1))
        seen.calls.append(calls / passed)
        seen.bpf.append(run_ns / 1e9 / passed)
    return rate


def table(seen: Mapping[str, Seen], rounds: int) -> Iterator[str]:
    """Yield a Markdown table."""
    yield "| filter | goodput of nothing's | range | ns a call | calls a second | BPF % of a CPU | own CPU % |"
    yield f"|---|{'---:|' * 6}"
    for name, one in seen.items():
        ratio, ns, calls, bpf, own = map(statistics.median, (one.ratios, one.ns, one.calls, one.bpf, one.own))
        yield (
            f"| {name} | {ratio:.3f} | {min(one.ratios):.3f} to {max(one.ratios):.3f} | {ns:.0f} | {calls:,.0f} | "
            f"{100 * bpf:.2f} | {100 * own:.2f} |"
        )
    yield ""
    yield f"Medians of {rounds} rounds; ns a call includes the kernel's two clock reads."


if __name__ == "__main__":
    sys.exit(main())
