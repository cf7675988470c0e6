"""Sockets' memory and queues as sock_diag(7) shows them: inet_diag_msg with INET_DIAG_SKMEMINFO."""

from __future__ import annotations

import os
import socket
import struct
from collections.abc import Collection, Iterator
from typing import Final, NamedTuple

from perfcheck.collect.tcp_decode import address
from perfcheck.collect.tcpinfo import NLMSG, NLMSG_DONE, NLMSG_ERROR, messages

LISTEN: Final = 1 << 10
CONNECTED: Final = 0xFFF & ~(1 << 6 | 1 << 10 | 1 << 3)  # without TIME_WAIT, LISTEN, SYN_RECV
ANY: Final = 0xFFF
_NETLINK_SOCK_DIAG: Final = 4
_SOCK_DIAG_BY_FAMILY: Final = 20
_REQUEST_DUMP: Final = 0x301
_REQUEST_ONE: Final = 0x1
_SKMEMINFO: Final = 7
_REQUEST: Final = struct.Struct("=BBBBI48s")
_MESSAGE: Final = struct.Struct("=BBxx2s2s16s16s4xQ4xII8x")
_SOCKET_ID: Final = slice(4, 52)
_ATTRIBUTE: Final = struct.Struct("=HH")
_MEMORY: Final = struct.Struct("=9I")  # rmem_alloc rcvbuf wmem_alloc sndbuf fwd_alloc wmem_queued optmem backlog drops
_RECEIVE_BYTES: Final = 1 << 15  # what the kernel puts into one message of a dump at most


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
    socket_id: bytes


class DiagSocket:
    """A netlink socket into the network namespace of the thread that makes it."""

    def __init__(self) -> None:
        """Open it."""
        self._socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, _NETLINK_SOCK_DIAG)
        self._socket.settimeout(1.0)

    def dump(self, family: int, protocol: int, states: int) -> Iterator[DiagLook]:
        """Ask for all sockets in any of the states (bits); OSError where the kernel refuses."""
        self._socket.send(_request(family, protocol, states, bytes(48), _REQUEST_DUMP))
        while True:
            for kind, payload in messages(self._socket.recv(_RECEIVE_BYTES)):
                if kind == NLMSG_DONE:
                    return
                if kind == NLMSG_ERROR:
                    number = -int.from_bytes(payload[:4], "little", signed=True)
                    raise OSError(number, f"sock_diag: {os.strerror(number)}")
                if (look := look_of(payload)) is not None:
                    yield look

    def ask(self, requests: Collection[bytes]) -> Iterator[DiagLook]:
        """Ask for single sockets (`request_for`); of one that is gone nothing comes."""
        self._socket.send(b"".join(requests))
        for _ in requests:
            for kind, payload in messages(self._socket.recv(_RECEIVE_BYTES)):
                if kind != NLMSG_ERROR and (look := look_of(payload)) is not None:
                    yield look

    def close(self) -> None:
        """Close it: it would keep the namespace alive."""
        self._socket.close()


def request_for(family: int, protocol: int, look: DiagLook) -> bytes:
    """Ask for one socket that has been seen, by its addresses and its cookie, so for no other."""
    return _request(family, protocol, ANY, look.socket_id, _REQUEST_ONE)


def _request(family: int, protocol: int, states: int, socket_id: bytes, flags: int) -> bytes:
    body = _REQUEST.pack(family, protocol, 1 << (_SKMEMINFO - 1), 0, states, socket_id)
    return NLMSG.pack(NLMSG.size + len(body), _SOCK_DIAG_BY_FAMILY, flags, 0, 0) + body


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
        max(wmem_queued, wmem_alloc), sndbuf, drops, payload[_SOCKET_ID],
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
