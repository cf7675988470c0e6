"""Seeded pseudo-random numbers by key: the same key gives the same number, in whatever order they are asked for.

The mixing function is the finaliser of SplitMix64 (Steele, Lea, Flood: Fast splittable
pseudorandom number generators, 2014), with the constants of its variant 13.
"""

from __future__ import annotations

MASK64 = (1 << 64) - 1
TWO64 = 1 << 64
_GOLDEN = 0x9E3779B97F4A7C15
_REPEAT = 0xC2B2AE3D27D4EB4F


def mix64(value: int) -> int:
    """Scatter any non-negative integer's lowest 64 bits over 64 bits, one to one."""
    value &= MASK64
    value = ((value ^ (value >> 30)) * 0xBF58476D1CE4E5B9) & MASK64
    value = ((value ^ (value >> 27)) * 0x94D049BB133111EB) & MASK64
    return value ^ (value >> 31)


def fold(key: int, part: int) -> int:
    """Join one more part to a key; the order of the parts matters."""
    return mix64((key ^ mix64(part + _GOLDEN)) + _GOLDEN)


def at(chain: int, position: int, repeat: int) -> int:
    """Return the number at a position of a chain whose name is random: SplitMix64's own stream for each repeat."""
    return mix64(chain + position * _GOLDEN + repeat * _REPEAT)


def fold_bytes(key: int, data: bytes) -> int:
    """Join bytes of any length to a key."""
    for start in range(0, len(data), 8):
        key = fold(key, int.from_bytes(data[start : start + 8], "big"))
    return fold(key, len(data))


def threshold(probability: float) -> int:
    """Return the bound below which `fold(...)` falls with this probability (0..1)."""
    return min(TWO64, max(0, round(probability * TWO64)))


def unit(key: int, salt: int) -> float:
    """Return a number in the open interval (0, 1) that belongs to this key and salt."""
    return ((fold(key, salt) >> 11) + 0.5) * 2.0**-53
