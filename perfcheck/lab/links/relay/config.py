"""What the relay process is told about its link: the two directions as plain numbers, and where the devices go."""

from __future__ import annotations

import threading
from typing import Any

from perfcheck.lab.links.impair.plan import DirectionPlan
from perfcheck.lab.links.relay import limits
from perfcheck.lab.links.trace import read_trace
from perfcheck.model.link import DIRECTIONS, LinkDirection, LinkSpec
from perfcheck.model.quantities import Loss
from perfcheck.model.seams import LinkEnd


def config_of(link: LinkSpec, ends: tuple[LinkEnd, LinkEnd]) -> dict[str, object]:
    """Return the relay process's configuration, to be sent as JSON; ValueError for a bad trace."""
    return {
        "mtu": link.mtu,
        "super_packets": limits.takes_super_packets(link),
        "ends": [{"netns": end.netns_path, "ifname": end.ifname} for end in ends],
        "directions": [plan_of(direction).as_json() for direction in link.directions],
        # The kernel sends the signal when the starting thread ends, not the process.
        "dies_with_parent": threading.current_thread() is threading.main_thread(),
    }


def plan_of(direction: LinkDirection) -> DirectionPlan:
    """Return what the models of one direction need, a trace read from its file; ValueError for a bad one."""
    start = direction.at_start()
    policer, codel = start.policer, start.codel
    rated = start.rate_bps is not None
    return DirectionPlan(
        direction=DIRECTIONS.index(start.name),
        seed=start.seed,
        mtu=start.mtu,
        delay_ns=start.delay_ns,
        jitter_ns=start.jitter_ns,
        distribution=start.distribution,
        rate_bps=start.rate_bps,
        queue_bytes=start.queue_bytes,
        queue_packets=start.queue_packets if rated else None,
        codel=None if codel is None or not rated else {"target_ns": codel.target_ns, "interval_ns": codel.interval_ns},
        policer=None if policer is None else {"rate_bps": policer.rate_bps, "burst_bytes": policer.burst_bytes},
        loss=_loss(start.loss),
        reorder=start.reorder_pct / 100,
        duplicate=start.duplicate_pct / 100,
        corrupt=start.corrupt_pct / 100,
        ecn=start.ecn,
        trace=_steps(start) if start.trace is None else read_trace(start.trace),
        loss_steps=_loss_steps(start) if start.trace is None else None,
    )


def _steps(start: LinkDirection) -> dict[str, Any] | None:
    """Return a schedule in the form of a trace, rate and delay each with its own steps; None where neither changes."""
    rates = [(0, start.rate_bps), *((change.at_ns, change.rate_bps) for change in start.later())]
    delays = [(0, start.delay_ns), *((change.at_ns, change.delay_ns) for change in start.later())]
    trace: dict[str, Any] = {}
    for name, unit, steps in (("rate", "bps", rates), ("delay", "ns", delays)):
        said = [(at_ns, value) for at_ns, value in steps if value is not None]
        if len(said) > 1:
            trace[name] = {"at_ns": [at for at, _ in said], unit: [value for _, value in said], "repeat_ns": None}
    return trace or None


def _loss_steps(start: LinkDirection) -> dict[str, Any] | None:
    losses = [(change.at_ns, change.loss) for change in start.later() if change.loss is not None]
    if not losses:
        return None
    return {
        "at_ns": [0, *(at_ns for at_ns, _ in losses)],
        "losses": [_loss(start.loss), *(_loss(loss) for _, loss in losses)],
    }


def _loss(loss: Loss | None) -> dict[str, float] | None:
    if loss is None or loss.mean_pct == 0:
        return None
    if loss.model == "random":
        return {"to_bad": 0.0, "to_good": 1.0, "bad_loss": 1.0, "good_loss": loss.p_pct / 100}
    return {
        "to_bad": loss.p_pct / 100,
        "to_good": (loss.r_pct or 0.0) / 100,
        "bad_loss": loss.h_pct / 100,
        "good_loss": loss.k_pct / 100,
    }
