"""Counts of an independent source, read on either side of the two moments at which collectors begin and end."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Final

import collect_lab as lab

from perfcheck.model.observation import Observation, Scope
from perfcheck.model.seams import Collector

COUNTS_PCT: Final = 2.0
Counts = Mapping[str, float]


@dataclass(kw_only=True)
class Bracket:
    """`least` happened while the collectors measured for certain, `most` is all that may have; after the block only."""

    seen: dict[str, Observation] = field(default_factory=dict)
    least: dict[str, float] = field(default_factory=dict)
    most: dict[str, float] = field(default_factory=dict)

    def holds(self, name: str, ours: float, *, pct: float = COUNTS_PCT, slack: float = 0.0) -> None:
        """Fail where a count lies outside of the source's bounds, or these are too far apart to prove `pct`.

        `slack` is how many events may be half done at either end, as one a CPU.
        """
        self._proves(name, ours, ours, pct, slack)

    def holds_share(self, name: str, share_pct: float, *, of: str, pct: float = COUNTS_PCT, slack: float = 0.0) -> None:
        """Fail as `holds` does, for a share of the collectors' own time: how long that was, `of` bounds."""
        self._proves(name, share_pct / 100 * self.least[of], share_pct / 100 * self.most[of], pct, slack)

    def _proves(self, name: str, low: float, high: float, pct: float, slack: float) -> None:
        least, most = self.least[name], self.most[name]
        assert most - least + 2 * slack <= pct / 100 * least, f"{name}: {least} to {most} proves less than {pct} %"
        assert least - slack <= high, f"{name}: at most {high}, but the source counted {least} to {most}"
        assert low <= most + slack, f"{name}: at least {low}, but the source counted {least} to {most}"


@contextmanager
def bracketed(read: Callable[[], Counts], scope: Scope, *collectors: Collector) -> Iterator[Bracket]:
    """Measure as `collect_lab.measuring` does, with the source read just before and after each begin and end."""
    found = Bracket()
    outer_begin = read()
    with lab.measuring(scope, *collectors) as found.seen:
        inner_begin = read()
        yield found
        inner_end = read()
    outer_end = read()
    found.least = {name: value - inner_begin[name] for name, value in inner_end.items()}
    found.most = {name: value - outer_begin[name] for name, value in outer_end.items()}
