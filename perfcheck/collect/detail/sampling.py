"""Decides which packets detail mode follows, and when it follows fewer; needs no kernel."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from perfcheck.model.units import readable_pct

EVERYTHING: Final = 1 << 32
"""All buckets: `pc_detail.keep` (bpf/detail.h)."""
LEAST: Final = EVERYTHING >> 20
FEW: Final = EVERYTHING >> 8
"""So few are followed then that they cost nothing any more."""
_SMALLEST_STEP: Final = 1 / 16
_FULL: Final = 0.25


def lower_keep(keep: int, *, ring_use: float, lost: int, cpu_share: float, budget: float) -> int:
    """Return the threshold to go on with, the same one where there is no reason to shed.

    `ring_use` is how full the ring was when it was looked at (0..1), `lost` how many records found no room since
    the last look, `cpu_share` what detail mode takes of one CPU, of which it may take `budget`.
    """
    factor = 1.0
    if lost or ring_use > _FULL:
        factor = 0.5
    if cpu_share > budget:
        factor = min(factor, _step(budget / cpu_share))
    return keep if factor == 1.0 else max(int(keep * factor), LEAST)


def narrowed(keep: int, share: float) -> int:
    """Return the threshold under which about `share` (0..1) of what is followed would be, in steps not too long."""
    return max(int(keep * _step(share)), LEAST)


def _step(share: float) -> float:
    return max(0.9 * share, _SMALLEST_STEP)


@dataclass(slots=True)
class Store:
    """The records of a trial, at most `most`: beyond, those of fewer packets are kept.

    Lots are nested: what is followed under a lower threshold was followed under a higher one, so that what is
    stored can be thinned out afterwards and whole paths remain.
    """

    most: int
    chunks: list[npt.NDArray[Any]] = field(default_factory=list)
    count: int = 0

    def add(self, records: npt.NDArray[Any]) -> None:
        """Store a batch."""
        if len(records):
            self.chunks.append(records)
            self.count += len(records)

    @property
    def full(self) -> bool:
        """Whether there is more than there may be."""
        return self.count > self.most

    def thin(self, keep: int) -> None:
        """Forget the packets that are not followed under this threshold."""
        self.chunks = [chunk for chunk in (one[one["lot"] < keep] for one in self.chunks) if len(chunk)]
        self.count = sum(map(len, self.chunks))

    def forget_before(self, ns: int) -> None:
        """Forget what happened before."""
        self.chunks = [chunk for chunk in (one[one["ns"] >= ns] for one in self.chunks) if len(chunk)]
        self.count = sum(map(len, self.chunks))

    def in_order(self, record: np.dtype[Any]) -> npt.NDArray[Any]:
        """Return all records in the order of time."""
        if not self.chunks:
            return np.zeros(0, record)
        together = np.concatenate(self.chunks)
        return together[np.argsort(together["ns"], kind="stable")]


@dataclass(frozen=True, slots=True)
class Shed:
    """Detail mode began to follow fewer packets: when, and down to which threshold."""

    ns: int
    keep: int
    why: str


def told(shed: list[Shed]) -> Iterator[str]:
    """Say what share of the packets was followed, and why not all."""
    if shed:
        reasons = ", ".join(dict.fromkeys(one.why for one in shed))
        share = 100 * shed[-1].keep / EVERYTHING
        yield f"detail mode followed {readable_pct(share, 3)} of the packets, each on its whole path: {reasons}"
