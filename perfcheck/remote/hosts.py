"""A real host: processes, files and addresses of another machine through its agent; implements model.seams.Host."""

from __future__ import annotations

import contextlib
import subprocess
from collections.abc import Sequence
from ipaddress import ip_address
from pathlib import Path
from typing import Final

from perfcheck.agent import requests as ask
from perfcheck.errors import LabError
from perfcheck.model.names import Family
from perfcheck.model.scenario import HostSpec
from perfcheck.remote.channel import Channel
from perfcheck.remote.processes import RemoteProcess
from perfcheck.remote.programs import place_program

_RUN_GRACE_S: Final = 30.0
"""Beyond a command's own time: what the way takes, and ending what does not end."""


class RemoteFile:
    """A file in the memory of the other machine; implements model.seams.HostFile."""

    def __init__(self, channel: Channel, label: str, content: bytes) -> None:
        """Make it there."""
        self._channel = channel
        made: ask.MadeFile = channel.ask(ask.MakeFile(label=label), content)
        self.folder, self.name, self._number = made.folder, str(made.number), made.number

    @property
    def path(self) -> Path:
        """Folder and name."""
        return Path(self.folder) / self.name

    def content(self) -> bytes:
        """Read all of it."""
        return self._channel.ask_for_payload(ask.ReadFile(number=self._number))

    def close(self) -> None:
        """Free it; safe to call twice, and when the connection is lost."""
        if self._number >= 0:
            with contextlib.suppress(LabError):
                self._channel.ask(ask.CloseFile(number=self._number))
            self._number = -1


class RealHost:
    """One machine; all that is started there is journalled there."""

    netns_path: Final = "/proc/self/ns/net"
    """There: an agent measures the namespace that it runs in."""
    netns_inode: Final = 0

    def __init__(self, name: str, spec: HostSpec, channel: Channel) -> None:
        """Take a connection, and look at the interface; LabError where it is not fit for a link."""
        self.name = name
        self.channel = channel
        self.nice = 0
        self._spec = spec
        address = spec.address[0] if spec.address else None
        self.description: ask.Description = channel.ask(ask.Describe(interface=spec.interface, address=address))
        self.addresses: tuple[str, ...] = tuple(_usable(self.where, spec, self.description.interface))
        self._cpus = spec.cpus
        self._programs: dict[Path, str] = {}
        missing = sorted(set(spec.cpus or ()) - set(self.description.cpus))
        if missing:
            have = ", ".join(map(str, self.description.cpus))
            raise LabError(f"{self.where}: cpus {', '.join(map(str, missing))} do not exist; it has {have}")

    @property
    def where(self) -> str:
        """How messages speak of it."""
        return self.channel.where

    @property
    def interface(self) -> str:
        """The name of its interface on the link."""
        return self.description.interface.name

    def address_towards(self, peer: str, family: Family = "ipv4") -> str:
        """Return its address of this family; LabError where the interface has none."""
        wanted = 4 if family == "ipv4" else 6
        for address in self.addresses:
            if ip_address(address).version == wanted:
                return address
        raise LabError(f"{self.where}: {self.interface} has no {family} address by which {peer} could reach it")

    def require(self, program: str) -> None:
        """Raise Unavailable where the program is not installed there."""
        self.channel.ask(ask.Require(program=program))

    def popen(self, argv: Sequence[str], *, stdin: int | None = None) -> RemoteProcess:
        """Start a journalled process there, pinned as the file says."""
        if stdin is not None:
            raise LabError(f"{self.where}: nothing can be written to a process of another machine")
        if not argv:
            raise LabError(f"{self.where}: there is no command to run")
        channel, number = self.channel, self.channel.new_number()

        def send_signal(which: int) -> None:
            with contextlib.suppress(LabError):
                channel.ask(ask.Signal(number=number, signal=which))

        process = RemoteProcess(argv, send_signal, channel.clock.ns)
        channel.watch(number, process)
        try:
            started: ask.Started = channel.ask(
                ask.Start(number=number, argv=tuple(argv), cpus=self._cpus, nice=self.nice)
            )
        except BaseException:
            process.ended(-9, 0, 0.0)
            raise
        process.begun(started.pid, started.start_ns)
        return process

    def run(self, argv: Sequence[str], *, timeout_s: float = 30.0) -> subprocess.CompletedProcess[bytes]:
        """Run a command there to its end, output captured; LabError past the time, the status is not judged."""
        request = ask.Run(argv=tuple(argv), timeout_s=timeout_s, cpus=self._cpus)
        ran: ask.Ran = self.channel.ask(request, timeout_s=timeout_s + _RUN_GRACE_S)
        return subprocess.CompletedProcess(list(argv), ran.status, ran.stdout, ran.stderr)

    def listening(self, port: int, protocol: str = "tcp") -> bool:
        """Whether something listens on the port there."""
        found: bool = self.channel.ask(ask.Listening(port=port, protocol=protocol))
        return found

    def file(self, label: str, content: bytes = b"") -> RemoteFile:
        """Make a file in the memory of that machine."""
        return RemoteFile(self.channel, label, content)

    def own_program(self, name: str) -> Sequence[str]:
        """Return the words that run a program of our copy there."""
        return (*self.channel.greeting.python, "-I", "-S", f"{self.channel.greeting.folder}/perfcheck/{name}")

    def compiled_program(self, source: Path) -> str:
        """Return the path there of a small C program; it is placed there once."""
        if source not in self._programs:
            architecture = self.description.environment.get("arch", "")
            self._programs[source] = place_program(self.channel, architecture, source)
        return self._programs[source]


def _usable(where: str, spec: HostSpec, interface: ask.InterfaceFacts) -> Sequence[str]:
    """Return the addresses that are used: those of the file, else all of the interface, IPv4 first."""
    if not interface.up or not interface.carrier:
        state = "without a carrier" if interface.up else "down"
        raise LabError(
            f"{where}: the interface {interface.name} is {state}: plug it in, or set it up "
            f"(ip link set {interface.name} up)"
        )
    absent = [address for address in spec.address if address not in interface.addresses]
    if absent:
        have = ", ".join(interface.addresses) or "none"
        raise LabError(f"{where}: {interface.name} has no address {', '.join(absent)}; it has {have}")
    found = spec.address or interface.addresses
    if not found:
        raise LabError(
            f"{where}: {interface.name} has no address: give it one (ip addr add ADDRESS/PREFIX dev {interface.name})"
        )
    return sorted(found, key=lambda address: ip_address(address).version)
