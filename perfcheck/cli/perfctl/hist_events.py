"""The distributions of `perfctl hist` as events: one a quantity, side and interval, and of the whole run at the end."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import count
from typing import Final

import numpy as np

from perfcheck.analyse.histogram import statistics
from perfcheck.live.bdp import TOLD, Path, Paths, verdict
from perfcheck.live.both_sides import Medians, meanings
from perfcheck.live.dwell import Dwell
from perfcheck.live.perspectives import QUANTITIES, RATE, Perspectives, Side
from perfcheck.model.event import Event, EventType
from perfcheck.model.flow import FlowKey, Histogram
from perfcheck.model.metric import Layer

Context = Mapping[str, str | int | float]


class HistEvents:
    """Numbers the events of one run."""

    def __init__(self, sides: Sequence[Side]) -> None:
        """Take which sides are asked for."""
        self._sides = tuple(sides)
        self._number = count()

    def interval(self, histograms: Mapping[str, Histogram], number: int, end_ns: int) -> Iterator[Event]:
        """Yield an event for each distribution of one interval."""
        yield from self._distributions(histograms, end_ns, {"interval": number})

    def whole(self, seen: Perspectives, paths: Paths, dwell: Dwell, end_ns: int) -> Iterator[Event]:
        """Yield the events of the whole run: distributions, BDP verdicts, and the time in each state."""
        said = meanings(Medians.of(seen)) if len(self._sides) > 1 else {}
        yield from self._distributions(seen.histograms, end_ns, {"scope": "run"}, said)
        for path in paths.largest(TOLD):
            yield self._bdp(path, end_ns)
        shares = dwell.shares_pct()
        if shares:
            metrics = {f"tcp.state_{name}_pct": share for name, share in shares.items()}
            yield self._event("tcp.state_open_pct", metrics.pop("tcp.state_open_pct"), end_ns, metrics,
                              {"scope": "run"})  # fmt: skip

    def _distributions(
        self, histograms: Mapping[str, Histogram], end_ns: int, context: Context, said: Mapping[str, str] | None = None
    ) -> Iterator[Event]:
        for quantity in QUANTITIES:
            for side in self._sides:
                name = quantity.of(side)
                found = histograms.get(name) if name is not None else None
                if name is None or found is None or not found.count or (name == RATE and side is not self._sides[0]):
                    continue
                more = dict(context) | {"quantity": quantity.name, "side": side.value, "unit": found.unit}
                if said and quantity.name in said:
                    more["meaning"] = said[quantity.name]
                yield self._of_histogram(name, found, end_ns, more)

    def _of_histogram(self, name: str, found: Histogram, end_ns: int, context: Context) -> Event:
        stats = {f"{name}.{stat}": value for stat, value in statistics(found).items()}
        median = stats.pop(f"{name}.p50")
        metrics = {**stats, f"{name}.count": float(found.count)}
        return self._event(f"{name}.p50", median, end_ns, metrics, {**context, **buckets(found)})

    def _bdp(self, path: Path, end_ns: int) -> Event:
        found = verdict(path)
        metrics = {
            "tcp.send_bps": path.rate_bps, "tcp.min_rtt_us": path.min_rtt_us, "tcp.rtt_us.mean": path.rtt_us,
            "tcp.inflight_bytes": path.inflight_bytes, "tcp.queue_bytes": found.queue_bytes,
            "tcp.queue_us": found.queue_us, "tcp.limited_rwnd_pct": path.rwnd_pct,
            "tcp.limited_sndbuf_pct": path.sndbuf_pct, "tcp.busy_pct": path.busy_pct,
        }  # fmt: skip
        known = {name: value for name, value in metrics.items() if np.isfinite(value)}
        bdp = path.bdp_bytes if np.isfinite(path.bdp_bytes) else 0.0
        context = {"scope": "run", "fill": found.fill.value, "verdict": found.text}
        return self._event("tcp.bdp_bytes", bdp, end_ns, known, context, path.key)

    def _event(
        self, metric: str, value: float, end_ns: int, metrics: Mapping[str, float], context: Context,
        flow: FlowKey | None = None,
    ) -> Event:  # fmt: skip
        return Event(
            number=next(self._number), timestamp_ns=end_ns, flow=flow, layer=Layer.TCP, metric=metric, value=value,
            type=EventType.SUMMARY, metrics=metrics, context=context,
        )  # fmt: skip


_SEPARATOR: Final = " "


def buckets(found: Histogram) -> Context:
    """Return the buckets that hold anything as texts: lower edges, upper edges and counts, separated by blanks.

    The values of an event's context are texts and numbers, so that lists are written as texts.
    """
    filled = [index for index, number in enumerate(found.counts) if number]
    columns = {
        "bucket_low": [f"{found.edges[index]:g}" for index in filled],
        "bucket_high": [f"{found.edges[index + 1]:g}" for index in filled],
        "bucket_count": [str(found.counts[index]) for index in filled],
    }
    return {name: _SEPARATOR.join(texts) for name, texts in columns.items()} | {"above": found.above}
