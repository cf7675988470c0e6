"""What segments saw when they left TCP (bpf/sendside.bpf.c): distributions of each look, of all connections."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from perfcheck.collect.base import histogram
from perfcheck.model.flow import Histogram

HOOK: Final = "net_dev_queue"
MAP: Final = "send_side"
METRICS: Final = {
    "srtt": ("tcp.send_srtt_us", "us"), "cwnd": ("tcp.send_cwnd_segs", "segs"),
    "inflight": ("tcp.send_inflight_segs", "segs"),
}  # fmt: skip
"""Names and units of the members of `pc_send_side`."""
_NO_MINIMUM: Final = 0xFFFFFFFF


class SendSide:
    """The mapped histograms, one set a CPU, and what they held at the last look."""

    def __init__(self, sets: npt.NDArray[Any]) -> None:
        """Empty the map."""
        self._sets = sets
        sets[:] = 0
        for name in METRICS:
            sets[f"{name}_spread"]["minimum"] = _NO_MINIMUM
        self._before = {metric: self._read(name, unit) for name, (metric, unit) in METRICS.items()}

    def since(self) -> Mapping[str, Histogram]:
        """Return what went in since the last look."""
        now = {metric: self._read(name, unit) for name, (metric, unit) in METRICS.items()}
        before, self._before = self._before, now
        return {metric: histogram.since(before[metric], one) for metric, one in now.items()}

    def _read(self, name: str, unit: str) -> Histogram:
        spread, counts = self._sets[f"{name}_spread"].copy(), self._sets[name].sum(axis=0, dtype=np.int64)
        above = int(self._sets[f"{name}_above"].sum(dtype=np.uint64))
        scale = histogram.edges(len(counts))
        if not int(counts.sum()) + above:
            return histogram.empty(unit, scale)
        return Histogram(
            unit=unit, edges=scale, counts=tuple(counts.tolist()), above=above,
            minimum=float(spread["minimum"].min()), maximum=float(spread["maximum"].max()),
            total=float(spread["total"].sum(dtype=np.uint64)),
        )  # fmt: skip
