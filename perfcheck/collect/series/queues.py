"""Depth and drops of the hosts' queues and of emulated links' queues, by link direction, at each interval."""

from __future__ import annotations

import errno
import math
import os
import socket
import struct
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Final, NamedTuple

import numpy as np

from perfcheck.collect.kernel.rtnetlink import ROOT
from perfcheck.collect.series.named import NamedSeries
from perfcheck.collect.series.source import Moment
from perfcheck.collect.sockdiag.tcp_info import NLMSG_DONE, NLMSG_ERROR, messages
from perfcheck.errors import CollectError
from perfcheck.model.observation import QueueLook
from perfcheck.system.netns import NetnsThread

_RTM_GETQDISC: Final = 38
_DUMP: Final = 0x301
_HEADER: Final = struct.Struct("=IHHII")
_TCMSG: Final = struct.Struct("=BxxxiIII")
_ATTRIBUTE: Final = struct.Struct("=HH")
_QUEUE: Final = struct.Struct("=IIIII")  # gnet_stats_queue: qlen, backlog, drops, requeues, overlimits
_REQUEST: Final = _HEADER.pack(_HEADER.size + _TCMSG.size, _RTM_GETQDISC, _DUMP, 1, 0) + _TCMSG.pack(0, 0, 0, 0, 0)
_TCA_KIND: Final = 1
_TCA_STATS2: Final = 7
_TCA_STATS_QUEUE: Final = 3
_RECEIVE_BYTES: Final = 1 << 13
"""More than a message of a dump ever has; the kernel reserves as much memory as is asked for."""
_ECHO: Final = 0x9
"""A request whose answer goes to who asks: some kernels tell it to listeners alone otherwise."""
_GONE: Final = frozenset({errno.ENODEV, errno.ENOENT, errno.EINVAL})
"""How the kernel says that a device, or its qdisc, is there no more, or has become one that cannot queue."""
_TIMEOUT: Final = struct.pack("ll", 1, 0)
_WITHOUT_QUEUE: Final = b"noqueue"

WatchedQueues = tuple[tuple[str, ...], Callable[[], Sequence[QueueLook]]]
"""The names of a link's directions, and what looks at the queue of each."""


class RootQueue(NamedTuple):
    """A device's root qdisc: what waits in it, and what it has dropped."""

    ifindex: int
    packets: int
    size_bytes: int
    drops: int


class QdiscSocket:
    """Asks for the root qdiscs of the network namespace in which it is made."""

    def __init__(self) -> None:
        """Open the socket, and note the interfaces' names."""
        self._socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, socket.NETLINK_ROUTE)
        # The kernel keeps the time: Python would ask it before each message whether there is one.
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, _TIMEOUT)
        self.names = dict(socket.if_nameindex())
        self._watched = 0
        self._request = b""

    def queues(self) -> list[RootQueue]:
        """Return the root qdiscs that queue; OSError as the kernel says it."""
        self._socket.send(_REQUEST)
        found: list[RootQueue] = []
        done = False
        while not done:
            answer = self._socket.recv(_RECEIVE_BYTES)
            found += root_queues(answer)
            done = any(kind == NLMSG_DONE for kind, _ in messages(answer))
        return found

    def watch(self, devices: Sequence[int]) -> None:
        """Have `look` ask for the root qdiscs of these devices."""
        self._watched = len(devices)
        self._request = b"".join(
            _HEADER.pack(_HEADER.size + _TCMSG.size, _RTM_GETQDISC, _ECHO, 1, 0) + _TCMSG.pack(0, device, 0, ROOT, 0)
            for device in devices
        )

    def look(self) -> list[bytes]:
        """Return the kernel's answers, one for each device, to be read by `root_queues`."""
        self._socket.send(self._request)
        return [self._socket.recv(_RECEIVE_BYTES) for _ in range(self._watched)]

    def close(self) -> None:
        """Close the socket: an open one keeps the namespace alive."""
        self._socket.close()


def root_queues(answer: bytes) -> Iterator[RootQueue]:
    """Yield the root qdiscs that queue, of what a socket received; OSError as the kernel says it."""
    for kind, body in messages(answer):
        if kind == NLMSG_ERROR:
            number = -struct.unpack_from("=i", body)[0]
            if number not in _GONE:
                raise OSError(number, os.strerror(number))
        elif kind != NLMSG_DONE and (found := root_queue(body)) is not None:
            yield found


def root_queue(body: bytes) -> RootQueue | None:
    """Read an RTM_NEWQDISC message; None where it is no root, or one without a queue."""
    _, ifindex, _, parent, _ = _TCMSG.unpack_from(body)
    if parent != ROOT:
        return None
    attributes = _attributes(body, _TCMSG.size, len(body))
    at, end = attributes.get(_TCA_KIND, (0, 0))
    if body[at:end].rstrip(b"\0") == _WITHOUT_QUEUE or _TCA_STATS2 not in attributes:
        return None
    at, end = _attributes(body, *attributes[_TCA_STATS2]).get(_TCA_STATS_QUEUE, (0, 0))
    if end - at < _QUEUE.size:
        return None
    packets, size_bytes, drops, _, _ = _QUEUE.unpack_from(body, at)
    return RootQueue(ifindex, packets, size_bytes, drops)


def _attributes(data: bytes, at: int, end: int) -> dict[int, tuple[int, int]]:
    """Return where the contents of attributes begin and end, by their kinds."""
    found = {}
    while at + _ATTRIBUTE.size <= end:
        length, kind = _ATTRIBUTE.unpack_from(data, at)
        if length < _ATTRIBUTE.size:
            break
        found[kind & 0x3FFF] = (at + _ATTRIBUTE.size, min(at + length, end))
        at += (length + 3) & ~3
    return found


class HostQueues(NamedSeries):
    """The root qdiscs of the hosts' interfaces, by the link's direction that each sends into."""

    def __init__(self, paths: Mapping[str, str], directions: Mapping[tuple[str, str], str]) -> None:
        """Open a socket in each host that has a queue; `directions` are by host and interface name."""
        self._sockets: list[tuple[QdiscSocket, dict[int, int]]] = []
        names: list[str] = []
        try:
            with NetnsThread() as namespaces:
                for host, path in paths.items():
                    opened = namespaces.inside(path, QdiscSocket)
                    own = {
                        queue.ifindex: directions[host, opened.names[queue.ifindex]]
                        for queue in opened.queues()
                        if (host, opened.names.get(queue.ifindex, "")) in directions
                    }
                    self._sockets.append((opened, {ifindex: len(names) + n for n, ifindex in enumerate(own)}))
                    names += own.values()
        except OSError as problem:
            self.close_sockets()
            raise CollectError(f"the hosts' queues cannot be read: {problem.strerror}") from problem
        super().__init__([
            (name, f"qdisc.{metric}") for metric in ("depth_packets", "depth_bytes", "drops") for name in names
        ])  # fmt: skip
        self._had = np.full((1, len(names)), -1.0)
        self._queues = len(names)
        self._nothing = [math.nan] * (3 * len(names))
        self._answers: list[tuple[int, list[list[bytes]]]] = []
        for opened, own_numbers in self._sockets:
            if own_numbers:
                opened.watch(tuple(own_numbers))
            else:
                opened.close()
        self._sockets = [one for one in self._sockets if one[1]]
        self._looks = [opened.look for opened, _ in self._sockets]

    def sample(self, moment: Moment) -> None:
        """Ask what waits now, and what was dropped so far."""
        if self._looks:
            self._answers.append((moment.tick, [look() for look in self._looks]))

    def spool(self) -> None:
        """Spool what waited, and what was dropped in each interval."""
        answers, self._answers = self._answers, []
        if not answers:
            return
        values = np.array([self._row_of(each) for _, each in answers]).reshape(len(answers), 3, self._queues)
        both = np.concatenate([self._had, values[:, 2]])
        self._had = both[-1:]
        values[:, 2] = np.where(both[:-1] >= 0, np.diff(both, axis=0) % (1 << 32), 0)
        self.add_values([tick for tick, _ in answers], values.reshape(len(answers), -1))

    def _row_of(self, answers: Sequence[Sequence[bytes]]) -> list[float]:
        """Read one tick's answers, which come by host and device."""
        found = self._nothing.copy()
        for (_, numbers), each in zip(self._sockets, answers, strict=True):
            for queue in (queue for answer in each for queue in root_queues(answer)):
                found[numbers[queue.ifindex] :: self._queues] = queue[1:]
        return found

    def close_sockets(self) -> None:
        """Let go of the hosts."""
        for opened, _ in self._sockets:
            opened.close()
        self._sockets = []

    def close(self) -> None:
        """Let go of the hosts and remove what was spooled."""
        self.close_sockets()
        super().close()


class LinkQueues(NamedSeries):
    """The queues of emulated links that can be watched, by direction."""

    def __init__(self, watched: Sequence[WatchedQueues]) -> None:
        """Take for each link the names of its directions, and what looks at their queues."""
        self._watched = tuple(watched)
        names = [name for own, _ in self._watched for name in own]
        metrics = ("link_queue_bytes", "link_drops", "link_losses")
        super().__init__([(name, f"qdisc.{metric}") for metric in metrics for name in names])
        # What was dropped before the first tick is told with it.
        self._had = np.zeros((1, len(names), 3))
        self._found: list[tuple[int, list[QueueLook]]] = []

    def sample(self, moment: Moment) -> None:
        """Note what waits now, and what was dropped or lost so far."""
        if looks := [look for _, look_at in self._watched for look in look_at()]:
            self._found.append((moment.tick, looks))

    def spool(self) -> None:
        """Spool what waited, and what was dropped or lost in each interval."""
        found, self._found = self._found, []
        if not found:
            return
        values = np.array(
            [[(look.size_bytes, look.drops + look.policed, look.losses) for look in looks] for _, looks in found],
            dtype=float,
        )
        both = np.concatenate([self._had, values])
        values[:, :, 1:] = np.diff(both[:, :, 1:], axis=0)
        self._had = both[-1:]
        self.add_values([tick for tick, _ in found], np.maximum(values, 0).transpose(0, 2, 1).reshape(len(found), -1))
