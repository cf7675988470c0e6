"""Super-packets as a TAP with offloads hands them over: a virtio-net header, and TCP data still to be cut at the MTU.

Field names and meanings are those of struct virtio_net_hdr (linux/virtio_net.h) in its form without
num_buffers, in the byte order of the machine.
"""

from __future__ import annotations

from struct import Struct

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final

HEADER_BYTES: Final = 10
_HEADER: Final = Struct("=BBHHHH")
_WORD: Final = Struct("!H")
_SEQ: Final = Struct("!I")
_GSO_NONE: Final = 0
_GSO_TCPV4: Final = 1
_GSO_TCPV6: Final = 4
_GSO_ECN: Final = 0x80
_ETHERNET: Final = 14
_FIN: Final = 0x01
_PSH: Final = 0x08
_CWR: Final = 0x80


class Super:
    """One super-packet: `headers` bytes of Ethernet, IP and TCP, then `payload` bytes in segments of `size`."""

    __slots__ = ("frame", "headers", "payload", "size", "transport")

    def __init__(self, frame: bytes, transport: int, headers: int, size: int) -> None:
        """Take the frame with its virtio header; `transport` is where TCP begins, counted from Ethernet."""
        self.frame = frame
        self.transport = transport
        self.headers = headers
        self.size = size
        self.payload = len(frame) - HEADER_BYTES - headers

    @property
    def count(self) -> int:
        """Number of segments."""
        return -(-self.payload // self.size)

    def wire_bytes(self, segment: int) -> int:
        """Return the size of one segment's frame at the MTU."""
        return self.headers + min(self.size, self.payload - segment * self.size)

    def packet_headers(self) -> bytes:
        """Return Ethernet, IP and TCP headers alone."""
        return self.frame[HEADER_BYTES : HEADER_BYTES + self.headers]

    def cut(self, first: int, end: int) -> bytes:
        """Return segments first..end-1 as a frame of their own, with its virtio header."""
        count = self.count
        if first == 0 and end == count:
            return self.frame
        begin = HEADER_BYTES + self.headers
        head = bytearray(self.frame[:begin])
        body = self.frame[begin + first * self.size : begin + end * self.size]
        self._retype(head, first, end)
        old_bytes = self.headers - self.transport + self.payload
        new_bytes = self.headers - self.transport + len(body)
        self._fix_ip(head, first, new_bytes)
        self._fix_tcp(head, first, end == count, new_bytes - old_bytes)
        return bytes(head) + body

    def _retype(self, head: bytearray, first: int, end: int) -> None:
        flags, gso_type, hdr_len, gso_size, csum_start, csum_offset = _HEADER.unpack_from(head)
        if end - first == 1:
            gso_type, gso_size = _GSO_NONE, 0
        elif first:
            gso_type &= ~_GSO_ECN
        _HEADER.pack_into(head, 0, flags, gso_type, hdr_len, gso_size, csum_start, csum_offset)

    def _fix_ip(self, head: bytearray, first: int, transport_bytes: int) -> None:
        ip = HEADER_BYTES + _ETHERNET
        if head[ip] >> 4 == 6:
            extension_bytes = self.transport - _ETHERNET - 40
            _WORD.pack_into(head, ip + 4, extension_bytes + transport_bytes)
            return
        (identity,) = _WORD.unpack_from(head, ip + 4)
        _WORD.pack_into(head, ip + 2, self.transport - _ETHERNET + transport_bytes)
        _WORD.pack_into(head, ip + 4, (identity + first) & 0xFFFF)
        _WORD.pack_into(head, ip + 10, 0)
        _WORD.pack_into(head, ip + 10, ~_folded(_sum(head, ip, HEADER_BYTES + self.transport)) & 0xFFFF)

    def _fix_tcp(self, head: bytearray, first: int, last: bool, longer: int) -> None:
        tcp = HEADER_BYTES + self.transport
        (seq,) = _SEQ.unpack_from(head, tcp + 4)
        _SEQ.pack_into(head, tcp + 4, (seq + first * self.size) & 0xFFFFFFFF)
        if not last:
            head[tcp + 13] &= ~(_FIN | _PSH) & 0xFF
        if first:
            head[tcp + 13] &= ~_CWR & 0xFF
        # What stands here is the sum over the pseudo-header, of which the length is a part.
        (pseudo,) = _WORD.unpack_from(head, tcp + 16)
        _WORD.pack_into(head, tcp + 16, _folded(pseudo + longer % 0xFFFF))


def super_of(frame: bytes) -> Super | None:
    """Return the super-packet that a frame with a virtio header is, or None where it is one packet."""
    _, gso_type, _, size, transport, _ = _HEADER.unpack_from(frame)
    if gso_type & ~_GSO_ECN not in {_GSO_TCPV4, _GSO_TCPV6} or not size:
        return None
    headers = transport + (frame[HEADER_BYTES + transport + 12] >> 4) * 4
    found = Super(frame, transport, headers, size)
    return found if found.payload > size else None


def segments_in(frame: bytes) -> int:
    """Return how many packets at the MTU a frame with a virtio header stands for."""
    found = super_of(frame)
    return 1 if found is None else found.count


def _sum(data: bytearray, begin: int, end: int) -> int:
    return sum(_WORD.unpack_from(data, place)[0] for place in range(begin, end, 2))


def _folded(total: int) -> int:
    total = (total & 0xFFFF) + (total >> 16)
    return (total & 0xFFFF) + (total >> 16)
