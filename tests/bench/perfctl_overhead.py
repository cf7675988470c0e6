"""What `perfctl` takes at rest and beside saturated traffic, in turns with BCC's tools, bpftrace and `ss -ti`.

    python tests/bench/perfctl_overhead.py [--rounds 5] [--seconds 5] [--output FILE]

Two hosts of a lab. One iperf3 transfer lasts through a round. In it the tools have turns, with turns of nothing before
and after each two of them, in an order that the next round reverses (A B B A): goodput is compared with the two turns
of nothing around. Programs are timed by the kernel for the last second of a turn only, since that has a cost of its
own. Prints a Markdown table.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import bench_saturated
from bench_core import two_hosts
from bench_tools import RefusedError, Tool, bcc_tool, one_liner, programs_of, running

from perfcheck.ebpf.libbpf import Libbpf
from perfcheck.lab import Lab
from perfcheck.system.clock import wait_until

SETTLE_S: Final = 0.5
TIMED_S: Final = 1.0
LONGEST_REST_S: Final = 3.0
TICKS: Final = os.sysconf("SC_CLK_TCK")
QUESTIONS: Final = (
    "RTT", "retransmissions", "per connection", "per process", "connect time", "drops and where", "windows, limits",
    "lifetime", "rates",
)  # fmt: skip
ANSWERED: Final[Mapping[str, tuple[str, ...]]] = {
    "perfctl observe": ("RTT", "retransmissions", "connect time", "drops and where", "rates"),
    "perfctl tcp": tuple(question for question in QUESTIONS if question != "drops and where"),
    "perfctl hist": ("RTT", "windows, limits", "rates"),
    "tcptop": ("per connection", "per process", "rates"),
    "tcplife": ("per connection", "per process", "lifetime"),
    "tcpretrans": ("retransmissions", "per connection"),
    "bpftrace tcp_retransmit_skb": ("retransmissions",),
    "bpftrace tcp_probe": ("RTT",),
    "ss -ti": ("RTT", "retransmissions", "per connection", "windows, limits", "rates"),
}  # fmt: skip
"""What is in the output of each, of QUESTIONS; of `perfctl tcp` in that of `--output json`."""
ONE_LINERS: Final = {
    "tcp_retransmit_skb": "tracepoint:tcp:tcp_retransmit_skb { @[args->dport] = count(); }",
    "tcp_probe": "tracepoint:tcp:tcp_probe { @srtt_us = hist(args->srtt); }",
}
EACH_SECOND: Final = """
import os, sys, time
sink = os.open(os.devnull, os.O_WRONLY)
print("begun", flush=True)
while True:
    begun = time.monotonic()
    for path in sys.argv[1:]:
        argv = ["nsenter", "--net=" + path, "ss", "-Htin"]
        os.waitpid(os.posix_spawnp(argv[0], argv, os.environ, file_actions=[(os.POSIX_SPAWN_DUP2, sink, 1)]), 0)
    time.sleep(max(0.0, begun + 1 - time.monotonic()))
"""
NOTHING: Final = ""


@dataclass(slots=True)
class Seen:
    """The turns of one tool: ratios of goodput to nothing's, and CPU seconds a second of its own and of programs."""

    ratios: list[float] = field(default_factory=list)
    own: list[float] = field(default_factory=list)
    bpf: list[float] = field(default_factory=list)
    own_at_rest: list[float] = field(default_factory=list)
    bpf_at_rest: list[float] = field(default_factory=list)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--only", help="only tools whose names contain this")
    parser.add_argument("--output", type=Path, help="write the table to this file, too")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as tree, two_hosts() as lab:
        known, refused = started(tools(lab, Path(tree), args.only or ""))
        seen = {name: Seen() for name in known}
        at_rest(known, seen, min(args.seconds, LONGEST_REST_S))
        for number in range(args.rounds):
            beside_traffic(lab, known, seen, args.seconds, backwards=number % 2 == 1)
    text = "\n".join(table(seen, refused, args.rounds))
    print(text)
    if args.output is not None:
        args.output.write_text(f"{text}\n", encoding="utf-8")
    return 0


def tools(lab: Lab, tree: Path, only: str) -> dict[str, Tool]:
    """Return all that are compared, by ANSWERED's names."""
    paths = [host.netns_path for host in lab.hosts.values()]
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONDONTWRITEBYTECODE"}
    where = [word for path in paths for word in ("--netns", path)]
    found = {}
    for command in ("observe", "tcp", "hist"):
        argv = (sys.executable, "-m", "perfcheck.cli.perfctl", command, "--interval", "1s", *where)
        # hist prints at its end.
        found[f"perfctl {command}"] = Tool(argv=argv, environment=environment, lines=0 if command == "hist" else 2)
    for name, options in {"tcptop": ("-C", "1"), "tcplife": (), "tcpretrans": ()}.items():
        found[name] = bcc_tool(name, options, tree)
    found |= {f"bpftrace {name}": one_liner(text) for name, text in ONE_LINERS.items()}
    found["ss -ti"] = Tool(argv=(sys.executable, "-c", EACH_SECOND, *paths), environment=environment, lines=1)
    return {name: tool for name, tool in found.items() if only in name}


def started(known: Mapping[str, Tool]) -> tuple[dict[str, Tool], dict[str, str]]:
    """Return those that start here, and the others with what they printed."""
    good, refused = {}, {}
    for name, tool in known.items():
        try:
            with running(tool) as pid:
                if settled(tool, pid):
                    good[name] = tool
                else:
                    refused[name] = "it attached no programs"
        except (RefusedError, OSError) as error:
            refused[name] = str(error)
    return good, refused


def settled(tool: Tool, pid: int) -> bool:
    """Let a tool come to rest; one that prints nothing has begun when its programs are there."""
    there = tool.lines > 0 or wait_until(lambda: bool(programs_of(pid)), timeout_s=20)
    time.sleep(SETTLE_S if tool.lines else 1.0)
    return there


def at_rest(known: Mapping[str, Tool], seen: Mapping[str, Seen], seconds: float) -> None:
    """Look at what each takes beside nothing at all."""
    for name, tool in known.items():
        with ExitStack() as stack:
            pid = stack.enter_context(running(tool))
            stack.callback(os.close, Libbpf().enable_stats())
            settled(tool, pid)
            own, bpf = spent(pid, seconds)
        seen[name].own_at_rest.append(own)
        seen[name].bpf_at_rest.append(bpf)


def beside_traffic(
    lab: Lab, known: Mapping[str, Tool], seen: Mapping[str, Seen], seconds: float, *, backwards: bool
) -> None:  # fmt: skip
    """Give each a turn within one transfer."""
    order = list(turns(tuple(known), backwards=backwards))
    longest_s = len(order) * (seconds + TIMED_S + SETTLE_S + 10)
    with bench_saturated.saturating(lab, longest_s, bench_saturated.steady_options()) as server_pid:
        time.sleep(SETTLE_S)
        rates = [turn(known.get(name), seen.get(name), server_pid, seconds) for name in order]
    for place, name in enumerate(order):
        if name != NOTHING:
            before = max(at for at in range(place) if order[at] == NOTHING)
            after = min(at for at in range(place, len(order)) if order[at] == NOTHING)
            seen[name].ratios.append(2 * rates[place] / (rates[before] + rates[after]))


def turns(names: Sequence[str], *, backwards: bool) -> Iterator[str]:
    """Yield the order of a round: nothing, two tools, nothing, and so on."""
    ordered = names[::-1] if backwards else names
    for place, name in enumerate(ordered):
        if place % 2 == 0:
            yield NOTHING
        yield name
    yield NOTHING


def turn(tool: Tool | None, seen: Seen | None, server_pid: int, seconds: float) -> float:
    """Return goodput beside a tool, and add what it took."""
    if tool is None or seen is None:
        time.sleep(SETTLE_S)
        return bench_saturated.goodput_bps(server_pid, seconds)
    with running(tool) as pid:
        settled(tool, pid)
        before = cpu_s_of(pid)
        began = time.monotonic()
        rate = bench_saturated.goodput_bps(server_pid, seconds)
        seen.own.append((cpu_s_of(pid) - before) / (time.monotonic() - began))
        stats_fd = Libbpf().enable_stats()
        try:
            seen.bpf.append(spent(pid, TIMED_S)[1])
        finally:
            os.close(stats_fd)
    return rate


def spent(pid: int, seconds: float) -> tuple[float, float]:
    """Return CPU seconds a second of a process with its children, and of its BPF programs, from now on."""
    began, own, programs = time.monotonic(), cpu_s_of(pid), programs_of(pid)
    time.sleep(seconds)
    passed = time.monotonic() - began
    run_ns = sum(now[0] - programs[key][0] for key, now in programs_of(pid).items() if key in programs)
    return (cpu_s_of(pid) - own) / passed, run_ns / 1e9 / passed


def cpu_s_of(pid: int) -> float:
    """Return CPU time of a process, of its threads, and of its children that have ended, in seconds."""
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
    return sum(map(int, fields[11:15])) / TICKS


def table(seen: Mapping[str, Seen], refused: Mapping[str, str], rounds: int) -> Iterator[str]:
    """Yield a Markdown table; CPU in percent of one."""
    yield (
        "| beside | goodput of nothing's | range | own CPU % | BPF % | at rest: own CPU % | BPF % | answers | "
        "CPU % a question |"
    )
    yield f"|---|{'---:|' * 8}"
    for name, one in seen.items():
        answers = len(ANSWERED[name])
        own, bpf, rest_own, rest_bpf = (
            100 * statistics.median(values) for values in (one.own, one.bpf, one.own_at_rest, one.bpf_at_rest)
        )
        yield (
            f"| {name} | {statistics.median(one.ratios):.3f} | {min(one.ratios):.3f} to {max(one.ratios):.3f} | "
            f"{own:.2f} | {bpf:.2f} | {rest_own:.2f} | {rest_bpf:.3f} | {answers} of {len(QUESTIONS)} | "
            f"{(own + bpf) / answers:.2f} |"
        )
    yield ""
    yield f"Medians of {rounds} rounds, each in one transfer. Questions: {'; '.join(QUESTIONS)}."
    for name, answered in ANSWERED.items():
        if name in seen:
            yield f"- {name} answers: {'; '.join(answered)}"
    for name, reason in refused.items():
        yield f"- {name} does not start on {os.uname().release}: {reason}"


if __name__ == "__main__":
    sys.exit(main())
