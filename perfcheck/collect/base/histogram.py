"""The log-linear scale of bpf/perfcheck.h's histograms, on the user's side.

Values below 2^(SUB_BITS+1) have a bucket each; above, each octave has 2^SUB_BITS buckets, so a
bucket is at most 1/32 of its values wide and its middle at most 1.6 % off.
"""

from __future__ import annotations

import functools
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from perfcheck.model.flow import Histogram

SUB_BITS: Final = 5
RTT_BUCKETS: Final = 704
SEGS_BUCKETS: Final = 416
BUCKETS: Final = 896
"""Of the layers beside TCP (PC_BUCKETS): all values of 32 bits."""


def bucket_of(value: int) -> int:
    """Return the bucket that the kernel's side puts `value` into."""
    shift = max(value.bit_length() - SUB_BITS - 1, 0)
    return (shift << SUB_BITS) + (value >> shift)


def buckets_of(values: npt.NDArray[Any]) -> npt.NDArray[np.int64]:
    """Return the bucket of each of an array of values below 2^32."""
    whole = values.astype(np.int64)
    # frexp gives the number of bits exactly: a double holds 53.
    shift = np.maximum(np.frexp(whole.astype(np.float64))[1] - SUB_BITS - 1, 0).astype(np.int64)
    buckets: npt.NDArray[np.int64] = (shift << SUB_BITS) + (whole >> shift)
    return buckets


def lower_edge(bucket: int) -> int:
    """Return the smallest value of a bucket."""
    shift = max((bucket >> SUB_BITS) - 1, 0)
    return (bucket - (shift << SUB_BITS)) << shift


@functools.cache
def edges(buckets: int) -> tuple[float, ...]:
    """Return the buckets + 1 edges of a scale, in its unit."""
    return tuple(float(lower_edge(bucket)) for bucket in range(buckets + 1))


def histogram(
    unit: str, scale: tuple[float, ...], counts: npt.NDArray[Any], above: int, spread: npt.NDArray[Any]
) -> Histogram:
    """Make the model's histogram of a `u32[]` and its `pc_spread`; an empty one has minimum and maximum 0."""
    empty = not int(counts.sum(dtype=np.uint64)) + above
    return Histogram(
        unit=unit,
        edges=scale,
        counts=tuple(counts.tolist()),
        above=above,
        minimum=0.0 if empty else float(spread["minimum"]),
        maximum=float(spread["maximum"]),
        total=float(spread["total"]),
    )


def empty(unit: str, scale: tuple[float, ...]) -> Histogram:
    """Make a histogram that nothing went into."""
    return Histogram(unit=unit, edges=scale, counts=(0,) * (len(scale) - 1))


def of_values(unit: str, scale: tuple[float, ...], values: npt.NDArray[Any]) -> Histogram:
    """Make a histogram of values none of which is negative, in `unit`."""
    if not values.size:
        return empty(unit, scale)
    within = values[values < scale[-1]]
    counts = np.bincount(np.searchsorted(np.array(scale), within, side="right") - 1, minlength=len(scale) - 1)
    return Histogram(
        unit=unit, edges=scale, counts=tuple(counts.tolist()), above=int(values.size - within.size),
        minimum=float(values.min()), maximum=float(values.max()), total=float(values.sum()),
    )  # fmt: skip


def since(before: Histogram, after: Histogram) -> Histogram:
    """Return what went into a histogram between two copies of it, both on one scale.

    An extreme is exact where it was reached in between. Otherwise it is the edge of the outermost bucket that was,
    within the extremes of all values.
    """
    if not before.count:
        return after
    counts = np.array(after.counts, dtype=np.int64) - np.array(before.counts, dtype=np.int64)
    below, above = after.below - before.below, after.above - before.above
    filled = np.flatnonzero(counts)
    if not filled.size and not below and not above:
        return empty(after.unit, after.edges)
    low, high = after.minimum, after.maximum
    if after.minimum == before.minimum and not below:
        low = max(low, after.edges[int(filled[0])] if filled.size else after.edges[-1])
    if after.maximum == before.maximum and not above:
        high = min(high, after.edges[int(filled[-1]) + 1] if filled.size else after.edges[0])
    return Histogram(
        unit=after.unit, edges=after.edges, counts=tuple(counts.tolist()), below=below, above=above,
        minimum=low, maximum=max(low, high), total=after.total - before.total,
    )  # fmt: skip
