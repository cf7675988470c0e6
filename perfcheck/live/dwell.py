"""How long connections were in each congestion state."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from perfcheck.live.perspectives import senders
from perfcheck.model.flow_table import FlowTable

STATES: Final = ("open", "disorder", "cwr", "recovery", "loss")
_TENTHS: Final = 1000
"""Of a percent in the whole."""


class Dwell:
    """The time that sending connections spent in each state, summed up over intervals."""

    def __init__(self) -> None:
        """Begin with nothing."""
        self.us: dict[str, int] = dict.fromkeys(STATES, 0)

    def add(self, flows: FlowTable) -> None:
        """Add an interval's senders; receivers are always in Open."""
        chosen = senders(flows)
        for state in STATES:
            self.us[state] += int(flows[f"state_{state}_us"][chosen].sum())

    def shares_pct(self) -> Mapping[str, float]:
        """Return the shares in percent."""
        return shares_pct(self.us)


def shares_pct(spent: Mapping[str, int]) -> Mapping[str, float]:
    """Return shares in tenths of a percent that add up to 100; nothing where no time was spent.

    What rounding down leaves goes to those that lost the most by it.
    """
    whole = sum(spent.values())
    if whole <= 0:
        return {}
    exact = {name: _TENTHS * part / whole for name, part in spent.items()}
    tenths = {name: int(value) for name, value in exact.items()}
    missing = _TENTHS - sum(tenths.values())
    for name in sorted(exact, key=lambda one: tenths[one] - exact[one])[:missing]:
        tenths[name] += 1
    return {name: value / 10 for name, value in tenths.items()}
