"""What links did in each phase: the difference of two looks at their queues."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

from perfcheck.model.link import DIRECTIONS
from perfcheck.model.observation import LinkReport, QueueLook
from perfcheck.model.scenario import Scenario
from perfcheck.model.seams import EmulatedLink, WatchedLink

NOTE_EVERY_NS: Final = 10**7
"""How old a look at a link's queue may be."""
_NOTHING: Final = (QueueLook(size_bytes=0, drops=0, losses=0),) * 2


def watch_links(scenario: Scenario, links: Sequence[EmulatedLink]) -> Callable[[], tuple[QueueLook, ...]] | None:
    """Return what looks at both directions of each link, in the file's order; they note their queues from now on.

    A link that cannot be watched does nothing in them; None where one with a rate cannot: a part would pass for the
    whole.
    """
    for spec, link in zip(scenario.links, links, strict=True):
        if isinstance(link, WatchedLink):
            # A time series may want to know more often.
            link.watch_queues(min(NOTE_EVERY_NS, scenario.measure.interval_ns // 10))
        elif any(direction.rate_bps is not None for direction in spec.directions):
            return None
    return lambda: tuple(
        look for link in links for look in (link.queues() if isinstance(link, WatchedLink) else _NOTHING)
    )


def links_between(first: Sequence[QueueLook], second: Sequence[QueueLook]) -> tuple[LinkReport, ...]:
    """Return what each direction did between two looks, as far as they say."""
    return tuple(
        LinkReport(
            link=number // len(DIRECTIONS), way=DIRECTIONS[number % len(DIRECTIONS)], emulator="",
            received=after.received - before.received,
            delivered=0,
            dropped_loss=after.losses - before.losses,
            dropped_queue=after.drops - before.drops,
            dropped_policer=after.policed - before.policed,
        )
        for number, (before, after) in enumerate(zip(first, second, strict=True))
    )  # fmt: skip
