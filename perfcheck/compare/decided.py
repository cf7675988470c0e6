"""Decides whether the emulated path or the machine determines a metric's value in a scenario."""

from __future__ import annotations

from typing import Final

from perfcheck.model.metric import DecidedBy, MetricSpec
from perfcheck.model.scenario import Scenario
from perfcheck.model.topology import base_rtt_ns, bottleneck, impairs, measured_paths

DELAY_NS: Final = 1_000_000
"""A path with less delay than this is as slow as the machine makes it."""


def decided_by(spec: MetricSpec, scenario: Scenario) -> DecidedBy:
    """Return PATH or MACHINE for this metric in this scenario.

    DELAY metrics belong to the path where every measured path has a base round-trip time of a
    millisecond or more, RATE metrics where every one has a rate, PATH metrics where any link of
    the scenario impairs anything. What a guest counts in instructions no machine decides: it is compared like PATH.
    """
    if spec.decided_by is DecidedBy.INSTRUCTIONS:
        return DecidedBy.PATH
    if spec.decided_by is DecidedBy.MACHINE or not impairs(scenario):
        return DecidedBy.MACHINE
    if spec.decided_by is DecidedBy.PATH:
        return DecidedBy.PATH
    paths = measured_paths(scenario)
    if spec.decided_by is DecidedBy.DELAY:
        decides = [base_rtt_ns(scenario, path) >= DELAY_NS for path in paths]
    else:
        decides = [bottleneck(scenario, path) is not None for path in paths]
    return DecidedBy.PATH if decides and all(decides) else DecidedBy.MACHINE
