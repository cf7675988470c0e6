"""One machine, as `perfctl observe` sees it: round trips, throughput, losses, limits, queues and alerts."""

from __future__ import annotations

from typing import Final

from board import Board, Row, alert_marks, machines
from families import frame, live, rate_unit_of, unit_of
from live_machine import alerts, cpus, itself, queues
from live_tcp import (
    GOODPUT,
    RETRANS_BOUND,
    RETRANSMITTED,
    RTT,
    limits,
    losses,
    retransmitted,
    round_trips,
    throughput,
    windows,
)
from panels import ORANGE, RED, Panel, Query, figure, over_time
from promql import least, quantile, rate, selector, total

from perfcheck.export import own_families as own
from perfcheck.export.family import Family
from perfcheck.live.alerts.rules import RETRANSMISSIONS_PCT

CONNECTIONS: Final = live("tcp.connections")


def live_board() -> Board:
    """Return the dashboard."""
    return Board(
        uid="perfctl-live",
        title="perfctl / Machine",
        tags=("perfctl",),
        variables=machines(own.UP.name),
        description="What perfctl observe --output prometheus tells of a machine: whether it is well, what limits its "
        "connections, where packets are lost, and what watching costs. Panels of queues, interfaces and CPUs need "
        "--layer all.",
        annotations=(alert_marks(own.ALERT_ACTIVE.name),),
        rows=(
            Row(title="At a glance", panels=_status()),
            Row(title="Round trips", panels=round_trips()),
            Row(title="Throughput", panels=throughput()),
            Row(title="What limits", panels=limits()),
            Row(title="Losses", panels=losses()),
            Row(title="Windows", panels=windows()),
            Row(title="Queues and interfaces", panels=queues()),
            Row(title="CPUs and sockets", panels=cpus()),
            Row(title="Alerts", panels=alerts()),
            Row(title="perfctl itself", panels=itself()),
        ),
    )


def _status() -> tuple[Panel, ...]:
    def one(
        title: str, text: str, family: Family, expr: str, *, unit: str = "", bounds: dict[float, str] | None = None
    ) -> Panel:
        framed = frame(title, text, family, unit=unit or unit_of(family), width=3, height=4)
        return figure(framed, over_time(Query(expr=expr)), bounds=bounds)

    up = frame("perfctl", "Whether the chosen instances measure.", own.UP, unit="short", width=3, height=4)
    return (
        figure(
            up,
            over_time(Query(expr=least(selector(own.UP)))),
            texts={"1": ("measuring", "green"), "0": ("ended", RED)},
        ),
        one("Connections", "Connections of the last interval.", CONNECTIONS, total(selector(CONNECTIONS))),
        one(
            "Goodput",
            "Payload that arrives, in both directions. A connection between two watched namespaces counts in both.",
            GOODPUT,
            total(selector(GOODPUT)),
        ),
        one(
            "Retransmitted",
            f"Share of data segments that were sent again; {RETRANSMISSIONS_PCT:g} % raises an alert.",
            RETRANSMITTED,
            retransmitted(),
            unit="percentunit",
            bounds={RETRANS_BOUND / 2: ORANGE, RETRANS_BOUND: RED},
        ),
        one("RTT p99", "99 of 100 round trips are shorter.", RTT, quantile(0.99, RTT)),
        one(
            "Alerts",
            "Alerts that are raised and not cleared.",
            own.ALERT_ACTIVE,
            total(selector(own.ALERT_ACTIVE)),
            bounds={1: RED},
        ),
        one(
            "Cost of perfctl",
            "Share of one CPU that perfctl uses, its BPF programs included.",
            own.CPU,
            total(selector(own.CPU)),
            bounds={0.03: ORANGE, 0.1: RED},
        ),
        one(
            "Lost events",
            "Events per second that happened and were not counted: the other panels lack them.",
            own.LOST,
            total(rate(own.LOST)),
            unit=rate_unit_of(own.LOST),
            bounds={1e-9: ORANGE},
        ),
    )
