"""Corruption of one bit that the receiver's checksum must find."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final

_IPV4: Final = b"\x08\x00"
_IPV6: Final = b"\x86\xdd"


def corrupted(frame: bytes, draw: int) -> bytes:
    """Flip one bit behind the IP header, where TCP's or UDP's checksum covers it; `draw` says which.

    The frame's checksums must be complete already (a TAP without offloads delivers them so);
    a bit flipped before the checksum is filled in would reach the application unseen.
    """
    start = 14
    if frame[12:14] == _IPV4:
        start += (frame[14] & 15) * 4
    elif frame[12:14] == _IPV6:
        start += 40
    if start >= len(frame):
        start = len(frame) - 1
    bit = draw % ((len(frame) - start) * 8)
    changed = bytearray(frame)
    changed[start + bit // 8] ^= 1 << bit % 8
    return bytes(changed)
