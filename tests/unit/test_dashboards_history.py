"""The dashboard of CI history: its view and each of its queries, over a history that the store wrote."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import duckdb
import pytest
from baseline_records import session
from duckdb_query import Form
from grafana_boards import FOLDER, Json, load, panels_of, put_in, variables_of
from history_board import COLORS, PLACE, UNITS, VIEW

from perfcheck.baseline.history import HistoryStore
from perfcheck.model.catalogue import CATALOGUE
from perfcheck.model.record import RunRecord
from perfcheck.model.verdict import Verdict

BOARD: Final = load(FOLDER / "perfcheck-ci-history.json")
GRAFANA_READS: Final = {"TIMESTAMP", "VARCHAR", "DOUBLE", "BIGINT", "INTEGER"}
"""Types that the plugin hands on as times, texts and numbers; HUGEINT and DECIMAL become texts."""
OLD: Final = "6.1.0"
NEW: Final = "6.12.0"


def _run(number: int, name: str, kernel: str, rate: float, **changes: Any) -> RunRecord:
    values: dict[str, Sequence[float]] = {
        "app.throughput_bps": (rate, rate + 1, rate - 1), "tcp.rtt_us.p99": (20_000.0, 21_000.0, 22_000.0),
        "tcp.retrans_pct": (0.1, 0.2, 0.3), "tcp.queue_delay_us": (5.0, 6.0, 7.0),
        "app.throughput_bps@rpc": (10.0, 11.0, 12.0), "app.throughput_bps@rpc/after": (3.0, 4.0, 5.0),
    }  # fmt: skip
    made = session(
        number, environment={"kernel.release": kernel, "version.perfcheck": "0.1.0", "emulators": ["relay"]},
        metrics=values, **changes,
    )  # fmt: skip
    return made.model_copy(update={"scenario": made.scenario.model_copy(update={"name": name})})


@pytest.fixture(scope="module")
def history(tmp_path_factory: pytest.TempPathFactory) -> Iterator[duckdb.DuckDBPyConnection]:
    """A history of two scenarios on two kernels, seen through the view that Grafana's data source makes."""
    folder = tmp_path_factory.mktemp("history")
    store = HistoryStore(folder)
    for number, (kernel, rate) in enumerate(((OLD, 100.0), (OLD, 110.0), (NEW, 52.5), (NEW, 52.5))):
        verdict = Verdict.REGRESSED if kernel == NEW else Verdict.PASS
        store.append(_run(number, "bulk", kernel, rate, verdict=verdict))
    store.append(_run(10, "it's", OLD, 7.0, verdict=Verdict.INVALID))
    view = (FOLDER / "history-view.sql").read_text(encoding="utf-8")
    assert PLACE in view
    with duckdb.connect(":memory:") as database:
        database.execute(view.replace(PLACE, str(folder)))
        yield database


def _asked(sql: str, *, scenarios: tuple[str, ...] = ("bulk", "it's"), since: str = "2024-01-01") -> str:
    """Return a query with macros and variables as Grafana and the plugin put them in."""
    quoted = {name: name.replace("'", "''") for name in scenarios}
    sql = sql.replace("$__timeFilter(time)", f"time >= '{since}T00:00:00Z' AND time <= '2024-12-31T00:00:00Z'")
    values = {
        "scenario": ", ".join(f"'{name}'" for name in quoted.values()), "metric": "'app.throughput_bps'",
        "subject": "'whole run'",
    }  # fmt: skip
    return put_in(sql, values)


def _panel(title: str) -> Json:
    return next(panel for panel in panels_of(BOARD) if panel["title"] == title)


def _rows(history: duckdb.DuckDBPyConnection, title: str, **how: Any) -> list[dict[str, Any]]:
    found = history.sql(_asked(_panel(title)["targets"][0]["rawSql"], **how))
    return [dict(zip(found.columns, row, strict=True)) for row in found.fetchall()]


@pytest.mark.parametrize("panel", panels_of(BOARD), ids=lambda panel: panel["title"])
def test_every_query_gives_rows_that_grafana_reads(history: duckdb.DuckDBPyConnection, panel: Json) -> None:
    (target,) = panel["targets"]
    found = history.sql(_asked(target["rawSql"]))
    rows = found.fetchall()
    assert rows
    assert {str(kind) for kind in found.types} <= GRAFANA_READS
    if target["format"] == Form.TIME_SERIES:
        assert found.columns == ["time", "metric", "value"]
        assert [str(kind) for kind in found.types] == ["TIMESTAMP", "VARCHAR", "DOUBLE"]
        times = [row[0] for row in rows]
        assert times == sorted(times)
        assert len({row[:2] for row in rows}) == len(rows)
        assert None not in {value for row in rows for value in row}
    assert not history.sql(_asked(target["rawSql"], since="2024-06-01")).fetchall()


def test_variables_have_the_values_of_the_history(history: duckdb.DuckDBPyConnection) -> None:
    found = {
        name: [row[0] for row in history.sql(_asked(variable["query"])).fetchall()]
        for name, variable in variables_of(BOARD).items()
        if variable["type"] == "query"
    }
    assert found["scenario"] == ["bulk", "it's"]
    assert found["metric"] == sorted(
        {"app.throughput_bps", "tcp.rtt_us.p99", "tcp.retrans_pct", "tcp.queue_delay_us"}
    )  # fmt: skip
    assert found["subject"] == ["whole run", "rpc", "rpc after"]


def test_a_trend_is_the_median_of_each_run(history: duckdb.DuckDBPyConnection) -> None:
    rows = _rows(history, "Throughput", scenarios=("bulk",))
    assert [row["value"] for row in rows] == [100.0, 110.0, 52.5, 52.5]
    assert rows[0]["time"] == dt.datetime(2024, 1, 2, 3, 4, 0)
    assert {row["metric"] for row in _rows(history, "Trend")} == {
        f"{name} on {_machine(history)[:8]} [bps]" for name in ("bulk", "it's")
    }


def _machine(history: duckdb.DuckDBPyConnection) -> str:
    ((machine,),) = history.table(VIEW).select("machine").distinct().fetchall()
    return str(machine)


def test_a_change_by_kernel_is_that_of_the_medians(history: duckdb.DuckDBPyConnection) -> None:
    rows = _rows(history, "Change by kernel", scenarios=("bulk",))
    assert [(row["Kernel"], row["Runs"], row["Median"], row["Change"]) for row in rows] == [
        (NEW, 2, 52.5, -50.0), (OLD, 2, 105.0, None),
    ]  # fmt: skip


def test_last_runs_have_their_verdicts_failed_ones_first(history: duckdb.DuckDBPyConnection) -> None:
    rows = _rows(history, "Last runs")
    assert [(row["Scenario"], row["Verdict"], row["Runs"], row["Failed"], row["Kernel"]) for row in rows] == [
        ("bulk", "REGRESSED", 4, 50.0, NEW), ("it's", "INVALID", 1, 0.0, OLD),
    ]  # fmt: skip
    codes = {
        one: text["text"]
        for one, text in _panel("Verdicts by scenario")["fieldConfig"]["defaults"]["mappings"][0]["options"].items()
    }
    seen = [codes[f"{row['value']:g}"] for row in _rows(history, "Verdicts by scenario", scenarios=("bulk",))]
    assert seen == ["PASS", "PASS", "REGRESSED", "REGRESSED"]


def test_rows_that_are_there_twice_change_nothing(history: duckdb.DuckDBPyConnection, tmp_path: Path) -> None:
    store = HistoryStore(tmp_path)
    path = store.append(_run(1, "bulk", OLD, 100.0))
    path.with_name("joined-1.parquet").write_bytes(path.read_bytes())
    with duckdb.connect(":memory:") as database:
        database.execute((FOLDER / "history-view.sql").read_text(encoding="utf-8").replace(PLACE, str(tmp_path)))
        rows = database.table(VIEW).filter("metric = 'app.throughput_bps' AND subject = 'whole run'")
        ((value, trials),) = rows.select("value", "trials").fetchall()
    assert (value, trials) == (100.0, 3)


def test_every_unit_and_verdict_of_records_is_known() -> None:
    units = {spec.unit for spec in CATALOGUE.values()}
    assert units <= set(UNITS), units - set(UNITS)
    assert set(COLORS) == set(Verdict)
