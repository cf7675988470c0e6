"""What is wrong with a dashboard by the rules of Grafana's dashboard-linter, and by ours on units, names and places."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from itertools import combinations
from typing import Final, get_args

from families import rate_unit_of, unit_of
from grafana_boards import BoardQuery, Json, panels_of, queries_of, source_of, variables_of
from grafana_foundation_sdk.models import units

from perfcheck.export import own_families as own
from perfcheck.export.family import Family, Kind
from perfcheck.export.names import live_families, record_families

KNOWN_UNITS: Final = frozenset(
    get_args(kind)[0] for kind in vars(units)["__annotations__"].values() if get_args(kind)
) | {"string"}
FAMILIES: Final = {
    family.name: family
    for family in (
        *live_families(), *record_families(), *own.SELF, *own.TRAFFIC, *own.OBSERVED, *own.FLOWS, *own.RUN,
        *own.SEND_SIDE.values(),
    )
}  # fmt: skip
PARTS: Final = ("_bucket", "_sum", "_count")
CHOSEN: Final = ('job=~"$job"', 'instance=~"$instance"')
PRODUCTS: Final = {frozenset({"Bps", "s"}): "bytes"}
_SELECTOR: Final = re.compile(
    r"(?:(?P<function>\w+)\()?(?P<name>\b(?:perfctl|perfcheck)_\w+)(?P<matchers>\{[^}]*\})?(?P<range>\[[^\]]*\])?"
)


def findings(board: Json) -> list[str]:
    """Return what is wrong, each with the place where it is."""
    return [*_frame(board), *_variables(board), *_panels(board), *_grid(board), *_queries(board)]


def family_of(name: str) -> Family | None:
    """Return the exported family that a series belongs to."""
    if name in FAMILIES:
        return FAMILIES[name]
    base = next((name.removesuffix(part) for part in PARTS if name.endswith(part)), "")
    family = FAMILIES.get(base)
    return family if family is not None and family.kind is Kind.HISTOGRAM else None


def _frame(board: Json) -> Iterator[str]:
    if board["editable"]:
        yield "is editable"
    for key in ("title", "description", "uid", "refresh", "tags"):
        if not board.get(key):
            yield f"has no {key}"
    if not board["time"]["from"].startswith("now-") or board["time"]["to"] != "now":
        yield "has no time range up to now"


def _variables(board: Json) -> Iterator[str]:
    kinds = Counter(variable["type"] for variable in board["templating"]["list"])
    if kinds["datasource"] != 1:
        yield f"{kinds['datasource']} variables of data sources"
    variables = variables_of(board)
    source = variables.get("datasource", {})
    if (source.get("type"), source.get("label")) != ("datasource", "Data source"):
        yield "no variable datasource, labelled Data source"
    for name, variable in variables.items():
        if variable["type"] == "query" and variable["refresh"] != 2:
            yield f"variable {name} is not read again when the time range changes"
        if variable["type"] == "query" and variable["datasource"]["uid"] != "${datasource}":
            yield f"variable {name} has its own data source"
    if source.get("query") != "prometheus":
        return
    for name in ("job", "instance"):
        variable = variables.get(name, {})
        found = (variable.get("type"), variable.get("multi"), variable.get("includeAll"), variable.get("allValue"))
        if found != ("query", True, True, ".+") or variable.get("label") != name.capitalize():
            yield f"variable {name} is not one of several values with all of them as .+"


def _panels(board: Json) -> Iterator[str]:
    titles = Counter(panel["title"] for panel in panels_of(board))
    yield from (f"{count} panels are called {title}" for title, count in titles.items() if count > 1)
    numbers = Counter(panel["id"] for panel in board["panels"])
    yield from (f"{count} panels have the number {number}" for number, count in numbers.items() if count > 1)
    for panel in panels_of(board):
        title = panel["title"]
        if not title or not panel.get("description"):
            yield f"panel {title}: no title or description"
        if panel["fieldConfig"]["defaults"].get("unit") not in KNOWN_UNITS:
            yield f"panel {title}: no unit that Grafana knows"
        if not panel.get("targets"):
            yield f"panel {title}: no queries"
        sources = [panel["datasource"], *(target["datasource"] for target in panel.get("targets", ()))]
        if any(source != {"type": source_of(board), "uid": "${datasource}"} for source in sources):
            yield f"panel {title}: a data source that is not the variable's"
        refs = [target["refId"] for target in panel.get("targets", ())]
        if len(set(refs)) < len(refs) or not all(refs):
            yield f"panel {title}: queries without names of their own"


def _grid(board: Json) -> Iterator[str]:
    places = [(panel["title"], panel["gridPos"]) for panel in board["panels"]]
    for title, place in places:
        if place["x"] < 0 or place["w"] < 1 or place["h"] < 1 or place["x"] + place["w"] > 24:
            yield f"panel {title}: not within 24 columns"
    for (one, a), (two, b) in combinations(places, 2):
        if (
            a["x"] < b["x"] + b["w"]
            and b["x"] < a["x"] + a["w"]
            and a["y"] < b["y"] + b["h"]
            and b["y"] < a["y"] + a["h"]
        ):
            yield f"panels {one} and {two} overlap"


def _queries(board: Json) -> Iterator[str]:
    if source_of(board) != "prometheus":
        return
    for query in queries_of(board):
        yield from (f"{query.name}: {wrong}" for wrong in (*_selectors(query), *_unit(query)))


def _selectors(query: BoardQuery) -> Iterator[str]:
    found = list(_SELECTOR.finditer(query.text))
    if not found:
        yield "no series"
    for series in found:
        name, matchers = series["name"], series["matchers"] or ""
        family = family_of(name)
        if family is None:
            yield f"{name} is not exported"
            continue
        if not all(matcher in matchers for matcher in CHOSEN):
            yield f"{name} is not chosen by job and instance"
        counted = family.kind is Kind.COUNTER or family.kind is Kind.HISTOGRAM
        if counted != (series["function"] in {"rate", "increase"}):
            yield f"{name} is a {family.kind}, with {series['function'] or 'no function'}"
        if counted and series["range"] != "[$__rate_interval]":
            yield f"{name}: {series['range']} instead of $__rate_interval"


def _unit(query: BoardQuery) -> Iterator[str]:
    """A query has one unit, which its panel has, too."""
    known = (series for series in _SELECTOR.finditer(query.text) if family_of(series["name"]) is not None)
    expected = {_unit_of(series) for series in known}
    if " * " in query.text:
        expected = {PRODUCTS.get(frozenset(expected), "unknown")}
    elif " / " in query.text:
        expected = {"percentunit"}
    elif query.text.startswith("time() - "):
        expected = {"s"}
    if query.unit not in expected:
        yield f"the unit is {query.unit}, and not {' or '.join(sorted(expected))}"


def _unit_of(series: re.Match[str]) -> str:
    """Return what unit a series has in a query."""
    family = family_of(series["name"])
    assert family is not None, series["name"]
    if family.kind is Kind.COUNTER and series["function"] == "rate":
        return rate_unit_of(family)
    return unit_of(family)
