"""A link's impairments as tc(8) commands and tc's statistics as counts; nothing is run here."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from perfcheck.lab.links.impair.packet_id import ETHERNET_BYTES
from perfcheck.lab.links.impair.plan import DEFAULT_QUEUE_PACKETS
from perfcheck.model.link import LinkDirection, LinkSpec
from perfcheck.model.quantities import Loss
from perfcheck.model.units import format_value

MAX_RATE_BPS: Final = 10_000_000_000
NETEM_PACKETS: Final = 1_000_000
"""netem's own limit, which counts the packets in flight too: never the bottleneck, the queue is behind it."""
IN_ORDER: Final = ("rate", "100gbit")
"""With any rate netem lets no packet overtake another, whatever its jitter (netem_enqueue)."""
BURST_S: Final = 100e-6
"""tbf may send so much at once, and one packet in any case: what a late timer would lose otherwise."""
TICK_S: Final = 64e-9
"""tc hands the burst to the kernel as a time in these ticks, rounded."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DirectionCounts:
    """What a direction's qdiscs have counted since they were made; `entered` counts segments, not super-packets."""

    entered: int
    dropped_loss: int
    dropped_queue: int
    dropped_policer: int = 0
    marked: int = 0


def floor(link: LinkSpec) -> str | None:
    """Say what netem and tbf cannot do of this link, or None."""
    return next((problem for direction in link.directions if (problem := _problem(direction)) is not None), None)


def _problem(direction: LinkDirection) -> str | None:
    name, codel = direction.name, direction.codel
    if direction.trace is not None:
        return f"netem cannot replay a trace ({name}): use emulator: relay"
    if direction.schedule:
        return f"netem cannot follow a schedule ({name}): use emulator: relay"
    if direction.ecn and (codel is None or direction.loss_pct):
        return f"with netem, ecn ({name}) needs discipline: codel and no loss: use emulator: relay"
    if codel is not None and codel.size.packets is None:
        return (
            f"the kernel's codel counts packets, not bytes ({name}): give a size in packets, such as size: 100p, "
            f"or use emulator: relay"
        )
    if direction.rate_bps is not None and direction.rate_bps > MAX_RATE_BPS:
        most = format_value(MAX_RATE_BPS, "bps")
        return f"rate {format_value(direction.rate_bps, 'bps')} ({name}) is more than netem supports ({most})"
    return None


def commands_for(link: LinkSpec, devices: tuple[str, str]) -> list[list[str]]:
    """Return tc's commands: what enters at one device leaves at the other, through the impairments of its direction."""
    lines: list[list[str]] = []
    for direction, (enters, leaves) in zip(link.directions, (devices, devices[::-1]), strict=True):
        lines.append(["qdisc", "add", "dev", enters, "ingress"])
        lines.append(
            ["filter", "add", "dev", enters, "parent", "ffff:", "protocol", "all", "matchall",
             *_police(direction), "action", "mirred", "egress", "redirect", "dev", leaves]
        )  # fmt: skip
        lines += _impairments(direction, leaves)
    return lines


def removal(devices: tuple[str, str]) -> list[list[str]]:
    """Return tc's commands that take all of it away again."""
    return [["qdisc", "delete", "dev", device, where] for device in devices for where in ("ingress", "root")]


def counts(entering: str, leaving: str) -> DirectionCounts:
    """Read `tc -s -j qdisc show dev DEVICE` of both devices; netem's own drops contain what its child refused."""
    queue = _sum(leaving, "tbf", "drops")
    return DirectionCounts(
        entered=_sum(entering, "ingress", "packets"),
        dropped_policer=_sum(entering, "ingress", "drops"),
        marked=_sum(leaving, "codel", "ecn_mark"),
        dropped_loss=max(0, _sum(leaving, "netem", "drops") - queue),
        dropped_queue=queue,
    )


def _sum(statistics: str, kind: str, name: str) -> int:
    return sum(int(qdisc.get(name, 0)) for qdisc in json.loads(statistics) if qdisc.get("kind") == kind)


def _impairments(direction: LinkDirection, device: str) -> list[list[str]]:
    netem = ["netem", "limit", str(NETEM_PACKETS), *_netem(direction)]
    lines = [["qdisc", "add", "dev", device, "root", "handle", "1:", *netem]]
    rate_bps = direction.rate_bps
    if rate_bps is None:
        return lines
    frame = direction.mtu + ETHERNET_BYTES
    limit, packets = direction.queue_bytes, None
    if limit is None:
        packets = direction.queue_packets or DEFAULT_QUEUE_PACKETS
        limit = packets * frame
    burst = max(frame, round(rate_bps * BURST_S / 8)) + math.ceil(rate_bps * TICK_S / 4)
    lines.append(
        ["qdisc", "add", "dev", device, "parent", "1:1", "handle", "10:", "tbf", "rate", f"{rate_bps}bit",
         "burst", f"{burst}b", "limit", f"{max(limit, burst)}b"]
    )  # fmt: skip
    if packets is not None:
        queue = [*_discipline(direction), "limit", str(packets)]
        lines.append(["qdisc", "add", "dev", device, "parent", "10:1", "handle", "20:", *queue])
    return lines


def _discipline(direction: LinkDirection) -> Sequence[str]:
    codel = direction.codel
    if codel is None:
        return ("pfifo",)
    times = ("target", f"{codel.target_ns // 1000}us", "interval", f"{codel.interval_ns // 1000}us")
    return ("codel", *times, "ecn" if direction.ecn else "noecn")


def _police(direction: LinkDirection) -> Sequence[str]:
    policer = direction.policer
    if policer is None:
        return ()
    # At ingress the kernel counts a packet without its Ethernet header.
    return (
        "action", "police", "rate", f"{policer.rate_bps}bit", "burst", f"{policer.burst_bytes}b",
        "mtu", f"{direction.mtu + ETHERNET_BYTES}b", "overhead", f"{ETHERNET_BYTES}", "conform-exceed", "drop/pipe",
    )  # fmt: skip


def _netem(direction: LinkDirection) -> Sequence[str]:
    words: list[str] = []
    if direction.delay_ns:
        words += ["delay", f"{direction.delay_ns / 1000:.3f}us"]
        if direction.jitter is not None and direction.jitter_ns:
            words.append(f"{direction.jitter_ns / 1000:.3f}us")
            if direction.jitter.distribution != "uniform":
                words += ["distribution", direction.jitter.distribution]
    if direction.loss is not None and direction.loss.mean_pct:
        words += _loss(direction.loss)
    for name, share_pct in (
        ("duplicate", direction.duplicate_pct),
        ("corrupt", direction.corrupt_pct),
        ("reorder", direction.reorder_pct),
    ):
        if share_pct:
            words += [name, f"{share_pct:f}%"]
    if direction.jitter_ns and not direction.reorder_pct:
        words += IN_ORDER
    return words


def _loss(loss: Loss) -> Sequence[str]:
    if loss.model == "random":
        return ["loss", "random", f"{loss.p_pct:f}%"]
    # tc's third and fourth are the probabilities of loss in the bad and in the good state.
    return ["loss", "gemodel", *(f"{value:f}%" for value in (loss.p_pct, loss.r_pct or 0.0, loss.h_pct, loss.k_pct))]
