"""The time series of one trial: what is sampled of it, and where its curves go."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

from perfcheck.analyse import curves
from perfcheck.analyse.anomalies import MOST_SAMPLES, Anomaly, anomalies
from perfcheck.analyse.series import traffic_zero_ns
from perfcheck.collect.series.sampler import Sampling
from perfcheck.model.observation import Observation, TrafficReport
from perfcheck.model.scenario import Scenario
from perfcheck.model.seams import MeasuringCore, Testbed, WatchedLink
from perfcheck.model.series import Curve
from perfcheck.model.subject import direction_name

KeepCurves = Callable[[Iterable[Curve]], None]
_NOTES: Final = 10
"""How often a link notes its queues in an interval: a sample is then no older than a tenth of it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sampled:
    """What became of a trial's samples: CPU seconds that sampling took, warnings, and where series changed.

    `zero_ns` is CLOCK_MONOTONIC when the traffic's time began; None: nothing was sampled.
    """

    cpu_s: float = 0.0
    warnings: tuple[str, ...] = ()
    anomalies: tuple[Anomaly, ...] = ()
    zero_ns: int | None = None


def sampling_of(scenario: Scenario, lab: Testbed) -> Sampling:
    """Return what is sampled in the lab; its links note their queues from the next trial on."""
    interval_ns = scenario.measure.interval_ns
    links = []
    for spec, link in zip(scenario.links, lab.links, strict=True):
        if isinstance(link, WatchedLink):
            link.watch_queues(interval_ns // _NOTES)
            first, second = spec.between
            links.append(((direction_name(first, second), direction_name(second, first)), link.queues))
    return Sampling(interval_ns=interval_ns, directions=lab.directions, links=tuple(links))


def keep_samples(
    core: MeasuringCore, scenario: Scenario, reports: Sequence[TrafficReport], observations: Sequence[Observation],
    keep: KeepCurves,
) -> Sampled:  # fmt: skip
    """Make curves of what was sampled and hand them on; return what is to be said of them."""
    samples = core.samples
    if samples is None:
        return Sampled()
    noted: list[Curve] = []
    keep(_noted(curves(samples, scenario.traffic, reports, observations), noted))
    return Sampled(
        cpu_s=samples.cpu_s, warnings=samples.warnings, anomalies=anomalies(noted),
        zero_ns=traffic_zero_ns(samples, reports),
    )  # fmt: skip


def _noted(every: Iterable[Curve], noted: list[Curve]) -> Iterator[Curve]:
    """Hand curves through and note them, as many as are looked at for changes."""
    count = 0
    for curve in every:
        count += len(curve.values)
        if count <= MOST_SAMPLES:
            noted.append(curve)
        yield curve


@contextmanager
def samples_dropped(core: MeasuringCore) -> Iterator[None]:
    """Remove what was sampled on every way out."""
    try:
        yield
    finally:
        core.drop_samples()
