"""The committed dashboards, as tests read them: their panels, their queries, and variables put in."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

FOLDER: Final = Path(__file__).parents[2] / "dashboards"
FILES: Final = tuple(sorted(FOLDER.glob("*.json")))
Json = dict[str, Any]
_VARIABLE: Final = re.compile(r"\$\{(\w+)(?::\w+)?\}|\$(\w+)")


@dataclass(frozen=True, slots=True, kw_only=True)
class BoardQuery:
    """One query of a panel, or of annotations; `kind` is the panel's."""

    board: str
    panel: str
    kind: str
    ref: str
    text: str
    unit: str
    instant: bool = False

    @property
    def name(self) -> str:
        """What tests call it."""
        return f"{self.board} / {self.panel} / {self.ref}"


def load(path: Path) -> Json:
    """Return a dashboard."""
    found: Json = json.loads(path.read_text(encoding="utf-8"))
    return found


def panels_of(board: Json) -> list[Json]:
    """Return the panels that show something."""
    return [panel for panel in board["panels"] if panel["type"] != "row"]


def queries_of(board: Json) -> Iterator[BoardQuery]:
    """Yield the queries of panels, and of annotations."""
    for panel in panels_of(board):
        for target in panel["targets"]:
            unit = _unit_of(panel, target["refId"])
            yield BoardQuery(
                board=board["uid"], panel=panel["title"], kind=panel["type"], ref=target["refId"],
                text=target.get("expr") or target["rawSql"], unit=unit, instant=target.get("instant", False),
            )  # fmt: skip
    for mark in board["annotations"].get("list") or ():
        yield BoardQuery(
            board=board["uid"], panel=f"annotations {mark['name']}", kind="annotations", ref="", text=mark["expr"],
            unit="short",
        )  # fmt: skip


def variables_of(board: Json) -> dict[str, Json]:
    """Return the dashboard's variables by name."""
    return {variable["name"]: variable for variable in board["templating"]["list"]}


def source_of(board: Json) -> str:
    """Return the kind of data source that the dashboard asks."""
    return str(variables_of(board)["datasource"]["query"])


def put_in(text: str, values: Mapping[str, str]) -> str:
    """Return a query with values for its variables; KeyError names one that has none."""
    return _VARIABLE.sub(lambda found: values[found[1] or found[2]], text)


def _unit_of(panel: Json, ref: str) -> str:
    """Return the unit of what a query gives: in a table, that of the column that its values go to."""
    titles: dict[str, str] = {}
    for change in panel.get("transformations", ()):
        titles |= change["options"].get("renameByName", {})
    title = titles.get(f"Value #{ref}")
    for override in panel["fieldConfig"]["overrides"]:
        if title is not None and override["matcher"]["options"] == title:
            return next(str(one["value"]) for one in override["properties"] if one["id"] == "unit")
    return str(panel["fieldConfig"]["defaults"]["unit"])
