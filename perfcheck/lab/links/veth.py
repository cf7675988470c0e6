"""A plain veth pair between two hosts: a link that does nothing to packets."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING, Final

from perfcheck.errors import LabError
from perfcheck.lab.choice import impaired
from perfcheck.lab.network import counters
from perfcheck.model.link import LinkSpec
from perfcheck.model.observation import LinkReport
from perfcheck.model.seams import LinkEnd, UndoLog
from perfcheck.system.checks import require_privileges
from perfcheck.system.netns import OWN_NETNS, NetnsThread

if TYPE_CHECKING:
    from pyroute2 import IPRoute

NAME: Final = "veth"


class VethEmulator:
    """Links as veth pairs, offloads left on: what is sent as one super-packet arrives and is counted as one."""

    name = NAME

    def check(self) -> None:
        """Raise Unavailable without the right to make network devices."""
        require_privileges()

    def floor(self, link: LinkSpec) -> str | None:
        """Refuse impairments: there is no middle hop here that could carry them."""
        return "a plain veth pair has no delay, rate, loss or other impairment" if impaired(link) else None

    def up(self, index: int, link: LinkSpec, ends: tuple[LinkEnd, LinkEnd], undo: UndoLog) -> VethLink:
        """Make the pair with each end in its own host at once; it goes with the namespaces, which are journalled."""
        del undo
        thread = NetnsThread()
        try:
            what = f"links[{index}] {'-'.join(link.between)}: making the veth pair"
            thread.netlink(OWN_NETNS, lambda ip: _add_pair(ip, link.mtu, ends), what=what)
            return VethLink(index, ends, thread)
        except BaseException:
            thread.close()
            raise


class VethLink:
    """A veth pair that is up; its reports are differences of the kernel's own counters."""

    def __init__(self, index: int, ends: tuple[LinkEnd, LinkEnd], thread: NetnsThread) -> None:
        """Take a pair that exists and the thread that made it."""
        self._index = index
        self._ends = ends
        self._thread = thread
        self._before = self._read()

    def begin_trial(self, index: int) -> None:
        """Start a trial at the present counters; there is no loss pattern."""
        del index
        self._before = self._read()

    def end_trial(self) -> tuple[LinkReport, ...]:
        """Return the reports of both directions since begin_trial, forward first."""
        first, second = (
            {name: value - before.get(name, 0) for name, value in now.items()}
            for now, before in zip(self._read(), self._before, strict=True)
        )
        return (self._report("forward", first, second), self._report("reverse", second, first))

    def close(self) -> None:
        """Remove the pair; safe to call twice and when the hosts are gone."""
        with contextlib.suppress(LabError, OSError, RuntimeError):
            end = self._ends[0]
            self._thread.netlink(end.netns_path, lambda ip: ip.link("del", ifname=end.ifname), what="removing a veth")
        self._thread.close()

    def _read(self) -> tuple[Mapping[str, int], Mapping[str, int]]:
        first, second = (
            self._thread.netlink(
                end.netns_path, partial(counters, ifname=end.ifname), what=f"reading the counters of {end.host}"
            )
            for end in self._ends
        )
        return first, second

    def _report(self, direction: str, sender: Mapping[str, int], receiver: Mapping[str, int]) -> LinkReport:
        # veth counts a packet as sent only when the other end took it, and as dropped where not.
        return LinkReport(
            link=self._index,
            way=direction,
            emulator=NAME,
            received=sender["tx_packets"] + sender["tx_dropped"],
            delivered=receiver["rx_packets"],
            dropped_other=sender["tx_dropped"],
            extra={"received_bytes": float(sender["tx_bytes"]), "delivered_bytes": float(receiver["rx_bytes"])},
        )


def _add_pair(ip: IPRoute, mtu: int, ends: tuple[LinkEnd, LinkEnd]) -> None:
    with contextlib.ExitStack() as stack:
        first, second = (os.open(end.netns_path, os.O_RDONLY | os.O_CLOEXEC) for end in ends)
        stack.callback(os.close, first)
        stack.callback(os.close, second)
        ip.link(
            "add", kind="veth", ifname=ends[0].ifname, mtu=mtu, net_ns_fd=first,
            peer={"ifname": ends[1].ifname, "mtu": mtu, "net_ns_fd": second},
        )  # fmt: skip
