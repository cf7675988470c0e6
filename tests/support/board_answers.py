"""What a Prometheus answers to the queries of dashboards."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from prometheus_server import Prometheus

STEP_S: Final = "1"


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """One series of an answer: its labels, and its values, oldest first."""

    labels: Mapping[str, str]
    values: tuple[float, ...]

    @property
    def finite(self) -> tuple[float, ...]:
        """The values that are numbers."""
        return tuple(value for value in self.values if math.isfinite(value))


def over(server: Prometheus, expression: str, begin_s: float, end_s: float) -> list[Found]:
    """Return what an expression was in a time."""
    data = server.get(
        "/api/v1/query_range", query=expression, start=f"{begin_s:.3f}", end=f"{end_s:.3f}", step=STEP_S
    )  # fmt: skip
    return [_found(one["metric"], one["values"]) for one in data["result"]]


def at(server: Prometheus, expression: str, time_s: float) -> list[Found]:
    """Return what an expression was at a moment."""
    data = server.get("/api/v1/query", query=expression, time=f"{time_s:.3f}")
    return [_found(one["metric"], [one["value"]]) for one in data["result"]]


def _found(labels: Mapping[str, str], values: list[list[Any]]) -> Found:
    return Found(labels=labels, values=tuple(float(value) for _, value in values))
