"""The TCP connections of one host by sock_diag(7), without a walk over the machine's whole table each time.

A dump walks the kernel's table of connections. It takes a quarter of a millisecond even if there are few. A request
for one known connection takes a fifteenth of that. So a host is dumped only in these cases: its namespace opened a
connection since the last reading (ActiveOpens and PassiveOpens of /proc/net/snmp); at the reading after that one,
because the kernel counts a passive open just before it can be found; an answer is missing; or there are many.
"""

from __future__ import annotations

import contextlib
import functools
import os
import socket
from collections.abc import Iterable
from typing import Final

from perfcheck.collect.sockdiag.socket import RECEIVE_BYTES, asked, dumped, opened, payloads
from perfcheck.collect.sockdiag.tcp_info import TcpLook, dump_request, look_of, request_for
from perfcheck.errors import Unavailable

_DESTROY_GROUPS: Final = 1 << 0 | 1 << 2  # SKNLGRP_INET_TCP_DESTROY, SKNLGRP_INET6_TCP_DESTROY
_STATES: Final = 0xFFF & ~(1 << 6 | 1 << 10 | 1 << 3)  # without TIME_WAIT, LISTEN, SYN_RECV
_BUFFER_BYTES: Final = 1 << 20
_MANY: Final = 12
"""From so many connections on a dump is the cheaper."""
_SNMP: Final = "/proc/thread-self/net/snmp"
_SNMP_BYTES: Final = 1 << 14
_OPENS: Final = (b"ActiveOpens", b"PassiveOpens")


class HostSockets:
    """The two netlink sockets into one host: one asks, one is told of destroyed sockets."""

    def __init__(self, host: str) -> None:
        """Open them in the network namespace of the calling thread; OSError where that is refused."""
        self.host = host
        self.ask = opened()
        self.told = opened()
        self.ask.settimeout(1.0)
        self.told.setblocking(False)
        self.told.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _BUFFER_BYTES)
        self.lost = 0
        self.opened = False
        """Whether the last look found that the host had opened a connection since the one before."""
        # Without CAP_NET_ADMIN there are no notices; looks alone then have to do.
        self.notified = False
        with contextlib.suppress(PermissionError):
            self.told.bind((0, _DESTROY_GROUPS))
            self.notified = True
        self._snmp = -1
        with contextlib.suppress(OSError):
            self._snmp = os.open(_SNMP, os.O_RDONLY | os.O_CLOEXEC)
        self._opens: tuple[bytes, ...] = ()
        self._requests: list[bytes] = []
        self._dump_next = True

    def looks(self, *, known: bool = True) -> list[TcpLook]:
        """Look at all connections of the host; without `known` only where it has opened one."""
        before, self._opens = self._opens, self._opened()
        self.opened = not self._opens or self._opens != before
        if self.opened or self._dump_next or (known and len(self._requests) >= _MANY):
            found = self._dump()
            self._requests = [request_for(look) for look in found]
            self._dump_next = self.opened
            return found
        if not known:
            return []
        found = self._ask_for_known()
        self._dump_next = len(found) < len(self._requests)
        return found

    def _opened(self) -> tuple[bytes, ...]:
        """Return the namespace's counts of opened connections; nothing where they cannot be read."""
        try:
            return opens(os.pread(self._snmp, _SNMP_BYTES, 0)) if self._snmp >= 0 else ()
        except OSError:
            return ()

    def _dump(self) -> list[TcpLook]:
        return _connections(dumped(self.ask, dump_request(_STATES)))

    def _ask_for_known(self) -> list[TcpLook]:
        """Each request has one answer: the connection, an error where it is gone, or what waits in its place."""
        if not self._requests:
            return []
        return _connections(asked(self.ask, self._requests))

    def notices(self) -> list[TcpLook]:
        """Take the notices of destroyed sockets that have come."""
        found: list[TcpLook] = []
        while True:
            try:
                data = self.told.recv(RECEIVE_BYTES)
            except BlockingIOError:
                return found
            except OSError:  # ENOBUFS: notices came faster than they were read
                self.lost += 1
                continue
            found += _connections(payloads(data))

    def close(self) -> None:
        """Close both, and the counters; they would keep the namespace alive."""
        self.ask.close()
        self.told.close()
        if self._snmp >= 0:
            os.close(self._snmp)
            self._snmp = -1


def require_sock_diag() -> None:
    """Raise Unavailable where the kernel does not answer for TCP."""
    try:
        host = HostSockets("")
        try:
            host.looks()
        finally:
            host.close()
    except OSError as error:
        raise Unavailable(
            "sock_diag", str(error), "a kernel with CONFIG_INET_DIAG and CONFIG_INET_TCP_DIAG (modprobe tcp_diag)"
        ) from error


def _connections(found: Iterable[bytes]) -> list[TcpLook]:
    return [look for payload in found if (look := look_of(payload)) is not None]


def opens(snmp: bytes) -> tuple[bytes, ...]:
    """Return the figures of ActiveOpens and PassiveOpens in /proc/net/snmp; nothing where they are missing."""
    heads, _, figures = snmp[max(snmp.find(b"Tcp:"), 0) :].partition(b"\n")
    columns = _columns(heads)
    words = figures.partition(b"\n")[0].split()
    if not columns or len(words) <= max(columns) or words[0] != b"Tcp:":
        return ()
    return tuple(words[column] for column in columns)


@functools.lru_cache(maxsize=4)
def _columns(heads: bytes) -> tuple[int, ...]:
    """Find the two counters in the line of names, which is the same as long as the kernel runs."""
    names = heads.split()
    return tuple(names.index(name) for name in _OPENS) if set(_OPENS) <= set(names) else ()
