"""Ethernet frames made by hand, for the tests of the link models; checksums are complete."""

from __future__ import annotations

import struct
from ipaddress import ip_address

ETHERNET = b"\x02\0\0\0\0\x02\x02\0\0\0\0\x01"
SYN, FIN, RST, PSH, ACK = 2, 1, 4, 8, 16
CLIENT, SERVER = "198.18.0.1", "198.18.0.2"
CLIENT6, SERVER6 = "2001:2::1", "2001:2::2"


def checksum(data: bytes) -> int:
    """Return the Internet checksum (RFC 1071)."""
    data += b"\0" * (len(data) % 2)
    total: int = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total > 0xFFFF:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def packet(protocol: int, segment: bytes, source: str, target: str, check_at: int | None, fragment: int = 0) -> bytes:
    """Put a transport segment into IP and Ethernet; `check_at` is where its checksum belongs."""
    src, dst = ip_address(source).packed, ip_address(target).packed
    if check_at is not None:
        pseudo = src + dst + struct.pack("!IxxxB", len(segment), protocol)
        whole = checksum(pseudo + segment)
        segment = segment[:check_at] + struct.pack("!H", whole) + segment[check_at + 2 :]
    if len(src) == 16:
        return ETHERNET + b"\x86\xdd" + struct.pack("!IHBB", 6 << 28, len(segment), protocol, 64) + src + dst + segment
    header = struct.pack("!BBHHHBBH", 0x45, 0, 20 + len(segment), 0, fragment, 64, protocol, 0) + src + dst
    header = header[:10] + struct.pack("!H", checksum(header)) + header[12:]
    return ETHERNET + b"\x08\x00" + header + segment


def tcp(
    seq: int,
    length: int,
    *,
    flags: int = ACK,
    ack: int = 1,
    ports: tuple[int, int] = (40000, 5201),
    hosts: tuple[str, str] = (CLIENT, SERVER),
    options: bytes = b"",
) -> bytes:
    """Return a TCP segment with `length` bytes of data."""
    offset = (20 + len(options)) // 4
    ports_seq = struct.pack("!HHII", *ports, seq % 2**32, ack % 2**32)
    segment = ports_seq + struct.pack("!BBHHH", offset << 4, flags, 65535, 0, 0) + options + b"d" * length
    return packet(6, segment, *hosts, check_at=16)


def udp(length: int, *, ports: tuple[int, int] = (40000, 5201), hosts: tuple[str, str] = (CLIENT, SERVER)) -> bytes:
    """Return a datagram with `length` bytes of data."""
    return packet(17, struct.pack("!HHHH", *ports, 8 + length, 0) + b"u" * length, *hosts, check_at=6)
