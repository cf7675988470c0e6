"""The line of the scenario file for each case: the same for pytest, JUnit and GitHub; pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final

from perfcheck.model.subject import is_diagnosis

KeyLines = Mapping[str, int]
"""The line of each key of one file, by its path, e.g. `expect.tcp.rtt_us.p99`."""

_SCENARIO: Final = "scenario"


def line_of_case(name: str, lines: KeyLines) -> int | None:
    """Return the line that a case (`expect:METRIC`, `baseline:METRIC`, `measured`...) is about; None without any lines.

    A compared metric's is its tolerance, else its `expect` line, else, as for all else, that of the scenario's name.
    """
    return next((lines[path] for path in (*_paths(name), _SCENARIO) if path in lines), None)


def first_line(lines: KeyLines) -> int | None:
    """Return the line of the first assertion, which a run that could not be judged leaves open; else the name's."""
    found = [line for path, line in lines.items() if path.startswith("expect.")]
    return min(found, default=lines.get(_SCENARIO))


def _paths(name: str) -> Iterator[str]:
    kind, _, rest = name.partition(":")
    metric = rest.partition(":")[0]
    if kind in ("baseline", "ab"):
        yield f"tolerance.{metric}"
    if is_diagnosis(kind):
        yield f"expect.{kind}"
    elif metric:
        yield f"expect.{metric}"
