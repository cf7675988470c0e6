"""What `perfctl tcp --interval 1s` takes of a CPU with thousands of open connections, and how soon it says something.

    python tests/bench/perfctl_many_flows.py [--flows N] [--active N] [--seconds N] [--profile FILE] [--scrape]
        [-- OPTION...]

Two hosts of a lab, between which this process holds connections open; some of them carry a small request and answer
ten times a second. perfctl watches the client. What follows `--` goes to perfctl. `--profile` runs it by cProfile.
`--scrape` has Prometheus' endpoint of `perfctl observe` asked twice a second instead.
"""

from __future__ import annotations

import argparse
import os
import re
import resource
import select
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Final

from perfcheck.lab import Lab
from perfcheck.lab.links.veth import VethEmulator
from perfcheck.model.seams import Host
from perfcheck.system import Journal, new_tag
from perfcheck.system.clock import wait_until
from perfcheck.system.netns import NetnsThread
from perfcheck.testing import make_scenario

PORT: Final = 7000
TURN_S: Final = 0.1
SCRAPED_EACH_S: Final = 0.5
REQUEST: Final = bytes(200)
TICKS: Final = os.sysconf("SC_CLK_TCK")
PERFCTL: Final = (sys.executable, "-m", "perfcheck.cli.perfctl")
SPARE_FILES: Final = 100


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--flows", type=int, default=10_000)
    parser.add_argument("--active", type=int, default=200)
    parser.add_argument("--seconds", type=int, default=10)
    parser.add_argument("--command", default="tcp", help="another one than tcp")
    parser.add_argument("--profile", type=Path)
    parser.add_argument("--scrape", action="store_true")
    parser.add_argument("options", nargs="*")
    args = parser.parse_args()
    raise_limit(args.flows)
    scenario = make_scenario(links=[{"between": ["client", "server"]}], traffic=[])
    with ExitStack() as stack:
        journal = stack.enter_context(Journal.create(new_tag()))
        lab = stack.enter_context(Lab(scenario, journal, {"veth": VethEmulator()}))
        lab.apply_settings()
        client, server = lab.hosts["client"], lab.hosts["server"]
        open_ones = stack.enter_context(opened(client, server, args.flows))
        stack.enter_context(talking(open_ones[: args.active]))
        there = len(client.run(["ss", "-Htn"]).stdout.splitlines())
        if args.scrape:
            scrape(client, args.seconds, args.options, there)
        else:
            watch(client, args.command, args.seconds, args.options, there, args.profile)
    return 0


def raise_limit(files: int) -> None:
    """Allow so many open files and some more, as far as that may be."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = files + SPARE_FILES
    if soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(wanted, hard), hard))


def serve(address: str, files: int) -> None:
    """Accept connections, and answer what they say with the same, until this process is killed."""
    raise_limit(files)
    listener = socket.create_server((address, PORT), backlog=512)
    poll, ends = select.epoll(), dict[int, socket.socket]()
    poll.register(listener, select.EPOLLIN)
    while True:
        for fd, _ in poll.poll():
            if fd == listener.fileno():
                one, _ = listener.accept()
                ends[one.fileno()] = one
                poll.register(one, select.EPOLLIN)
            elif said := ends[fd].recv(4096):
                ends[fd].sendall(said)
            else:
                ends.pop(fd).close()


@contextmanager
def opened(client: Host, server: Host, count: int) -> Iterator[list[socket.socket]]:
    """Open connections to a process of the server's."""
    address, ends = server.address_towards("client"), list[socket.socket]()
    serving = server.popen([sys.executable, __file__, "serve", address, str(count)])
    try:
        assert wait_until(lambda: server.listening(PORT), timeout_s=10)

        def connect() -> None:
            ends.extend(socket.create_connection((address, PORT)) for _ in range(count))

        with NetnsThread() as namespaces:
            namespaces.inside(client.netns_path, connect)
        yield ends
    finally:
        serving.kill()
        serving.wait()
        for one in ends:
            one.close()


@contextmanager
def talking(ends: Sequence[socket.socket]) -> Iterator[None]:
    """Have these carry a request and an answer each TURN_S."""
    over = threading.Event()

    def talk() -> None:
        while not over.wait(TURN_S):
            for one in ends:
                one.sendall(REQUEST)
            for one in ends:
                one.recv(4096)

    thread = threading.Thread(target=talk)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def watch(
    client: Host, command: str, seconds: int, options: Sequence[str], there: int, profile: Path | None
) -> None:  # fmt: skip
    """Run perfctl and print what it took."""
    how = [sys.executable, "-m", "cProfile", "-o", str(profile), "-m", PERFCTL[-1]] if profile else list(PERFCTL)
    argv = [*how, command, "--interval", "1s", "--duration", f"{seconds}s", "--netns", client.netns_path, *options]
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONDONTWRITEBYTECODE"}
    begun = time.monotonic()
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True, env=environment) as perfctl:
        assert perfctl.stdout is not None
        select.select([perfctl.stdout], [], [])
        first_s = time.monotonic() - begun
        begin_cpu_s = cpu_s(perfctl.pid)
        begin = time.monotonic()
        text = []
        for line in perfctl.stdout:
            text.append(line)
            if line.startswith("summary") or line == "\n":
                took = time.monotonic() - begin
                used_s = cpu_s(perfctl.pid) - begin_cpu_s
        status = perfctl.wait()
    print(
        f"perfctl's status {status}; its first output after {first_s:.2f} s, and {begin_cpu_s:.2f} s of CPU until then"
    )
    print(f"after that {100 * used_s / took:.1f} % of one CPU for {took:.1f} s, without its BPF programs")
    print(f"connections by ss: {there}; what perfctl says:")
    told = [
        line for line in text if " connections (" in line or line.startswith(("left out", "summary", "  ", "perfctl"))
    ]
    print("".join(line for line in told if not line.startswith("  and")), end="")


def scrape(client: Host, seconds: int, options: Sequence[str], there: int) -> None:
    """Ask the endpoint again and again, and print how long it took to answer."""
    argv = [*PERFCTL, "observe", "--output", "prometheus", "--listen", "127.0.0.1:0", "--netns", client.netns_path]
    with subprocess.Popen([*argv, *options], stderr=subprocess.PIPE, text=True) as perfctl:
        assert perfctl.stderr is not None
        found = re.search(r"http://\S+/metrics", perfctl.stderr.readline())
        assert found is not None
        wait_until(lambda: counted(asked(found[0])[1]) >= there, timeout_s=30)
        begin, begin_cpu_s, took = time.monotonic(), cpu_s(perfctl.pid), []
        while time.monotonic() < begin + seconds:
            answered_s, text = asked(found[0])
            took.append(1e3 * answered_s)
            time.sleep(SCRAPED_EACH_S)
        used = (cpu_s(perfctl.pid) - begin_cpu_s) / (time.monotonic() - begin)
        perfctl.terminate()
    order = sorted(took)
    print(f"{len(took)} scrapes: p50 {order[len(order) // 2]:.1f} ms, max {order[-1]:.1f} ms, {len(text) / 1e3:.1f} kB")
    print(f"{100 * used:.1f} % of one CPU; connections by ss: {there}, by the endpoint: {counted(text):.0f}")


def asked(address: str) -> tuple[float, str]:
    """Return how long one scrape takes, in seconds, and what it gives."""
    begin = time.monotonic()
    with urllib.request.urlopen(address, timeout=30) as answer:  # noqa: S310 - our own endpoint
        text = answer.read().decode()
    return time.monotonic() - begin, text


def counted(text: str) -> float:
    """Return how many connections the endpoint tells of."""
    found = re.search(r"^perfctl_tcp_connections(?:{[^}]*})? (\S+)$", text, re.MULTILINE)
    return float(found[1]) if found else 0.0


def cpu_s(pid: int) -> float:
    words = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
    return (int(words[11]) + int(words[12])) / TICKS


if __name__ == "__main__":
    if sys.argv[1:2] == ["serve"]:
        serve(sys.argv[2], int(sys.argv[3]))
    sys.exit(main())
