"""What all commands say in the same words: numbers of things, how long was watched, what was left out."""

from __future__ import annotations

from collections.abc import Sequence

from perfcheck.model.units import readable_pct


def count(number: int, what: str) -> str:
    """Return `1 connection`, `1,204 connections`."""
    return f"{number:,} {what}{'' if number == 1 else 's'}"


def watched(seconds: float, intervals: int) -> str:
    """Return how long was watched: `watched 30.0 s in 30 intervals`."""
    return f"watched {seconds:.1f} s in {count(intervals, 'interval')}"


def without_room(connections: int) -> str:
    """Return that connections were not followed."""
    return f"{count(connections, 'connection')} had no room among the records: raise --max-flows"


def lost(events: int) -> str:
    """Return that events were lost."""
    return f"{count(events, 'event')} lost: counts may be too low by up to that number"


def left_out(shed: Sequence[str]) -> str:
    """Return what was not measured to keep to the ceiling."""
    return f"left out to stay below --cpu-ceiling: {', '.join(shed)}"


def cost(cpu_pct: float) -> str:
    """Return what watching took."""
    return f"perfctl used {readable_pct(cpu_pct, 2)} of one CPU"
