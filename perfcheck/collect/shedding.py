"""Decides when the core exceeds its CPU budget and what it then sheds; needs no kernel.

The order: detail mode follows fewer packets, then none; pollers read less often; then the collectors that a
verdict on TCP does not need stop, the most expensive first. What costs almost nothing is left alone.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from perfcheck.collect import declared
from perfcheck.model.budget import Budget

DETAIL: Final = declared.DETAIL.name
STOPPABLE: Final = frozenset(one.name for one in declared.ALL if one.may_stop)
"""Collectors that may stop. The TCP collector may not, nor what only looks when a trial begins and ends."""
SUSTAINED: Final = 3
"""So many looks in a row have to be over the budget: one alone may be another's doing."""
REST_PACKETS_PER_S: Final = 100
"""Up to here the lab is at rest: so many packets cost the core less than a hundredth of its usual budget."""
NEGLIGIBLE: Final = 0.05
"""What takes less of the budget than this is not worth its figures."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """What each collector took of one CPU (in percent, by name) since the look before, and packets meanwhile."""

    used_pct: Mapping[str, float]
    packets_per_s: float

    @property
    def total_pct(self) -> float:
        """What all of them took."""
        return sum(self.used_pct.values())

    @property
    def at_rest(self) -> bool:
        """Whether the hosts received next to nothing."""
        return self.packets_per_s <= REST_PACKETS_PER_S


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """Something to do less of: the collector does less itself, or (`stop`) nothing any more."""

    collector: str
    stop: bool


class Watch:
    """Counts for how many looks in a row the core has been over its budget."""

    def __init__(self, budget: Budget) -> None:
        """Nothing has been seen yet."""
        self.budget = budget
        self._row = 0

    def note(self, look: Usage) -> bool:
        """Return whether something is to be shed now; the count then begins anew.

        A look at a lab that works counts only where the budget holds always.
        """
        counts = self.budget.always or look.at_rest
        self._row = self._row + 1 if counts and look.total_pct > self.budget.cpu_pct else 0
        if self._row < SUSTAINED:
            return False
        self._row = 0
        return True


def steps(look: Usage, budget: Budget) -> Iterator[Step]:
    """Return what may be shed, first what is to be shed first."""
    dear = {name: pct for name, pct in look.used_pct.items() if pct > NEGLIGIBLE * budget.cpu_pct}
    order = sorted(dear, key=lambda name: (name != DETAIL, -dear[name], name))
    if DETAIL in dear:
        yield Step(collector=DETAIL, stop=False)
        yield Step(collector=DETAIL, stop=True)
    yield from (Step(collector=name, stop=False) for name in order if name != DETAIL)
    yield from (Step(collector=name, stop=True) for name in order if name != DETAIL and name in STOPPABLE)
