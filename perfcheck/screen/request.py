"""What a screen is asked to be, and how it may end."""

from __future__ import annotations

from dataclasses import dataclass, field

from perfcheck.live.grouping import GroupBy
from perfcheck.screen.filtering import RowFilter
from perfcheck.screen.look import Look


@dataclass(frozen=True, slots=True, kw_only=True)
class ScreenRequest:
    """What the screen is to be: `title` says what is watched. `terminal` is the file descriptor that may go away."""

    title: str
    is_recorded: bool
    look: Look = field(default_factory=Look)
    by: GroupBy = GroupBy.CONNECTION
    filter: RowFilter = field(default_factory=RowFilter)
    terminal: int | None = None


class TerminalGone(Exception):  # noqa: N818 - it says what happened
    """The terminal went away without a signal."""
