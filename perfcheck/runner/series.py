"""The time series of one trial: what is sampled of it, and where its curves go."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Final

from perfcheck.analyse import curves
from perfcheck.collect.series.sampler import Sampling
from perfcheck.collect.session import Core
from perfcheck.lab import Lab
from perfcheck.model.observation import Observation, TrafficReport
from perfcheck.model.scenario import Scenario
from perfcheck.model.seams import WatchedLink
from perfcheck.model.series import Curve
from perfcheck.model.subject import direction_name

KeepCurves = Callable[[Iterable[Curve]], None]
_NOTES: Final = 10
"""How often a link notes its queues in an interval: a sample is then no older than a tenth of it."""


def sampling_of(scenario: Scenario, lab: Lab) -> Sampling:
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
    core: Core, scenario: Scenario, reports: Sequence[TrafficReport], observations: Sequence[Observation],
    keep: KeepCurves,
) -> tuple[float, tuple[str, ...]]:  # fmt: skip
    """Make curves of what was sampled and hand them on; return the CPU seconds that sampling took, and warnings."""
    samples = core.samples
    if samples is None:
        return 0.0, ()
    keep(curves(samples, scenario.traffic, reports, observations))
    return samples.cpu_s, samples.warnings


@contextmanager
def samples_dropped(core: Core) -> Iterator[None]:
    """Remove what was sampled on every way out."""
    try:
        yield
    finally:
        core.drop_samples()
