"""From a link of the scenario file to the relay's plans of its two directions."""

from __future__ import annotations

from typing import Any

from perfcheck.lab.links.trace import read_trace
from perfcheck.model.quantities import Loss
from perfcheck.model.scenario import Impairments, LinkSpec

DIRECTIONS = ("forward", "reverse")


def direction_plan(link: LinkSpec, direction: str) -> dict[str, Any]:
    """Return the keyword arguments of `impair.plan.DirectionPlan` for one direction; ValueError for a bad trace."""
    spec = link.direction(direction).at_start()
    plan: dict[str, Any] = {
        "direction": DIRECTIONS.index(direction),
        "seed": link.seed,
        "mtu": link.mtu,
        "delay_ns": spec.delay_ns or 0,
        "jitter_ns": spec.jitter_ns,
        "distribution": spec.jitter.distribution if spec.jitter else "uniform",
        "rate_bps": spec.rate_bps,
        "loss": _loss(spec.loss),
        "reorder": (spec.reorder_pct or 0.0) / 100,
        "duplicate": (spec.duplicate_pct or 0.0) / 100,
        "corrupt": (spec.corrupt_pct or 0.0) / 100,
        "ecn": bool(spec.ecn),
    }
    if spec.policer is not None:
        plan["policer"] = {"rate_bps": spec.policer.rate_bps, "burst_bytes": spec.policer.burst_bytes}
    if spec.trace is not None:
        plan["trace"] = read_trace(spec.trace)
    elif spec.later():
        plan |= _scheduled(spec)
    if spec.rate_bps is not None and spec.queue is not None:
        if spec.queue.size.packets is not None:
            plan["queue_packets"] = spec.queue.size.packets
        else:
            plan["queue_bytes"] = spec.queue.size.bytes_for(spec.rate_bps, link.rtt_ns(), link.mtu)
        if spec.queue.discipline == "codel":
            plan["codel"] = {"target_ns": spec.queue.target_ns, "interval_ns": spec.queue.interval_ns}
    return plan


def _scheduled(spec: Impairments) -> dict[str, Any]:
    """Return a schedule in the form of a trace, each of rate, delay and loss with its own steps."""
    rates = [(0, spec.rate_bps), *((change.at_ns, change.rate_bps) for change in spec.later())]
    delays = [(0, spec.delay_ns or 0), *((change.at_ns, change.delay_ns) for change in spec.later())]
    losses = [(change.at_ns, change.loss) for change in spec.later() if change.loss is not None]
    trace: dict[str, Any] = {}
    for name, unit, steps in (("rate", "bps", rates), ("delay", "ns", delays)):
        said = [(at_ns, value) for at_ns, value in steps if value is not None]
        if len(said) > 1:
            trace[name] = {"at_ns": [at for at, _ in said], unit: [value for _, value in said], "repeat_ns": None}
    plan: dict[str, Any] = {"trace": trace} if trace else {}
    if losses:
        plan["loss_steps"] = {
            "at_ns": [0, *(at_ns for at_ns, _ in losses)],
            "losses": [_loss(spec.loss), *(_loss(loss) for _, loss in losses)],
        }
    return plan


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
