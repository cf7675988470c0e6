"""What measuring costs: goodput, CPU, ns a call next to an empty program and to BCC's program, BCC's tools, start-up.

Run it by `make bench-overhead`, on a machine that does nothing else. All programs see the same
traffic in turns of a fraction of a second, in an order that rotates. So a change of the machine's
speed affects all of them. Figures are medians over the turns, and ratios compare figures of one run.
The kernel's own timing (two clock reads a call) is in every figure and cancels out in the net one.
"""

from __future__ import annotations

import argparse
import os
import socket
import statistics
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import Any, Final

import bench_modes
import bench_switched
import bench_tools
from bench_modes import EMPTY
from bench_saturated import saturating
from rich.console import Console
from rich.table import Table

from perfcheck.collect import declared
from perfcheck.collect.tcp.collector import TcpCollector
from perfcheck.ebpf import bcc as bcc_package
from perfcheck.ebpf import cache, kernel_header
from perfcheck.ebpf import compile as compiling
from perfcheck.ebpf.btf import Btf
from perfcheck.ebpf.libbpf import ATTACH_RAW_TP, Libbpf
from perfcheck.lab import Lab
from perfcheck.lab.hosts import LabHost
from perfcheck.lab.links.veth import VethEmulator
from perfcheck.model.observation import Scope
from perfcheck.system import Journal, fingerprint, new_tag
from perfcheck.system.clock import wait_until
from perfcheck.system.ethtool import turn_offloads_off
from perfcheck.testing import make_scenario

HERE: Final = Path(__file__).parent
TARGET: Final = "tcp_probe"
RETURN_0: Final = struct.pack("<BBhi", 0xB7, 0, 0, 0) + struct.pack("<BBhi", 0x95, 0, 0, 0)
START: Final = """
import contextlib
from perfcheck.collect import collectors, prepare
from perfcheck.errors import Unavailable
prepare({layers!r})
for one in collectors({layers!r}):
    with contextlib.suppress(Unavailable):
        one.check()
        one.open()
print(flush=True)
"""
STARTS: Final[Mapping[str, str | tuple[str, ...]]] = {"TCP alone": ("tcp",), "all layers": "all"}
CORE: Final = "core, whole TCP summary"
LIKE_BCC: Final = "as BCC's tcprtt does"

Attach = Callable[[], int]


@contextmanager
def two_hosts() -> Iterator[Lab]:
    """Two hosts joined by a plain link, which can be saturated."""
    scenario = make_scenario(links=[{"between": ["client", "server"]}], traffic=[])
    with Journal.create(new_tag()) as journal, Lab(scenario, journal, {"veth": VethEmulator()}) as lab:
        lab.apply_settings()
        yield lab


def scope_of(lab: Lab) -> Scope:
    """Everything in the lab, without a warm-up."""
    return Scope(
        namespaces={name: host.netns_inode for name, host in lab.hosts.items()},
        netns_paths={name: host.netns_path for name, host in lab.hosts.items()},
        warmup_ns=0,
    )


class Turns:
    """Programs that are attached in turns; `programs` gives the descriptor and how to attach it."""

    def __init__(self, turn_s: float) -> None:
        """Take the length of a turn."""
        self._lib = Libbpf()
        self._turn_s = turn_s
        self.programs: dict[str, tuple[int, Attach]] = {}

    def add(self, name: str, prog_fd: int, attach: Attach | None = None) -> None:
        """Add a loaded program, by default one of a typed tracepoint."""
        self.programs[name] = prog_fd, attach or (lambda: self._lib.attach_tracepoint(prog_fd))

    def add_empty(self) -> None:
        """Add a program that does nothing at the same hook."""
        (hook,) = (one.btf_id for one in cache.image_for(*declared.TCP_TEXT).programs if one.target == TARGET)
        self.add(EMPTY, self._lib.prog_load("empty", RETURN_0, ATTACH_RAW_TP, hook))

    def measure(self, rounds: int) -> dict[str, float]:
        """Return each program's median of ns a call over `rounds` turns."""
        seen: dict[str, list[float]] = {name: [] for name in self.programs}
        order = list(self.programs)
        # The core lets the kernel's clock rest while its programs run often; here each call is timed.
        stats_fd = self._lib.enable_stats()
        for _ in range(rounds):
            order = order[1:] + order[:1]
            for name in order:
                cost = self._turn(*self.programs[name])
                if cost is not None:
                    seen[name].append(cost)
        os.close(stats_fd)
        return {name: statistics.median(costs) for name, costs in seen.items()}

    def _turn(self, prog_fd: int, attach: Attach) -> float | None:
        before = self._lib.run_counters(prog_fd)
        link_fd = attach()
        time.sleep(self._turn_s)
        os.close(link_fd)
        after = self._lib.run_counters(prog_fd)
        calls = after.calls - before.calls
        return (after.run_ns - before.run_ns) / calls if calls else None


@contextmanager
def core(lab: Lab, max_sockets: int = 4096) -> Iterator[TcpCollector]:
    """The core, counting for the lab."""
    collector = TcpCollector(max_sockets)
    collector.open()
    try:
        collector.begin(scope_of(lab))
        yield collector
    finally:
        collector.close()


@contextmanager
def like_bcc() -> Iterator[tuple[int, Attach]]:
    """Load tcprtt_like.bpf.c through BCC's own loader; give its descriptor and how to attach it."""
    source = HERE / "tcprtt_like.bpf.c"
    with tempfile.TemporaryDirectory() as tree:
        text = source.read_text(encoding="utf-8")
        compiling.write_tree(Path(tree), kernel_header.header(Btf(cache.VMLINUX.read_bytes()), [text]))
        os.environ["BCC_KERNEL_SOURCE"] = tree
        bcc: Any = bcc_package.load()
        module = bcc.BPF(text=text, cflags=[f"-I{tree}/include"])
        # Loading the module has attached it: BCC looks for functions of this name. Turns do it themselves.
        (name,) = module.raw_tracepoint_fds
        program = module.funcs[b"raw_tracepoint__" + name]
        os.close(module.raw_tracepoint_fds.pop(name))
        yield program.fd, lambda: int(bcc.lib.bpf_attach_raw_tracepoint(program.fd, name))
        module.cleanup()


@contextmanager
def taking_turns(lab: Lab, connections: int, seconds: float) -> Iterator[None]:
    """So many connections that take turns."""
    client, server = lab.hosts["client"], lab.hosts["server"]
    program = str(HERE / "bench_sockets.py")
    serving = server.popen([sys.executable, program, "server"], stdin=subprocess.PIPE)
    if not wait_until(lambda: server.listening(5302), timeout_s=10):
        raise SystemExit("the server does not listen")
    address = server.address_towards("client")
    running = client.popen([sys.executable, program, "client", address, str(connections), str(seconds)])
    assert running.stdout is not None
    running.stdout.readline()
    yield
    running.wait()
    serving.communicate()


def cost_table(rounds: int, turn_s: float) -> Table:
    """Ns a call at tcp_probe under saturated traffic."""
    turns = Turns(turn_s)
    with ExitStack() as stack:
        lab = stack.enter_context(two_hosts())
        collector = stack.enter_context(core(lab))
        turns.add_empty()
        turns.add(CORE, collector.loaded.detach(TARGET))
        turns.add(LIKE_BCC, *stack.enter_context(like_bcc()))
        stack.enter_context(saturating(lab, rounds * turn_s * len(turns.programs) * 1.5))
        costs = turns.measure(rounds)
    net = {name: cost - costs[EMPTY] for name, cost in costs.items()}
    table = Table("program at tcp_probe", "ns a call", "net ns", "of BCC's net", box=None, title="cost of a call")
    for name, cost in costs.items():
        share = net[name] / net[LIKE_BCC] if net[LIKE_BCC] > 0 else float("nan")
        table.add_row(name, f"{cost:.0f}", f"{net[name]:.0f}", f"{share:.2f}")
    return table


def connections_table(rounds: int, turn_s: float, counts: tuple[int, ...] = (10, 10_000)) -> Table:
    """Ns a call with few and with many connections."""
    found = {count: _with_connections(count, rounds, turn_s) for count in counts}
    table = Table("connections", "ns a call", "net ns", "of the fewest's", box=None, title="many connections")
    for count, costs in found.items():
        ratio = costs[CORE] / found[counts[0]][CORE]
        table.add_row(str(count), f"{costs[CORE]:.0f}", f"{costs[CORE] - costs[EMPTY]:.0f}", f"{ratio:.2f}")
    return table


def _with_connections(count: int, rounds: int, turn_s: float) -> Mapping[str, float]:
    turns = Turns(turn_s)
    with two_hosts() as lab, core(lab, max_sockets=4 * count) as collector:
        turns.add_empty()
        turns.add(CORE, collector.loaded.detach(TARGET))
        with taking_turns(lab, count, rounds * turn_s * len(turns.programs) * 1.5):
            return turns.measure(rounds)


def start_table(rounds: int) -> Table:
    """Seconds from process start until all programs are attached, with an empty cache and with a filled one.

    Cold: nothing of perfcheck's own is kept for this kernel, neither programs nor numbers out of its types. The
    compiler, the interpreter and the kernel's BTF are in the page cache in both cases.
    """
    seconds: dict[tuple[str, str], list[float]] = {}
    for _ in range(rounds):
        for what, layers in STARTS.items():
            with tempfile.TemporaryDirectory() as folder:
                for cache_is in ("cold", "warm"):
                    seconds.setdefault((what, cache_is), []).append(_start_s(START.format(layers=layers), folder))
    table = Table("collectors", "cache", "median s", "min s", box=None, title="start of the process to all attached")
    for (what, cache_is), times in seconds.items():
        table.add_row(what, cache_is, f"{statistics.median(times):.2f}", f"{min(times):.2f}")
    return table


def _start_s(program: str, folder: str) -> float:
    """Return the time until the program says that all is attached."""
    began = time.perf_counter()
    with subprocess.Popen(
        [sys.executable, "-c", program], stdout=subprocess.PIPE, env={**os.environ, "XDG_CACHE_HOME": folder}
    ) as process:
        assert process.stdout is not None
        said = process.stdout.readline()
        took_s = time.perf_counter() - began
    if said != b"\n" or process.returncode:
        raise SystemExit("the collectors could not be attached")
    return took_s


def modes_tables(rounds: int) -> list[Table]:
    """Goodput and CPU of saturated traffic in each mode, and what each program took of it."""
    lib, turns = Libbpf(), Turns(0)
    turns.add_empty()
    prog_fd, attach = turns.programs[EMPTY]

    @contextmanager
    def empty() -> Iterator[None]:
        held = lib.enable_stats(), attach()
        yield
        for fd in held:
            os.close(fd)

    before = lib.run_counters(prog_fd)
    with two_hosts() as lab:
        found = bench_modes.measured(lab, scope_of(lab), rounds, empty)
    after = lib.run_counters(prog_fd)
    empty_ns = (after.run_ns - before.run_ns) / max(after.calls - before.calls, 1)
    return [bench_modes.modes_table(found), bench_modes.programs_table(found, empty_ns)]


def switched_tables(transfers: int) -> list[Table]:
    """Goodput of saturated traffic in summary mode, near enough to that without the core to tell a few percent."""
    with two_hosts() as lab:
        return [bench_switched.table(*bench_switched.measured(lab, scope_of(lab), transfers))]


def tools_tables(rounds: int) -> list[Table]:
    """BCC's tools and bpftrace, in turns with the core."""
    with two_hosts() as lab:
        return bench_tools.tools_tables(lab, scope_of(lab), rounds)


def paced_tables(rounds: int) -> list[Table]:
    """The core's share of a CPU at 1 Gbit/s, with what is added to it, and with packets of the MTU."""
    with two_hosts() as lab:
        asked = (bench_modes.MODES[0], bench_modes.SERIES, bench_modes.EVERYTHING)
        found = {name: bench_modes.paced(lab, scope_of(lab), rounds, name) for name in asked}
        for host in lab.hosts.values():
            assert isinstance(host, LabHost)
            for name in host.inside(socket.if_nameindex):
                if name[1] != "lo":
                    host.inside(partial(turn_offloads_off, name[1]))
        found["summary, offloads off"] = bench_modes.paced(lab, scope_of(lab), rounds)
    return [bench_modes.paced_table(found)]


def main() -> int:
    """Print the tables; gives 0."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", choices=["switched", "modes", "paced", "tools", "cost", "connections", "start"])
    parser.add_argument("--output", type=Path, metavar="FILE", help="write the tables as Markdown, too")
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--turn", type=float, default=0.2, metavar="SECONDS")
    arguments = parser.parse_args()
    parts: dict[str, Callable[[], list[Table]]] = {
        "switched": lambda: switched_tables(max(2, arguments.rounds // 2)),
        "modes": lambda: modes_tables(max(2, arguments.rounds)),
        "paced": lambda: paced_tables(max(3, arguments.rounds // 4)),
        "tools": lambda: tools_tables(max(2, arguments.rounds // 5)),
        "cost": lambda: [cost_table(arguments.rounds, arguments.turn)],
        "connections": lambda: [connections_table(arguments.rounds, arguments.turn)],
        "start": lambda: [start_table(max(3, arguments.rounds // 4))],
    }
    console = Console(width=120)
    tables = []
    for name, make in parts.items():
        if arguments.only in {None, name}:
            for table in make():
                console.print(table)
                tables.append(table)
    environment = fingerprint()
    machine = ", ".join(str(environment.get(key)) for key in ("kernel.release", "cpu.model", "cpu.count"))
    machine = f"{machine} CPUs, load {os.getloadavg()[0]:.1f}"
    console.print(machine)
    if arguments.output is not None:
        page = ["# What measuring costs", "", f"These figures come from `make bench-overhead` on {machine}.", ""]
        arguments.output.write_text("\n".join([*page, *map(bench_modes.markdown, tables)]), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
