"""Accept queues that were full, seen by the host's own counter: the kernel has no tracepoint for a SYN refused so."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator, Mapping
from typing import Final

from perfcheck.collect.sockdiag import skmeminfo
from perfcheck.errors import CollectError
from perfcheck.model.event import ListenOverflow
from perfcheck.system.clock import now_ns
from perfcheck.system.netns import NetnsThread

_FILE: Final = "/proc/thread-self/net/netstat"
_READ_BYTES: Final = 1 << 16
_GROUP: Final = "TcpExt:"
_COUNTER: Final = "ListenOverflows"


class OverflowWatch:
    """Looks at each host's TcpExt.ListenOverflows; what it grew by between two looks is one event."""

    def __init__(self, netns_paths: Mapping[str, str]) -> None:
        """Open the hosts' counters; CollectError where that fails. Growth counts from the first `look` on."""
        self._files: dict[str, int] = {}
        self._diags: dict[str, skmeminfo.DiagSocket] = {}
        self._before: dict[str, int] = {}
        self.found: list[ListenOverflow] = []
        try:
            with NetnsThread() as namespaces:
                for host, path in netns_paths.items():
                    self._files[host] = namespaces.inside(path, lambda: os.open(_FILE, os.O_RDONLY | os.O_CLOEXEC))
                    self._diags[host] = namespaces.inside(path, skmeminfo.DiagSocket)
        except OSError as problem:
            self.close()
            raise CollectError(f"{_FILE} of a host cannot be opened: {problem.strerror}") from problem

    def look(self) -> None:
        """Add to `found` what the counters grew by since the look before."""
        for host, file in self._files.items():
            count = overflows_in(os.pread(file, _READ_BYTES, 0).decode("ascii"))
            grown = count - self._before.get(host, count)
            self._before[host] = count
            if grown:
                ports = tuple(_full(self._diags[host]))
                port = ports[0] if len(ports) == 1 else None
                self.found.append(ListenOverflow(ns=now_ns(), host=host, count=grown, port=port))

    def close(self) -> None:
        """Let go of the hosts: what is open keeps their namespaces alive. Safe to call twice."""
        for file in self._files.values():
            os.close(file)
        for diag in self._diags.values():
            diag.close()
        self._files, self._diags = {}, {}


def overflows_in(text: str) -> int:
    """Read the counter from /proc/net/netstat, pairs of lines of names and values; 0 where it has none."""
    lines = [line.split() for line in text.splitlines() if line.startswith(_GROUP)]
    return int(dict(zip(*lines, strict=True)).get(_COUNTER, 0)) if lines else 0


def _full(diag: skmeminfo.DiagSocket) -> Iterator[int]:
    """Return the ports of the listening sockets whose queue has more than it may; none where nobody answers."""
    try:
        for family in (socket.AF_INET, socket.AF_INET6):
            for look in diag.dump(family, socket.IPPROTO_TCP, skmeminfo.LISTEN):
                if look.recvq > look.sendq:
                    yield look.local[1]
    except OSError:
        return
