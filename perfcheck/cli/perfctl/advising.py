"""Shows advice, and carries it out once it is confirmed: `perfctl tcp --apply [--yes]`."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from perfcheck.live.advice import Advice
from perfcheck.live.applied import apply_advice
from perfcheck.live.sysctls import Sysctls


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
