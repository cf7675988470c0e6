"""Alerting rules of Prometheus: those that perfctl raises itself, and its bounds over longer times."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import yaml
from families import live

from perfcheck.export import own_families as own
from perfcheck.export.family import Family
from perfcheck.live.alerts.readers import LEAST_TAIL_US, TAIL_RATIO
from perfcheck.live.alerts.rules import BURST_PER_S, CONNECT_US, RETRANSMISSIONS_PCT
from perfcheck.live.drops import INTENDED, LAYERS

WINDOW: Final = "5m"
HELD: Final = "5m"
SILENT_S: Final = 60
HEAD: Final = "# Alerting rules for Prometheus, made by `make dashboards`: put the file under rule_files.\n"


@dataclass(frozen=True, slots=True, kw_only=True)
class AlertRule:
    """One alert; `held` is how long its condition must hold before it fires."""

    name: str
    expression: str
    severity: str
    summary: str
    description: str
    held: str = HELD

    def row(self) -> dict[str, object]:
        """Return the rule as Prometheus reads it."""
        return {
            "alert": self.name,
            "expr": self.expression,
            "for": self.held,
            "labels": {"severity": self.severity},
            "annotations": {"summary": self.summary, "description": self.description},
        }


def alerts_text() -> str:
    """Return the file of rules."""
    group = {
        "name": "perfctl",
        "rules": [rule.row() for rule in (*_raised_by_perfctl(), *_over_minutes(), *_of_itself())],
    }
    return HEAD + yaml.safe_dump({"groups": [group]}, sort_keys=False, width=110)


def _raised_by_perfctl() -> Sequence[AlertRule]:
    active = f"max by (job, instance, rule) ({own.ALERT_ACTIVE.name}) > 0"
    return (
        AlertRule(
            name="PerfctlAlert",
            expression=active,
            held="0s",  # perfctl waits by itself until a bound was broken several times
            severity="warning",
            summary="perfctl on {{ $labels.instance }} raised {{ $labels.rule }}",
            description="An alert of perfctl observe, with its own hysteresis; the dashboard of the machine shows why.",
        ),
    )


def _over_minutes() -> Sequence[AlertRule]:
    retransmitted = f"{_rate(live('tcp.retrans_segs'))} / {_rate(live('tcp.data_segs_out'))}"
    rtt, connect = live("tcp.rtt_us"), live("tcp.handshake_us")
    tail = f"{_quantile(0.99, rtt)} > {TAIL_RATIO:g} * {_quantile(0.5, rtt)}"
    return (
        AlertRule(
            name="PerfctlRetransmissions",
            expression=f"{retransmitted} > {RETRANSMISSIONS_PCT / 100:g}",
            severity="warning",
            summary="{{ $labels.instance }} sends {{ $value | humanizePercentage }} of its data again",
            description=f"More than {RETRANSMISSIONS_PCT:g} % of data segments were retransmitted.",
        ),
        AlertRule(
            name="PerfctlConnectTime",
            expression=f"{_quantile(0.99, connect)} > {CONNECT_US / 1e6:g}",
            severity="warning",
            summary="{{ $labels.instance }} connects in {{ $value | humanizeDuration }} (p99)",
            description="Connecting takes long: the path, SYNs that are lost, or a full accept queue.",
        ),
        AlertRule(
            name="PerfctlRttTail",
            expression=f"{tail} and {_quantile(0.99, rtt)} > {LEAST_TAIL_US / 1e6:g}",
            severity="warning",
            summary="{{ $labels.instance }} has round trips of {{ $value | humanizeDuration }} (p99)",
            description=f"The 99th percentile of RTT is more than {TAIL_RATIO:g} times the median.",
        ),
        AlertRule(
            name="PerfctlDrops",
            expression=f"{_harmful_drops()} > {BURST_PER_S:g}",
            severity="warning",
            summary="{{ $labels.instance }} drops {{ $value | humanize }} packets a second",
            description="Packets are dropped on this machine that nobody decided to drop.",
        ),
    )


def _of_itself() -> Sequence[AlertRule]:
    return (
        AlertRule(
            name="PerfctlSilent",
            expression=f"time() - max by (job, instance) ({own.LAST_INTERVAL.name}) > {SILENT_S}",
            severity="warning",
            held="1m",
            summary="perfctl on {{ $labels.instance }} has measured nothing for {{ $value | humanizeDuration }}",
            description="It has ended or hangs: what the dashboards show of it is old.",
        ),
        AlertRule(
            name="PerfctlDown",
            expression=f"up == 0 and on (job, instance) last_over_time({own.UP.name}[1h])",
            severity="warning",
            held="1m",
            summary="perfctl on {{ $labels.instance }} cannot be scraped",
            description="It was there within the last hour: it has ended, or the way to it is closed.",
        ),
        AlertRule(
            name="PerfctlLosesEvents",
            expression=f"{_rate(own.LOST)} > 0",
            severity="info",
            summary="perfctl on {{ $labels.instance }} does not count {{ $value | humanize }} events a second",
            description="Its figures are too small. Longer intervals, fewer layers or a filter help.",
        ),
    )


def _rate(family: Family) -> str:
    return f"sum by (job, instance) (rate({family.name}[{WINDOW}]))"


def _quantile(share: float, family: Family) -> str:
    return f"histogram_quantile({share:g}, sum by (job, instance, le) (rate({family.name}_bucket[{WINDOW}])))"


def _harmful_drops() -> str:
    """Return the drops per second that nobody decided."""
    drops = live("qdisc.drops_full").name
    rates = []
    for layer in LAYERS:
        intended = sorted(name.removeprefix(f"{layer}.drops_") for name in INTENDED if name.startswith(f"{layer}."))
        others = f', reason!~"{"|".join(intended)}"' if intended else ""
        rates.append(f'rate({drops}{{layer="{layer}"{others}}}[{WINDOW}])')
    return f"sum by (job, instance) ({' or '.join(rates)})"
