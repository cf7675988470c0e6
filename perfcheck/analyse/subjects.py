"""Metrics of one trial by subject: each traffic entry, host and link's direction alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from perfcheck.analyse.entries import INFLIGHT_SHARE, inflight_shares
from perfcheck.analyse.layers import link_metrics
from perfcheck.analyse.trial import entry_metrics
from perfcheck.model.catalogue import Catalogue
from perfcheck.model.catalogue_of import catalogue_of
from perfcheck.model.metric import Metrics
from perfcheck.model.observation import LinkReport, Observation, TrafficReport
from perfcheck.model.scenario import Scenario
from perfcheck.model.subject import SubjectKind, direction_name
from perfcheck.model.traffic import entry_names

_ENDS = {"forward": (0, 1), "reverse": (1, 0)}


def subject_metrics(
    scenario: Scenario,
    reports: Sequence[TrafficReport],
    observations: Sequence[Observation],
    links: Sequence[LinkReport] = (),
    directions: Mapping[tuple[str, str], str] | None = None,
) -> dict[str, dict[str, float]]:
    """Return each subject's metrics by its name; a subject of which nothing was measured is absent.

    `reports` are in the order of the scenario's traffic; entries of background traffic are subjects, too.
    `directions` names the link's direction that each host's interface sends into.
    """
    found: dict[str, dict[str, float]] = {}
    known = catalogue_of(scenario)
    for index, name in enumerate(entry_names(scenario.traffic)):
        found[name] = _of(SubjectKind.TRAFFIC, known, entry_metrics(scenario, alone(reports, index), observations))
    for name, share_pct in inflight_shares(found).items():
        found[name][INFLIGHT_SHARE] = share_pct
    for host in scenario.hosts:
        found[host] = _of(SubjectKind.HOST, known, _host(host, observations))
    for link in links:
        between = scenario.links[link.link].between
        source, target = (between[end] for end in _ENDS[link.way])
        found[direction_name(source, target)] = _of(SubjectKind.DIRECTION, known, link_metrics(scenario, [link]))
    for interface, name in (directions or {}).items():
        own = {key: value for seen in observations for key, value in seen.by_interface.get(interface, {}).items()}
        found[name] = found.get(name, {}) | _of(SubjectKind.DIRECTION, known, own)
    return {name: metrics for name, metrics in found.items() if metrics}


def alone(reports: Sequence[TrafficReport], index: int) -> tuple[TrafficReport, ...]:
    """Return the reports as if one of them were all that is measured, and the others in the background."""
    return tuple(replace(report, background=place != index) for place, report in enumerate(reports))


def _host(name: str, observations: Sequence[Observation]) -> dict[str, float]:
    return {key: value for seen in observations for key, value in seen.by_host.get(name, {}).items()}


def _of(kind: SubjectKind, known: Catalogue, metrics: Metrics) -> dict[str, float]:
    return {name: value for name, value in metrics.items() if kind in known[name].subjects}
