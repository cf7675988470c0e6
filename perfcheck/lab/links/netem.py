"""Links through a middle network namespace, where the kernel's netem and tbf do the work.

    host A  ifname <-veth-> a  [ middle: what enters at a leaves at b, and back ]  b <-veth-> ifname  host B

Each direction has netem (delay, jitter, loss, copies, corruption, overtaking) at its egress, and behind it tbf
with a bounded queue where there is a rate.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final

from perfcheck.errors import LabError
from perfcheck.lab.links import qdiscs
from perfcheck.lab.network import counters
from perfcheck.model.link import DIRECTIONS, LinkSpec
from perfcheck.model.observation import LinkReport
from perfcheck.model.seams import LinkEnd, UndoLog
from perfcheck.system import checks, commands, netns
from perfcheck.system.ethtool import turn_offloads_off
from perfcheck.system.netns import NetnsThread

if TYPE_CHECKING:
    from pyroute2 import IPRoute

NAME: Final = "netem"
TC_TIMEOUT_S: Final = 60.0
MIDDLE: Final = ("a", "b")
"""Devices of the middle namespace: towards the link's first host, towards its second."""
_IPV6_SWITCHES: Final = tuple(Path(f"/proc/sys/net/ipv6/conf/{scope}/disable_ipv6") for scope in ("all", "default"))

Count = Mapping[str, int]


class NetemEmulator:
    """Links on a middle host with the kernel's own qdiscs."""

    name = NAME

    def check(self) -> None:
        """Raise Unavailable where the kernel has no netem or there is no tc(8)."""
        checks.require_privileges()
        checks.require_qdisc("netem", delay=1000)
        commands.find("tc")

    def floor(self, link: LinkSpec) -> str | None:
        """Say what netem cannot do, or None."""
        return qdiscs.floor(link)

    def up(self, index: int, link: LinkSpec, ends: tuple[LinkEnd, LinkEnd], undo: UndoLog) -> NetemLink:
        """Make the middle namespace, both veth pairs and the qdiscs; LabError says what was refused."""
        made = NetemLink(index, link, f"pc-{undo.tag}-l{index}", ends, NetnsThread())
        try:
            made.build(undo)
        except BaseException:
            made.close()
            raise
        return made


class NetemLink:
    """A middle namespace that is up; its reports are differences of the kernel's own counters."""

    def __init__(
        self, index: int, link: LinkSpec, name: str, ends: tuple[LinkEnd, LinkEnd], thread: NetnsThread
    ) -> None:
        """Take what `build` needs; nothing is made yet."""
        self._index = index
        self._link = link
        self._name = name
        self._ends = ends
        self._thread = thread
        self._path = netns.path_of(name)
        self._mark: netns.Mark | None = None
        self._before: tuple[Count, Count] = ({}, {})

    @property
    def _label(self) -> str:
        return f"links[{self._index}] {'-'.join(self._link.between)}"

    def build(self, undo: UndoLog) -> None:
        """Make everything."""
        self._mark = self._thread.create(self._name, undo)
        self._thread.inside(self._path, _silence_ipv6)
        for device, end in zip(MIDDLE, self._ends, strict=True):
            add = partial(_add_pair, mtu=self._link.mtu, device=device, end=end)
            self._thread.netlink(self._path, add, what=f"{self._label}: making a veth pair")
            self._thread.inside(end.netns_path, partial(turn_offloads_off, end.ifname))
            self._thread.inside(self._path, partial(turn_offloads_off, device))
        self._tc(qdiscs.commands_for(self._link, MIDDLE))
        self._before = self._devices()

    def begin_trial(self, index: int) -> None:
        """Start a trial: qdiscs made anew, which puts a seeded generator back and empties the queues."""
        del index
        self._tc([*qdiscs.removal(MIDDLE), *qdiscs.commands_for(self._link, MIDDLE)])
        self._before = self._devices()

    def end_trial(self) -> tuple[LinkReport, ...]:
        """Return the reports of both directions since begin_trial, forward first."""
        statistics = [self._statistics(device) for device in MIDDLE]
        now = self._devices()
        return tuple(self._report(name, statistics, now) for name in DIRECTIONS)

    def close(self) -> None:
        """Remove the middle namespace, and with it the hosts' devices; safe to call twice."""
        self._thread.close()
        with contextlib.suppress(OSError):
            netns.remove(self._name, self._mark)

    def _tc(self, lines: Sequence[Sequence[str]]) -> None:
        batch = "".join(" ".join(words) + "\n" for words in lines).encode()
        argv = [commands.find("tc"), "-batch", "-"]
        process = self._thread.inside(self._path, lambda: commands.popen(argv, stdin=subprocess.PIPE))
        stdout, stderr = process.communicate(batch, timeout=TC_TIMEOUT_S)
        if process.returncode != 0:
            done = subprocess.CompletedProcess(argv, process.returncode, stdout, stderr)
            raise LabError(f"{self._label}: {commands.failure(done)}")

    def _statistics(self, device: str) -> str:
        argv = [commands.find("tc"), "-s", "-j", "qdisc", "show", "dev", device]
        return self._thread.inside(self._path, lambda: commands.run(argv, error=LabError)).stdout.decode()

    def _devices(self) -> tuple[Count, Count]:
        look = (partial(counters, ifname=device) for device in MIDDLE)
        what = f"{self._label}: reading counters"
        first, second = (self._thread.netlink(self._path, work, what=what) for work in look)
        return first, second

    def _report(self, direction: str, statistics: Sequence[str], now: tuple[Count, Count]) -> LinkReport:
        enters, leaves = (0, 1) if direction == DIRECTIONS[0] else (1, 0)
        seen = qdiscs.counts(statistics[enters], statistics[leaves])

        def passed(device: int, name: str) -> int:
            return now[device][name] - self._before[device][name]

        received = passed(enters, "rx_packets")
        whole = max(0, seen.entered - received)
        return LinkReport(
            link=self._index,
            way=direction,
            emulator=NAME,
            received=received,
            delivered=passed(leaves, "tx_packets"),
            dropped_loss=seen.dropped_loss,
            dropped_queue=seen.dropped_queue,
            dropped_policer=seen.dropped_policer,
            dropped_other=passed(leaves, "tx_dropped"),
            invalid_reason=f"{whole} packets crossed inside larger ones, which netem treats as one" if whole else None,
            extra={"received_bytes": float(passed(enters, "rx_bytes")), "marked": float(seen.marked)},
        )


def _silence_ipv6() -> None:
    for switch in _IPV6_SWITCHES:
        if switch.exists():
            switch.write_text("1", encoding="ascii")


def _add_pair(ip: IPRoute, mtu: int, device: str, end: LinkEnd) -> None:
    with contextlib.ExitStack() as stack:
        host = os.open(end.netns_path, os.O_RDONLY | os.O_CLOEXEC)
        stack.callback(os.close, host)
        ip.link("add", kind="veth", ifname=device, mtu=mtu, peer={"ifname": end.ifname, "mtu": mtu, "net_ns_fd": host})
    (index,) = ip.link_lookup(ifname=device)
    ip.link("set", index=index, state="up")
