"""Scenarios in CI, over the Parquet files that `perfcheck run --history DIR` keeps: trends, verdicts, kernels."""

from __future__ import annotations

from typing import Final

from board import Board, Row, data_source
from duckdb_query import DUCKDB, PLUGIN, Form, Sql, values_of
from panels import ORANGE, RED, Column, Frame, Panel, cells, lines, states

from perfcheck.model.catalogue import CATALOGUE
from perfcheck.model.verdict import Verdict

VIEW: Final = "perfcheck_history"
PLACE: Final = "/var/lib/perfcheck/history"
"""Where the view looks for the history until it is edited."""
HISTORY_VIEW: Final = f"""\
-- The history as one table, a row for each run and metric. Paste it into "Init SQL" of Grafana's DuckDB data source,
-- with the folder that you gave to `perfcheck run --history`.
CREATE OR REPLACE VIEW {VIEW} AS
SELECT CAST(started_at AS TIMESTAMP) AS time,
       run_id,
       scenario,
       concat_ws(' ', scenario, nullif(point, '')) AS series,
       machine,
       emulators,
       verdict,
       json_extract_string(environment, '$."kernel.release"') AS kernel,
       json_extract_string(environment, '$."version.perfcheck"') AS version,
       regexp_extract(metric, '^[^@/]+') AS metric,
       concat_ws(' ', coalesce(nullif(regexp_extract(metric, '@([^/]*)', 1), ''), 'whole run'),
                 nullif(regexp_extract(metric, '/(.*)$', 1), '')) AS subject,
       unit,
       median(value) AS value,
       count(DISTINCT trial) AS trials
FROM read_parquet('{PLACE}/*/*.parquet', union_by_name = true)
WHERE schema = 1 AND value IS NOT NULL
GROUP BY ALL;
"""
"""Rows may be there twice for a moment, while the history joins files: medians and distinct trials stay the same."""

UNITS: Final = {
    "us": "µs", "ms": "ms", "bps": "bps", "pct": "percent", "bytes": "bytes", "per_s": "cps", "count": "short",
    "segs": "short", "packets": "short", "events": "short", "ratio": "short", "insns": "short",
}  # fmt: skip
"""The catalogue's units by Grafana's names: the history has values as records have them."""
FAILED: Final = frozenset({Verdict.FAIL, Verdict.REGRESSED})
COLORS: Final = {
    Verdict.PASS: "green", Verdict.IMPROVED: "blue", Verdict.NO_BASELINE: "yellow", Verdict.INCONCLUSIVE: "yellow",
    Verdict.INVALID: ORANGE, Verdict.FAIL: RED, Verdict.REGRESSED: RED,
}  # fmt: skip
CHOSEN: Final = "scenario IN (${scenario:sqlstring}) AND $__timeFilter(time)"
WHOLE: Final = "subject = 'whole run'"


def history_board() -> Board:
    """Return the dashboard."""
    return Board(
        uid="perfcheck-ci-history", title="perfcheck / CI history", tags=("perfcheck-ci",), since="now-90d",
        refresh="15m",
        description="How scenarios went, run by run, from the Parquet files of perfcheck run --history. It needs the "
        "plugin motherduck-duckdb-datasource, whose Init SQL makes the view perfcheck_history (history-view.sql).",
        variables=(
            data_source(PLUGIN),
            values_of("scenario", "Scenario", f"SELECT DISTINCT scenario FROM {VIEW} ORDER BY 1", several=True),
            values_of("metric", "Metric", f"SELECT DISTINCT metric FROM {VIEW} ORDER BY 1", first="app.throughput_bps"),
            values_of(
                "subject", "Subject", first="whole run",
                sql=f"SELECT subject FROM {VIEW} WHERE metric = ${{metric:sqlstring}} GROUP BY 1 "
                "ORDER BY subject <> 'whole run', subject",
            ),
        ),
        rows=(
            Row(title="Verdicts", panels=_verdicts()),
            Row(title="Trends of the whole run", panels=_trends()),
            Row(title="Any metric: $metric of $subject", panels=_any_metric()),
        ),
    )  # fmt: skip


def _verdicts() -> tuple[Panel, ...]:
    code = " ".join(f"WHEN '{verdict}' THEN {at}" for at, verdict in enumerate(Verdict))
    texts = {str(at): (verdict.value, COLORS[verdict]) for at, verdict in enumerate(Verdict)}
    return (
        states(
            _frame("Verdicts by scenario", "A run's verdict holds until the next run.", "short", 24, height=10),
            [Sql(f"""\
SELECT time, series AS metric, CAST(max(CASE verdict {code} END) AS DOUBLE) AS value
FROM {VIEW}
WHERE {CHOSEN}
GROUP BY 1, 2
ORDER BY 1""", Form.TIME_SERIES)],
            bounds={}, texts=texts,
        ),
        cells(
            _frame("Last runs", "The last run of each scenario and matrix point.", "short", 24),
            Sql(f"""\
SELECT series AS "Scenario", max(time) AS "Last run", arg_max(verdict, time) AS "Verdict",
       arg_max(kernel, time) AS "Kernel", arg_max(version, time) AS "perfcheck", machine AS "Machine",
       count(DISTINCT run_id) AS "Runs",
       100.0 * count(DISTINCT CASE WHEN verdict IN ({', '.join(f"'{one}'" for one in sorted(FAILED))}) THEN run_id END)
           / count(DISTINCT run_id) AS "Failed"
FROM {VIEW}
WHERE {CHOSEN}
GROUP BY series, machine
ORDER BY "Failed" DESC, "Scenario\"""", Form.TABLE),
            [Column(title="Verdict", unit="string", texts={one.value: (one.value, COLORS[one]) for one in Verdict}),
             Column(title="Failed", unit="percent", bounds={1e-9: ORANGE, 50: RED}),
             Column(title="Last run", unit="dateTimeAsIso"), Column(title="Runs", unit="short")],
        ),
    )  # fmt: skip


def _trends() -> tuple[Panel, ...]:
    return tuple(
        lines(
            _frame(title, f"`{metric}`: {CATALOGUE[metric].meaning}.", UNITS[CATALOGUE[metric].unit], 12),
            [Sql(f"""\
SELECT time, series AS metric, median(value) AS value
FROM {VIEW}
WHERE metric = '{metric}' AND {WHOLE} AND {CHOSEN}
GROUP BY 1, 2
ORDER BY 1""", Form.TIME_SERIES)],
            joined=True,
        )
        for title, metric in (
            ("Throughput", "app.throughput_bps"), ("RTT p99", "tcp.rtt_us.p99"), ("Retransmitted", "tcp.retrans_pct"),
            ("Standing queue", "tcp.queue_delay_us"),
        )
    )  # fmt: skip


def _any_metric() -> tuple[Panel, ...]:
    asked = f"metric = ${{metric:sqlstring}} AND subject = ${{subject:sqlstring}} AND {CHOSEN}"
    by_unit = {f"/\\[{unit}\\]$/": name for unit, name in UNITS.items()}
    return (
        lines(
            _frame("Trend", "Median of each run's trials, by scenario, point and machine; the unit is in brackets.",
                   "short", 24, height=10),
            [Sql(f"""\
SELECT time, concat(series, ' on ', machine[1:8], ' [', unit, ']') AS metric, median(value) AS value
FROM {VIEW}
WHERE {asked}
GROUP BY 1, 2
ORDER BY 1""", Form.TIME_SERIES)],
            joined=True, units=by_unit,
        ),
        cells(
            _frame("Change by kernel", "Median of the runs on each kernel, against the kernel that was measured first "
                   "before it. With few runs chance makes changes, too: look at Runs.", "short", 24),
            Sql(f"""\
WITH kernels AS (
    SELECT series, machine, unit, kernel, min(time) AS first, count(DISTINCT run_id) AS runs, median(value) AS middle,
           min(value) AS least, max(value) AS most
    FROM {VIEW}
    WHERE {asked}
    GROUP BY ALL
)
SELECT series AS "Scenario", machine AS "Machine", kernel AS "Kernel", first AS "First run", runs AS "Runs",
       middle AS "Median", least AS "Least", most AS "Most", unit AS "Unit",
       100.0 * (middle / nullif(lag(middle) OVER before, 0) - 1) AS "Change"
FROM kernels
WINDOW before AS (PARTITION BY series, machine, unit ORDER BY first)
ORDER BY series, machine, first DESC""", Form.TABLE),
            [Column(title="Change", unit="percent"), Column(title="First run", unit="dateTimeAsIso"),
             Column(title="Runs", unit="short")],
        ),
    )  # fmt: skip


def _frame(title: str, text: str, unit: str, width: int, *, height: int = 8) -> Frame:
    return Frame(title=title, description=text, unit=unit, width=width, height=height, datasource=DUCKDB)
