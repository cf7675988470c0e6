"""What is the matter on a live machine: perfcheck's rules on the intervals of a watch, and its causal chains.

A live machine has no generator that reports. What the kernel sees stands in for it: `app.throughput_bps` is
acknowledged payload, `app.connect_us.*` the time of connect(2) up to ESTABLISHED.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from perfcheck.diagnose import Reading, RuleSet, account, diagnose, sightings, with_chains
from perfcheck.diagnose.engine import judge
from perfcheck.live.whole import together
from perfcheck.model.catalogue import CATALOGUE
from perfcheck.model.event import Event, EventType
from perfcheck.model.flow_filter import FlowFilter
from perfcheck.model.interval import Interval, LiveRequest
from perfcheck.model.record import DiagnosisRecord

PROBLEMS: Final[Mapping[str, tuple[str, ...]]] = {
    "high-latency": ("steady_latency", "tail_latency"),
    "low-throughput": ("low_throughput",),
    "loss": ("loss",),
}
"""Symptoms of the rules, by the names that `--problem` takes."""
_OF_THE_MACHINE: Final = frozenset({"nic.rx_softirq_pct", "nic.tx_softirq_pct", "cpu.host_softirq_pct"})
"""Shares of time for all packets: who watches some of them cannot tell how many these were."""
_HANDSHAKE: Final = "tcp.handshake_us"
_CONNECT: Final = "app.connect_us"


@dataclass(frozen=True, slots=True, kw_only=True)
class LiveDiagnosis:
    """Causes of a watch, the most probable first, never empty; `account` are the decision tree's questions.

    `symptoms` are those that were seen, by the rules' names. `whole` is all that was watched, as one interval.
    """

    causes: tuple[DiagnosisRecord, ...]
    account: tuple[str, ...]
    symptoms: tuple[str, ...]
    whole: Interval
    looks: int

    @property
    def cause(self) -> str:
        """Name of the most probable cause."""
        return self.causes[0].cause


def diagnosed(
    intervals: Sequence[Interval], rules: RuleSet, *, correlate: bool = True, part: bool = False
) -> LiveDiagnosis:  # fmt: skip
    """Diagnose a watch: each interval is a trial, and all together are the whole. ValueError for no interval.

    `part`: only some of the machine's flows are watched. What its softirqs did cannot be held against those.
    """
    whole = together(intervals)
    metrics = with_stand_ins(whole.metrics, part=part)
    trials = [with_stand_ins(one.metrics, part=part) for one in intervals if has_connections(one)]
    alerts: list[Event] = [event for event in whole.events if event.type is EventType.ALERT] if correlate else []
    seen = sightings(rules.causality, alerts, {"events"} if correlate and _has_events(intervals) else ())
    reading = Reading(metrics=metrics, trials=tuple(trials))
    found = diagnose(rules, metrics, trials)
    judged = judge(rules, metrics, trials, told=False)
    return LiveDiagnosis(
        causes=with_chains(found, rules.causality, reading, seen), account=account(rules, reading, seen),
        symptoms=tuple(dict.fromkeys(one.symptom.symptom for one in judged.symptoms if one.strength > 0)),
        whole=whole, looks=len(intervals),
    )  # fmt: skip


def has_connections(interval: Interval) -> bool:
    """Return whether an interval saw a connection; what was merged of a long watch has no flows any more."""
    return len(interval.flows) > 0 or interval.metrics.get("tcp.connections", 0.0) > 0


def _has_events(intervals: Sequence[Interval]) -> bool:
    return any(one.events for one in intervals) or not any("events" in one.lacks for one in intervals)


def with_stand_ins(metrics: Mapping[str, float], *, part: bool = False) -> dict[str, float]:
    """Return the metrics with what stands in for a generator's own; of a `part`, without shares of the machine."""
    found = {name: value for name, value in metrics.items() if not (part and name in _OF_THE_MACHINE)}
    for name, value in metrics.items():
        if name.startswith(f"{_HANDSHAKE}."):
            found.setdefault(f"{_CONNECT}.{name.rpartition('.')[2]}", value)
    return {name: value for name, value in found.items() if name in CATALOGUE}


def is_part(request: LiveRequest) -> bool:
    """Return whether a request leaves out some of the machine's flows."""
    return request.filter != FlowFilter() or bool(request.netns)


def answers(found: LiveDiagnosis, problem: str | None) -> str | None:
    """Say in one line where the problem that was asked about was not seen; None where it was, or none was named."""
    if problem is None or set(PROBLEMS[problem]) & set(found.symptoms):
        return None
    word = problem.replace("-", " ")
    return f"no {word} was seen in {found.whole.seconds:.0f} s of watching; what was seen is told all the same"
