"""Decodes the answer of sock_diag(7) for a TCP socket: inet_diag_msg with struct tcp_info (include/uapi/linux)."""

from __future__ import annotations

import functools
import socket
import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final, NamedTuple

from perfcheck.model.flow_table import address_of

TCPDIAG_GETSOCK: Final = 18
INET_DIAG_INFO: Final = 2
INET_DIAG_CONG: Final = 4
NLMSG_ERROR: Final = 2
NLMSG_DONE: Final = 3
_NLM_F_REQUEST_DUMP: Final = 0x301
NLMSG: Final = struct.Struct("=IHHII")
_REQUEST: Final = struct.Struct("=BBBB48sII")
_REQUEST_V2: Final = struct.Struct("=BBBBI48s")  # struct inet_diag_req_v2
_SOCK_DIAG_BY_FAMILY: Final = 20
_NLM_F_REQUEST: Final = 0x1
_EXTENSIONS: Final = 1 << (INET_DIAG_INFO - 1) | 1 << (INET_DIAG_CONG - 1)
ANY_STATE: Final = 0xFFF
_MESSAGE: Final = struct.Struct("=B3x48s")  # family, struct inet_diag_sockid
_SOCKET_ID: Final = struct.Struct("=4s32s4xQ")  # ports, addresses, interface, cookie
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
BEYOND: Final = {name: 1 << 8 * struct.calcsize(f"={code}") for name, code in LAYOUT}
"""The first number that a field cannot hold: counters begin again at 0."""


class Glance(NamedTuple):
    """The fields of tcp_info that each look is for."""

    unacked: int
    sacked: int
    lost: int
    retrans: int
    last_data_recv: int
    last_ack_recv: int
    rtt: int
    snd_cwnd: int


_GLANCE: Final = struct.Struct("=24x4I12x2I8xI8xI")
"""Where they lie: in the part that every kernel's tcp_info has."""


@dataclass(frozen=True, slots=True)
class TcpLook:
    """One look at one socket, as it came: looks are many, and most of what they hold is needed of a few of them."""

    cookie: int
    family: int
    socket_id: bytes
    tcp_info: bytes
    congestion_name: bytes

    @property
    def glance(self) -> Glance:
        """What changes from look to look."""
        return Glance(*_GLANCE.unpack_from(self.tcp_info))

    @property
    def info(self) -> Mapping[str, int]:
        """The tcp_info fields (without `tcpi_`) that this kernel gives."""
        names, layout = _known_part(len(self.tcp_info))
        return dict(zip(names, layout.unpack_from(self.tcp_info), strict=True))

    @property
    def congestion(self) -> str:
        """Name of the congestion control, empty where the kernel did not tell."""
        return self.congestion_name.split(b"\0")[0].decode(errors="replace")

    @property
    def local(self) -> tuple[str, int]:
        """Address and port of this end."""
        ports, addresses, _ = _SOCKET_ID.unpack(self.socket_id)
        return address_of(self.family, addresses[:16]), int.from_bytes(ports[:2], "big")

    @property
    def remote(self) -> tuple[str, int]:
        """Address and port of the other end."""
        ports, addresses, _ = _SOCKET_ID.unpack(self.socket_id)
        return address_of(self.family, addresses[16:]), int.from_bytes(ports[2:], "big")


def dump_request(states: int) -> bytes:
    """Ask for all TCP sockets, IPv4 and IPv6, in any of the states (bits), with tcp_info.

    The older of the two requests is the one that takes both families at once: each walk over
    the kernel's table of connections costs half a millisecond, however few there are.
    """
    body = _REQUEST.pack(0, 0, 0, _EXTENSIONS, bytes(48), states, 0)
    return NLMSG.pack(NLMSG.size + len(body), TCPDIAG_GETSOCK, _NLM_F_REQUEST_DUMP, 0, 0) + body


def request_for(look: TcpLook) -> bytes:
    """Ask for one socket that has been seen, with tcp_info: by its addresses and its cookie, so for no other."""
    return request_by_family(look.family, socket.IPPROTO_TCP, _EXTENSIONS, ANY_STATE, look.socket_id)


def request_by_family(family: int, protocol: int, extensions: int, states: int, socket_id: bytes | None) -> bytes:
    """Ask for the socket of that struct inet_diag_sockid, or (None) for all in any of the states (bits)."""
    flags = _NLM_F_REQUEST_DUMP if socket_id is None else _NLM_F_REQUEST
    body = _REQUEST_V2.pack(family, protocol, extensions, 0, states, socket_id or bytes(48))
    return NLMSG.pack(NLMSG.size + len(body), _SOCK_DIAG_BY_FAMILY, flags, 0, 0) + body


def messages(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Split what a netlink socket received into (type, payload)."""
    at = 0
    while at + NLMSG.size <= len(data):
        length, kind, _, _, _ = NLMSG.unpack_from(data, at)
        if length < NLMSG.size:
            return
        yield kind, data[at + NLMSG.size : at + length]
        at += -(-length // 4) * 4


def look_of(payload: bytes) -> TcpLook | None:
    """Decode an inet_diag_msg; None without tcp_info (sockets in TIME_WAIT have none)."""
    if len(payload) < _MESSAGE_BYTES:
        return None
    family, socket_id = _MESSAGE.unpack_from(payload)
    attributes = dict(_attributes(payload, _MESSAGE_BYTES))
    info = attributes.get(INET_DIAG_INFO, b"")
    if len(info) < _GLANCE.size:
        return None
    (_, _, cookie) = _SOCKET_ID.unpack(socket_id)
    return TcpLook(cookie, family, socket_id, info, attributes.get(INET_DIAG_CONG, b""))


def _attributes(data: bytes, at: int) -> Iterator[tuple[int, bytes]]:
    while at + _ATTRIBUTE.size <= len(data):
        length, kind = _ATTRIBUTE.unpack_from(data, at)
        if length < _ATTRIBUTE.size:
            return
        yield kind, data[at + _ATTRIBUTE.size : at + length]
        at += -(-length // 4) * 4


@functools.cache
def _known_part(size: int) -> tuple[tuple[str, ...], struct.Struct]:
    """Return the fields that lie within so many bytes: tcp_info has grown at its end only."""
    for count in range(len(LAYOUT), 0, -1):
        layout = struct.Struct("=" + "".join(code for _, code in LAYOUT[:count]))
        if layout.size <= size:
            return tuple(name for name, _ in LAYOUT[:count]), layout
    return (), struct.Struct("")
