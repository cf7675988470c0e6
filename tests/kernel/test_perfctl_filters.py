"""Each filter option of perfctl shows exactly the flows that it should, in the kernel and where BPF cannot be used."""

from __future__ import annotations

import secrets
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import pytest
from collect_lab import Pair, pair

from perfcheck.cli.perfctl.machine import resolved
from perfcheck.cli.perfctl.options import request_of
from perfcheck.cli.perfctl.registry import parse
from perfcheck.collect.sockdiag.live import PolledTcp
from perfcheck.live.session import LiveSession, scope_of
from perfcheck.model.interval import Interval

pytestmark = pytest.mark.kernel

PEER: Final = """
import socket, sys, threading
kept = []
def answer(one):
    while said := one.recv(100):
        one.sendall(said)
def accept(listener):
    while True:
        one, _ = listener.accept()
        kept.append(one)
        threading.Thread(target=answer, args=(one,), daemon=True).start()
ends = []
for line in sys.stdin:
    word, *rest = line.split()
    if word == "name":
        open("/proc/self/comm", "w").write(rest[0])
    elif word == "listen":
        family = socket.AF_INET6 if ":" in rest[0] else socket.AF_INET
        listener = socket.create_server((rest[0], int(rest[1])), family=family, dualstack_ipv6=":" in rest[0])
        threading.Thread(target=accept, args=(listener,), daemon=True).start()
    elif word == "connect":
        one = socket.socket(socket.AF_INET6 if ":" in rest[0] else socket.AF_INET)
        one.connect((rest[0], int(rest[1])))
        ends.append(one)
        rest = [str(one.getsockname()[1])]
    for one in ends if word in {"connect", "talk"} else ():
        one.sendall(b"x")
        one.recv(1)
    print(*(rest or ["done"]), flush=True)
"""
CONNECTIONS: Final[Mapping[str, tuple[str, str, int]]] = {
    "a": ("alpha", "198.18.0.2", 6001), "b": ("beta", "198.18.0.2", 6002), "c": ("alpha", "2001:2::2", 6001),
    "d": ("alpha", "::ffff:198.18.0.2", 6003), "l": ("alpha", "127.0.0.1", 6004),
}  # fmt: skip
"""By whom and to where; the server is in the other namespace, but `l` stays in one."""
LATER: Final[Mapping[str, tuple[str, str, int]]] = {
    "e": ("alpha", "198.18.0.2", 6001), "f": ("beta", "2001:2::2", 6002)
}  # fmt: skip
"""What is opened when perfctl has begun."""
CASES: Final[Mapping[str, str]] = {
    "": "a< a> b< b> c< c> d< d> e< e> f< f> l< l>",
    "--dst-port 6001": "a< a> c< c> e< e>",
    "--src-port 6001": "a< a> c< c> e< e>",
    "--dst-port 6002-6003": "b< b> d< d> f< f>",
    "--rport 6001": "a> c> e>",
    "--lport 6001": "a< c< e<",
    "--lport 6002-6003": "b< d< f<",
    "--src-ip 198.18.0.1": "a< a> b< b> d< d> e< e>",
    "--dst-ip 198.18.0.0/24": "a< a> b< b> d< d> e< e>",
    "--src-ip 198.18.0.1 --dst-port 6002": "b< b>",
    "--local-ip 198.18.0.2": "a< b< d< e<",
    "--remote-ip ::ffff:198.18.0.2": "a> b> d> e>",
    "--remote-ip 2001:2::2": "c> f>",
    "--src-ip 2001:2::/64": "c< c> f< f>",
    "--flow 198.18.0.1:{a}->198.18.0.2:6001": "a< a>",
    "--flow 198.18.0.2:6001->198.18.0.1:{a}": "a< a>",
    "--flow [2001:2::1]:{c}->[2001:2::2]:6001": "c< c>",
    "--pid {alpha}": "a> c> d> e> l< l>",
    "--pid {server}": "a< b< c< d< e< f<",
    "--pid {beta} --rport 6002": "b> f>",
    "--comm pc-beta": "b> f>",
    "--cgroup {group}": "b> f>",
    "--cgroup {group}/child": "b> f>",
    "--cgroup {group}/other": "",
    "--interface eth0": "a< a> b< b> c< c> d< d> e< e> f< f>",
    "--interface lo": "l< l>",
}
"""`a>` is the end of connection a that connected, `a<` the one that accepted."""
WITHOUT_BPF: Final = tuple(words for words in CASES if not words.startswith(("--cgroup", "--interface")))


@dataclass(slots=True)
class Peers:
    """Processes by name; `ports` are the local ports of connections."""

    processes: dict[str, subprocess.Popen[str]]
    ports: dict[str, int]
    group: Path
    pair: Pair

    def ask(self, name: str, *words: str | int) -> str:
        given, said = self.processes[name].stdin, self.processes[name].stdout
        assert given is not None
        assert said is not None
        given.write(" ".join(map(str, words)) + "\n")
        given.flush()
        return said.readline().strip()

    def connect(self, connections: Mapping[str, tuple[str, str, int]]) -> None:
        for name, (who, address, port) in connections.items():
            self.ports[name] = int(self.ask(who, "connect", address, port))

    def words(self, case: str) -> list[str]:
        pids = {name: process.pid for name, process in self.processes.items()}
        values = {**pids, **self.ports, "group": self.group}
        given = [word.format(**values) for word in case.split()]
        return [*given, *(word for name in self.pair.names for word in ("--netns", name))]

    def seen(self, interval: Interval) -> str:
        """Return the flows of an interval, as CASES writes them."""
        found = []
        for key in interval.flows.keys():  # noqa: SIM118 - not a mapping
            (name,) = (each for each, port in self.ports.items() if port in {key.local_port, key.remote_port})
            found.append(name + (">" if key.local_port == self.ports[name] else "<"))
        return " ".join(sorted(found))


@pytest.fixture(scope="module")
def peers() -> Iterator[Peers]:
    mount = next(
        Path(line.split()[4]) for line in Path("/proc/self/mountinfo").read_text().splitlines() if " - cgroup2 " in line
    )
    group = mount / f"pct{secrets.token_hex(3)}"
    folders = [group, group / "child", group / "other"]
    with ExitStack() as stack:
        for folder in folders:
            folder.mkdir()
            stack.callback(folder.rmdir)
        joined = stack.enter_context(pair())
        processes = {}
        for name, end in {"server": 1, "alpha": 0, "beta": 0}.items():
            argv = ["ip", "netns", "exec", joined.names[end], sys.executable, "-c", PEER]
            process = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
            processes[name] = stack.enter_context(process)
            stack.callback(process.kill)
        made = Peers(processes=processes, ports={}, group=group, pair=joined)
        (group / "child" / "cgroup.procs").write_text(str(processes["beta"].pid))
        made.ask("beta", "name", "pc-beta")
        for port in (6001, 6002, 6003):
            made.ask("server", "listen", "::", port)
        made.ask("alpha", "listen", "127.0.0.1", 6004)
        yield made


@contextmanager
def sessions(peers: Peers) -> Iterator[dict[str, LiveSession]]:
    """Yield a session for each case, all of them at once."""
    with ExitStack() as stack:
        begun = {}
        for case in CASES:
            args, command = parse(["tcp", *peers.words(case), "--layer", "tcp", "--interval", "10ms"])
            begun[case] = stack.enter_context(LiveSession(resolved(request_of(args, command))))
        yield begun


def test_each_option_shows_its_flows(peers: Peers) -> None:
    peers.connect(CONNECTIONS)
    with sessions(peers) as begun:
        peers.connect(LATER)
        for name in ("alpha", "beta"):
            peers.ask(name, "talk")
        seen = {case: peers.seen(next(iter(session))) for case, session in begun.items()}
    assert seen == CASES


def test_one_namespace_has_its_own_ends(peers: Peers) -> None:
    name = peers.pair.names[0]
    args, command = parse(["tcp", "--netns", name, "--interval", "10ms"])
    with LiveSession(resolved(request_of(args, command))) as session:
        found = peers.seen(next(iter(session)))
    assert found == "a> b> c> d> e> f> l< l>"


def test_sock_diag_shows_the_same(peers: Peers) -> None:
    seen = {}
    for case in WITHOUT_BPF:
        args, command = parse(["tcp", *peers.words(case)])
        request = resolved(request_of(args, command))
        polled = PolledTcp(request.filter)
        polled.begin(scope_of(request.netns))
        flows = polled.read().flows
        polled.close()
        seen[case] = peers.seen(Interval(number=0, begin_ns=0, end_ns=1, epoch_ns=0, flows=flows))
    assert seen == {case: CASES[case] for case in WITHOUT_BPF}
