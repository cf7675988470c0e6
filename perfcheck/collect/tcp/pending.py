"""Samples that the kernel's side had not counted yet when the trial ended: `pc_record.samples` (bpf/perfcheck.h)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from perfcheck.collect.base import histogram
from perfcheck.collect.tcp import decode

QUANTITIES: Final[Mapping[str, str]] = {name: array for name, array, _ in decode.HISTOGRAMS}
"""Members of `pc_sample`, and the array of `pc_histograms` that each is counted in."""
NO_VALUE: Final = 0xFFFFFFFF  # PC_NO_VALUE


def count_pending(records: npt.NDArray[Any], sets: npt.NDArray[Any]) -> None:
    """Count what is left in `pc_record`s as count_samples() of bpf/tcp.bpf.c does; changes both arrays.

    What has no set of histograms is added to `lost_samples`.
    """
    rows, places = np.nonzero(np.arange(records.dtype["samples"].shape[0]) < records["pending"][:, None])
    number = records["histogram"][rows].astype(np.int64) - 1
    known = (number >= 0) & (number < len(sets))
    np.add.at(records["lost_samples"], rows[~known], 1)
    rows, places, number = rows[known], places[known], number[known]
    samples = records["samples"][rows, places]
    for name, array in QUANTITIES.items():
        given = samples[name] != NO_VALUE
        _count(name, rows[given], samples[name][given], number[given], records, sets[array][name])
    records["pending"] = 0


def _count(
    name: str, rows: npt.NDArray[Any], values: npt.NDArray[Any], number: npt.NDArray[Any],
    records: npt.NDArray[Any], counts: npt.NDArray[Any],
) -> None:  # fmt: skip
    buckets = histogram.buckets_of(values)
    within = buckets < counts.shape[1]
    np.add.at(counts, (number[within], buckets[within]), 1)
    np.add.at(records[f"{name}_above"], rows[~within], 1)
    spread = records[f"{name}_spread"]
    np.add.at(spread["total"], rows, values.astype(np.uint64))
    np.minimum.at(spread["minimum"], rows, values)
    np.maximum.at(spread["maximum"], rows, values)
