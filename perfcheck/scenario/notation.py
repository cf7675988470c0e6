"""Numbers written back as a scenario file writes them: in the unit that gives the shortest whole number."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from perfcheck.model.impairments import Change, Jitter, Policer
from perfcheck.model.quantities import CODEL_INTERVAL_NS, CODEL_TARGET_NS, Loss, Queue, QueueSize
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
    """Write a queue: its size, e.g. `1bdp`, and where it is not drop-tail its discipline, e.g. `1bdp codel`."""
    words = [_queue_size_text(queue.size)]
    if queue.discipline != "drop-tail":
        words.append(queue.discipline)
    if (queue.target_ns, queue.interval_ns) != (CODEL_TARGET_NS, CODEL_INTERVAL_NS):
        words += [f"target={duration_text(queue.target_ns)}", f"interval={duration_text(queue.interval_ns)}"]
    return " ".join(words)


def _queue_size_text(size: QueueSize) -> str:
    if size.bdp is not None:
        return f"{number_text(size.bdp)}bdp"
    return f"{size.packets}p" if size.packets is not None else size_text(size.size_bytes or 0)


def jitter_text(jitter: Jitter) -> str:
    """Write a jitter: `5ms`, and where it is not uniform its distribution, e.g. `5ms normal`."""
    text = duration_text(jitter.spread_ns)
    return text if jitter.distribution == "uniform" else f"{text} {jitter.distribution}"


def policer_text(policer: Policer) -> str:
    """Write a policer, e.g. `10mbit burst=64kb`."""
    return f"{rate_text(policer.rate_bps)} burst={size_text(policer.burst_bytes)}"


def schedule_text(schedule: Sequence[Change]) -> str:
    """Write changes over time, e.g. `2s rate=1mbit; 4s delay=50ms loss=5%`."""
    return "; ".join(_change_text(change) for change in schedule)


def _change_text(change: Change) -> str:
    words = [duration_text(change.at_ns)]
    if change.rate_bps is not None:
        words.append(f"rate={rate_text(change.rate_bps)}")
    if change.delay_ns is not None:
        words.append(f"delay={duration_text(change.delay_ns)}")
    if change.loss is not None:
        words.append(f"loss={loss_text(change.loss)}")
    return " ".join(words)


def loss_text(loss: Loss) -> str:
    """Write a loss: `0.1%`, or a model with its parameters."""
    if loss.model == "random":
        return percent_text(loss.p_pct)
    parts = {"p": loss.p_pct, "r": loss.r_pct or 0.0, "h": loss.h_pct, "k": loss.k_pct}
    return f"{loss.model} " + " ".join(f"{name}={percent_text(value)}" for name, value in parts.items())


def _exact(value: int, table: Mapping[str, int]) -> str:
    """Write a whole number in the unit of the table that makes the shortest text; the first unit where two do."""
    return min((f"{value // factor}{unit}" for unit, factor in table.items() if value % factor == 0), key=len)
