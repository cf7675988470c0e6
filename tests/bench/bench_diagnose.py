"""How long a diagnosis takes: a million events joined into incidents, their chain, and a usual record.

Run it by `make bench-diagnose`. Times are CPU times, so other work on the machine counts little.
The exit status is 1 if one is beyond its limit.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Final

import numpy as np
from rich.console import Console
from rich.table import Table

from perfcheck.diagnose import Reading, RuleSet, Sightings, diagnose, load_rules, sightings, with_chains
from perfcheck.diagnose.correlation import EventTable, incidents, table_of
from perfcheck.model.event import Event, EventType
from perfcheck.model.flow import FlowKey, Protocol
from perfcheck.model.metric import Layer

EVENTS: Final = 1_000_000
FLOWS: Final = 2_000
USUAL: Final = {
    "tcp.retrans_segs": 300.0, "tcp.retrans_pct": 1.2, "tcp.recovery_events": 40.0, "tcp.rto_events": 2.0,
    "tcp.bdp_use_pct": 50.0, "tcp.rtt_us.p50": 22_000.0, "tcp.rtt_us.p90": 24_000.0, "tcp.rtt_us.p99": 30_000.0,
    "tcp.min_rtt_us": 20_000.0, "tcp.cwnd_segs.p50": 30.0, "tcp.inflight_segs.p50": 28.0, "tcp.limited_cwnd_pct": 95.0,
    "tcp.limited_rwnd_pct": 0.0, "tcp.limited_app_pct": 2.0, "tcp.connections": 1.0, "tcp.mss_bytes": 1448.0,
    "tcp.delivery_rate_bps": 2e7, "tcp.state_recovery_pct": 30.0, "tcp.state_loss_pct": 2.0, "tcp.bdp_bytes": 1e5,
    "app.throughput_bps": 2e7, "cpu.runq_wait_pct": 2.0, "qdisc.link_drops": 0.0,
}  # fmt: skip


def main() -> int:
    """Print one row for each; gives 1 where one took longer than it may."""
    table = Table("what", "CPU", "limit", box=None, header_style="bold")
    late = False
    rules = load_rules()
    events = many_events()
    columns = table_of(events)
    for what, limit_s, work in (
        (f"{EVENTS:,} events (objects) to columns", 5.0, lambda: table_of(events)),
        (f"{EVENTS:,} events in columns to incidents", 5.0, lambda: shown(columns)),
        ("all that a chain needs of them", 10.0, lambda: sightings(rules.causality, events, {"events"})),
        ("a usual record of 5 trials, with its chains", 0.05, lambda: usual(rules)),
    ):
        spent_s = cpu_s(work)
        late |= spent_s > limit_s
        table.add_row(what, f"{spent_s:.3f} s", f"{limit_s:g} s")
    Console(highlight=False).print(table)
    return int(late)


def shown(columns: EventTable) -> int:
    """Return how many incidents there are, from columns without anything remembered."""
    return len(np.unique(incidents(replace(columns))))


def usual(rules: RuleSet) -> object:
    """Diagnose a record as a run does."""
    trials = [USUAL] * 5
    reading = Reading(metrics=USUAL, trials=trials)
    return with_chains(diagnose(rules, USUAL, trials), rules.causality, reading, Sightings())


def many_events() -> list[Event]:
    """Return drops, cuts and retransmissions of many flows within a minute."""
    random = np.random.default_rng(1)
    flows = [
        FlowKey(protocol=Protocol.TCP, host="client", local="198.18.0.1", local_port=1024 + number,
                remote="198.18.0.2", remote_port=80)
        for number in range(FLOWS)
    ]  # fmt: skip
    kinds = (
        ("qdisc.drops_full", {"kind": "drop"}),
        ("tcp.ca_state_events", {"kind": "ca_state", "state": "Recovery"}),
        ("tcp.retrans_segs", {"kind": "retransmission", "retransmission": "fast"}),
    )
    moments = np.sort(random.integers(0, 60_000_000_000, EVENTS)).tolist()
    chosen, which = random.integers(0, FLOWS, EVENTS).tolist(), random.integers(0, 3, EVENTS).tolist()
    return [
        Event(
            number=number, timestamp_ns=moments[number], flow=flows[chosen[number]], layer=Layer.TCP,
            metric=kinds[which[number]][0], value=1.0, type=EventType.ALERT, metrics={"tcp.srtt_us": 20_000.0},
            context={**kinds[which[number]][1], "host": "client", "seq": number % 4_000_000, "bytes": 1448},
        )
        for number in range(EVENTS)
    ]  # fmt: skip


def cpu_s(work: Callable[[], object]) -> float:
    """Return the CPU time of one call."""
    start = time.process_time()
    work()
    return time.process_time() - start


if __name__ == "__main__":
    sys.exit(main())
