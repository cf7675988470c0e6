"""An application's own figures, read from what a command wrote to its standard output (docs/applications.md)."""

from __future__ import annotations

import csv
import io
import json
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from statistics import fmean
from types import MappingProxyType
from typing import Final

from perfcheck.errors import TrafficError
from perfcheck.model.own_metric import OwnMetric, OwnUnit, ReportSpec, own_unit, path_of
from perfcheck.model.printable import printable
from perfcheck.model.units import DURATION_NS, parse_in_unit
from perfcheck.system import commands
from perfcheck.system.json_bounds import in_bounds, json_fault
from perfcheck.system.memory_file import MemoryFile
from perfcheck.traffic import find_matches

MATCHING_S: Final = 5.0
"""How long all regular expressions of a report may search."""
_SHOWN: Final = 200
_TAKEN: Final[Mapping[str, Callable[[Sequence[float]], float]]] = MappingProxyType({
    "last": lambda values: values[-1], "first": lambda values: values[0], "mean": fmean, "min": min, "max": max,
    "sum": sum,
})  # fmt: skip

Texts = Mapping[str, Sequence[object]]
"""What was found for each metric: numbers, or texts that are to be read."""


def figures(report: ReportSpec, stdout: str) -> dict[str, float]:
    """Return the metrics that the standard output holds, each in the unit of its name.

    TrafficError says which is missing or not a number, and quotes the output.
    """
    try:
        found = _READERS[report.format](report, stdout)
        return {name: _figure(name, metric, found[name]) for name, metric in report.metrics.items()}
    except ValueError as fault:
        raise TrafficError(f"{fault}; its standard output {_quoted(stdout)}") from None


def _quoted(stdout: str) -> str:
    text = " ".join(stdout.split())
    if not text:
        return "is empty"
    return f"is: {printable(text)}" if len(text) <= _SHOWN else f"ends with: ...{printable(text[-_SHOWN:])}"


def _figure(name: str, metric: OwnMetric, values: Sequence[object]) -> float:
    if not values:
        raise ValueError(f"{name}: nothing at {printable(metric.at)!r}")
    kept = own_unit(name)
    figure = _TAKEN[metric.take]([_number(name, metric, value, kept) for value in values])
    most = 100.0 if kept == "pct" else None
    if not in_bounds(figure) or (most is not None and figure > most):
        wanted = "a finite number of a sensible size" if most is None else f"a number from 0 to {most:g}"
        raise ValueError(f"{name}: expected {wanted}, got {figure:g}")
    return figure


def _number(name: str, metric: OwnMetric, value: object, kept: OwnUnit) -> float:
    """Return one value in the unit that perfcheck keeps; what is below 0 is not a figure of any metric."""
    factor = DURATION_NS[metric.unit] / DURATION_NS[kept] if kept in DURATION_NS else 1.0
    try:
        if isinstance(value, str):
            text = value.strip()
            # A bare number has the unit of the declaration, which may be another one than that of the name.
            bare = text[-1:].isdigit() or text.endswith(".")
            return parse_in_unit(text.removesuffix("."), kept) * (factor if bare else 1.0)
        if isinstance(value, int | float) and not isinstance(value, bool) and in_bounds(value) and value >= 0:
            return value * factor
    except (ValueError, OverflowError):
        pass
    raise ValueError(f"{name}: expected a number of 0 or more at {printable(metric.at)!r}, got {_short(value)}")


def _short(value: object) -> str:
    text = printable(repr(value)[: _SHOWN + 1])
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}..."


def _read_json(report: ReportSpec, stdout: str) -> Texts:
    document = _json(stdout, "the standard output")
    return {name: list(_at(document, path_of(metric.at))) for name, metric in report.metrics.items()}


def _read_lines(report: ReportSpec, stdout: str) -> Texts:
    """Read a value a line; a line that lacks a metric's place has no value of it."""
    numbered = [(number, line) for number, line in enumerate(stdout.splitlines(), start=1) if line.strip()]
    documents = [_json(line, f"line {number}") for number, line in numbered]
    return {
        name: [value for document in documents for value in _at(document, path_of(metric.at))]
        for name, metric in report.metrics.items()
    }


def _json(text: str, what: str) -> object:
    fault = json_fault(text)
    if fault is not None:
        raise ValueError(f"{what} is not JSON that can be read: {fault}")
    try:
        return json.loads(text)
    except ValueError as error:
        raise ValueError(f"{what} is not JSON: {error}") from None


def _at(document: object, path: Sequence[str]) -> Iterator[object]:
    """Yield what stands under the path: each value of a list, one of anything else, none where it leads nowhere."""
    here = document
    for step in path:
        if isinstance(here, dict) and step in here:
            here = here[step]
        elif isinstance(here, list) and step.isascii() and step.isdigit() and len(step) < 7 and int(step) < len(here):
            here = here[int(step)]
        else:
            return
    if isinstance(here, list):
        yield from here
    else:
        yield here


def _read_table(report: ReportSpec, stdout: str) -> Texts:
    """Read a table whose first line names the columns; a row that is too short has no value of the last ones."""
    try:
        rows = [row for row in csv.reader(io.StringIO(stdout.replace("\0", "\N{REPLACEMENT CHARACTER}"))) if row]
    except csv.Error as error:
        raise ValueError(f"the standard output is not CSV: {error}") from None
    if not rows:
        raise ValueError("expected a table with the columns' names in its first line")
    names = [name.strip() for name in rows[0]]
    columns = {name: _column(name, metric, names) for name, metric in report.metrics.items()}
    return {
        name: [
            row[columns[name]] for row in rows[1:]
            if columns[name] < len(row) and metric.row in (None, row[0].strip())
        ]
        for name, metric in report.metrics.items()
    }  # fmt: skip


def _column(name: str, metric: OwnMetric, names: Sequence[str]) -> int:
    if metric.at not in names:
        raise ValueError(f"{name}: no column {printable(metric.at)!r}; there is {printable(', '.join(names))[:_SHOWN]}")
    return names.index(metric.at)


def _read_text(report: ReportSpec, stdout: str) -> Texts:
    """Search with each regular expression, in a process of its own whose time is limited."""
    asked = {"text": stdout, "patterns": [metric.at for metric in report.metrics.values()]}
    file = MemoryFile("report", json.dumps(asked).encode())
    try:
        argv = (sys.executable, "-I", "-S", str(Path(find_matches.__file__)), str(file.path))
        done = commands.run(argv, timeout_s=MATCHING_S, error=_SearchError)
    except _SearchError as error:
        late = "did not end within" in str(error)
        why = f"took longer than {MATCHING_S:g} s" if late else f"failed: {str(error)[-_SHOWN:]}"
        raise ValueError(f"the search with the report's regular expressions {why}") from None
    finally:
        file.close()
    return dict(zip(report.metrics, json.loads(done.stdout), strict=True))


class _SearchError(TrafficError):
    """The search did not come to its end; does not leave this module."""


_READERS: Final[Mapping[str, Callable[[ReportSpec, str], Texts]]] = MappingProxyType(
    {"json": _read_json, "jsonl": _read_lines, "csv": _read_table, "regex": _read_text}
)
