"""Numbers written back as a scenario file writes them: in the unit that gives the shortest whole number."""

from __future__ import annotations

from collections.abc import Mapping

from perfcheck.model.quantities import Loss, Queue
from perfcheck.model.units import DURATION_NS, RATE_BPS, SIZE_BYTES


def duration_text(value_ns: int) -> str:
    """Write nanoseconds, e.g. 10000000 as `10ms`."""
    return _exact(value_ns, {unit: DURATION_NS[unit] for unit in ("s", "ms", "us", "ns")})


def rate_text(value_bps: int) -> str:
    """Write bits per second, e.g. 100000000 as `100mbit`."""
    return _exact(value_bps, RATE_BPS)


def size_text(value_bytes: int) -> str:
    """Write bytes, e.g. 256000 as `256kb` and 65536 as `64kib`."""
    return _exact(value_bytes, SIZE_BYTES)


def percent_text(value_pct: float) -> str:
    """Write a percentage, e.g. 0.1 as `0.1%`; no digit is lost."""
    return f"{number_text(value_pct)}%"


def number_text(value: float) -> str:
    """Write a number without a needless `.0`."""
    return str(int(value)) if value == int(value) else repr(value)


def queue_text(queue: Queue) -> str:
    """Write a queue's size, e.g. `1bdp`."""
    if queue.bdp is not None:
        return f"{number_text(queue.bdp)}bdp"
    return f"{queue.packets}p" if queue.packets is not None else size_text(queue.size_bytes or 0)


def loss_text(loss: Loss) -> str:
    """Write a loss: `0.1%`, or a model with its parameters."""
    if loss.model == "random":
        return percent_text(loss.p_pct)
    parts = {"p": loss.p_pct, "r": loss.r_pct or 0.0, "h": loss.h_pct, "k": loss.k_pct}
    return f"{loss.model} " + " ".join(f"{name}={percent_text(value)}" for name, value in parts.items())


def _exact(value: int, table: Mapping[str, int]) -> str:
    """Write a whole number in the unit of the table that makes the shortest text; the first unit where two do."""
    return min((f"{value // factor}{unit}" for unit, factor in table.items() if value % factor == 0), key=len)
