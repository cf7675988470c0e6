"""What a layer's maps hold at one moment, and by how much they grew between two."""

from __future__ import annotations

import functools
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from perfcheck.collect.base import histogram

Maps = Mapping[str, npt.NDArray[Any]]
_PADDING: Final = "__pad"  # as BCC names it
_NO_MINIMUM: Final = 0xFFFFFFFF
_LARGEST: Final = 0xFFFFFFFF


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """What was counted in a window of `length_ns`, up to `taken_ns`.

    `maps` are elements of array maps, shared with the kernel or copied. `covered_ns` is how long programs that are
    sampled ran. `lost` could not be counted. `beside` is what a collector reads in addition.
    """

    taken_ns: int
    length_ns: int
    maps: Maps
    covered_ns: int = 0
    lost: int = 0
    beside: Any = None
    states: Collection[str] = field(default_factory=frozenset)

    def copied(self) -> Look:
        """Return the look with its elements as they are now."""
        return replace(self, maps={name: view.copy() for name, view in self.maps.items()})

    def since(self, before: Look | None) -> Look:
        """Return what was counted after another look; after None, in the whole window.

        Members named in `states` are no counters, and stay as they are.
        """
        if before is None:
            return self
        return replace(
            self,
            length_ns=max(self.taken_ns - before.taken_ns, 0),
            covered_ns=max(self.covered_ns - before.covered_ns, 0),
            lost=self.lost - before.lost,
            maps={name: grown(before.maps[name], view, self.states) for name, view in self.maps.items()},
        )


def grown(before: npt.NDArray[Any], after: npt.NDArray[Any], states: Collection[str] = ()) -> npt.NDArray[Any]:
    """Return by how much each counter and `pc_distribution` of an array map's elements grew.

    Elements that are only in `after` grew from 0. Counters of 32 bits may have wrapped.
    """
    result = after.copy()
    common = min(len(before), len(after))
    _subtract(result[:common], before[:common], frozenset(states))
    return result


def _subtract(result: npt.NDArray[Any], before: npt.NDArray[Any], states: frozenset[str]) -> None:
    names = result.dtype.names
    if names is None:
        if result.dtype.kind in "ui":
            result -= before
    elif "counts" in names and "spread" in names:
        _subtract_distribution(result, before)
    else:
        for name in names:
            if name not in states and not name.startswith(_PADDING):
                _subtract(result[name], before[name], states)


def _subtract_distribution(result: npt.NDArray[Any], before: npt.NDArray[Any]) -> None:
    """Subtract counts and totals; an extreme that was not reached in between is its outermost bucket's edge."""
    spread, earlier = result["spread"], before["spread"]
    same_low = spread["minimum"] == earlier["minimum"]
    same_high = spread["maximum"] == earlier["maximum"]
    result["counts"] -= before["counts"]
    spread["total"] -= earlier["total"]
    filled = result["counts"] > 0
    any_filled = filled.any(axis=-1)
    size = filled.shape[-1]
    edges = _edges(size)
    low = edges[filled.argmax(axis=-1)]
    high = np.minimum(edges[size - filled[..., ::-1].argmax(axis=-1)] - 1, _LARGEST)
    spread["minimum"] = np.where(same_low, np.maximum(spread["minimum"], low), spread["minimum"])
    spread["maximum"] = np.where(same_high, np.minimum(spread["maximum"], high), spread["maximum"])
    spread["minimum"][~any_filled] = _NO_MINIMUM
    spread["maximum"][~any_filled] = 0


@functools.cache
def _edges(size: int) -> npt.NDArray[np.int64]:
    return np.array([min(histogram.lower_edge(bucket), _LARGEST + 1) for bucket in range(size + 1)], dtype=np.int64)
