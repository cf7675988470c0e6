"""The connections of a watch that carried the most: a bounded number of them, each with the sums of what it did."""

from __future__ import annotations

from typing import Final

import numpy as np

from perfcheck.live.connections import bytes_of, largest
from perfcheck.live.whole import merged_flows
from perfcheck.model.flow_table import FlowTable

MOST: Final = 256
ENTERING: Final = 64
"""So many of the busiest of an interval are summed up from then on."""


class Busiest:
    """Sums of connections. One that was never among the busiest of an interval is not there.

    One that was is summed up from the interval on in which it first was, until others have carried more in all.
    """

    def __init__(self) -> None:
        """Begin with nothing."""
        self._kept: FlowTable | None = None
        self.left_out = False

    def add(self, flows: FlowTable) -> None:
        """Add an interval's connections."""
        carried = bytes_of(flows)
        entering = np.zeros(len(flows), bool)
        entering[largest(carried, ENTERING)] = True
        self.left_out |= int(np.count_nonzero(carried)) > ENTERING
        if self._kept is None:
            self._kept = flows.where(entering)
            return
        known = np.isin(flows["cookie"], self._kept["cookie"])
        both = merged_flows([self._kept, flows.where(entering | known)])
        self.left_out |= len(both) > MOST
        self._kept = both.where(largest(bytes_of(both), MOST))

    def table(self, most: int) -> FlowTable:
        """Return those that carried the most, the largest first; without those that carried nothing."""
        if self._kept is None:
            return FlowTable.empty()
        first = self._kept.where(largest(bytes_of(self._kept), most))
        return first.where(bytes_of(first) > 0)

    def __len__(self) -> int:
        """Return how many are summed up."""
        return 0 if self._kept is None else len(self._kept)
