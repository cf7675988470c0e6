"""From the client's log, a line a connection, to metrics; pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Final

import numpy as np
import numpy.typing as npt

from perfcheck.errors import TrafficError
from perfcheck.model.observation import Arrival, Timings
from perfcheck.traffic.connections.client import COLUMNS, DONE, OTHER, REFUSED, RESET, TIMED_OUT
from perfcheck.traffic.requests import PERCENTILES, Answered, arrivals

KINDS: Final[Mapping[str, int]] = MappingProxyType(
    {"refused": REFUSED, "timed_out": TIMED_OUT, "reset": RESET, "other": OTHER}
)
"""Ways to fail, as the log has them."""
_METRICS: Final[Mapping[str, str]] = MappingProxyType(
    {"refused": "app.refused", "timed_out": "app.timeouts", "reset": "app.resets"}
)


@dataclass(frozen=True, slots=True, kw_only=True)
class ConnectionLog:
    """Every connection of one run, in the order in which they ended; times in ns, -1 for what did not come so far."""

    begin_ns: npt.NDArray[np.int64]
    connect_ns: npt.NDArray[np.int64]
    first_byte_ns: npt.NDArray[np.int64]
    length_ns: npt.NDArray[np.int64]
    outcome: npt.NDArray[np.int64]

    @property
    def done(self) -> npt.NDArray[np.bool_]:
        """Which connections were answered and closed."""
        return np.equal(self.outcome, DONE)

    def times_ns(self) -> dict[str, npt.NDArray[np.int64]]:
        """Return the times of all connections by metric, without the stat; -1 for what did not come so far."""
        return {"app.connect_us": self.connect_ns, "app.first_byte_us": self.first_byte_ns}

    def counts(self) -> dict[str, int]:
        """Return how many connections were opened, established and done, and how many failed by the kind of failure."""
        return {
            "opened": len(self.outcome),
            "established": int((self.connect_ns >= 0).sum()),
            "done": int(self.done.sum()),
            **{kind: int((self.outcome == outcome).sum()) for kind, outcome in KINDS.items()},
        }


def read_log(content: bytes, ahead_ns: int = 0) -> ConnectionLog:
    """Read the client's log, whose clock is so far ahead of this one; TrafficError where it was cut off."""
    if len(content) % (8 * COLUMNS):
        raise TrafficError("the log of connections was cut off")
    table = np.frombuffer(content, dtype=np.int64).reshape(-1, COLUMNS)
    begin_ns, connect_ns, first_byte_ns, length_ns, outcome = table.T
    return ConnectionLog(
        begin_ns=begin_ns - ahead_ns,
        connect_ns=connect_ns,
        first_byte_ns=first_byte_ns,
        length_ns=length_ns,
        outcome=outcome,
    )


def connection_metrics(log: ConnectionLog, warmup_ns: int, duration_ns: int) -> dict[str, float]:
    """Return rate and times of the connections that were opened after the warm-up, and all failures by kind.

    The warm-up begins with the first connection. The rate's time is that in which connections were opened. Times are
    those of each connection that came so far, whether it failed later or not.
    """
    counts = log.counts()
    found: dict[str, float] = {metric: float(counts[kind]) for kind, metric in _METRICS.items()}
    found["app.errors"] = float(sum(counts[kind] for kind in KINDS))
    if not len(log.begin_ns) or duration_ns <= warmup_ns:
        return found
    measured = log.begin_ns >= log.begin_ns.min() + warmup_ns
    found["app.connections_per_s"] = int((measured & log.done).sum()) * 1e9 / (duration_ns - warmup_ns)
    for name, times_ns in log.times_ns().items():
        times_us = times_ns[measured & (times_ns >= 0)] / 1e3
        if len(times_us):
            found |= _distribution(name, times_us)
    return found


def connection_timings(log: ConnectionLog) -> tuple[Timings, ...]:
    """Return each connection's times, warm-up included, of those that came so far."""
    return tuple(
        Timings(metric=name, ended_ns=(log.begin_ns + times_ns)[times_ns >= 0], took_us=times_ns[times_ns >= 0] / 1e3)
        for name, times_ns in log.times_ns().items()
    )


def _distribution(name: str, values: npt.NDArray[np.float64]) -> dict[str, float]:
    percentiles = np.percentile(values, list(PERCENTILES.values()))
    return {
        **{f"{name}.{stat}": float(value) for stat, value in zip(PERCENTILES, percentiles, strict=True)},
        f"{name}.mean": float(values.mean()),
        f"{name}.max": float(values.max()),
    }


def connection_arrivals(log: ConnectionLog, warmup_ns: int) -> tuple[tuple[Arrival, ...], tuple[int, int] | None]:
    """Return when the connections that succeeded began and ended, and the time that is measured."""
    done = log.done
    answered = Answered(sent_us=log.begin_ns[done] / 1e3, latency_us=log.length_ns[done] / 1e3)
    first_ns = int(log.begin_ns[done].min()) if done.any() else 0
    found, span = arrivals(answered, warmup_ns / 1e3, first_ns)
    return tuple(replace(each, answers=0, connections=each.answers) for each in found), span
