"""What an exported family is: a name, a type, and what it means; pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from types import MappingProxyType
from typing import Final

LIVE: Final = "perfctl_"
"""Prefix of what a live machine's intervals say."""
RECORDS: Final = "perfcheck_"
"""Prefix of what records of runs say."""


class Kind(StrEnum):
    """Types of Prometheus."""

    COUNTER = "counter"
    GAUGE = "gauge"
    HISTOGRAM = "histogram"


@dataclass(frozen=True, slots=True, kw_only=True)
class Family:
    """Series of one name. `labels` are those that all of them have; `netns` and `interface` may be beside them.

    `name` is whole: a counter's ends with `_total`. `unit` is the base unit ("" for counts).
    """

    name: str
    kind: Kind
    help: str
    unit: str = ""
    labels: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where a catalogue metric goes: a family, the labels within it, and what its value is multiplied by."""

    family: Family
    labels: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    scale: float = 1.0
