"""Tells the BPF programs which flows to look at (bpf/filter.h), and keeps it up to date as processes come and go."""

from __future__ import annotations

import os
import socket
import struct
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Final

import numpy.typing as npt

from perfcheck.collect.sockdiag.socket import dumped, opened
from perfcheck.collect.sockdiag.tcp_info import request_by_family
from perfcheck.ebpf.object import BpfObject
from perfcheck.model.flow_filter import End, FlowFilter
from perfcheck.model.observation import Scope
from perfcheck.system.netns import NetnsThread
from perfcheck.system.socket_owners import processes_of, sockets_of

_FAMILIES: Final = {4: 2, 6: 10}  # AF_INET, AF_INET6
_TCP: Final = 6
_WITH_LISTENERS: Final = 0xFFF & ~(1 << 6)  # without TIME_WAIT
_SHARE_OF_CPU: Final = 0.005
_LISTEN: Final = 10
_HEAD: Final = struct.Struct("=BB2x2s2s32s4xQ")  # family, state, ports, addresses, interface, cookie
_INODE: Final = struct.Struct("=68xI")
_YES: Final = (1).to_bytes(4, "little")


def write_ends(element: npt.NDArray[Any], wanted: FlowFilter) -> None:
    """Write the part of a `pc_filter` that every program can ask: addresses and ports."""
    for name in ("source", "target", "local", "remote"):
        _write_end(element[name], getattr(wanted, name))
    by_ends = not all(end.is_any for end in (wanted.source, wanted.target, wanted.local, wanted.remote))
    element["by_ends"] = by_ends
    element["active"] = by_ends


def _write_end(into: npt.NDArray[Any], end: End) -> None:
    into["first_port"], into["last_port"] = end.ports
    into["family"] = 0
    for part in ("network", "mask"):
        into[part]["high"] = into[part]["low"] = 0
    if end.network is None:
        return
    into["family"] = _FAMILIES[end.network.version]
    for part, packed in (("network", end.network.network_address.packed), ("mask", end.network.netmask.packed)):
        # Halves as the kernel reads them; IPv4 in the low one.
        into[part]["low"] = int.from_bytes(packed[-8:], "little")
        into[part]["high"] = int.from_bytes(packed[:-8], "little")


class SocketFilter:
    """The whole filter of the TCP programs; processes and cgroups are looked up again at each `refresh`."""

    def __init__(self, loaded: BpfObject, wanted: FlowFilter, scope: Scope) -> None:
        """Write what does not change; the programs do not measure yet."""
        self._loaded, self._wanted, self._scope = loaded, wanted, scope
        self._by_task = wanted.pid is not None or wanted.comm is not None
        self._known: set[tuple[str, bytes]] = set()
        self._due_s = 0.0
        element = loaded.view("filter")[0]
        write_ends(element, wanted)
        element["by_task"] = self._by_task
        element["by_cgroup"] = wanted.cgroup is not None
        element["by_interface"] = wanted.interface is not None
        element["ifindex"] = 0
        element["comm"].view("S16")[:] = (wanted.comm or "").encode()[:15]
        element["active"] |= self._by_task or wanted.cgroup is not None or wanted.interface is not None
        for name in ("chosen_sockets", "chosen_ports", "chosen_cgroups", "chosen_tasks"):
            loaded.clear(name)
        self.refresh()

    def refresh(self) -> None:
        """Look again who belongs to the filter; what was refused is asked anew where somebody joined.

        With thousands of processes or files a look takes long: then it is taken seldom.
        """
        began_s = time.monotonic()
        if began_s < self._due_s:
            return
        found = set(self._found())
        self._due_s = time.monotonic() + (time.monotonic() - began_s) / _SHARE_OF_CPU
        joined = found - self._known
        for name, key in joined:
            self._loaded.put(name, key, _YES)
        self._known |= joined
        if joined:
            self._loaded.view("excluded")[:] = 0

    def _found(self) -> Iterator[tuple[str, bytes]]:
        if self._wanted.interface is not None:
            self._loaded.view("filter")[0]["ifindex"] = self._interface()
        if self._wanted.cgroup is not None:
            yield from (("chosen_cgroups", _number(one)) for one in _cgroups(Path(self._wanted.cgroup)))
        if self._by_task:
            yield from self._tasks()

    def _interface(self) -> int:
        with NetnsThread() as namespaces:
            for path in self._scope.netns_paths.values():
                try:
                    return namespaces.inside(path, lambda: socket.if_nametoindex(self._wanted.interface or ""))
                except OSError:
                    continue
        return 0

    def _tasks(self) -> Iterator[tuple[str, bytes]]:
        """Yield the processes, their sockets' cookies, and the ports that they listen on."""
        pids = processes_of(self._wanted.pid, self._wanted.comm)
        yield from (("chosen_tasks", pid.to_bytes(4, "little")) for pid in pids)
        held = {inode for pid in pids for inode in sockets_of(pid)}
        if not held:
            return
        with NetnsThread() as namespaces:
            for host, path in self._scope.netns_paths.items():
                sockets = namespaces.inside(path, lambda: list(socket_rows()))
                yield from _keys(sockets, held, self._scope.namespaces[host])


def _keys(sockets: Iterable[tuple[int, int, int, int]], held: set[int], netns: int) -> Iterator[tuple[str, bytes]]:
    for state, port, cookie, inode in sockets:
        if inode in held:
            yield "chosen_sockets", _number(cookie)
            if state == _LISTEN:
                yield "chosen_ports", _number(netns << 16 | port)


def socket_rows() -> Iterator[tuple[int, int, int, int]]:
    """Yield state, local port, cookie and inode of the TCP sockets of the calling thread's namespace."""
    with opened() as ask:
        ask.settimeout(1.0)
        for family in _FAMILIES.values():
            for payload in dumped(ask, request_by_family(family, _TCP, 0, _WITH_LISTENERS, None)):
                _, state, port, _, _, cookie = _HEAD.unpack_from(payload)
                (inode,) = _INODE.unpack_from(payload)
                yield state, int.from_bytes(port, "big"), cookie, inode


def _cgroups(group: Path) -> Iterator[int]:
    """Yield the numbers of a cgroup and of all below it: a folder's inode is its cgroup's number."""
    for folder, _, _ in os.walk(group):
        try:
            yield Path(folder).stat().st_ino
        except OSError:
            continue


def _number(value: int) -> bytes:
    return value.to_bytes(8, "little")
