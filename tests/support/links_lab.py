"""Two hosts and one link, for the kernel tests of the emulators; the hosts are made and undone by the journal."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final

from perfcheck.lab import network
from perfcheck.lab.links.probe import Side
from perfcheck.lab.links.relay.emulator import RelayEmulator
from perfcheck.lab.topology import lay_out
from perfcheck.model.observation import LinkReport
from perfcheck.model.scenario import HostSpec, LinkSpec
from perfcheck.model.seams import EmulatedLink, LinkEmulator, LinkEnd
from perfcheck.system.clock import wait_until
from perfcheck.system.journal import Journal
from perfcheck.system.netns import NetnsThread, path_of

FIRST, SECOND = "198.18.0.1", "198.18.0.2"
PORT: Final = 7777
PATIENCE_S: Final = 0.3
SO_RCVBUFFORCE: Final = 33
BUFFER_BYTES: Final = 32 * 2**20
IPERF_PORT: Final = 5201
IPERF_TIMEOUT_S: Final = 30


@dataclass(frozen=True, slots=True, kw_only=True)
class TwoHosts:
    """A link that is up between hosts `a` and `b`."""

    spec: LinkSpec
    link: EmulatedLink
    ends: tuple[LinkEnd, LinkEnd]
    thread: NetnsThread
    tag: str

    @property
    def sides(self) -> tuple[Side, Side]:
        return (
            Side(netns_path=self.ends[0].netns_path, address=FIRST),
            Side(netns_path=self.ends[1].netns_path, address=SECOND),
        )

    def popen(self, side: int, *argv: str) -> subprocess.Popen[bytes]:
        def start() -> subprocess.Popen[bytes]:
            return subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE)

        return self.thread.inside(self.ends[side].netns_path, start)

    def socket(self, side: int, kind: int = socket.SOCK_DGRAM, family: int = socket.AF_INET) -> socket.socket:
        """Open a socket in a host."""
        return self.thread.inside(self.ends[side].netns_path, lambda: socket.socket(family, kind))

    def iperf3(self, *arguments: str) -> dict[str, Any]:
        """Run iperf3 from `a` to `b` with these arguments and give its report's `end`."""
        server = self.popen(1, "iperf3", "-s", "-1")
        try:
            assert wait_until(partial(_listens, server.pid), timeout_s=5)
            client = self.popen(0, "iperf3", "-c", SECOND, "--connect-timeout", "3000", "-J", *arguments)
            output, _ = client.communicate(timeout=IPERF_TIMEOUT_S)
            report: dict[str, Any] = json.loads(output)
            assert "error" not in report, report["error"]
            ended: dict[str, Any] = report["end"]
            return ended
        finally:
            server.kill()
            server.communicate()

    def send(self, count: int, size: int = 100, gap_s: float = 0.0) -> list[int]:
        """Send numbered datagrams from `a` to `b`, zeros but for the number, and give which arrived, in order."""
        with self.socket(0) as sender, self.socket(1) as receiver:
            receiver.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, BUFFER_BYTES)
            receiver.bind((SECOND, PORT))
            receiver.settimeout(PATIENCE_S)
            begin = time.monotonic()
            for number in range(count):
                while time.monotonic() < begin + number * gap_s:
                    pass
                sender.sendto(number.to_bytes(4, "big") + bytes(size - 4), (SECOND, PORT))
            got = []
            with contextlib.suppress(TimeoutError):
                while True:
                    packet = receiver.recv(size + 1)
                    assert packet[4:] == bytes(size - 4)
                    got.append(int.from_bytes(packet[:4], "big"))
            return got

    def counters(self, side: int) -> dict[str, int]:
        """Return the kernel's counts of a host's interface, over netlink."""
        look = partial(network.counters, ifname=self.ends[side].ifname)
        return dict(self.thread.netlink(self.ends[side].netns_path, look, what="counters"))


@contextlib.contextmanager
def two_hosts(emulator: LinkEmulator, *, ipv6: bool = False, **fields: Any) -> Iterator[TwoHosts]:
    """Return hosts `a` and `b` with the link between them; without IPv6 they send nothing of their own accord."""
    spec = LinkSpec.model_validate({"between": ("a", "b")} | fields)
    topology = lay_out({"a": HostSpec(), "b": HostSpec()}, [spec], ipv6=ipv6)
    tag = f"lk{os.urandom(3).hex()}"
    with Journal.create(tag) as journal, NetnsThread() as thread, contextlib.ExitStack() as stack:
        paths = {}
        for host in "ab":
            thread.create(f"pc-{tag}-{host}", journal)
            paths[host] = path_of(f"pc-{tag}-{host}")
            if not ipv6:
                thread.inside(paths[host], _turn_ipv6_off)
        first, second = (
            LinkEnd(host=end.host, netns_path=paths[end.host], ifname=end.ifname) for end in topology.links[0].ends
        )
        link = emulator.up(0, spec, (first, second), journal)
        stack.callback(link.close)
        for host, path in paths.items():
            thread.netlink(path, network.bring_loopback_up, what="lo")
            configure = partial(network.configure, topology=topology, host=host, congestion=None)
            thread.netlink(path, configure, what="addresses")
        for end in (first, second):
            assert wait_until(partial(_passes, thread, end), timeout_s=5)
        yield TwoHosts(spec=spec, link=link, ends=(first, second), thread=thread, tag=tag)


@contextlib.contextmanager
def relay(**fields: Any) -> Iterator[TwoHosts]:
    """Return hosts `a` and `b` with the relay between them."""
    emulator = RelayEmulator()
    emulator.check()
    with two_hosts(emulator, **fields) as hosts:
        yield hosts


def _turn_ipv6_off() -> None:
    for scope in ("all", "default"):
        switch = Path(f"/proc/sys/net/ipv6/conf/{scope}/disable_ipv6")
        if switch.exists():
            switch.write_text("1", encoding="ascii")


def _listens(pid: int) -> bool:
    """Whether the namespace of this process has a listener on iperf3's port (state 0A in /proc/net/tcp)."""
    tables = [Path(f"/proc/{pid}/net/{name}").read_text(encoding="ascii") for name in ("tcp", "tcp6")]
    fields = [line.split() for table in tables for line in table.splitlines()[1:]]
    return any(row[1].endswith(f":{IPERF_PORT:04X}") and row[3] == "0A" for row in fields)


def _passes(thread: NetnsThread, end: LinkEnd) -> bool:
    look = partial(network.carrier, ifname=end.ifname)
    return thread.netlink(end.netns_path, look, what="carrier") is not network.Carrier.ABSENT


def trial(hosts: TwoHosts, *arguments: str) -> tuple[dict[str, Any], tuple[LinkReport, ...]]:
    """Run iperf3 as one trial of the link."""
    hosts.link.begin_trial(0)
    ended = hosts.iperf3(*arguments)
    return ended, hosts.link.end_trial()
