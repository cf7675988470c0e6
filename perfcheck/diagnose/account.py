"""The readable account of a run's evidence: the questions of the decision tree, and the largest incidents."""

from __future__ import annotations

from perfcheck.diagnose.evaluation import Reading
from perfcheck.diagnose.ruleset import RuleSet
from perfcheck.diagnose.sightings import Sightings
from perfcheck.diagnose.tree import walked


def account(rules: RuleSet, reading: Reading, found: Sightings) -> tuple[str, ...]:
    """Return one line for each question that was asked, indented by its depth, then what events showed."""
    lines = [answer.text for answer in walked(rules.tree, reading)]
    if "events" in found.told:
        lines.append(f"events: {found.events:,} in {found.incident_count:,} incidents")
        lines += [f"    {len(one.numbers):,} events: {one.text}" for one in found.incidents]
    if "series" in found.told:
        lines.append(f"series: {found.anomalies:,} changes")
    return tuple(lines)
