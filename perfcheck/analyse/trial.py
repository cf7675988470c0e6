"""All metrics of one trial, from whatever the generators and the collectors reported."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from perfcheck.analyse.crosscheck import TCP_COLLECTOR
from perfcheck.analyse.entries import achieved
from perfcheck.analyse.flows import measured_connections
from perfcheck.analyse.layers import layer_metrics, link_metrics
from perfcheck.analyse.socket import buffer_metrics
from perfcheck.analyse.tcp import tcp_metrics
from perfcheck.analyse.together import RATES, common_rates, on_the_kernels_clock
from perfcheck.analyse.udp import self_jitter_us
from perfcheck.model.catalogue import Catalogue
from perfcheck.model.catalogue_of import catalogue_of
from perfcheck.model.metric import Direction, Metrics
from perfcheck.model.observation import LinkReport, Observation, TrafficReport
from perfcheck.model.own_metric import is_own_name
from perfcheck.model.scenario import Scenario

_COUNTS: Final = frozenset({"app.errors", "app.timeouts", "app.resets", "app.refused", "udp.datagrams"})


def trial_metrics(
    scenario: Scenario,
    reports: Sequence[TrafficReport],
    observations: Sequence[Observation],
    links: Sequence[LinkReport] = (),
) -> dict[str, float]:
    """Return the metrics of one trial by catalogue name; what was not measured is absent.

    Of several collectors that saw the TCP sockets the TCP collector's figures stand; another's are not
    mixed in, since the same name would mean something else.
    """
    return {
        **layer_metrics(observations),
        **link_metrics(scenario, links),
        **entry_metrics(scenario, reports, observations),
    }


def entry_metrics(
    scenario: Scenario, reports: Sequence[TrafficReport], observations: Sequence[Observation]
) -> dict[str, float]:
    """Return the metrics of the measured traffic alone: what its generators report, and what its sockets did."""
    found = buffer_metrics(observations, reports)
    for seen in sorted(observations, key=lambda each: each.collector != TCP_COLLECTOR):
        if tcp := tcp_metrics(seen.tcp_sockets, reports, scenario):
            found |= tcp
            break
    measured = [report for report in reports if not report.background]
    found |= _reported([report.metrics for report in measured], catalogue_of(scenario)) | common_rates(
        timed(measured, observations)
    )
    found |= achieved(scenario.traffic, reports)
    if "udp.jitter_us" in found and (own := self_jitter_us(scenario)) is not None:
        found["udp.self_jitter_us"] = own
    return found


def timed(reports: Sequence[TrafficReport], observations: Sequence[Observation]) -> tuple[TrafficReport, ...]:
    """Return the reports with their times by the kernel's clock, where a collector saw their connections."""
    ordered = sorted(observations, key=lambda each: each.collector == TCP_COLLECTOR)
    return on_the_kernels_clock(reports, [socket for seen in ordered for socket in seen.tcp_sockets])


def unmatched_flows(reports: Sequence[TrafficReport], observations: Sequence[Observation]) -> tuple[str, ...]:
    """Name the measured TCP flows that a generator reported and no collector saw at their sender."""
    sockets = [socket for seen in observations for socket in seen.tcp_sockets]
    return tuple(
        f"{key.host} {key.local}:{key.local_port} -> {key.remote}:{key.remote_port}"
        for connection in measured_connections(sockets, reports)
        if connection.sender is None and connection.report is not None
        for key in (connection.report.sender,)
    )


def _reported(parts: Sequence[Metrics], known: Catalogue) -> dict[str, float]:
    """Join what several generators measured, rates apart: counts add up, of anything else the worst counts."""
    found: dict[str, float] = {}
    for name in {name for part in parts for name in part} - RATES.keys():
        values = [part[name] for part in parts if name in part]
        if name in _COUNTS or (is_own_name(name) and known[name].unit == "count"):
            found[name] = sum(values)
        elif name == "udp.loss_pct":
            found[name] = _mean_loss(parts)
        else:
            higher = name in known and known[name].direction is Direction.HIGHER
            found[name] = min(values) if higher else max(values)
    return found


def _mean_loss(parts: Sequence[Metrics]) -> float:
    """Loss of all datagrams together; the plain mean where nobody says how many there were."""
    lossy = [part for part in parts if "udp.loss_pct" in part]
    sent = [part.get("udp.datagrams", 0.0) for part in lossy]
    weights = sent if any(sent) else [1.0] * len(lossy)
    return sum(weight * part["udp.loss_pct"] for weight, part in zip(weights, lossy, strict=True)) / sum(weights)
