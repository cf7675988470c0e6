"""Metrics of the layers other than TCP: collectors' own metrics, statistics of distributions, and links' queues."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from perfcheck.analyse.histogram import merge, statistics
from perfcheck.model.catalogue import CATALOGUE
from perfcheck.model.observation import LinkReport, Observation
from perfcheck.model.scenario import Scenario


def layer_metrics(observations: Sequence[Observation]) -> dict[str, float]:
    """Return collectors' own metrics, and those stats of their distributions that the catalogue declares."""
    found = {name: value for seen in observations for name, value in seen.metrics.items()}
    for quantity in {name for seen in observations for name in seen.distributions}:
        histograms = (seen.distributions[quantity] for seen in observations if quantity in seen.distributions)
        named = {f"{quantity}.{stat}": value for stat, value in statistics(merge(histograms)).items()}
        found |= {name: value for name, value in named.items() if name in CATALOGUE}
    return found


def link_metrics(scenario: Scenario, links: Sequence[LinkReport]) -> dict[str, float]:
    """Return what the queues of links did; nothing where no link has a rate, and so none a queue."""
    queued = [link for link in links if scenario.links[link.link].direction(link.way).rate_bps is not None]
    return {f"qdisc.{name}": value for name, value in _of_queues(queued)}


def _of_queues(links: Sequence[LinkReport]) -> Iterator[tuple[str, float]]:
    if not links:
        return
    yield "link_drops", float(sum(link.dropped_queue for link in links))
    yield "link_queue_bytes.max", float(max(link.max_queue_bytes for link in links))
    # What was lost or policed in front of the queue was not the queue's to drop.
    handed = [(link.received - link.dropped_loss - link.dropped_policer, link.dropped_queue) for link in links]
    shares = [100 * dropped / packets for packets, dropped in handed if packets > 0]
    if shares:
        yield "link_drop_pct", max(shares)
