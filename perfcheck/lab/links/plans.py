"""From a link of the scenario file to the relay's plans of its two directions."""

from __future__ import annotations

from typing import Any

from perfcheck.lab.links.trace import read_trace
from perfcheck.model.quantities import Loss
from perfcheck.model.scenario import LinkSpec

WAYS = ("forward", "reverse")


def way_plan(link: LinkSpec, way: str) -> dict[str, Any]:
    """Give the keyword arguments of `impair.plan.WayPlan` for one direction; ValueError for a bad trace."""
    spec = link.direction(way)
    plan: dict[str, Any] = {
        "way": WAYS.index(way),
        "seed": link.seed,
        "mtu": link.mtu,
        "delay_ns": spec.delay_ns or 0,
        "jitter_ns": spec.jitter_ns or 0,
        "rate_bps": spec.rate_bps,
        "loss": _loss(spec.loss),
        "reorder": (spec.reorder_pct or 0.0) / 100,
        "duplicate": (spec.duplicate_pct or 0.0) / 100,
        "corrupt": (spec.corrupt_pct or 0.0) / 100,
        "ecn": bool(spec.ecn),
    }
    if spec.trace is not None:
        plan["trace"] = read_trace(spec.trace)
    if spec.rate_bps is not None and spec.queue is not None:
        if spec.queue.packets is not None:
            plan["queue_packets"] = spec.queue.packets
        else:
            plan["queue_bytes"] = spec.queue.bytes_for(spec.rate_bps, link.rtt_ns(), link.mtu)
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
