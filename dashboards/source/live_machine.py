"""Rows of the machine's dashboard that tell of queues, interfaces, CPUs, alerts and perfctl itself."""

from __future__ import annotations

from families import frame, live
from live_tcp import EACH, quantiles, rates, shares
from panels import GREEN, ORANGE, RED, Panel, Query, lines, over_time, states
from promql import greatest, increase, named_or_zero, rate, selector, total

from perfcheck.export import own_families as own
from perfcheck.export.family import Family


def queues() -> tuple[Panel, ...]:
    """Return the panels of the row: queues of devices, interfaces and softirqs."""
    sojourn, depth = live("qdisc.sojourn_us"), live("qdisc.depth_packets")
    qdisc_drops, rx, tx = live("qdisc.drops"), live("nic.rx_packets"), live("nic.tx_packets")
    delay = live("nic.rx_softirq_delay_us")
    nic = {
        "dropped on receipt": live("nic.rx_drops"),
        "dropped on sending": live("nic.tx_drops"),
        "backlog full": live("nic.softnet_dropped"),
        "budget used up": live("nic.softnet_squeezed"),
    }
    return (
        quantiles("Time in the queue", "Of the queue with the longest total waiting time.", sojourn),
        quantiles("Depth of the queue", "Packets in it, over time.", depth),
        lines(
            frame("Drops of queues", "By interface, where perfctl knows it.", qdisc_drops),
            over_time(
                Query(expr=total(rate(qdisc_drops), "instance", "interface"), legend="{{instance}} {{interface}}")
            ),
        ),
        lines(
            frame("Packets of interfaces", "Before offloads split them, and after they merged them.", rx, tx),
            over_time(
                Query(expr=total(rate(rx), "instance"), legend="received {{instance}}"),
                Query(expr=total(rate(tx), "instance"), legend="sent {{instance}}"),
            ),
        ),
        quantiles("Delay of NET_RX", "How late packets are received: from raising the softirq to its start.", delay),
        rates("What interfaces and softirqs could not take", "All of them stay at 0 on a machine that keeps up.", nic),
    )


def cpus() -> tuple[Panel, ...]:
    """Return the panels of the row: CPUs, and buffers of sockets."""
    used = {
        "all CPUs": live("cpu.host_busy_pct"),
        "busiest CPU": live("cpu.busiest_pct"),
        "busiest CPU in NET_RX": live("nic.rx_softirq_pct"),
        "softirqs": live("cpu.host_softirq_pct"),
        "stolen by the hypervisor": live("cpu.steal_pct"),
        "tasks waited (PSI)": live("cpu.pressure_pct"),
    }
    full = {
        "accept queue full": live("socket.listen_overflows"),
        "receive buffer full": live("socket.rcv_pruned"),
        "window closed": live("socket.zero_windows"),
        "UDP buffer full": live("udp.rcvbuf_errors"),
    }
    accept = live("socket.accept_queue_pct.max")
    return (
        quantiles("Wait for a CPU", "How long processes waited in a run queue.", live("cpu.runq_delay_us")),
        shares("Use of CPUs", "One busy CPU is enough to hold one connection back.", used),
        rates("Full buffers and queues of sockets", "All of them stay at 0 where applications keep up.", full),
        lines(
            frame("Use of accept queues", "At 100 % new connections are refused or wait.", accept),
            over_time(Query(expr=greatest(selector(accept), *EACH), legend="{{instance}} {{netns}}")),
            bounds={1: RED},
        ),
    )


def alerts() -> tuple[Panel, ...]:
    """Return the panels of the row: which alerts are and were raised."""
    return (
        states(
            frame("Alerts by rule", "The same times are marked in all panels.", own.ALERT_ACTIVE),
            over_time(Query(expr=total(selector(own.ALERT_ACTIVE), "rule"), legend="{{rule}}")),
            bounds={0: "transparent", 0.5: RED},
        ),
        lines(
            frame("Alerts raised", "How many were raised, by rule.", own.ALERTS, unit="short"),
            over_time(Query(expr=total(increase(own.ALERTS), "rule"), legend="{{rule}}")),
        ),
    )


def itself() -> tuple[Panel, ...]:
    """Return the panels of the row: what perfctl costs, and what it did not count."""
    return (
        lines(
            frame("Cost", "Of one CPU. --cpu-ceiling bounds it.", own.CPU, own.BPF_CPU, width=8),
            over_time(
                Query(expr=total(selector(own.CPU), "instance"), legend="perfctl {{instance}}"),
                Query(expr=total(selector(own.BPF_CPU), "instance"), legend="BPF programs {{instance}}"),
            ),
        ),
        lines(
            frame("Not counted", "What the other panels lack.", own.LOST, own.REFUSED, unit="cps", width=8),
            over_time(
                Query(expr=total(rate(own.LOST), "instance"), legend="lost events {{instance}}"),
                Query(expr=total(rate(own.REFUSED), "instance"), legend="connections without room {{instance}}"),
            ),
        ),
        lines(
            frame(
                "Age of the last interval",
                "A line that climbs: perfctl does not measure, or Prometheus does not reach it.",
                own.LAST_INTERVAL,
                unit="s",
                width=8,
            ),
            over_time(
                Query(expr=f"time() - {greatest(selector(own.LAST_INTERVAL), 'instance')}", legend="{{instance}}")
            ),
        ),
        _what("Not measured", "What this machine cannot show, and why.", own.NOT_MEASURED, "all is measured"),
        _what("Left out", "What perfctl left out to stay below --cpu-ceiling.", own.SHED, "nothing is left out"),
    )


def _what(title: str, text: str, family: Family, nothing: str) -> Panel:
    expr = named_or_zero(f"{greatest(selector(family), 'what')} > 0", "what", nothing)
    return states(
        frame(title, text, family), over_time(Query(expr=expr, legend="{{what}}")), bounds={0: GREEN, 0.5: ORANGE}
    )
