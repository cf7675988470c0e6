"""A host of the lab: a network namespace that starts and supervises processes."""

from __future__ import annotations

import contextlib
import errno
import os
import socket
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final, TypeVar

import perfcheck
from perfcheck.errors import LabError
from perfcheck.lab.topology import Topology
from perfcheck.model.names import Family
from perfcheck.system import commands, processes
from perfcheck.system.calling_thread import at_priority, on_cpus
from perfcheck.system.listeners import lengthen_backlogs
from perfcheck.system.memory_file import MemoryFile
from perfcheck.system.netns import inode_of
from perfcheck.system.programs import executable

if TYPE_CHECKING:
    from perfcheck.model.seams import UndoLog
    from perfcheck.system.netns import NetnsThread

_REAP_TIMEOUT_S: Final = 1.0
_TCP_LISTEN: Final = 1 << 10
_UDP_UNCONNECTED: Final = 1 << 7
_SOCKETS: Final = {"tcp": (socket.IPPROTO_TCP, _TCP_LISTEN), "udp": (socket.IPPROTO_UDP, _UDP_UNCONNECTED)}
"""Protocol number and mask of the socket states that take traffic from anybody (enum in net/tcp_states.h)."""

T = TypeVar("T")


class LabHost:
    """A network namespace with its processes; implements model.seams.Host.

    Processes inherit the namespace and the CPUs of the thread that starts them: nothing is run
    between fork and exec, and no launcher stands in between.
    """

    def __init__(self, name: str, netns_path: str, topology: Topology, thread: NetnsThread, undo: UndoLog) -> None:
        """Take a namespace that exists."""
        self.name = name
        self.netns_path = netns_path
        self.netns_inode = inode_of(netns_path)
        self._topology = topology
        self._thread = thread
        self._undo = undo
        self._cpus = topology.hosts[name].cpus
        self.nice = 0
        self.long_backlogs = False
        self._environment = commands.tagged_environment(undo.tag)
        self._processes: list[subprocess.Popen[bytes]] = []

    @property
    def addresses(self) -> Sequence[str]:
        """Its IP addresses, the first link's first, IPv4 before IPv6."""
        links = self._topology.links_of(self.name)
        return tuple(address for link in links for address in link.end_of(self.name).addresses)

    def address_towards(self, peer: str, family: Family = "ipv4") -> str:
        """Return the address under which `peer` reaches this host; LabError where it does not."""
        return self._topology.address_towards(self.name, peer, family)

    def inside(self, work: Callable[[], T]) -> T:
        """Return what `work` gives when called in the host's namespace, in another thread."""
        return self._thread.inside(self.netns_path, work)

    def require(self, program: str) -> None:
        """Raise Unavailable where the program is not installed."""
        commands.find(program)

    def popen(self, argv: Sequence[str], *, stdin: int | None = None) -> subprocess.Popen[bytes]:
        """Start a journalled process in the host, pinned as the file says, stdout and stderr piped."""
        if not argv:
            raise LabError(f"host {self.name}: there is no command to run")

        def start() -> subprocess.Popen[bytes]:
            with on_cpus(self._cpus), at_priority(self.nice):
                started = commands.popen(argv, stdin=stdin, env=self._environment)
            # Kept here, in the thread: the caller may be interrupted before it gets hold of it.
            self._processes = [*(one for one in self._processes if one.returncode is None), started]
            return started

        self._undo.note("process", argv[0])
        process = self.inside(start)
        if (running := processes.identify(process.pid)) is not None:
            self._undo.note("process", argv[0], pid=str(running.pid), start=str(running.start_ticks))
        return process

    def run(self, argv: Sequence[str], *, timeout_s: float = 30.0) -> subprocess.CompletedProcess[bytes]:
        """Run a command in the host to its end, output captured; LabError past the time, the status is not judged."""
        return commands.finish(self.popen(argv), argv, timeout_s=timeout_s, error=LabError)

    def listening(self, port: int, protocol: str = "tcp") -> bool:
        """Whether something listens on the port, over IPv4 or IPv6 (by sock_diag, no connection is made)."""
        number, states = _SOCKETS[protocol]
        found = self.inside(lambda: port in _bound_ports(number, states))
        if found and self.long_backlogs and protocol == "tcp":
            # Nobody has been told yet that it listens: no connection has come.
            lengthen_backlogs(self.netns_path)
        return found

    def file(self, label: str, content: bytes = b"") -> MemoryFile:
        """Make a file in memory, which the host's processes open by its path."""
        return MemoryFile(label, content)

    def own_program(self, name: str) -> Sequence[str]:
        """Return the words that run a program of perfcheck's own: without the packages around it, it starts at once."""
        return (sys.executable, "-I", "-S", str(Path(perfcheck.__file__).parent.resolve() / name))

    def compiled_program(self, source: Path) -> str:
        """Return the path of a small C program of perfcheck's own."""
        return str(executable(source))

    def reap(self) -> None:
        """Wait for processes that were ended and close this side of their pipes; safe to call twice."""
        for process in self._processes:
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(_REAP_TIMEOUT_S)
            commands.release(process)


def check_cpus(host: str, cpus: Sequence[int] | None) -> None:
    """Raise LabError for CPUs that this process may not use."""
    allowed = os.sched_getaffinity(0)
    missing = sorted(set(cpus or ()) - allowed)
    if missing:
        have = ", ".join(str(cpu) for cpu in sorted(allowed))
        raise LabError(f"host {host}: cpus {', '.join(map(str, missing))} do not exist; this machine has {have}")


def _bound_ports(protocol: int, states: int) -> frozenset[int]:
    from pyroute2 import DiagSocket
    from pyroute2.netlink.exceptions import NetlinkError

    ports: set[int] = set()
    with DiagSocket() as diag:
        for family in (socket.AF_INET, socket.AF_INET6):
            try:
                found = diag.get_sock_stats(family=family, protocol=protocol, states=states)
            except NetlinkError as refused:
                # A kernel without IPv6 has no such handler.
                if refused.code in {errno.ENOENT, errno.EAFNOSUPPORT}:
                    continue
                raise LabError(f"sock_diag was refused by the kernel: {os.strerror(refused.code)}") from refused
            ports.update(message["idiag_sport"] for message in found)
    return frozenset(ports)
