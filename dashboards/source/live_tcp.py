"""Rows of the machine's dashboard that tell of its TCP connections."""

from __future__ import annotations

from typing import Final

from families import frame, live
from panels import ORANGE, RED, Panel, Query, bucket_rows, heat, lines, over_time, states
from promql import buckets, greatest, least, named_or_zero, quantile, rate, ratio, selector, total

from perfcheck.export import own_families as own
from perfcheck.export.family import Family
from perfcheck.live.alerts.rules import CONNECT_US, LOSS_PCT, RETRANSMISSIONS_PCT

RTT: Final = live("tcp.rtt_us")
GOODPUT: Final = live("app.throughput_bps")
RETRANSMITTED: Final = live("tcp.retrans_segs")
SENT: Final = live("tcp.data_segs_out")
KINDS: Final = live("tcp.retrans_rto_segs")
DROPS: Final = live("qdisc.drops_full")
QUANTILES: Final = ((0.5, "p50"), (0.9, "p90"), (0.99, "p99"), (0.999, "p99.9"))
RETRANS_BOUND: Final = RETRANSMISSIONS_PCT / 100
LIKELY: Final = 0.2
"""Probability of a cause from which on it is shown."""
EACH: Final = ("instance", "netns")


def round_trips() -> tuple[Panel, ...]:
    """Return the panels of the row: how long round trips and handshakes take."""
    handshake, queue, least_rtt = live("tcp.handshake_us"), live("tcp.queue_delay_us"), live("tcp.min_rtt_us")
    return (
        heat(
            frame(
                "Distribution of RTT",
                "Samples per second in each bucket. A second band is a second path or a queue.",
                RTT,
                height=9,
            ),
            bucket_rows(buckets(RTT)),
        ),
        quantiles("RTT", "How long round trips take. The tail grows before the median does.", RTT, width=12, height=9),
        quantiles(
            "Connect time",
            f"From the SYN to ESTABLISHED. A p99 above {CONNECT_US / 1e6:g} s raises an alert.",
            handshake,
            bounds={CONNECT_US / 1e6: RED},
        ),
        lines(
            frame(
                "Queueing delay",
                "The smallest RTT is the path's own; what the median has more waits in queues.",
                queue,
                least_rtt,
            ),
            over_time(
                Query(expr=greatest(selector(queue), *EACH), legend="standing queue {{instance}} {{netns}}"),
                Query(expr=least(selector(least_rtt), *EACH), legend="smallest RTT {{instance}} {{netns}}"),
            ),
        ),
    )


def throughput() -> tuple[Panel, ...]:
    """Return the panels of the row: how much arrives, against what the path holds."""
    delivery, bdp, window = live("tcp.delivery_rate_bps"), live("tcp.bdp_bytes"), live("tcp.snd_wnd_bytes")
    mean_rtt = ratio(total(rate(f"{RTT.name}_sum"), "instance"), total(rate(f"{RTT.name}_count"), "instance"))
    return (
        lines(
            frame(
                "Throughput",
                "The delivery rate is that of the connections that send; what is received is in the goodput alone.",
                GOODPUT,
                delivery,
            ),
            over_time(
                Query(expr=total(selector(GOODPUT), "instance"), legend="goodput {{instance}}"),
                Query(expr=total(selector(delivery), "instance"), legend="delivery rate {{instance}}"),
            ),
        ),
        lines(
            frame(
                "Data in flight against the BDP",
                "The path holds the bandwidth-delay product; what is in flight beyond it waits in queues. A window at "
                "or below it limits the throughput. In flight: delivery rate times mean RTT (Little's law).",
                bdp,
                delivery,
                RTT,
                window,
            ),
            over_time(
                Query(expr=total(selector(bdp), "instance"), legend="BDP {{instance}}"),
                Query(expr=f"{total(selector(delivery), 'instance')} * {mean_rtt}", legend="in flight {{instance}}"),
                Query(expr=greatest(selector(window), "instance"), legend="largest window offered {{instance}}"),
            ),
        ),
        lines(
            frame("Payload by direction", "Sent and acknowledged, and received.", own.ACKED_BYTES, own.RECEIVED_BYTES),
            over_time(
                Query(expr=total(rate(own.ACKED_BYTES), "instance"), legend="sent {{instance}}"),
                Query(expr=total(rate(own.RECEIVED_BYTES), "instance"), legend="received {{instance}}"),
            ),
        ),
        lines(
            frame(
                "Connections opened and closed",
                "Churn: each connection begins with a handshake and in slow start.",
                own.OPENED,
                own.CLOSED,
            ),
            over_time(
                Query(expr=total(rate(own.OPENED), "instance"), legend="opened {{instance}}"),
                Query(expr=total(rate(own.CLOSED), "instance"), legend="closed {{instance}}"),
            ),
        ),
    )


def limits() -> tuple[Panel, ...]:
    """Return the panels of the row: what limits connections, as their own figures and the diagnosis say."""
    limited = {name: live(f"tcp.limited_{name}_pct") for name in ("rwnd", "sndbuf", "cwnd", "app")}
    dwell = {name: live(f"tcp.state_{name}_pct") for name in ("open", "disorder", "cwr", "recovery", "loss")}
    return (
        states(
            frame(
                "Bottlenecks",
                "One row for each limit; it is coloured while it holds at least one connection back.",
                own.BOTTLENECK,
                height=10,
            ),
            over_time(Query(expr=total(selector(own.BOTTLENECK), "bottleneck"), legend="{{bottleneck}}")),
            bounds={0: "transparent", 0.5: "blue", 10: ORANGE, 100: RED},
        ),
        states(
            frame(
                "Causes",
                f"How probable the diagnosis holds each cause, from {LIKELY:.0%} on.",
                own.CAUSE,
                height=10,
            ),
            over_time(
                Query(
                    expr=named_or_zero(f"{greatest(selector(own.CAUSE), 'cause')} >= {LIKELY:g}", "cause", "none"),
                    legend="{{cause}}",
                )
            ),
            bounds={0: "transparent", LIKELY: "yellow", 0.5: ORANGE, 0.8: RED},
        ),
        shares("Time by what limits it", "What the senders' time was limited by; the rest of it is idle.", limited),
        shares(
            "Time by congestion state",
            "States of the congestion control. Loss follows a retransmission timeout; "
            f"more than {LOSS_PCT:g} % of the busy time raises an alert.",
            dwell,
        ),
    )


def losses() -> tuple[Panel, ...]:
    """Return the panels of the row: what is sent again, and what is dropped where."""
    lost = live("tcp.lost_segs")
    counted = {
        "timeouts": live("tcp.rto_events"),
        "recoveries": live("tcp.recovery_events"),
        "reordering seen": live("tcp.reord_seen_events"),
        "resets": live("tcp.resets"),
    }
    return (
        lines(
            frame("Retransmissions by kind", "Timeouts (rto) cost most: the sender stood still before each.", KINDS),
            over_time(Query(expr=total(rate(KINDS), "kind"), legend="{{kind}}")),
            stacked=True,
        ),
        lines(
            frame(
                "Share of data sent again",
                f"Above {RETRANSMISSIONS_PCT:g} % it raises an alert.",
                RETRANSMITTED,
                lost,
                SENT,
                unit="percentunit",
            ),
            over_time(
                Query(expr=retransmitted("instance"), legend="retransmitted {{instance}}"),
                Query(
                    expr=ratio(total(rate(lost), "instance"), total(rate(SENT), "instance")),
                    legend="marked lost {{instance}}",
                ),
            ),
            bounds={RETRANS_BOUND: RED},
        ),
        lines(
            frame(
                "Drops by layer and reason",
                "Packets that this machine dropped, and why; 0 where nothing was dropped.",
                DROPS,
            ),
            over_time(
                Query(
                    expr=named_or_zero(f"{total(rate(DROPS), 'layer', 'reason')} > 0", "reason", "none"),
                    legend="{{layer}} {{reason}}",
                )
            ),
            stacked=True,
        ),
        rates("Events of the congestion control", "What happens to connections beside single segments.", counted),
    )


def windows() -> tuple[Panel, ...]:
    """Return the panels of the row: congestion window and segments in flight."""
    cwnd, inflight, pacing = live("tcp.cwnd_segs"), live("tcp.inflight_segs"), live("tcp.pacing_rate_bps")
    return (
        quantiles("Congestion window", "In segments, at each acknowledgement.", cwnd, width=8),
        quantiles("In flight", "In segments; near the congestion window, that is what limits.", inflight, width=8),
        lines(
            frame(
                "Pacing rate",
                "What the senders would send at most; far above what arrives on short paths.",
                pacing,
                width=8,
            ),
            over_time(Query(expr=total(selector(pacing), "instance"), legend="{{instance}}")),
        ),
    )


def retransmitted(*by: str) -> str:
    """Return the share of data segments that were sent again."""
    return ratio(total(rate(RETRANSMITTED), *by), total(rate(SENT), *by))


def quantiles(
    title: str, text: str, family: Family, *, width: int = 12, height: int = 8, bounds: dict[float, str] | None = None
) -> Panel:
    """Return a panel with the quantiles of a distribution over time."""
    framed = frame(title, text, family, width=width, height=height)
    return lines(
        framed,
        over_time(*(Query(expr=quantile(share, family), legend=name) for share, name in QUANTILES)),
        bounds=bounds,
    )


def rates(title: str, text: str, families: dict[str, Family]) -> Panel:
    """Return a panel with the increase per second of several counters, by what they are called in the legend."""
    return lines(
        frame(title, text, *families.values()),
        over_time(*(Query(expr=total(rate(family)), legend=name) for name, family in families.items())),
    )


def shares(title: str, text: str, families: dict[str, Family]) -> Panel:
    """Return a panel with several shares, the largest of all machines and namespaces each, by their names."""
    framed = frame(title, text, *families.values(), unit="percentunit")
    return lines(
        framed,
        over_time(*(Query(expr=greatest(selector(family)), legend=name) for name, family in families.items())),
    )
