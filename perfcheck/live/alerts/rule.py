"""What an alert rule is, and the table of the rules that are always on."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final

from perfcheck.live.alerts.hysteresis import Holding
from perfcheck.live.alerts.reading import Reading
from perfcheck.model.interval import Interval
from perfcheck.model.metric import Layer

HOLDING: Final = Holding()

Read = Callable[[Interval], Iterable[Reading]]
"""Returns the readings of an interval. Of single flows it returns those that are not calm; all others are."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """One rule; `metric` is what it reads, `unit` that of value and bound."""

    name: str
    summary: str
    metric: str
    layer: Layer
    unit: str
    read: Read
    holding: Holding = HOLDING
