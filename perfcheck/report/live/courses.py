"""The charts over time of a watch: rates, round trips, retransmissions, windows, and what limited connections."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from typing import Final

from perfcheck.analyse.histogram import quantile
from perfcheck.live.bottleneck import NAMES
from perfcheck.model.catalogue import CATALOGUE
from perfcheck.report.causes import words_of
from perfcheck.report.charts.heatmap import Slice, heatmap
from perfcheck.report.charts.lines import Labels, Line, Moments, lines
from perfcheck.report.charts.shares import areas
from perfcheck.report.document import Chart
from perfcheck.report.live.gathering import Gathering
from perfcheck.report.live.stretch import AGAIN_PCT, GAUGES, RECEIVED, SENT, Stretch

_NS: Final = 1e9
_QUANTILES: Final = {"p50": 0.5, "p90": 0.9, "p99": 0.99}


def course_charts(gathering: Gathering) -> tuple[Chart, ...]:
    """Return the charts of what has values."""
    stretches = tuple(gathering.stretches)
    moments = moments_of(gathering)
    found = [
        _lines("throughput", "Payload sent and acknowledged, and received", "bit rate", "bps", moments, stretches,
               {"sent": _gauge(SENT), "received": _gauge(RECEIVED)}),
        _lines("rtt-course", "Round trip times of all connections", "tcp.rtt_us", "us", moments, stretches,
               {name: _rtt(share) for name, share in _QUANTILES.items()}),
        _lines("again-course", "Data segments that were retransmitted", "retransmitted", "pct", moments, stretches,
               {"retransmitted": _again}),
        *(_machine(name, moments, stretches) for name in GAUGES),
        _lines("connections", "Connections at a time, at most", "connections", "count", moments, stretches,
               {"connections": lambda one: (float(one.most_connections),) * 3}),
    ]  # fmt: skip
    return tuple(chart for chart in found if chart is not None)


def moments_of(gathering: Gathering) -> Moments:
    """Return the middle of each stretch, in seconds since the watch began."""
    begin_ns = gathering.begin_ns
    return Moments(t_s=[((one.begin_ns + one.end_ns) / 2 - begin_ns) / _NS for one in gathering.stretches])


def limits_chart(gathering: Gathering) -> Chart | None:
    """Return the shares of bottlenecks over time, of connections that were not idle; None where there was none."""
    stretches = tuple(gathering.stretches)
    known = [name for name in NAMES if any(one.limits.get(name) for one in stretches)]
    if not known:
        return None
    shares = {words_of(name): [_share(one, name) for one in stretches] for name in known}
    labels = Labels(name="bottlenecks", title="What limits connections: share of the connections that are not idle",
                    quantity="share of connections", unit="pct")  # fmt: skip
    return areas(labels, moments_of(gathering), shares)


def rtt_heatmap(gathering: Gathering) -> Chart | None:
    """Return the distribution of round trips over time; None where none was measured."""
    begin_ns = gathering.begin_ns
    slices = [
        Slice(begin_s=(one.begin_ns - begin_ns) / _NS, end_s=(one.end_ns - begin_ns) / _NS, values=one.rtt)
        for one in gathering.stretches
        if one.rtt is not None
    ]
    if not slices:
        return None
    return heatmap(Labels(name="rtt-heatmap", title="Round trip times over time", quantity="tcp.rtt_us", unit="us"),
                   slices)  # fmt: skip


_Reader = Callable[[Stretch], tuple[float, float, float]]
"""Returns mean, smallest and largest of a stretch; NaN where it has none."""


def _lines(
    name: str, title: str, quantity: str, unit: str, moments: Moments, stretches: Sequence[Stretch],
    readers: dict[str, _Reader],
) -> Chart | None:  # fmt: skip
    series = list(_series(stretches, readers))
    if not series:
        return None
    return lines(Labels(name=name, title=title, quantity=quantity, unit=unit), moments, series)


def _series(stretches: Sequence[Stretch], readers: dict[str, _Reader]) -> Iterator[Line]:
    for name, reader in readers.items():
        read = [reader(one) for one in stretches]
        means = [mean for mean, _, _ in read]
        if not any(map(math.isfinite, means)):
            continue
        lows, highs = [low for _, low, _ in read], [high for _, _, high in read]
        ranged = any(low != high for low, high in zip(lows, highs, strict=True) if math.isfinite(low))
        yield Line(name=name, mean=means, low=lows if ranged else None, high=highs if ranged else None)


def _gauge(name: str) -> _Reader:
    def read(stretch: Stretch) -> tuple[float, float, float]:
        found = stretch.gauges.get(name)
        return (math.nan,) * 3 if found is None else (found.mean, found.low, found.high)

    return read


def _rtt(share: float) -> _Reader:
    def read(stretch: Stretch) -> tuple[float, float, float]:
        return (math.nan if stretch.rtt is None else quantile(stretch.rtt, share),) * 3

    return read


def _again(stretch: Stretch) -> tuple[float, float, float]:
    extent = stretch.gauges.get(AGAIN_PCT)
    return stretch.again_pct, *((math.nan, math.nan) if extent is None else (extent.low, extent.high))


def _machine(metric: str, moments: Moments, stretches: Sequence[Stretch]) -> Chart | None:
    spec = CATALOGUE[metric]
    return _lines(metric.replace(".", "-").replace("_", "-"), f"{metric}: {spec.meaning}", metric, spec.unit, moments,
                  stretches, {metric: _gauge(metric)})  # fmt: skip


def _share(stretch: Stretch, name: str) -> float:
    whole = sum(stretch.limits.values())
    return 100 * stretch.limits.get(name, 0.0) / whole if whole else math.nan
