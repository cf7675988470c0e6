"""Shows advice, and carries it out once it is confirmed: `perfctl tcp --apply [--yes]`."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Self

from perfcheck.live.advice import Advice, advice_of
from perfcheck.live.applied import apply_advice
from perfcheck.live.sysctls import NamespaceSysctls, Sysctls
from perfcheck.model.interval import Interval


def show_and_apply(
    advices: Sequence[Advice], sysctls: Sysctls, write: Callable[[str], None], *, confirmed: bool
) -> tuple[str, ...]:
    """Write the advice as lines, carry it out where it is confirmed, and return the ids for `perfctl undo`.

    An error of one advice is raised after those before it were carried out and written.
    """
    ids = []
    if not advices:
        write("no advice: nothing that was seen is limited by a setting of this machine")
    for advice in advices:
        for line in advice.lines():
            write(line)
        if confirmed and advice.changes:
            ids.append(apply_advice(advice, sysctls, time.time_ns()))
            write(f"  changed; `perfctl undo {ids[-1]}` puts it back")
    if not confirmed and any(advice.changes for advice in advices):
        write("nothing was changed; add --yes to change these sysctls")
    return tuple(ids)


class Advisor:
    """Gathers the advice of all intervals, each id in its latest form, and shows or applies it at the end."""

    def __init__(self, *, confirmed: bool) -> None:
        """Change nothing unless `confirmed`."""
        self._confirmed = confirmed
        self._sysctls = NamespaceSysctls()
        self._found: dict[tuple[str, str], Advice] = {}

    def __enter__(self) -> Self:
        """Return it."""
        return self

    def __exit__(self, *_error: object) -> None:
        """Let go of the namespaces."""
        self._sysctls.close()

    def add(self, interval: Interval) -> None:
        """Take an interval's advice."""
        for advice in advice_of(interval, self._sysctls):
            self._found[advice.netns, advice.id] = advice

    def end(self, write: Callable[[str], None]) -> None:
        """Write the advice, and carry it out where it is confirmed."""
        show_and_apply(tuple(self._found.values()), self._sysctls, write, confirmed=self._confirmed)
