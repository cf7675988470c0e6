"""Compares the verdicts of two distributions on the same scenarios; imports nothing of perfcheck."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

UNDECIDED: Final = frozenset({"INVALID", "INCONCLUSIVE", "UNAVAILABLE"})
"""The machine was too busy, or something was missing: nothing that the path decided."""


@dataclass(frozen=True, kw_only=True)
class Decided:
    """One scenario's verdict and cause, and what was decided of metrics that the emulated path decides."""

    verdict: str
    cause: str
    lines: Mapping[str, str]


def read(path: Path) -> dict[str, Decided]:
    """Read a file of records; a scenario that was measured more than once counts by its last record."""
    found = {}
    for line in path.read_text(encoding="utf-8").splitlines() if path.exists() else ():
        record = json.loads(line)
        point = record["scenario"].get("point") or {}
        name = record["scenario"]["name"] + "".join(f" {key}={value}" for key, value in sorted(point.items()))
        causes = record.get("diagnosis") or [{"cause": "unknown"}]
        found[name] = Decided(verdict=record["verdict"], cause=causes[0]["cause"], lines=dict(_lines(record)))
    return found


def _lines(record: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    metrics = record.get("metrics") or {}
    for line in record.get("expectations") or ():
        # A line about the diagnosis rests on all metrics.
        if (metrics.get(line["metric"]) or {"decided_by": "path"}).get("decided_by") == "path":
            yield f"expect {line['metric']} {line['expected']}", line["verdict"]
    for line in record.get("comparisons") or ():
        if (metrics.get(line["metric"]) or {}).get("decided_by") == "path":
            yield f"baseline {line['metric']}", line["verdict"]


def differences(first: Mapping[str, Decided], second: Mapping[str, Decided]) -> Sequence[str]:
    """Return what was decided differently, of scenarios that both could measure."""
    found = [f"{name}: measured in one only" for name in sorted(first.keys() ^ second.keys())]
    for name in sorted(first.keys() & second.keys()):
        one, other = first[name], second[name]
        for line in sorted(one.lines.keys() | other.lines.keys()):
            verdicts = one.lines.get(line, "absent"), other.lines.get(line, "absent")
            if verdicts[0] != verdicts[1] and UNDECIDED.isdisjoint(verdicts):
                found.append(f"{name}: {line}: {verdicts[0]} and {verdicts[1]}")
    return found


def table(columns: Mapping[str, Mapping[str, Decided]]) -> str:
    """Return the scenarios' verdicts and causes, one column a distribution."""
    names = sorted({name for decided in columns.values() for name in decided})
    width = max(map(len, names), default=0)
    lines = [f"{'':{width}}  " + "  ".join(f"{distro:28}" for distro in columns)]
    for name in names:
        cells = [
            f"{decided[name].verdict} ({decided[name].cause})" if name in decided else "-"
            for decided in columns.values()
        ]
        lines.append(f"{name:{width}}  " + "  ".join(f"{cell:28}" for cell in cells))
    return "\n".join(line.rstrip() for line in lines)
