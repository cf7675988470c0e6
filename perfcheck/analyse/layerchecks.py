"""Compares the BPF figures of the layers other than TCP with the kernel's own counters, in each trial.

Two collectors open their windows one after the other, within milliseconds. The tolerances allow for
what happens in between.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from perfcheck.model.observation import Observation
from perfcheck.model.record import CrossCheck

PCT: Final = 5.0
DROPS_SLACK: Final = 10.0
SOFTIRQS_SLACK: Final = 100.0
WATCHED_PCT: Final = 99.0
_QDISC_REASONS: Final = tuple(f"qdisc.drops_{reason}" for reason in ("full", "congested", "flow", "unspecified"))
_SOFTIRQS: Final = (("nic.rx_softirq_run_us", "nic.rx_softirqs", "NET_RX"),)


def layer_checks(trial: int, observations: Sequence[Observation]) -> Iterator[CrossCheck]:
    """Compare drops by reason with the qdiscs' own counters, and runs of softirqs with /proc/softirqs.

    Softirqs that were watched a part of the time are compared with nothing: /proc counts the whole of it.
    """
    metrics = {name: value for seen in observations for name, value in seen.metrics.items()}
    distributions = {name: values for seen in observations for name, values in seen.distributions.items()}
    reasons = [metrics[name] for name in _QDISC_REASONS if name in metrics]
    if reasons and "qdisc.drops" in metrics:
        source = "RTM_GETQDISC: drops of root qdiscs"
        yield _check("qdisc.drops", trial, sum(reasons), metrics["qdisc.drops"], source, DROPS_SLACK)
    watched = metrics.get("nic.softirqs_timed_pct", 100.0) >= WATCHED_PCT
    for runs, counter, vector in _SOFTIRQS:
        if watched and runs in distributions and counter in metrics:
            ours, source = float(distributions[runs].count), f"/proc/softirqs: {vector}"
            yield _check(counter, trial, ours, metrics[counter], source, SOFTIRQS_SLACK)


def _check(name: str, trial: int, ours: float, theirs: float, source: str, slack: float) -> CrossCheck:
    agrees = abs(ours - theirs) <= max(PCT / 100 * theirs, slack)
    return CrossCheck(name=name, trial=trial, ours=ours, theirs=theirs, source=source, tolerance_pct=PCT, agrees=agrees)
