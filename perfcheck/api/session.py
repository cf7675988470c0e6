"""The fixture `perfcheck`: measures from a test."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from perfcheck.api.comparison import Comparison
from perfcheck.api.failure import is_mistake
from perfcheck.api.record import Record
from perfcheck.api.scenario import Scenario
from perfcheck.errors import UsageError

if TYPE_CHECKING:
    from perfcheck.api.caller import Caller
    from perfcheck.api.quantity import Quantity
    from perfcheck.model import scenario as model
    from perfcheck.runner.sides import Side

Mode = Literal["summary", "detail", "both"]
_MODES = ("summary", "detail", "both")
_MOST_RUNS = 1000
__tracebackhide__ = is_mistake


class Perfcheck:
    """Measures scenarios for a test; pytest's fixture `perfcheck` is one.

    A path is taken from the folder of the test's file, else from pytest's root directory. Each call measures anew:
    to share a record among tests, return it from a fixture with `scope="module"`. All options of
    pytest hold (`--perfcheck-repeat` wins over `repeat=`).
    """

    def __init__(self, caller: Caller) -> None:
        """Measure for this caller."""
        self._caller = caller

    def __repr__(self) -> str:
        """Return `<Perfcheck>`, which pytest shows among a test's arguments."""
        return "<Perfcheck>"

    def run(
        self,
        scenario: Scenario | str | Path,
        *,
        repeat: int | None = None,
        mode: Mode | None = None,
        baseline: str | Record | None = None,
        select: str | None = None,
    ) -> Record:
        """Measure one scenario and return its record.

        `select` is a part of the label of the scenario that is meant, where a file's matrix has several. `repeat` and
        `mode` are taken in place of the scenario's. `baseline` is what `assert_no_regression` will compare with: a
        named set, or another record.

        CouldNotMeasure, which pytest counts as an error and never as a failure, where nothing may be judged.
        """
        __tracebackhide__ = True
        return self._run(self.load(scenario, select=select), repeat, mode, baseline)

    def run_all(
        self, path: str | Path, *, repeat: int | None = None, mode: Mode | None = None
    ) -> tuple[Record, ...]:  # fmt: skip
        """Measure all scenarios of a file, one for each point of its matrix."""
        __tracebackhide__ = True
        found = Scenario.load_all(self._caller.find(Path(path)))
        return tuple(self._run(one, repeat, mode, None) for one in found)

    def ab(
        self,
        scenario: Scenario | str | Path,
        *,
        a: str,
        b: str,
        tolerance: Mapping[str, str | Quantity] | None = None,
        select: str | None = None,
    ) -> Comparison:
        """Measure two settings in interleaved pairs, as `perfcheck ab` does, and return how B compares with A.

        A side is a text such as `"file"`, `"congestion bbr"`, `"sysctl server:net.ipv4.tcp_rmem=4096 131072 65536"`.
        `tolerance` is what counts as a change by metric, e.g. `{"app.throughput_bps": pct(3)}`, beside the scenario's.
        """
        __tracebackhide__ = True
        sides = _side("a", a), _side("b", b)
        chosen = self.load(scenario, select=select)
        spec = self._placed(chosen)
        if tolerance:
            spec = spec.model_copy(update={"tolerance_pct": {**spec.tolerance_pct, **_tolerances(chosen, tolerance)}})
        before, after = self._caller.pairs(spec, *sides)
        if not chosen.is_file:
            after = after.model_copy(update={"reproduce": self._caller.repetition()})
        return Comparison(before, after, self._caller)

    def load(self, scenario: Scenario | str | Path, *, select: str | None = None) -> Scenario:
        """Return a scenario without measuring it: a file's, which is looked for as `run` does."""
        __tracebackhide__ = True
        if isinstance(scenario, Scenario):
            if select is not None and select not in scenario.label:
                raise UsageError(f"select={select!r} is for files; this is the scenario {scenario.label}")
            return scenario
        return Scenario.load(self._caller.find(Path(scenario)), select=select)

    def _placed(self, scenario: Scenario) -> model.Scenario:
        """Return what is to be measured; a scenario that is in no file has the test's."""
        if scenario.is_file:
            return scenario.spec
        return scenario.spec.model_copy(update={"file": self._caller.place()[0]})

    def _run(
        self, scenario: Scenario, repeat: int | None, mode: Mode | None, baseline: str | Record | None
    ) -> Record:  # fmt: skip
        __tracebackhide__ = True
        run = self._caller.measure(_chosen(self._placed(scenario), repeat, mode))
        return Record(run, scenario, self._caller, baseline=baseline)


def _chosen(spec: model.Scenario, repeat: int | None, mode: Mode | None) -> model.Scenario:
    """Return the scenario with the arguments of a call in place of its own values."""
    if repeat is not None:
        if isinstance(repeat, bool) or not isinstance(repeat, int) or not 1 <= repeat <= _MOST_RUNS:
            raise UsageError(f"repeat: expected a number of runs from 1 to {_MOST_RUNS}, got {repeat!r}")
        spec = spec.model_copy(update={"repeat": repeat})
    if mode is not None:
        if mode not in _MODES:
            raise UsageError(f"mode: expected {', '.join(_MODES)}, got {mode!r}")
        spec = spec.model_copy(update={"measure": spec.measure.model_copy(update={"mode": mode})})
    return spec


def _side(name: str, text: str) -> Side:
    """Read a side of `ab`; UsageError says which argument is wrong."""
    from perfcheck.runner.sides import Side

    try:
        return Side.parse(text)
    except UsageError as error:
        raise UsageError(f"{name}: {error}") from None


def _tolerances(scenario: Scenario, tolerance: Mapping[str, str | Quantity]) -> Mapping[str, float]:
    """Read tolerances as those of a file; ScenarioError says which is wrong."""
    return scenario.with_(tolerance=dict(tolerance)).spec.tolerance_pct
