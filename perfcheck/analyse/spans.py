"""Spans of time: their overlaps and their total length."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

Span = tuple[int, int]
"""Begin and end, in ns."""


def union(spans: Iterable[Span]) -> list[Span]:
    """Return the time that at least one of the spans covers, as spans that neither touch nor overlap, in order."""
    found: list[Span] = []
    for begin, end in sorted(spans):
        if found and begin <= found[-1][1]:
            found[-1] = found[-1][0], max(found[-1][1], end)
        elif end > begin:
            found.append((begin, end))
    return found


def length_ns(spans: Sequence[Span]) -> int:
    """Return the length of spans that do not overlap."""
    return sum(end - begin for begin, end in spans)


def within(begin: int, end: int, spans: Sequence[Span]) -> bool:
    """Whether one of the spans covers all of that time."""
    return any(first <= begin and end <= last for first, last in spans)
