"""Scenarios in CI, over the metrics that `perfcheck run --prometheus-textfile` leaves for node_exporter."""

from __future__ import annotations

from typing import Final

from board import Board, Row, machines, of_label
from families import frame, record
from panels import (
    ORANGE,
    RED,
    Column,
    Panel,
    Query,
    bars,
    column_queries,
    figure,
    latest,
    lines,
    over_time,
    rows,
    states,
)
from promql import greatest, named_or_zero, selector, total

from perfcheck.export import own_families as own
from perfcheck.export.family import Family

SCENARIO: Final = 'scenario=~"$scenario"'
WHOLE: Final = 'subject="", phase=""'
"""The whole run and its whole time: subjects are traffic entries, hosts and directions of links."""


def ci_board() -> Board:
    """Return the dashboard."""
    return Board(
        uid="perfcheck-ci",
        title="perfcheck / CI",
        tags=("perfcheck-ci",),
        since="now-7d",
        refresh="5m",
        description="Verdicts, changes and causes of the last run of each scenario, from the file that perfcheck run "
        "--prometheus-textfile writes and node_exporter reads. The value of each run stays until the next one.",
        variables=(
            *machines(own.VERDICT.name),
            of_label("scenario", own.VERDICT.name, within='job=~"$job", instance=~"$instance"'),
        ),
        rows=(
            Row(title="Last runs", panels=_last_runs()),
            Row(title="Against the baseline", panels=_compared()),
            Row(title="Over time", panels=_trends()),
        ),
    )


def _last_runs() -> tuple[Panel, ...]:
    failed = total(selector(own.CASE_FAILED, SCENARIO))
    table = frame(
        "Scenarios",
        "The last run of each scenario; failed ones first.",
        own.CASE_FAILED,
        own.VERDICT,
        own.RUN_TIMESTAMP,
        unit="short",
        width=18,
        height=12,
    )
    columns = {
        "failed": Column(title="Failed", unit="short", texts={"0": ("no", "green"), "1": ("failed", RED)}),
        "verdict": Column(title="Runs", unit="short"),
        "age": Column(title="Age", unit="s"),
    }
    queries = column_queries(
        {
            "failed": greatest(selector(own.CASE_FAILED, SCENARIO), "scenario"),
            "verdict": f"{total(selector(own.VERDICT, SCENARIO), 'scenario', 'verdict')} > 0",
            "age": f"time() - {greatest(selector(own.RUN_TIMESTAMP, SCENARIO), 'scenario')}",
        }
    )
    return (
        rows(table, queries, columns, key=("scenario", "verdict"), worst="Failed"),
        figure(
            frame("Failed scenarios", "Of all that are chosen.", own.CASE_FAILED, unit="short", width=6, height=6),
            over_time(Query(expr=failed)),
            bounds={1: RED},
        ),
        figure(
            frame(
                "Age of the oldest run",
                "A scenario that no longer runs is not one that passes.",
                own.RUN_TIMESTAMP,
                unit="s",
                width=6,
                height=6,
            ),
            over_time(Query(expr=f"time() - min({selector(own.RUN_TIMESTAMP, SCENARIO)})")),
            bounds={2 * 86400: ORANGE, 7 * 86400: RED},
        ),
    )


def _compared() -> tuple[Panel, ...]:
    causes = greatest(selector(own.DIAGNOSIS, SCENARIO, 'cause!="healthy"'), "scenario", "cause")
    return (
        lines(
            frame(
                "Change against the baseline",
                "By scenario and metric. Whether up is better is the metric's; the verdict says it.",
                own.CHANGE,
            ),
            over_time(
                Query(
                    expr=greatest(selector(own.CHANGE, SCENARIO), "scenario", "metric"),
                    legend="{{scenario}} {{metric}}",
                )
            ),
            least=None,
        ),
        lines(
            frame(
                "Smallest change that could be shown",
                "A real change below it stays unseen: more runs make it smaller.",
                own.DETECTABLE,
            ),
            over_time(
                Query(
                    expr=greatest(selector(own.DETECTABLE, SCENARIO), "scenario", "metric"),
                    legend="{{scenario}} {{metric}}",
                )
            ),
        ),
        bars(
            frame("Causes", "Of the last run of each scenario, from 20 % on, beside healthy.", own.DIAGNOSIS),
            latest(
                Query(
                    expr=named_or_zero(f"{causes} >= 0.2", "cause", "none"),
                    legend="{{scenario}} {{cause}}",
                )
            ),
            most=1,
            bounds={0.5: ORANGE, 0.8: RED},
        ),
        bars(
            frame("Verdicts of comparisons", "How many metrics have each verdict.", own.COMPARISON, unit="short"),
            latest(Query(expr=total(selector(own.COMPARISON, SCENARIO), "verdict"), legend="{{verdict}}")),
        ),
    )


def _trends() -> tuple[Panel, ...]:
    def trend(title: str, text: str, family: Family, *matchers: str) -> Panel:
        framed = frame(title, text, family)
        expr = greatest(selector(family, SCENARIO, WHOLE, *matchers), "scenario")
        return lines(framed, over_time(Query(expr=expr, legend="{{scenario}}")))

    return (
        states(
            frame(
                "Failures",
                "Coloured while the last run of a scenario is one that failed.",
                own.CASE_FAILED,
                unit="short",
                width=24,
            ),
            over_time(Query(expr=greatest(selector(own.CASE_FAILED, SCENARIO), "scenario"), legend="{{scenario}}")),
            bounds={0: "green", 0.5: RED},
        ),
        trend("Throughput", "Of the whole run.", record("app.throughput_bps")),
        trend("RTT p99", "Of the whole run.", record("tcp.rtt_us.p99"), 'stat="p99"'),
        trend("Retransmitted", "As a share of data segments.", record("tcp.retrans_pct")),
        trend("Standing queue", "Median RTT less the smallest RTT.", record("tcp.queue_delay_us")),
    )
