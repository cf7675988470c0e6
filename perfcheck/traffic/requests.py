"""Metrics of an application with requests and answers, from one line for each request, for all generators."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from perfcheck.errors import TrafficError
from perfcheck.model.observation import Arrival, Requests

STEP_US: Final = 100_000.0
"""Answers are counted in steps of so much time."""
PERCENTILES: Final = {"p50": 50.0, "p90": 90.0, "p99": 99.0, "p999": 99.9}


@dataclass(frozen=True, slots=True, kw_only=True)
class Answered:
    """Requests of one trial that were answered: when each was sent (from any one moment on), and how long it took."""

    sent_us: npt.NDArray[np.float64]
    latency_us: npt.NDArray[np.float64]


def request_metrics(answered: Answered, warmup_us: float) -> dict[str, float]:
    """Return rate and latency of the requests that were sent after the warm-up; percentiles are those of the values.

    The warm-up begins with the first request, and the rate's time ends with the last answer. Without any
    answer the rate is 0 and latencies are absent.
    """
    if not len(answered.sent_us):
        return {"app.requests_per_s": 0.0}
    begin_us = float(answered.sent_us.min()) + warmup_us
    end_us = float((answered.sent_us + answered.latency_us).max())
    latency_us = answered.latency_us[answered.sent_us >= begin_us]
    if not len(latency_us):
        return {"app.requests_per_s": 0.0}
    found = {"app.requests_per_s": len(latency_us) * 1e6 / (end_us - begin_us)}
    values = np.percentile(latency_us, list(PERCENTILES.values()))
    found |= {f"app.latency_us.{stat}": float(value) for stat, value in zip(PERCENTILES, values, strict=True)}
    return found | {
        "app.latency_us.mean": float(latency_us.mean()),
        "app.latency_us.max": float(latency_us.max()),
    }


def arrivals(
    answered: Answered, warmup_us: float, first_ns: int, size_bytes: int = 0
) -> tuple[tuple[Arrival, ...], tuple[int, int] | None]:
    """Return when requests and their answers of so many bytes passed, and the time that `request_metrics` measures.

    Each arrival spans whole steps, from the one in which a request was sent to that of its answer's end: when in
    between its bytes came is not known. `first_ns` is when the first request was sent. Without a request
    after the warm-up nothing is measured.
    """
    if not len(answered.sent_us):
        return (), None
    sent_us = answered.sent_us - answered.sent_us.min()
    done_us = sent_us + answered.latency_us
    end_us = float(done_us.max())
    # The warm-up's end is an edge, so that no step lies on both sides of it.
    inner = np.concatenate((np.arange(warmup_us, 0, -STEP_US), np.arange(warmup_us, end_us, STEP_US)))
    edges = np.unique(np.concatenate(([0.0, end_us], inner[inner < end_us])))
    first = np.searchsorted(edges, sent_us, side="right") - 1
    last = np.searchsorted(edges, done_us, side="left")
    spans, counts = np.unique(np.stack((first, last)), axis=1, return_counts=True)
    moments = [first_ns + round(1000 * edge) for edge in edges.tolist()]
    found = tuple(
        Arrival(begin_ns=moments[begin], end_ns=moments[end], size_bytes=count * size_bytes, answers=count)
        for begin, end, count in zip(*spans.tolist(), counts.tolist(), strict=True)
    )
    if not (sent_us >= warmup_us).any():
        return found, None
    return found, (first_ns + round(1000 * warmup_us), moments[-1])


def timed(answered: Answered, first_ns: int, size_bytes: int = 0) -> Requests:
    """Return the requests by CLOCK_MONOTONIC: the first was sent at `first_ns`, each answer has so many bytes."""
    since_us = answered.sent_us - (answered.sent_us.min() if len(answered.sent_us) else 0.0)
    sent_ns = first_ns + np.rint(1000 * since_us).astype(np.int64)
    return Requests(sent_ns=sent_ns, latency_us=answered.latency_us, size_bytes=size_bytes)


def columns(text: str, separator: str, count: int) -> npt.NDArray[np.float64]:
    """Read lines of so many numbers; a last line that was cut off is left out. TrafficError where they are none."""
    lines = text[: text.rfind("\n") + 1].splitlines()
    try:
        flat = np.array([line.split(separator)[:count] for line in lines], dtype=np.float64)
    except ValueError as error:
        raise TrafficError(f"the log of requests cannot be read: {error}") from None
    return flat.reshape(len(lines), count)
