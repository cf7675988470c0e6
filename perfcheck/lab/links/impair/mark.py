"""Explicit congestion notification (RFC 3168) in the IP header."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final

_CE: Final = 3


def ecn_capable(frame: bytes) -> bool:
    """Whether the packet may be marked, or is already."""
    if frame[12:14] == b"\x08\x00":
        return frame[15] & _CE != 0
    return frame[12:14] == b"\x86\xdd" and frame[15] >> 4 & _CE != 0


def marked(frame: bytes) -> bytes:
    """Set CE in an ECN-capable packet; IPv4's header checksum follows (RFC 1624, eqn. 3)."""
    changed = bytearray(frame)
    if frame[12:14] == b"\x86\xdd":
        changed[15] |= _CE << 4
        return bytes(changed)
    changed[15] |= _CE
    total = ~int.from_bytes(frame[24:26], "big") & 0xFFFF
    total += (~(frame[14] << 8 | frame[15]) & 0xFFFF) + (changed[14] << 8 | changed[15])
    total = (total & 0xFFFF) + (total >> 16)
    total = (total & 0xFFFF) + (total >> 16)
    changed[24:26] = (~total & 0xFFFF).to_bytes(2, "big")
    return bytes(changed)
