"""The readable account of a run's evidence: the questions of the decision tree, and the largest incidents."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import dropwhile
from typing import Final

from perfcheck.diagnose.evaluation import Reading
from perfcheck.diagnose.ruleset import RuleSet
from perfcheck.diagnose.sightings import Sightings
from perfcheck.diagnose.tree import walked

_EVENTS: Final = "events: "
_SERIES: Final = "series: "


def account(rules: RuleSet, reading: Reading, found: Sightings) -> tuple[str, ...]:
    """Return one line for each question that was asked, indented by its depth, then what events showed."""
    return (*_asked(rules, reading), *_shown(found))


def account_again(rules: RuleSet, reading: Reading, former: Sequence[str]) -> tuple[str, ...]:
    """Return the account of a run of which only an earlier account is left: its events are told as they were there."""
    shown = dropwhile(lambda line: not line.startswith((_EVENTS, _SERIES)), former)
    return (*_asked(rules, reading), *shown)


def _asked(rules: RuleSet, reading: Reading) -> Iterator[str]:
    return (answer.text for answer in walked(rules.tree, reading))


def _shown(found: Sightings) -> Iterator[str]:
    if "events" in found.told:
        yield f"{_EVENTS}{found.events:,} in {found.incident_count:,} incidents"
        yield from (f"    {len(one.numbers):,} events: {one.text}" for one in found.incidents)
    if "series" in found.told:
        yield f"{_SERIES}{found.anomalies:,} changes"
