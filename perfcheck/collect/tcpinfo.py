"""Decodes what sock_diag(7) says of a TCP socket: inet_diag_msg with struct tcp_info (include/uapi/linux)."""

from __future__ import annotations

import functools
import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from perfcheck.collect.tcp_decode import address

TCPDIAG_GETSOCK: Final = 18
INET_DIAG_INFO: Final = 2
INET_DIAG_CONG: Final = 4
NLMSG_ERROR: Final = 2
NLMSG_DONE: Final = 3
_NLM_F_REQUEST_DUMP: Final = 0x301
NLMSG: Final = struct.Struct("=IHHII")
_REQUEST: Final = struct.Struct("=BBBB48sII")
_MESSAGE: Final = struct.Struct("=B3x4s32s4xQ")
_MESSAGE_BYTES: Final = 72
_ATTRIBUTE: Final = struct.Struct("=HH")
_FIELDS: Final = (
    ("B", "state ca_state retransmits probes backoff options wscale flags"),
    ("I", "rto ato snd_mss rcv_mss unacked sacked lost retrans fackets"),
    ("I", "last_data_sent last_ack_sent last_data_recv last_ack_recv"),
    ("I", "pmtu rcv_ssthresh rtt rttvar snd_ssthresh snd_cwnd advmss reordering rcv_rtt rcv_space total_retrans"),
    ("Q", "pacing_rate max_pacing_rate bytes_acked bytes_received"),
    ("I", "segs_out segs_in notsent_bytes min_rtt data_segs_in data_segs_out"),
    ("Q", "delivery_rate busy_time rwnd_limited sndbuf_limited"),
    ("I", "delivered delivered_ce"),
    ("Q", "bytes_sent bytes_retrans"),
    ("I", "dsack_dups reord_seen rcv_ooopack snd_wnd"),
)
LAYOUT: Final = tuple((name, code) for code, names in _FIELDS for name in names.split())


@dataclass(frozen=True, slots=True)
class Look:
    """One look at one socket; `info` holds the tcp_info fields (without `tcpi_`) that this kernel gives.

    Addresses stay as they came: looks are many, and a socket's name is needed once.
    """

    cookie: int
    family: int
    ports: bytes
    addresses: bytes
    congestion: str
    info: Mapping[str, int]

    @property
    def local(self) -> tuple[str, int]:
        """Address and port of this end."""
        return address(self.family, self.addresses[:16]), int.from_bytes(self.ports[:2], "big")

    @property
    def remote(self) -> tuple[str, int]:
        """Address and port of the other end."""
        return address(self.family, self.addresses[16:]), int.from_bytes(self.ports[2:], "big")


def dump_request(states: int) -> bytes:
    """Ask for all TCP sockets, IPv4 and IPv6, in any of the states (bits), with tcp_info.

    The older of the two requests is the one that takes both families at once: each walk over
    the kernel's table of connections costs half a millisecond, however few there are.
    """
    extensions = 1 << (INET_DIAG_INFO - 1) | 1 << (INET_DIAG_CONG - 1)
    body = _REQUEST.pack(0, 0, 0, extensions, bytes(48), states, 0)
    return NLMSG.pack(NLMSG.size + len(body), TCPDIAG_GETSOCK, _NLM_F_REQUEST_DUMP, 0, 0) + body


def messages(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Split what a netlink socket received into (type, payload)."""
    at = 0
    while at + NLMSG.size <= len(data):
        length, kind, _, _, _ = NLMSG.unpack_from(data, at)
        if length < NLMSG.size:
            return
        yield kind, data[at + NLMSG.size : at + length]
        at += -(-length // 4) * 4


def look_of(payload: bytes) -> Look | None:
    """Decode an inet_diag_msg; None without tcp_info (sockets in TIME_WAIT have none)."""
    if len(payload) < _MESSAGE_BYTES:
        return None
    family, ports, addresses, cookie = _MESSAGE.unpack_from(payload)
    attributes = dict(_attributes(payload, _MESSAGE_BYTES))
    if INET_DIAG_INFO not in attributes:
        return None
    congestion = attributes.get(INET_DIAG_CONG, b"").split(b"\0")[0].decode(errors="replace")
    return Look(cookie, family, ports, addresses, congestion, _info(attributes[INET_DIAG_INFO]))


def _attributes(data: bytes, at: int) -> Iterator[tuple[int, bytes]]:
    while at + _ATTRIBUTE.size <= len(data):
        length, kind = _ATTRIBUTE.unpack_from(data, at)
        if length < _ATTRIBUTE.size:
            return
        yield kind, data[at + _ATTRIBUTE.size : at + length]
        at += -(-length // 4) * 4


def _info(data: bytes) -> dict[str, int]:
    names, layout = _known_part(len(data))
    return dict(zip(names, layout.unpack_from(data), strict=True))


@functools.cache
def _known_part(size: int) -> tuple[tuple[str, ...], struct.Struct]:
    """Give the fields that lie within so many bytes: tcp_info has grown at its end only."""
    for count in range(len(LAYOUT), 0, -1):
        layout = struct.Struct("=" + "".join(code for _, code in LAYOUT[:count]))
        if layout.size <= size:
            return tuple(name for name, _ in LAYOUT[:count]), layout
    return (), struct.Struct("")
