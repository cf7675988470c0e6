"""Sockets' memory and queues as sock_diag(7) shows them: inet_diag_msg with INET_DIAG_SKMEMINFO."""

from __future__ import annotations

import struct
from collections.abc import Collection, Iterable, Iterator
from typing import Final, NamedTuple

from perfcheck.collect.sockdiag.socket import asked, dumped, opened
from perfcheck.collect.sockdiag.tcp_info import ANY_STATE, request_by_family
from perfcheck.model.flow_table import address_of

LISTEN: Final = 1 << 10
CONNECTED: Final = 0xFFF & ~(1 << 6 | 1 << 10 | 1 << 3)  # without TIME_WAIT, LISTEN, SYN_RECV
ANY: Final = ANY_STATE
_SKMEMINFO: Final = 7
_EXTENSIONS: Final = 1 << (_SKMEMINFO - 1)
_MESSAGE: Final = struct.Struct("=BBxx2s2s16s16s4xQ4xII8x")
_SOCKET_ID: Final = slice(4, 52)
_ATTRIBUTE: Final = struct.Struct("=HH")
_MEMORY: Final = struct.Struct("=9I")  # rmem_alloc rcvbuf wmem_alloc sndbuf fwd_alloc wmem_queued optmem backlog drops


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
        self._socket = opened()
        self._socket.settimeout(1.0)

    def dump(self, family: int, protocol: int, states: int) -> Iterator[DiagLook]:
        """Ask for all sockets in any of the states (bits); OSError where the kernel refuses."""
        return _looks(dumped(self._socket, request_by_family(family, protocol, _EXTENSIONS, states, None)))

    def ask(self, requests: Collection[bytes]) -> Iterator[DiagLook]:
        """Ask for single sockets (`request_for`); of one that is gone nothing comes."""
        return _looks(asked(self._socket, requests))

    def close(self) -> None:
        """Close it: it would keep the namespace alive."""
        self._socket.close()


def request_for(family: int, protocol: int, look: DiagLook) -> bytes:
    """Ask for one socket that has been seen, by its addresses and its cookie, so for no other."""
    return request_by_family(family, protocol, _EXTENSIONS, ANY, look.socket_id)


def _looks(payloads: Iterable[bytes]) -> Iterator[DiagLook]:
    return (look for payload in payloads if (look := look_of(payload)) is not None)


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
        cookie, state, (address_of(family, source), int.from_bytes(sport, "big")),
        (address_of(family, target), int.from_bytes(dport, "big")), recvq, sendq, rmem, rcvbuf,
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
