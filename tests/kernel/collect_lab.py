"""Two hosts joined by a veth pair in which every packet is one segment, and known workloads between them."""

from __future__ import annotations

import json
import secrets
import socket
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any, TypeVar

from perfcheck.model.flow import TcpSocket
from perfcheck.model.observation import Observation, Scope
from perfcheck.model.seams import Collector
from perfcheck.system import sysctl
from perfcheck.system.clock import wait_until
from perfcheck.system.netns import NetnsThread, inode_of, path_of

C = TypeVar("C", bound=Collector)
T = TypeVar("T")
PORT = 5999


def run(*argv: str) -> str:
    return subprocess.run(argv, check=True, capture_output=True, text=True, timeout=30).stdout


@dataclass(kw_only=True)
class Pair:
    """`names` are namespaces, client first; `thread` runs calls inside them."""

    names: tuple[str, str]
    thread: NetnsThread
    addresses: tuple[str, str] = ("198.18.0.1", "198.18.0.2")
    processes: list[subprocess.Popen[str]] = field(default_factory=list)

    def scope(self, warmup_ns: int = 0) -> Scope:
        hosts = dict(zip(("client", "server"), self.names, strict=True))
        paths = {host: path_of(name) for host, name in hosts.items()}
        inodes = {host: inode_of(path) for host, path in paths.items()}
        return Scope(namespaces=inodes, netns_paths=paths, warmup_ns=warmup_ns)

    def client(self, work: Callable[[], T]) -> T:
        return self.thread.inside(path_of(self.names[0]), work)

    def server(self, work: Callable[[], T]) -> T:
        return self.thread.inside(path_of(self.names[1]), work)

    def set_sysctl(self, name: str, key: str, value: str) -> None:
        """Write one in a host's /proc/sys: not every distribution's base system has sysctl(8)."""
        self.thread.inside(path_of(name), partial(sysctl.write, key, value))

    def nft(self, end: int, *commands: str) -> None:
        """Run nft commands in the client (0) or server (1)."""
        for command in commands:
            run("ip", "netns", "exec", self.names[end], "nft", command)

    def dropped(self, end: int) -> int:
        """Packets that the rules of table `t` have counted in that host."""
        listing = json.loads(
            run("ip", "netns", "exec", self.names[end], "nft", "-j", "list", "counters", "table", "ip", "t")
        )
        return sum(int(one["counter"]["packets"]) for one in listing["nftables"] if "counter" in one)

    def connect(self, address: str = "") -> tuple[socket.socket, socket.socket]:
        """Return both ends of a new connection, client first."""
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        listening = ("::" if family == socket.AF_INET6 else self.addresses[1], PORT)
        dual = family == socket.AF_INET6
        with self.server(lambda: socket.create_server(listening, family=family, dualstack_ipv6=dual)) as listener:
            one = self.client(lambda: socket.socket(family))
            one.settimeout(10)
            one.connect((address or self.addresses[1], PORT))
            two, _ = listener.accept()
        one.settimeout(10)
        two.settimeout(10)
        return one, two

    def iperf3(self, *options: str) -> dict[str, Any]:
        """Run iperf3 from client to server and give its report."""
        inside = ("ip", "netns", "exec")
        server = subprocess.Popen(
            [*inside, self.names[1], "iperf3", "-s", "-1"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        try:
            assert wait_until(lambda: ":5201 " in run(*inside, self.names[1], "ss", "-Hltn"), timeout_s=10)
            client = (*inside, self.names[0], "iperf3", "-c", self.addresses[1], "-J", *options)
            report: dict[str, Any] = json.loads(run(*client))
            server.communicate(timeout=10)
        finally:
            server.kill()
            server.communicate()
        return report


@contextmanager
def pair(*, offloads: bool = False) -> Iterator[Pair]:
    """Two hosts; without offloads each packet on the wire is one segment."""
    tag = secrets.token_hex(3)
    names = (f"pct{tag}a", f"pct{tag}b")
    try:
        for name in names:
            run("ip", "netns", "add", name)
        run("ip", "link", "add", "eth0", "netns", names[0], "type", "veth", "peer", "name", "eth0", "netns", names[1])
        for name, address in zip(names, ("198.18.0.1/24", "198.18.0.2/24"), strict=True):
            run("ip", "-n", name, "address", "add", address, "dev", "eth0")
            run("ip", "-n", name, "address", "add", address.replace("198.18.0.", "2001:2::").replace("/24", "/64"),
                "dev", "eth0", "nodad")  # fmt: skip
            run("ip", "-n", name, "link", "set", "lo", "up")
            run("ip", "-n", name, "link", "set", "eth0", "up")
            if not offloads:
                run("ip", "netns", "exec", name, "ethtool", "-K", "eth0", "tso", "off", "gso", "off", "gro", "off")
        with NetnsThread() as thread:
            yield Pair(names=names, thread=thread)
    finally:
        for name in names:
            subprocess.run(["ip", "netns", "delete", name], check=False, capture_output=True)


@contextmanager
def measuring(scope: Scope, *collectors: Collector) -> Iterator[dict[str, Observation]]:
    """Begin the collectors; when the block ends its observations are in the mapping, by the collectors' names."""
    seen: dict[str, Observation] = {}
    for collector in collectors:
        collector.begin(scope)
    yield seen
    for collector in collectors:
        seen[collector.name] = collector.end()


def transfer(sender: socket.socket, receiver: socket.socket, size: int) -> None:
    """Send `size` bytes and read them all."""
    sending = threading.Thread(target=sender.sendall, args=(bytes(size),))
    sending.start()
    left = size
    while left:
        left -= len(receiver.recv(min(left, 1 << 16)))
    sending.join()


def of_port(seen: Observation, host: str, port: int = PORT) -> TcpSocket:
    """Return the one socket of the host that has the port at either end."""
    (found,) = (
        one for one in seen.tcp_sockets if one.key.host == host and port in {one.key.local_port, one.key.remote_port}
    )
    return found


@contextmanager
def opened(collector: C) -> Iterator[C]:
    """Open a collector; it is closed when the block ends."""
    collector.open()
    try:
        yield collector
    finally:
        collector.close()
