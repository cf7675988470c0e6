"""The metrics that a file's commands report of themselves, read from the tree, so that `expect` may name them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from perfcheck.errors import Problem
from perfcheck.model.own_metric import OwnMetric, OwnMetricRecord, is_own_name, own_unit
from perfcheck.scenario.tree import Document
from perfcheck.system.place import Loc

_JUDGED: Final = ("better", "margin")
"""Keys on which entries that report the same metric must agree: together they are one metric of the run."""


def own_metrics_of(document: Document) -> dict[str, OwnMetricRecord]:
    """Return the metrics that the file's commands report, by name, as far as they can be read.

    A declaration with another mistake counts as well, so that the mistake is told once and not again in `expect`.
    """
    found: dict[str, OwnMetricRecord] = {}
    for index, name in _declared(document):
        better, margin = (document.text(*_loc(index), name, key) for key in _JUDGED)
        fields = {"better": better if better in ("lower", "higher", "neither") else "lower"}
        metric = OwnMetricRecord.model_validate({"unit": own_unit(name), **fields})
        found.setdefault(name, _with_margin(metric, margin))
    return found


def _with_margin(metric: OwnMetricRecord, margin: str | None) -> OwnMetricRecord:
    if margin is None:
        return metric
    try:
        read = OwnMetric.model_validate({"at": "x", "unit": metric.unit, "better": metric.better, "margin": margin})
    except ValueError:
        return metric
    return metric.model_copy(update={"margin_pct": read.margin_pct})


def reporting(document: Document) -> dict[str, set[int]]:
    """Return the indices of the traffic entries that report each metric."""
    found: dict[str, set[int]] = {}
    for index, name in _declared(document):
        found.setdefault(name, set()).add(index)
    return found


def check_own_metrics(document: Document) -> Iterator[Problem]:
    """Yield a problem where two entries report the same metric and do not agree on what it is worth."""
    first: dict[str, int] = {}
    for index, name in _declared(document):
        other = first.setdefault(name, index)
        for key in _JUDGED:
            said, before = (document.text(*_loc(each), name, key) for each in (index, other))
            if said != before:
                found = document.find((*_loc(index), name, key))
                message = (
                    f"traffic[{other}] reports {name}, too, with {key}: {before or 'nothing said'}; give both the same"
                )
                yield document.problem(found.node.place, found.path, message)


def _declared(document: Document) -> Iterator[tuple[int, str]]:
    for index in range(len(document.listing("traffic"))):
        for name in document.table(*_loc(index)):
            if is_own_name(name):
                yield index, name


def _loc(index: int) -> Loc:
    return ("traffic", index, "command", "report", "metrics")
