"""Writes what Grafana and Prometheus import, dashboards, a view and alerting rules: `make dashboards`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Final

from alert_rules import alerts_text
from ci_board import ci_board
from fleet_board import fleet_board
from groups_board import groups_board
from history_board import HISTORY_VIEW, history_board
from live_board import live_board

FOLDER: Final = Path(__file__).parents[1]


def files() -> dict[str, str]:
    """Return the text of each file, by its name."""
    boards = (live_board(), groups_board(), fleet_board(), ci_board(), history_board())
    made = {f"{board.uid}.json": board.text() for board in boards}
    return made | {"alerts.yaml": alerts_text(), "history-view.sql": HISTORY_VIEW}


def main() -> int:
    """Write the files that differ, and say which."""
    for name, text in files().items():
        path = FOLDER / name
        if not path.is_file() or path.read_text(encoding="utf-8") != text:
            path.write_text(text, encoding="utf-8")
            print(f"written: {path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
