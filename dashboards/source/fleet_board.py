"""Many machines at a glance: one row for each, and the worst first."""

from __future__ import annotations

from typing import Final

from board import Board, Row, alert_marks, choice, machines
from families import frame, live, rate_unit_of, unit_of
from panels import (
    ORANGE,
    RED,
    Column,
    Panel,
    Query,
    bars,
    column_queries,
    latest,
    lines,
    over_time,
    rows,
    states,
)
from promql import greatest, least, quantile, rate, ratio, selector, top, total

from perfcheck.export import own_families as own
from perfcheck.live.alerts.rules import RETRANSMISSIONS_PCT

RTT: Final = live("tcp.rtt_us")
GOODPUT: Final = live("app.throughput_bps")
CONNECTIONS: Final = live("tcp.connections")
RETRANSMITTED: Final = live("tcp.retrans_segs")
SENT: Final = live("tcp.data_segs_out")
DROPS: Final = live("qdisc.drops_full")
HEALTHY: Final = 'cause!="healthy"'
RETRANS_BOUNDS: Final = {RETRANSMISSIONS_PCT / 200: ORANGE, RETRANSMISSIONS_PCT / 100: RED}
EACH: Final = "instance"


def fleet_board() -> Board:
    """Return the dashboard."""
    return Board(
        uid="perfctl-fleet",
        title="perfctl / Fleet",
        tags=("perfctl",),
        description="All machines whose perfctl observe --output prometheus is scraped: a row each, the worst first.",
        variables=(*machines(own.UP.name), choice("top", "Most", ("10", "20", "50"))),
        annotations=(alert_marks(own.ALERT_ACTIVE.name),),
        rows=(
            Row(title="All machines", panels=(_table(),)),
            Row(title="Worst first", panels=_worst()),
            Row(title="Over time", panels=_over_time()),
        ),
    )


def _table() -> Panel:
    retransmitted = _retransmitted()
    columns = {
        "state": (
            Column(title="perfctl", unit="short", texts={"1": ("measuring", "green"), "0": ("ended", RED)}),
            least(selector(own.UP), EACH),
        ),
        "alerts": (Column(title="Alerts", unit="short", bounds={1: RED}), total(selector(own.ALERT_ACTIVE), EACH)),
        "rtt": (Column(title="RTT p99", unit=unit_of(RTT)), quantile(0.99, RTT, by=(EACH,))),
        "retransmitted": (Column(title="Retransmitted", unit="percentunit", bounds=RETRANS_BOUNDS), retransmitted),
        "drops": (Column(title="Drops", unit=rate_unit_of(DROPS)), total(rate(DROPS), EACH)),
        "goodput": (Column(title="Goodput", unit=unit_of(GOODPUT)), total(selector(GOODPUT), EACH)),
        "connections": (Column(title="Connections", unit="short"), total(selector(CONNECTIONS), EACH)),
        "cost": (Column(title="Cost", unit=unit_of(own.CPU)), total(selector(own.CPU), EACH)),
        "lost": (
            Column(title="Lost events", unit=rate_unit_of(own.LOST), bounds={1e-9: ORANGE}),
            total(rate(own.LOST), EACH),
        ),
    }
    framed = frame(
        "Machines",
        "One row for each instance; the most alerts first. Click a heading to sort by it.",
        own.UP,
        own.ALERT_ACTIVE,
        RTT,
        RETRANSMITTED,
        SENT,
        DROPS,
        GOODPUT,
        CONNECTIONS,
        own.CPU,
        own.LOST,
        unit="short",
        width=24,
        height=10,
    )
    queries = column_queries({name: expr for name, (_, expr) in columns.items()})
    return rows(framed, queries, {name: column for name, (column, _) in columns.items()}, key=(EACH,), worst="Alerts")


def _worst() -> tuple[Panel, ...]:
    return (
        bars(
            frame("Longest RTT p99", "99 of 100 round trips are shorter.", RTT, width=8),
            latest(Query(expr=top("$top", quantile(0.99, RTT, by=(EACH,))), legend="{{instance}}")),
        ),
        bars(
            frame(
                "Most retransmitted", "As a share of data segments.", RETRANSMITTED, SENT, unit="percentunit", width=8
            ),
            latest(Query(expr=top("$top", _retransmitted()), legend="{{instance}}")),
            bounds=RETRANS_BOUNDS,
        ),
        bars(
            frame(
                "Most probable causes",
                "What each machine's diagnosis holds for most probable, beside healthy.",
                own.CAUSE,
                width=8,
            ),
            latest(
                Query(
                    expr=top("$top", greatest(selector(own.CAUSE, HEALTHY), EACH, "cause")),
                    legend="{{instance}} {{cause}}",
                )
            ),
            most=1,
            bounds={0.5: ORANGE, 0.8: RED},
        ),
    )


def _over_time() -> tuple[Panel, ...]:
    return (
        lines(
            frame("Goodput", "Payload that arrives, in both directions.", GOODPUT),
            over_time(Query(expr=total(selector(GOODPUT), EACH), legend="{{instance}}")),
            stacked=True,
        ),
        lines(
            frame("RTT p99", "99 of 100 round trips are shorter.", RTT),
            over_time(Query(expr=quantile(0.99, RTT, by=(EACH,)), legend="{{instance}}")),
        ),
        states(
            frame("Alerts by machine", "Coloured while at least one alert is active.", own.ALERT_ACTIVE),
            over_time(Query(expr=total(selector(own.ALERT_ACTIVE), EACH), legend="{{instance}}")),
            bounds={0: "transparent", 0.5: ORANGE, 2: RED},
        ),
        lines(
            frame("Cost", "Share of one CPU that perfctl uses on each machine.", own.CPU),
            over_time(Query(expr=total(selector(own.CPU), EACH), legend="{{instance}}")),
        ),
    )


def _retransmitted() -> str:
    return ratio(total(rate(RETRANSMITTED), EACH), total(rate(SENT), EACH))
