"""Histories of a metric that tests make by hand."""

from __future__ import annotations

from typing import Any

import numpy as np

from perfcheck.compare.outlook import outlook
from perfcheck.model.history import Series
from perfcheck.report.history.story import Story

RTT = "tcp.rtt_us.p50"
NOISE = np.random.default_rng(5).standard_normal(4000)


def story(values: list[float], metric: str = RTT, unit: str = "us", **fields: Any) -> Story:
    """Return the story of these values, one an hour."""
    known: dict[str, Any] = {"scenario": "wan", "point": "", "emulators": "netem", "machine": "0123456789abcdef"}
    series = Series(
        metric=metric, unit=unit, workload="w",
        run_ids=tuple(f"{number:032x}"[::-1] for number in range(len(values))),
        started_at=tuple(f"2024-01-{1 + hour // 24:02}T{hour % 24:02}:00:00+00:00" for hour in range(len(values))),
        values=tuple(values), **(known | fields),
    )  # fmt: skip
    return Story(series, outlook(values))


def shifted() -> list[float]:
    """Return 70 values whose level rises at the 41st."""
    return [20_000 + 100 * float(noise) + (3_000 if place >= 40 else 0) for place, noise in enumerate(NOISE[:70])]


def bursting() -> list[float]:
    """Return 60 values, two of which are far above."""
    return [20_000 + 100 * float(noise) + (5_000 if place in (30, 31) else 0) for place, noise in enumerate(NOISE[:60])]
