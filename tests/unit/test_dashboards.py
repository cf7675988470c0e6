"""The dashboards of Grafana: made of their source, and kept to the rules of Grafana's dashboard-linter."""

from __future__ import annotations

import copy
import json
import re
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Final

import pytest
from dashboard_rules import findings
from grafana_boards import FILES, FOLDER, BoardQuery, Json, load, panels_of, put_in, queries_of, source_of
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.cog.plugins import register_default_plugins
from grafana_foundation_sdk.models.dashboard import Dashboard
from make_dashboards import files
from prometheus_programs import program

BOARDS: Final = tuple(load(path) for path in FILES)
WORDS_OF_MARKS: Final = ("titleFormat", "textFormat", "tagKeys", "step")
"""Of annotations by Prometheus; the SDK does not know them."""
VALUES: Final = {
    "job": ".+", "instance": ".+", "scenario": ".+", "name": ".+", "group": "app", "top": "5", "__rate_interval": "1m",
}  # fmt: skip


def test_committed_files_are_what_the_source_gives() -> None:
    made = files()
    assert {path.name for path in FILES} == {name for name in made if name.endswith(".json")}
    different = [name for name, text in made.items() if (FOLDER / name).read_text(encoding="utf-8") != text]
    assert not different, "run `make dashboards`"
    assert files() == made


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_a_dashboard_keeps_the_linters_rules(path: Path) -> None:
    assert load(path)["uid"] == path.stem
    assert findings(load(path)) == []


def test_titles_and_names_are_unique() -> None:
    for key in ("title", "uid"):
        assert len({board[key] for board in BOARDS}) == len(BOARDS)


def _without_job(board: Json) -> None:
    target = panels_of(board)[1]["targets"][0]
    target["expr"] = target["expr"].replace('job=~"$job", ', "")


def _gauge_of_counter(board: Json) -> None:
    panels_of(board)[1]["targets"][0]["expr"] = 'perfctl_alerts_total{job=~"$job", instance=~"$instance"}'


def _fixed_window(board: Json) -> None:
    target = next(one for panel in panels_of(board) for one in panel["targets"] if "[$__rate_interval]" in one["expr"])
    target["expr"] = target["expr"].replace("$__rate_interval", "5m")


def _unknown_series(board: Json) -> None:
    panels_of(board)[1]["targets"][0]["expr"] = 'perfctl_nothing{job=~"$job", instance=~"$instance"}'


def _overlapping(board: Json) -> None:
    panels_of(board)[2]["gridPos"]["x"] -= 1


def _wrong_unit(board: Json) -> None:
    panel = next(panel for panel in panels_of(board) if panel["fieldConfig"]["defaults"]["unit"] == "s")
    panel["fieldConfig"]["defaults"]["unit"] = "bytes"


def _no_description(board: Json) -> None:
    panels_of(board)[3]["description"] = ""


def _own_data_source(board: Json) -> None:
    panels_of(board)[3]["datasource"]["uid"] = "prometheus-1"


@pytest.mark.parametrize(
    ("spoil", "told"),
    [
        (_without_job, "not chosen by job"), (_gauge_of_counter, "is a counter"), (_fixed_window, "[5m]"),
        (_unknown_series, "not exported"), (_overlapping, "overlap"), (_wrong_unit, "the unit is bytes"),
        (_no_description, "no title or description"), (_own_data_source, "data source"),
        (lambda board: board.update(editable=True), "editable"),
        (lambda board: board["templating"]["list"][1].update(refresh=1), "not read again"),
        (lambda board: board["templating"]["list"][2].update(allValue=""), "variable instance"),
    ],
)  # fmt: skip
def test_each_rule_finds_what_breaks_it(spoil: Callable[[Json], None], told: str) -> None:
    board = copy.deepcopy(next(board for board in BOARDS if board["uid"] == "perfctl-live"))
    spoil(board)
    found = findings(board)
    assert any(told in one for one in found), found


@pytest.mark.parametrize("board", BOARDS, ids=lambda board: board["uid"])
def test_grafanas_types_read_the_dashboard_and_write_the_same(board: Json) -> None:
    register_default_plugins()
    again = json.loads(json.dumps(Dashboard.from_json(copy.deepcopy(board)), cls=JSONEncoder))
    for mark in board["annotations"].get("list") or ():
        for word in WORDS_OF_MARKS:
            mark.pop(word, None)
    assert again == board


def test_prometheus_reads_every_query(tmp_path: Path) -> None:
    queries = [query for board in BOARDS if source_of(board) == "prometheus" for query in queries_of(board)]
    rules = tmp_path / "rules.json"  # JSON is YAML
    rules.write_text(json.dumps({"groups": [{"name": "queries", "rules": [_rule(query) for query in queries]}]}))
    done = subprocess.run(
        [program("promtool"), "check", "rules", str(rules)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert f"{len(queries)} rules found" in done.stdout


def _rule(query: BoardQuery) -> dict[str, object]:
    return {"record": "a_query", "expr": put_in(query.text, VALUES), "labels": {"query": query.name}}


def test_the_page_names_every_file_and_every_alert() -> None:
    page = (FOLDER.parent / "docs" / "grafana.md").read_text(encoding="utf-8")
    alerts = re.findall(r"alert: (\w+)", (FOLDER / "alerts.yaml").read_text(encoding="utf-8"))
    assert len(alerts) > 5
    assert [name for name in (*files(), *alerts) if f"`{name}`" not in page and f"{name} " not in page] == []
