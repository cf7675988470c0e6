"""Scenarios built in Python: the keys and notations of a scenario file."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Final, Self

from perfcheck.api.failure import is_mistake
from perfcheck.errors import ScenarioError, UsageError
from perfcheck.scenario import SourcePoint, changed, hint, read_values, sources

if TYPE_CHECKING:
    from perfcheck.api.quantity import Quantity
    from perfcheck.model import scenario as model
    from perfcheck.output.cases import Case

Value = object
"""A value as a scenario file has it (text, number, list, mapping), or a quantity such as `ms(10)`."""

__tracebackhide__ = is_mistake
_ORIGIN: Final = "Scenario(...)"
_DEFAULTS: Final[Mapping[str, object]] = {
    "title": "", "tags": (), "reference": None, "measure": None, "repeat": None, "warmup": None,
    "phases": None, "expect": None, "tolerance": None,
}  # fmt: skip


class Scenario:
    """A scenario: hosts, links, traffic, and what is expected of them; immutable, and checked when it is made.

    The keys and notations are those of scenario files (docs/scenario-file.md); quantities may be given as `ms(10)`
    in place of `"10ms"`. ScenarioError lists every mistake: `Scenario(...): links[0].delay: expected a duration...`.

    Example:
        >>> office = Scenario(
        ...     "office-upload",
        ...     hosts={"laptop": {}, "server": {}},
        ...     links=[{"between": ["laptop", "server"], "delay": "15ms", "rate": "50mbit", "queue": "1bdp"}],
        ...     traffic=[{"iperf3": {"from": "laptop", "to": "server", "duration": "3s"}}],
        ... )
        >>> office.with_({"links[0].delay": "50ms"}).label
        'office-upload[delay=50ms]'
    """

    __slots__ = ("_changes", "_lines", "_origin", "_spec", "_values")

    def __init__(
        self,
        name: str,
        *,
        hosts: Mapping[str, Mapping[str, Value]],
        links: Sequence[Mapping[str, Value]],
        traffic: Sequence[Mapping[str, Value]],
        title: str = "",
        tags: Sequence[str] = (),
        reference: str | None = None,
        measure: Mapping[str, Value] | None = None,
        repeat: int | None = None,
        warmup: str | Quantity | None = None,
        phases: Mapping[str, str | Quantity] | None = None,
        expect: Mapping[str, str] | None = None,
        tolerance: Mapping[str, str | Quantity] | None = None,
    ) -> None:
        """Take the keys of a scenario file; what is left out has the file's default."""
        given = {
            "title": title, "tags": tags, "reference": reference, "measure": measure, "repeat": repeat,
            "warmup": warmup, "phases": phases, "expect": expect, "tolerance": tolerance,
        }  # fmt: skip
        values: dict[str, object] = {"name": name, "hosts": hosts, "links": links, "traffic": traffic}
        values |= {key: value for key, value in given.items() if value != _DEFAULTS[key]}
        self._fill(values, {}, _ORIGIN)

    @classmethod
    def load(cls, path: str | Path, *, select: str | None = None) -> Self:
        """Read a file's scenario; `select` is a part of the label of the one that is meant, where there are several.

        The path is taken from the working directory. UsageError names the choices.
        """
        found = cls.load_all(path)
        chosen = [one for one in found if select is None or select in one.label]
        if len(chosen) == 1:
            return chosen[0]
        labels = ", ".join(one.label for one in (chosen or found))
        if not chosen:
            near = hint(str(select), [one.label for one in found])
            raise UsageError(f"{path}: no scenario's label contains {select!r}{near or f'; it has {labels}'}")
        such = "" if select is None else f" whose label contains {select!r}"
        raise UsageError(f"{path} has {len(chosen)} scenarios{such}: {labels}; choose one with select=...")

    @classmethod
    def load_all(cls, path: str | Path) -> tuple[Self, ...]:
        """Read all scenarios of a file: one for each point of its matrix."""
        try:
            return tuple(cls._of_file(point) for point in sources(Path(path)))
        except ScenarioError as error:
            # The loader's own frames tell a test's author nothing.
            raise error.with_traceback(None) from None

    @classmethod
    def _of_file(cls, point: SourcePoint) -> Self:
        made = cls.__new__(cls)
        made._values = dict(point.values)
        made._changes = dict(point.changes)
        made._origin = point.scenario.file
        made._spec = point.scenario
        made._lines = point.lines
        return made

    def with_(self, changes: Mapping[str, Value] | None = None, /, **top_level: Value) -> Scenario:
        """Return a scenario with other values.

        `changes` are single values by a matrix's keys: `{"links[0].delay": ms(20), "server.congestion": "bbr"}`. They
        become part of the label and of what baselines are kept by, as a matrix's do. Keywords replace a key of the
        top level as a whole: `repeat=3`, `expect={...}`, `name="another"`.
        """
        try:
            values, inner = changed(self._values, self._changes, {**(changes or {}), **top_level})
        except ScenarioError as error:
            raise error.with_traceback(None) from None
        made = type(self).__new__(type(self))
        made._fill(values, inner, self._origin if self._origin.endswith(")") else f"{self._origin} with_(...)")
        return made

    def _fill(self, values: Mapping[str, object], changes: Mapping[str, object], origin: str) -> None:
        # Copied, so that what the caller does with its lists and dicts later changes nothing here.
        self._values: dict[str, object] = copy.deepcopy(dict(values))
        self._changes: dict[str, object] = dict(changes)
        self._origin: str = origin
        try:
            self._spec: model.Scenario = read_values(self._values, self._changes, origin)
        except ScenarioError as error:
            raise error.with_traceback(None) from None
        self._lines: Mapping[str, int] = {}

    @property
    def name(self) -> str:
        """The scenario's name, by which baselines are kept."""
        return self._spec.name

    @property
    def label(self) -> str:
        """The name with the values that vary, e.g. `office[delay=20ms]`."""
        return self._spec.label

    @property
    def title(self) -> str:
        """One line for people."""
        return self._spec.title

    @property
    def tags(self) -> tuple[str, ...]:
        """Words to select scenarios by."""
        return self._spec.tags

    @property
    def point(self) -> Mapping[str, str]:
        """The values that vary, by key."""
        return dict(self._spec.point)

    @property
    def spec(self) -> model.Scenario:
        """What the scenario was read to: validated values in base units (ns, bit/s, bytes, percent)."""
        return self._spec

    @property
    def lines(self) -> Mapping[str, int]:
        """The line of each key of the scenario's file, by its path; empty where it was built in Python."""
        return self._lines

    @property
    def is_file(self) -> bool:
        """Whether it is as a file has it, so that `perfcheck run FILE` runs it again."""
        return bool(self._lines)

    def __eq__(self, other: object) -> bool:
        """Compare what is run and expected, wherever it was built."""
        if not isinstance(other, Scenario):
            return NotImplemented
        return self._spec.model_copy(update={"file": ""}) == other._spec.model_copy(update={"file": ""})

    def __hash__(self) -> int:
        """Hash alike what is equal."""
        return hash((self._spec.label, self._spec.digest))

    def __repr__(self) -> str:
        """Return e.g. `<Scenario office[delay=20ms]>`."""
        return f"<Scenario {self.label}>"


def place_of(case: Case, scenario: Scenario, test: tuple[str, int | None]) -> Case:
    """Return the case at its line of the scenario's file, or where there is none, at the test's."""
    from perfcheck.output.case_lines import line_of_case

    line = line_of_case(case.name, scenario.lines)
    if line is not None and case.name.startswith(("expect:", "diagnosis")):
        return replace(case, file=scenario.spec.file, line=line)
    return replace(case, file=test[0], line=test[1])
