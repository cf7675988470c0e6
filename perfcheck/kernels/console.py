"""What a guest's console says of its death."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

MOST_LINES: Final = 40
_PANIC: Final = re.compile(r"Kernel panic - not syncing: (.*)")
_OOM: Final = re.compile(
    r"(?:Out of memory: Killed process|Memory cgroup out of memory|System is deadlocked on memory)"
)
_OOPS: Final = re.compile(
    r"(BUG: .*|Oops: .*|general protection fault.*|kernel BUG at .*|watchdog: BUG: soft lockup.*"
    r"|rcu: INFO: rcu\w* .*detected.*stall.*|INFO: task .* blocked for more than .*)"
)
_TIMESTAMP: Final = re.compile(r"^\[\s*\d+\.\d+\](?:\[\s*\S+\])? ?")
_CUT: Final = re.compile(r"Rebooting in|reboot: |---\[ end Kernel panic")


@dataclass(frozen=True, slots=True, kw_only=True)
class Death:
    """Why a guest died, in one line, and the last lines of its console from there on."""

    reason: str
    lines: tuple[str, ...]


def death_of(console: str) -> Death | None:
    """Return what killed the guest: a panic, an oops, or no memory; None where the console tells of none of them."""
    lines = [_TIMESTAMP.sub("", line.rstrip("\r")) for line in console.splitlines()]
    panic = _first(lines, _PANIC)
    oops = _first(lines, _OOPS)
    memory = _first(lines, _OOM)
    if panic is None and oops is None and memory is None:
        return None
    begin = min(at for at in (panic, oops, memory) if at is not None)
    shown = tuple(line for line in lines[begin:] if line and not _CUT.search(line))[:MOST_LINES]
    if memory is not None and (panic is None or "memory" in lines[panic]):
        return Death(reason=f"it ran out of memory: {lines[memory].strip()}", lines=shown)
    if panic is not None:
        said = _PANIC.search(lines[panic])
        first = f"; first: {lines[oops].strip()}" if oops is not None and oops < panic else ""
        return Death(reason=f"its kernel panicked: {said[1].strip() if said else ''}{first}", lines=shown)
    return Death(reason=f"its kernel failed: {lines[begin].strip()}", lines=shown)


def last_lines(console: str) -> tuple[str, ...]:
    """Return the last lines of a console, without their times."""
    lines = [_TIMESTAMP.sub("", line.rstrip("\r")) for line in console.splitlines()]
    return tuple(line for line in lines if line)[-MOST_LINES:]


def _first(lines: list[str], pattern: re.Pattern[str]) -> int | None:
    return next((at for at, line in enumerate(lines) if pattern.search(line)), None)
