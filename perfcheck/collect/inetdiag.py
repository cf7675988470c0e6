"""Sockets' memory and queues as sock_diag(7) shows them: inet_diag_msg with INET_DIAG_SKMEMINFO."""

from __future__ import annotations

import os
import socket
import struct
from collections.abc import Iterator
from typing import Final, NamedTuple

from perfcheck.collect.tcp_decode import address
from perfcheck.collect.tcpinfo import NLMSG, NLMSG_DONE, NLMSG_ERROR, messages

LISTEN: Final = 1 << 10
CONNECTED: Final = 0xFFF & ~(1 << 6 | 1 << 10 | 1 << 3)  # without TIME_WAIT, LISTEN, SYN_RECV
ANY: Final = 0xFFF
_NETLINK_SOCK_DIAG: Final = 4
_SOCK_DIAG_BY_FAMILY: Final = 20
_REQUEST_DUMP: Final = 0x301
_SKMEMINFO: Final = 7
_REQUEST: Final = struct.Struct("=BBBBI48s")
_MESSAGE: Final = struct.Struct("=BBxx2s2s16s16s4xQ4xII8x")
_ATTRIBUTE: Final = struct.Struct("=HH")
_MEMORY: Final = struct.Struct("=9I")  # rmem_alloc rcvbuf wmem_alloc sndbuf fwd_alloc wmem_queued optmem backlog drops
_RECEIVE_BYTES: Final = 1 << 18


class DiagLook(NamedTuple):
    """One look at one socket; the queues of a listening one are connections that wait, and how many may."""

    cookie: int
    state: int
    local: tuple[str, int]
    remote: tuple[str, int]
    recvq: int
    sendq: int
    rcv_bytes: int
    rcvbuf_bytes: int
    snd_bytes: int
    sndbuf_bytes: int
    drops: int


class DiagSocket:
    """A netlink socket into the network namespace of the thread that makes it."""

    def __init__(self) -> None:
        """Open it."""
        self._socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, _NETLINK_SOCK_DIAG)
        self._socket.settimeout(1.0)

    def dump(self, family: int, protocol: int, states: int) -> Iterator[DiagLook]:
        """Ask for all sockets in any of the states (bits); OSError where the kernel refuses."""
        body = _REQUEST.pack(family, protocol, 1 << (_SKMEMINFO - 1), 0, states, bytes(48))
        self._socket.send(NLMSG.pack(NLMSG.size + len(body), _SOCK_DIAG_BY_FAMILY, _REQUEST_DUMP, 0, 0) + body)
        while True:
            for kind, payload in messages(self._socket.recv(_RECEIVE_BYTES)):
                if kind == NLMSG_DONE:
                    return
                if kind == NLMSG_ERROR:
                    number = -int.from_bytes(payload[:4], "little", signed=True)
                    raise OSError(number, f"sock_diag: {os.strerror(number)}")
                if (look := look_of(payload)) is not None:
                    yield look

    def close(self) -> None:
        """Close it: it would keep the namespace alive."""
        self._socket.close()


def look_of(payload: bytes) -> DiagLook | None:
    """Decode an inet_diag_msg; None without its memory (sockets in TIME_WAIT have none)."""
    if len(payload) < _MESSAGE.size:
        return None
    family, state, sport, dport, source, target, cookie, recvq, sendq = _MESSAGE.unpack_from(payload)
    memory = _memory(payload)
    if memory is None:
        return None
    rmem, rcvbuf, wmem_alloc, sndbuf, _, wmem_queued, _, _, drops = memory
    return DiagLook(
        cookie, state, (address(family, source), int.from_bytes(sport, "big")),
        (address(family, target), int.from_bytes(dport, "big")), recvq, sendq, rmem, rcvbuf,
        max(wmem_queued, wmem_alloc), sndbuf, drops,
    )  # fmt: skip


def _memory(payload: bytes) -> tuple[int, ...] | None:
    at = _MESSAGE.size
    while at + _ATTRIBUTE.size <= len(payload):
        length, kind = _ATTRIBUTE.unpack_from(payload, at)
        if kind == _SKMEMINFO and length >= _ATTRIBUTE.size + _MEMORY.size:
            return _MEMORY.unpack_from(payload, at + _ATTRIBUTE.size)
        if length < _ATTRIBUTE.size:
            return None
        at += -(-length // 4) * 4
    return None
