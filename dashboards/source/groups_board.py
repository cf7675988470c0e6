"""Who uses the network: throughput, RTT and limits of each application, process, control group and namespace."""

from __future__ import annotations

from typing import Final

from board import Board, Row, choice, machines, of_label
from families import frame, live, rate_unit_of, unit_of
from panels import Frame, Panel, Query, bars, latest, lines, over_time
from promql import greatest, quantile, rate, ratio, selector, top, total

from perfcheck.export import own_families as own
from perfcheck.export.family import Family

CHOSEN: Final = '$group=~"$name"'
"""Series without the label that groups are made of do not match."""
NEEDS: Final = "It needs perfctl observe --labels app (or process, or cgroup)."
HOST: Final = ("instance", "netns")


def groups_board() -> Board:
    """Return the dashboard."""
    return Board(
        uid="perfctl-groups",
        title="perfctl / Groups",
        tags=("perfctl",),
        description="Who uses the network. Groups are shown where perfctl observe has --labels with what Group says: "
        "app, process or cgroup. What --max-series leaves out is added up in the group named other.",
        variables=(
            *machines(own.UP.name),
            choice("group", "Group", ("app", "process", "cgroup")),
            of_label("name", own.FLOW_CONNECTIONS.name, named="$group", within='job=~"$job", instance=~"$instance"'),
            choice("top", "Most", ("5", "10", "20")),
        ),
        rows=(
            Row(title="Largest groups", panels=_largest()),
            Row(title="Each group", panels=_each()),
            Row(title="Each host and namespace", panels=_hosts()),
        ),
    )


def _largest() -> tuple[Panel, ...]:
    moved = f"({_summed(own.FLOW_ACKED)} + {_summed(own.FLOW_RECEIVED)})"
    return (
        bars(
            _frame(
                "Most payload",
                "Sent and received, per second.",
                rate_unit_of(own.FLOW_ACKED),
                own.FLOW_ACKED,
                own.FLOW_RECEIVED,
                width=8,
            ),
            latest(Query(expr=top("$top", moved), legend="__auto")),
        ),
        bars(
            _frame(
                "Share of all payload",
                "Of all groups together.",
                "percentunit",
                own.FLOW_ACKED,
                own.FLOW_RECEIVED,
                width=8,
            ),
            latest(
                Query(
                    expr=top("$top", f"{moved} / on () group_left () clamp_min({_all_payload()}, 1e-9)"),
                    legend="__auto",
                )
            ),
            most=1,
        ),
        bars(
            _frame(
                "Longest RTT",
                "Median over a group's connections; the longest where it is on several machines.",
                unit_of(own.FLOW_RTT),
                own.FLOW_RTT,
                width=8,
            ),
            latest(Query(expr=top("$top", _largest_of(own.FLOW_RTT)), legend="__auto")),
        ),
        bars(
            _frame(
                "Most retransmissions",
                "Segments sent again, per second.",
                rate_unit_of(own.FLOW_RETRANS),
                own.FLOW_RETRANS,
                width=12,
            ),
            latest(Query(expr=top("$top", _summed(own.FLOW_RETRANS)), legend="__auto")),
        ),
        bars(
            _frame(
                "Most connections",
                "In the last interval.",
                unit_of(own.FLOW_CONNECTIONS),
                own.FLOW_CONNECTIONS,
                width=12,
            ),
            latest(Query(expr=top("$top", total(selector(own.FLOW_CONNECTIONS, CHOSEN), "$group")), legend="__auto")),
        ),
    )


def _each() -> tuple[Panel, ...]:
    def one(title: str, text: str, unit: str, family: Family, expr: str, *, stacked: bool = False) -> Panel:
        return lines(_frame(title, text, unit, family), over_time(Query(expr=expr, legend="__auto")), stacked=stacked)

    return (
        one(
            "Sent",
            "Payload that was sent and acknowledged.",
            rate_unit_of(own.FLOW_ACKED),
            own.FLOW_ACKED,
            top("$top", _summed(own.FLOW_ACKED)),
            stacked=True,
        ),
        one(
            "Received",
            "Payload that was received.",
            rate_unit_of(own.FLOW_RECEIVED),
            own.FLOW_RECEIVED,
            top("$top", _summed(own.FLOW_RECEIVED)),
            stacked=True,
        ),
        one(
            "RTT",
            "Median over a group's connections.",
            unit_of(own.FLOW_RTT),
            own.FLOW_RTT,
            top("$top", _largest_of(own.FLOW_RTT)),
        ),
        one(
            "Congestion window",
            "In segments, median over a group's connections.",
            unit_of(own.FLOW_CWND),
            own.FLOW_CWND,
            top("$top", _largest_of(own.FLOW_CWND)),
        ),
        one(
            "Retransmissions",
            "Segments sent again.",
            rate_unit_of(own.FLOW_RETRANS),
            own.FLOW_RETRANS,
            top("$top", _summed(own.FLOW_RETRANS)),
            stacked=True,
        ),
        one(
            "What limits",
            "Connections by group and by what limits them.",
            unit_of(own.FLOW_BOTTLENECK),
            own.FLOW_BOTTLENECK,
            f"{total(selector(own.FLOW_BOTTLENECK, CHOSEN), '$group', 'bottleneck')} > 0",
            stacked=True,
        ),
    )


def _hosts() -> tuple[Panel, ...]:
    goodput, connections, rtt = live("app.throughput_bps"), live("tcp.connections"), live("tcp.rtt_us")
    retrans, sent = live("tcp.retrans_segs"), live("tcp.data_segs_out")
    legend = "{{instance}} {{netns}}"

    def one(title: str, text: str, unit: str, expr: str, *families: Family, stacked: bool = False) -> Panel:
        framed = frame(title, text, *families, unit=unit)
        return lines(framed, over_time(Query(expr=expr, legend=legend)), stacked=stacked)

    return (
        one(
            "Goodput by namespace",
            "Namespaces are told apart where perfctl watches several.",
            unit_of(goodput),
            total(selector(goodput), *HOST),
            goodput,
            stacked=True,
        ),
        one(
            "Connections by namespace",
            "Of the last interval.",
            unit_of(connections),
            total(selector(connections), *HOST),
            connections,
            stacked=True,
        ),
        one(
            "RTT p99 by host",
            "99 of 100 round trips are shorter. perfctl has one distribution for all namespaces of a machine.",
            unit_of(rtt),
            quantile(0.99, rtt, by=("instance",)),
            rtt,
        ),
        one(
            "Retransmitted by namespace",
            "As a share of data segments.",
            "percentunit",
            ratio(total(rate(retrans), *HOST), total(rate(sent), *HOST)),
            retrans,
            sent,
        ),
    )


def _frame(title: str, text: str, unit: str, *families: Family, width: int = 12) -> Frame:
    return frame(title, f"{text} {NEEDS}", *families, unit=unit, width=width)


def _summed(family: Family) -> str:
    return total(rate(family, CHOSEN), "$group")


def _largest_of(family: Family) -> str:
    return greatest(selector(family, CHOSEN), "$group")


def _all_payload() -> str:
    return f"({total(rate(own.FLOW_ACKED, CHOSEN))} + {total(rate(own.FLOW_RECEIVED, CHOSEN))})"
