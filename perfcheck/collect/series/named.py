"""Sources of a few curves by name: of hosts, links' directions and the machine."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from perfcheck.collect.base import histogram
from perfcheck.collect.base.histogram import BUCKETS
from perfcheck.model.series import COUNT, VALUE, NamedSamples
from perfcheck.system.spool import Spool

Name = tuple[str | None, str]
"""Subject and metric."""


class NamedSeries:
    """Spools values of curves, and what went into distributions of the layers' scale (bpf/layers.h)."""

    def __init__(self, curves: Sequence[Name], distributions: Sequence[Name] = (), divisor: float = 1.0) -> None:
        """Take the names; `divisor` is of the distributions' kernel unit in theirs."""
        self._curves, self._distributions, self._divisor = tuple(curves), tuple(distributions), divisor
        self._values, self._counts = Spool(VALUE), Spool(COUNT)
        self._before = np.zeros((len(self._distributions), BUCKETS), np.uint32)

    def add_values(self, ticks: Sequence[int], values: npt.NDArray[Any]) -> None:
        """Spool one row of values a tick, in the curves' order; a curve whose value is NaN has none."""
        at, curve = np.nonzero(~np.isnan(values))
        rows = np.empty(len(at), VALUE)
        rows["tick"], rows["curve"], rows["value"] = np.asarray(ticks)[at], curve, values[at, curve]
        self._values.append(rows)

    def add_counts(self, ticks: Sequence[int], counts: npt.NDArray[np.uint32]) -> None:
        """Spool by how much the distributions' buckets have grown from tick to tick.

        `counts` are by tick, distribution, part and bucket, the parts being added up; the first tick's growth is since
        the last call.
        """
        last = counts[-1, :, :, :BUCKETS].sum(axis=1, dtype=np.uint32)
        # Few buckets grow: the others were at the first tick what they are at the last one.
        grown = np.flatnonzero((last != self._before).any(axis=0))
        both = np.concatenate([self._before[None, :, grown], counts[..., grown].sum(axis=2, dtype=np.uint32)])
        self._before = last
        grew = np.diff(both, axis=0)
        at, group, bucket = np.nonzero(grew)
        rows = np.empty(len(at), COUNT)
        rows["tick"], rows["group"], rows["bucket"] = np.asarray(ticks)[at], group, grown[bucket]
        rows["count"] = grew[at, group, bucket]
        self._counts.append(rows)

    def samples(self) -> NamedSamples:
        """Return all that was spooled."""
        return NamedSamples(
            curves=self._curves, values=self._values.blocks, distributions=self._distributions,
            counts=self._counts.blocks, edges=tuple(edge / self._divisor for edge in histogram.edges(BUCKETS)),
        )  # fmt: skip

    def warnings(self) -> tuple[str, ...]:
        """Return nothing: all of them are sampled each time."""
        return ()

    def close(self) -> None:
        """Remove what was spooled."""
        self._values.close()
        self._counts.close()
