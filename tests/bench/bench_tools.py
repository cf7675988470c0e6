"""What BCC's own tools and bpftrace cost saturated traffic, in turns with the core.

Part of `make bench-overhead` (bench_core.py). Every round, each tool has a turn between the same two hosts. A tool that
does not start on this kernel has a row with the reason that it printed. Run time is the kernel's count of each
program that the tool's process holds (/proc/PID/fdinfo while BPF_ENABLE_STATS is on), its two clock reads included.
"""

from __future__ import annotations

import contextlib
import os
import re
import select
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import bench_modes
from attaching import Layers
from bench_modes import OFF, SECONDS
from rich.table import Table

from perfcheck.collect import prepare
from perfcheck.ebpf import cache, kernel_header
from perfcheck.ebpf import compile as compiling
from perfcheck.ebpf.btf import Btf
from perfcheck.ebpf.libbpf import Libbpf
from perfcheck.lab import Lab
from perfcheck.model.observation import Scope
from perfcheck.system import fingerprint

HERE: Final = Path(__file__).parent
BCC_TOOLS: Final[Mapping[str, tuple[str, ...]]] = {
    "tcprtt": ("-i", "1"), "tcpretrans": (), "runqlat": ("1",), "softirqs": ("1",),
}  # fmt: skip
ONE_LINERS: Final[Mapping[str, str]] = {
    "srtt": "tracepoint:tcp:tcp_probe { @srtt_us = hist(args->srtt); }",
    "retransmissions": "tracepoint:tcp:tcp_retransmit_skb { @[args->dport] = count(); }",
    "run queue": """
        tracepoint:sched:sched_wakeup, tracepoint:sched:sched_wakeup_new { @woken[args->pid] = nsecs; }
        tracepoint:sched:sched_switch {
            if (args->prev_state == 0) { @woken[args->prev_pid] = nsecs; }
            $since = @woken[args->next_pid];
            if ($since) { @us = hist((nsecs - $since) / 1000); delete(@woken[args->next_pid]); }
        }""",
    "softirqs": """
        tracepoint:irq:softirq_entry { @since[cpu] = nsecs; }
        tracepoint:irq:softirq_exit { @ns[args->vec] = sum(nsecs - @since[cpu]); }""",
}
CORE: Final = {"core, all layers": "all", "core, TCP alone": ("tcp",), "core, CPU layer alone": ("cpu",)}
READY_S: Final = 20.0
# What the tools take from headers that this machine may lack, and BTF cannot carry; the kernel's own values.
MACROS: Final = """
#define NULL ((void *)0)
#define AF_INET 2
#define AF_INET6 10
#define TASK_RUNNING 0
#define ntohs(x) __builtin_bswap16(x)
#define __always_inline inline __attribute__((always_inline))
#define inet_daddr sk.__sk_common.skc_daddr
#define inet_dport sk.__sk_common.skc_dport
#define tcp_sk(sk) ((struct tcp_sock *)(sk))
#define inet_sk(sk) ((struct inet_sock *)(sk))
"""
REGISTERS: Final = "struct pt_regs *ctx; ctx->di; ctx->si; ctx->dx; ctx->cx; ctx->ax; ctx->sp; ctx->ip;"
INCLUDE: Final = re.compile(r"^#include <([^>]+)>", re.MULTILINE)
WRONG: Final = re.compile(r"^.*(?:error:|ERROR:|Error|Exception|annot|Failed).*$", re.MULTILINE)
HARMLESS: Final = "RLIMIT_MEMLOCK"  # memory of maps is accounted to the control group


class RefusedError(Exception):
    """A tool did not start; the text is what it printed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """One transfer beside a tool: CPUs of its process and of its BPF programs, and how often these ran."""

    goodput_bps: float
    user_cpus: float = 0.0
    bpf_cpus: float = 0.0
    calls: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Tool:
    """How a tool is started, and how many lines it has printed when its programs are attached."""

    argv: tuple[str, ...]
    environment: Mapping[str, str]
    lines: int


def tools(tree: Path) -> dict[str, Tool]:
    """Return all tools; `tree` takes the kernel headers that BCC's own need."""
    found = {f"BCC {name}": bcc_tool(name, options, tree) for name, options in BCC_TOOLS.items()}
    return found | {f"bpftrace {name}": one_liner(text) for name, text in ONE_LINERS.items()}


def bcc_tool(name: str, options: tuple[str, ...], tree: Path) -> Tool:
    """Return a tool of BCC's; `tree` takes the kernel headers that it needs."""
    program = Path(f"/usr/sbin/{name}-bpfcc")
    environment = {**os.environ, "PYTHONUNBUFFERED": "1"}
    if program.exists() and not Path(f"/lib/modules/{os.uname().release}/build").exists():
        environment["BCC_KERNEL_SOURCE"] = str(_headers(tree / name, program.read_text(encoding="utf-8")))
    return Tool(argv=(str(program), *options), environment=environment, lines=1)


def one_liner(text: str) -> Tool:
    """Return bpftrace with a text."""
    # The programs are attached in this order, so that the second line, the first time printed, is after all.
    argv = ("bpftrace", "-B", "line", "-e", text + ' interval:s:1 { time("%H:%M:%S\\n"); }')
    return Tool(argv=argv, environment={**os.environ, "BPFTRACE_NO_CPP_DEMANGLE": "1"}, lines=2)


def _headers(root: Path, text: str) -> Path:
    types = kernel_header.header(Btf(cache.VMLINUX.read_bytes()), [text, MACROS, REGISTERS])
    compiling.write_tree(root, f"#pragma once\n{types}\n{MACROS}")
    for name in INCLUDE.findall(text):
        if not name.startswith("bcc/"):
            path = root / "include" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(f'#include <linux/types.h>\n#include "{"../" * name.count("/")}kernel_types.h"\n')
    return root


@contextmanager
def running(tool: Tool) -> Iterator[int]:
    """Run a tool from when its programs are attached; give its process's id. RefusedError with its words if it ends."""
    argv = [sys.executable, str(HERE / "with_tracefs.py"), *tool.argv]
    with (
        tempfile.TemporaryFile() as wrong,
        subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=wrong, env=tool.environment) as process,
    ):
        try:
            ready = _ready(process, tool.lines)
            if not ready:
                process.kill()
                process.wait()
                wrong.seek(0)
                raise RefusedError(_reason(wrong.read().decode(errors="replace")))
            yield process.pid
        finally:
            process.send_signal(signal.SIGINT)
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.communicate(timeout=5)
            process.kill()


def _ready(process: subprocess.Popen[bytes], lines: int) -> bool:
    assert process.stdout is not None
    output, seen, end = process.stdout.fileno(), b"", time.monotonic() + READY_S
    while seen.count(b"\n") < lines:
        readable, _, _ = select.select([output], [], [], max(0.0, end - time.monotonic()))
        part = os.read(output, 4096) if readable else b""
        if not part:
            return False
        seen += part
    return True


def _reason(text: str) -> str:
    lines: list[str] = [line.strip() for line in WRONG.findall(text) if HARMLESS not in line]
    compiler = [line for line in lines if "error:" in line]
    return ["it printed nothing", *text.strip().splitlines()[-1:], *lines[-1:], *compiler[:1]][-1][:200]


def programs_of(pid: int) -> dict[int, tuple[int, int]]:
    """Run time in ns and calls of each BPF program that a process holds, by the program's id."""
    found = {}
    for file in Path(f"/proc/{pid}/fdinfo").iterdir():
        with contextlib.suppress(OSError):
            values = dict(line.split(":\t", 1) for line in file.read_text("ascii").splitlines() if ":\t" in line)
            if "run_cnt" in values:
                found[int(values["prog_id"])] = int(values["run_time_ns"]), int(values["run_cnt"])
    return found


def cpu_s_of(pid: int) -> float:
    """CPU time that a process has taken, in seconds."""
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _beside(lab: Lab, tool: Tool) -> Cost:
    with running(tool) as pid:
        before, user_s = programs_of(pid), cpu_s_of(pid)
        goodput_bps = bench_modes.transfer(lab)
        after, user_s = programs_of(pid), cpu_s_of(pid) - user_s
    changes = [(now[0] - was[0], now[1] - was[1]) for key, now in after.items() if (was := before.get(key))]
    run_ns, calls = (sum(change[index] for change in changes) for index in (0, 1))
    return Cost(goodput_bps=goodput_bps, user_cpus=user_s / SECONDS, bpf_cpus=run_ns / SECONDS / 1e9, calls=calls)


def _beside_core(lab: Lab, scope: Scope, layers: Layers) -> Cost:
    turn = bench_modes.turn(lab, scope, "summary", layers)
    costs = [cost for one in turn.seen for cost in one.overhead.programs]
    return Cost(
        goodput_bps=turn.goodput_bps, bpf_cpus=sum(cost.run_ns for cost in costs) / SECONDS / 1e9,
        user_cpus=sum(one.overhead.user_cpu_s for one in turn.seen) / SECONDS, calls=sum(cost.calls for cost in costs),
    )  # fmt: skip


def tools_tables(lab: Lab, scope: Scope, rounds: int) -> list[Table]:
    """Goodput of saturated traffic beside each tool against none, what the tool took, and what did not start."""
    prepare("all")
    with tempfile.TemporaryDirectory() as tree:
        known, refused = tools(Path(tree)), {}
        for name, tool in known.items():
            try:
                with running(tool):
                    pass
            except (RefusedError, OSError) as error:
                refused[name] = str(error)
        stats_fd = Libbpf().enable_stats()
        order = [OFF, *CORE, *(name for name in known if name not in refused)]
        costs: dict[str, list[Cost]] = {name: [] for name in order}
        for _ in range(rounds):
            order = order[1:] + order[:1]
            for name in order:
                if name == OFF:
                    cost = Cost(goodput_bps=bench_modes.transfer(lab))
                else:
                    cost = _beside_core(lab, scope, CORE[name]) if name in CORE else _beside(lab, known[name])
                costs[name].append(cost)
        os.close(stats_fd)
    return [_costs_table(costs), *([_refused_table(refused)] if refused else [])]


def _costs_table(costs: Mapping[str, list[Cost]]) -> Table:
    table = Table(
        "beside", "goodput Gbit/s", "of off", "range", "process, % of a CPU", "BPF, % of a CPU", "calls a second",
        "ns a call", box=None, title="BCC's tools and bpftrace beside saturated iperf3",
    )  # fmt: skip
    for name, mine in costs.items():
        ratios = [one.goodput_bps / off.goodput_bps for one, off in zip(mine, costs[OFF], strict=True)]
        calls = sum(one.calls for one in mine)
        run_ns = sum(one.bpf_cpus for one in mine) * SECONDS * 1e9
        table.add_row(
            name, f"{statistics.median(one.goodput_bps for one in mine) / 1e9:.2f}", f"{statistics.median(ratios):.3f}",
            f"{min(ratios):.3f} to {max(ratios):.3f}",
            f"{statistics.mean(one.user_cpus for one in mine) * 100:.1f}",
            f"{statistics.mean(one.bpf_cpus for one in mine) * 100:.2f}",
            f"{calls / SECONDS / len(mine):.0f}", f"{run_ns / calls:.0f}" if calls else "-",
        )  # fmt: skip
    return table


def _refused_table(refused: Mapping[str, str]) -> Table:
    kernel = fingerprint().get("kernel.release")
    table = Table("tool", "what it printed", box=None, title=f"tools that do not start on {kernel}")
    for name, reason in refused.items():
        table.add_row(name, reason)
    return table
