"""Reads the two files beside the rules: the graph of causes and the decision tree."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from perfcheck.diagnose.causality import Causality, CausalityForm, Edge, State, edge_of, in_order
from perfcheck.diagnose.condition import Condition
from perfcheck.diagnose.located import read_form
from perfcheck.diagnose.parsing import ConditionError, Terms, parse_condition
from perfcheck.diagnose.tree import Branch, BranchForm, TreeForm
from perfcheck.errors import Problem, RuleError
from perfcheck.model.metric import MetricSpec
from perfcheck.system.located_yaml import MAX_PROBLEMS, LocatedFile
from perfcheck.system.place import problem_at, show_path
from perfcheck.system.yaml_bounds import YamlBounds

Path = tuple[str | int, ...]

MAX_STATES: Final = 200
_BOUNDS: Final = YamlBounds(characters=200_000, values=10_000, depth=24, scalar=4000)


def read_causality(
    file: str, text: str, catalogue: Mapping[str, MetricSpec], terms: Terms, *, fast: bool = False
) -> Causality:
    """Return the graph that a file holds; RuleError with each mistake and its place.

    `fast`: by libyaml, for the shipped file; places inside a condition are approximate.
    """
    source, form = read_form(file, text, CausalityForm, _BOUNDS, fast=fast)
    checks = _Checks(source, catalogue, terms)
    states: dict[str, State] = {}
    edges: list[Edge] = []
    if len(form.states) > MAX_STATES:
        raise RuleError(source.problem(("states",), f"more than {MAX_STATES} states"))
    causes: set[str] = set()
    for index, each in enumerate(form.states):
        path = ("states", index)
        if each.name in states:
            checks.add((*path, "name"), f"duplicate state {each.name!r}")
        if each.cause is not None and each.cause in causes:
            checks.add((*path, "cause"), f"another state is {each.cause!r} already")
        causes |= {each.cause} - {None}  # type: ignore[arg-type]
        condition = None if each.when is None else checks.condition((*path, "when"), each.when)
        states[each.name] = State(
            name=each.name, meaning=each.meaning, cause=each.cause, condition=condition, events=each.events,
            series=each.series, symptom=each.symptom, fix=each.fix,
        )  # fmt: skip
        edges += [edge_of(each.name, edge) for edge in each.leads_to]
    for index, each in enumerate(form.states):
        for number, edge in enumerate(each.leads_to):
            if edge.state not in states:
                checks.add(("states", index, "leads_to", number, "state"), f"there is no state {edge.state!r}")
    checks.finish()
    order = in_order(states, tuple(edges))
    if len(order) < len(states):
        left = [index for index, each in enumerate(form.states) if each.name not in order]
        names = ", ".join(form.states[index].name for index in left[:6])
        raise RuleError(source.problem(("states", left[0], "name"), f"leads to itself by a circle among: {names}"))
    return Causality(states={name: states[name] for name in order}, edges=tuple(edges))


def read_tree(
    file: str, text: str, catalogue: Mapping[str, MetricSpec], terms: Terms, *, fast: bool = False
) -> tuple[Branch, ...]:
    """Return the decision tree that a file holds; RuleError with each mistake and its place.

    `fast`: as above.
    """
    source, form = read_form(file, text, TreeForm, _BOUNDS, fast=fast)
    checks = _Checks(source, catalogue, terms)

    def branch(form: BranchForm, path: Path) -> Branch | None:
        condition = checks.condition((*path, "when"), form.when)
        inner = [branch(each, (*path, "branches", index)) for index, each in enumerate(form.branches)]
        if condition is None:
            return None
        found = tuple(each for each in inner if each is not None)
        return Branch(asks=form.asks, condition=condition, causes=form.causes, branches=found)

    branches = [branch(each, ("tree", index)) for index, each in enumerate(form.tree)]
    checks.finish()
    return tuple(each for each in branches if each is not None)


class _Checks:
    """Gathers the mistakes of one file, so that all are told at once."""

    def __init__(self, source: LocatedFile, catalogue: Mapping[str, MetricSpec], terms: Terms) -> None:
        self._source = source
        self._catalogue = catalogue
        self._terms = terms
        self._problems: list[Problem] = []

    def add(self, path: Sequence[str | int], message: str) -> None:
        """Keep a mistake at the place of a value."""
        self._problems.append(self._source.problem(path, message))

    def condition(self, path: Path, text: str) -> Condition | None:
        """Parse a condition; a mistake is kept with its place and gives None."""
        try:
            return parse_condition(text, self._catalogue, self._terms)
        except ConditionError as error:
            raw = self._source.raw(path)
            stripped = len(raw) - len(raw.lstrip())  # the form strips white space
            place = self._source.place_within(path, stripped + error.offset)
            self._problems.append(problem_at(self._source.file, place, show_path(path), str(error)))
            return None

    def finish(self) -> None:
        """Raise RuleError where there are mistakes."""
        if self._problems:
            raise RuleError(*self._problems[:MAX_PROBLEMS])
