"""Which packets the probe sends through one direction, worked out from what the file asks for."""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil, log
from typing import Final

from perfcheck.lab.links.impair.plan import DirectionPlan
from perfcheck.lab.links.impair.queue import DropTail, queue_of
from perfcheck.lab.links.impair.varying import varying_queue_of
from perfcheck.lab.links.probe.spread import Spread
from perfcheck.lab.links.relay.config import plan_of
from perfcheck.model.impairments import Policer
from perfcheck.model.link import LinkDirection

SMALL_BYTES: Final = 32
"""Payload of the packets that measure delay and loss."""
HEADERS_BYTES: Final = 42
"""Ethernet, IPv4 and UDP; IPv6 takes 20 more, which the tolerance covers."""
SPREAD_NS: Final = 120_000_000
"""Small packets are spread over this long."""
SMALL_PACKETS: Final = 120
FEWEST_SMALL: Final = 3
MOST_SMALL_PACKETS: Final = 480
"""So many where the file asks for rare overtaking or copies: of fewer, none may show it."""
SURE: Final = 14.0
"""Packets of a kind expected, so that none at all is one chance in a million: exp(-14)."""
TOLD_APART_NS: Final = 400_000
"""By how much an overtaking packet must be earlier than the earliest of the others, to be told from them."""
LONGEST_DRAIN_NS: Final = 1_000_000_000
"""So long a traced line may take to let the small packets out that it was sent."""
AT_ONCE: Final = 0.85
"""Share of a queue that a burst fills as fast as it can; then it goes on at OVERLOAD times the rate."""
OVERLOAD: Final = 1.5
"""More would only wait in front of an emulator that has to drop it."""
FILLING: Final = 0.6
"""Times the queue's length: how long a burst goes on, twice what filling the rest takes."""
BURST_NS: Final = 15_000_000
"""A burst goes on for at least as long, so that a short queue is kept full while the rate is measured."""
LONGEST_QUEUE_NS: Final = 60_000_000
"""A longer queue is not filled: it would take the probe past its time."""
RATE_ONLY_NS: Final = 60_000_000
FAST_BPS: Final = 300_000_000
"""On a faster link the probe's packets alone are much work: one short burst a direction, in turn, and no full queue."""
FAST_PACKETS: Final = 400
FEWEST_IN_BURST: Final = 8
FEWEST_SEEN: Final = 0.2
"""A burst is made longer where packets do not arrive, or overtake, so that enough show the rate: up to five times."""
LARGEST_CHUNK: Final = 16
LONGEST_PACKET_NS: Final = 12_200_000
"""A full packet at 1 Mbit/s; at lower rates the train's packets are smaller."""
HOPELESS_LOSS: Final = 0.5
"""Above it too little of a train arrives to tell the rate, or anything else."""
KNOTS: Final = 8
"""Independent jitters that shall fall into the small train, so that their range can be judged. Of more, the
90th percentile is no longer about the largest, and nothing is gained."""
LONGEST_SPREAD_NS: Final = 200_000_000
SETTLED_NS: Final = 1_000_000_000
"""Of a schedule, at least so much is looked at."""
POLICED: Final = 1.5
"""Times the policer's bucket that is sent at once; then it goes on at twice the policer's rate."""
POLICED_PACKETS: Final = 200
POLICED_NS: Final = 30_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Train:
    """Packets one after another: how many, how large a payload, and the gap in ns between them."""

    packets: int
    payload_bytes: int
    gap_ns: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Burst:
    """`at_once` packets as fast as they can be sent, then `chunks` of `chunk` packets, one chunk every `gap_ns`."""

    at_once: int
    chunks: int
    chunk: int
    gap_ns: int
    payload_bytes: int

    @property
    def packets(self) -> int:
        """All packets of the burst."""
        return self.at_once + self.chunks * self.chunk


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What a direction, with its values at the start, does to the probe; `queue_ns` is None where it is not measured.

    `loss` is the probability of not arriving, `dropped` that of being lost in front of the queue. A small
    packet that took less than `early_ns` has overtaken; None where nothing overtakes, or it cannot be told.
    """

    direction: LinkDirection
    small_ns: int
    spread: Spread
    knots: int
    delay_varies: bool
    loss_varies: bool
    loss: float
    dropped: float
    reorder: float
    duplicate: float
    corrupt: float
    early_ns: int | None
    drain_ns: int
    clumping: float
    queue: DropTail | None
    queue_ns: int | None
    packet_bytes: int
    small: Train
    burst: Burst | None

    @property
    def path_ns(self) -> int:
        """How long a small packet takes without jitter: its time on the line and the delay."""
        return self.small_ns + self.direction.delay_ns


def ask(direction: LinkDirection, settled_ns: int = SETTLED_NS) -> Asked:
    """Work out the probe of one direction.

    `clumping` is the chance that a packet after a lost one is lost above that of any packet (0 for
    random loss). `knots` independent jitters fall into the small train. `queue` is a fresh model of the
    queue and `queue_ns` its length in time, None where it is not judged. What changes before `settled_ns`,
    counted from the probe's begin, is not judged.
    """
    spec = direction.at_start()
    soon = {name for change in spec.later() if change.at_ns < settled_ns for name in change.changed}
    loss, reorder, duplicate, corrupt = (
        share / 100 for share in (spec.loss_pct, spec.reorder_pct, spec.duplicate_pct, spec.corrupt_pct)
    )
    missing = loss + (1 - loss) * corrupt * (1 - duplicate)
    rate, jitter_ns = spec.rate_bps, spec.jitter_ns
    spread = Spread(spec.distribution)
    slowest = min((bps for bps in (rate, spec.policer and spec.policer.rate_bps) if bps), default=None)
    small_ns = 0 if rate is None else on_line_ns(SMALL_BYTES, rate)
    plan = plan_of(direction)
    queue = queue_of(plan)
    payload = spec.mtu - 28 if slowest is None else _full_payload(spec.mtu, slowest)
    queue_ns = burst = None
    steady = max(loss, corrupt) < HOPELESS_LOSS and spec.trace is None and not soon & {"rate_bps", "loss"}
    if spec.policer is not None and steady:
        burst = _policed_burst(payload, spec.policer, rate)
    elif rate is not None and queue is not None and steady:
        seen = max(FEWEST_SEEN, (1 - loss) * (1 - corrupt) * (1 - (reorder if reorder < 1 else 0.0)))
        fewest = ceil(FEWEST_IN_BURST / seen)
        burst, fills = _burst(payload, rate, queue.limit_ns(payload + HEADERS_BYTES), loss, fewest)
        queue_ns = queue.limit_ns(payload + HEADERS_BYTES) if fills and _stands(spec) else None
    step_ns = spread.coherence * jitter_ns
    spread_ns = min(LONGEST_SPREAD_NS, max(SPREAD_NS, KNOTS * step_ns))
    small = _small_train(
        0 if slowest is None else on_line_ns(SMALL_BYTES, slowest), spread_ns, _packets_for(reorder, duplicate),
        _fewest_for(missing),
    )  # fmt: skip
    lossless, drain_ns = _traced(plan, small)
    delay_varies = "delay_ns" in soon or (plan.trace is not None and (spec.trace is not None or "rate_bps" in soon))
    return Asked(
        direction=spec,
        small_ns=small_ns,
        spread=spread,
        knots=min(KNOTS, spread_ns // step_ns) if jitter_ns else 0,
        delay_varies=delay_varies,
        loss_varies="loss" in soon or not lossless,
        loss=missing,
        dropped=loss,
        reorder=reorder,
        duplicate=duplicate,
        corrupt=corrupt,
        early_ns=None if delay_varies or not reorder else _early_ns(spec, spread, small_ns),
        drain_ns=drain_ns,
        clumping=_clumping(spec),
        queue=queue,
        queue_ns=queue_ns,
        packet_bytes=payload + HEADERS_BYTES,
        small=small,
        burst=burst,
    )


def _packets_for(*shares: float) -> int:
    """Return how many small packets show the rarest of these shares; those that are not asked for need none."""
    rarest = min((share for share in shares if share), default=1.0)
    return max(SMALL_PACKETS, min(MOST_SMALL_PACKETS, ceil(SURE / rarest)))


def _fewest_for(loss: float) -> int:
    """Return how many small packets there must be so that it is no chance if none arrives, where that can be had."""
    return FEWEST_SMALL if not 0 < loss < HOPELESS_LOSS else max(FEWEST_SMALL, ceil(SURE / -log(loss)))


def _early_ns(spec: LinkDirection, spread: Spread, small_ns: int) -> int | None:
    """Return what divides packets that overtake from others, or None where the two cannot be told apart.

    Who overtakes does not wait for the delay. The packet's time on the line passes in any case in
    the relay, and in neither in netem, whose token bucket is full.
    """
    least_ns = round(spec.delay_ns + spread.lowest * spec.jitter_ns)
    if least_ns < TOLD_APART_NS:
        return None
    return (small_ns + least_ns) // 2 if least_ns - small_ns >= TOLD_APART_NS else small_ns + least_ns // 2


def _traced(plan: DirectionPlan, small: Train) -> tuple[bool, int]:
    """Return whether a line whose rate changes lets all small packets out in time, and how long the last takes."""
    queue = varying_queue_of(plan, 0)
    if queue is None:
        return True, 0
    size, now_ns = small.payload_bytes + HEADERS_BYTES, 0
    last_ns, lossless = 0, True
    for number in range(small.packets):
        now_ns = number * small.gap_ns
        left_ns = queue.enqueue(now_ns, size)
        lossless = lossless and 0 <= left_ns <= now_ns + LONGEST_DRAIN_NS
        last_ns = max(last_ns, left_ns)
    return lossless, min(last_ns - now_ns, LONGEST_DRAIN_NS)


def _clumping(spec: LinkDirection) -> float:
    if spec.loss is None or spec.loss.model != "gilbert-elliott":
        return 0.0
    return max(0.0, 1 - (spec.loss.p_pct + (spec.loss.r_pct or 0.0)) / 100)


def _stands(spec: LinkDirection) -> bool:
    """Whether a queue that the probe fills is left alone: CoDel begins to drop after its interval."""
    return spec.codel is None or spec.codel.interval_ns >= LONGEST_QUEUE_NS


def _policed_burst(payload: int, policer: Policer, rate_bps: int | None) -> Burst:
    """Return a burst that empties the bucket, where it is not larger than the probe, and then exceeds the rate."""
    packet_bytes = payload + HEADERS_BYTES
    packet_ns = on_line_ns(payload, policer.rate_bps)
    # A slow line behind the policer has to let all out that the policer lets pass.
    most = FAST_PACKETS if rate_bps is None else max(FEWEST_IN_BURST, LONGEST_DRAIN_NS // on_line_ns(payload, rate_bps))
    at_once = min(FAST_PACKETS, most, round(POLICED * policer.burst_bytes / packet_bytes) + FEWEST_IN_BURST)
    chunk = 4
    packets = max(FEWEST_IN_BURST, min(POLICED_PACKETS, most, 2 * POLICED_NS // packet_ns))
    return Burst(
        at_once=at_once, chunks=packets // chunk, chunk=chunk, gap_ns=max(1, packet_ns * chunk // 2),
        payload_bytes=payload,
    )  # fmt: skip


def on_line_ns(payload_bytes: int, rate_bps: int) -> int:
    """Return how long a datagram's frame takes at the rate."""
    return (payload_bytes + HEADERS_BYTES) * 8 * 10**9 // rate_bps


def _small_train(small_ns: int, spread_ns: int, packets: int, fewest: int) -> Train:
    # At most a third of the line, so that no packet waits for the one before.
    gap_ns = max(spread_ns // packets, 3 * small_ns)
    return Train(packets=max(fewest, spread_ns // gap_ns), payload_bytes=SMALL_BYTES, gap_ns=gap_ns)


def _full_payload(mtu: int, rate_bps: int) -> int:
    fits = LONGEST_PACKET_NS * rate_bps // (8 * 10**9) - HEADERS_BYTES
    return max(SMALL_BYTES, min(mtu - 28, fits))


def _burst(payload: int, rate_bps: int, queue_ns: int, loss: float, fewest: int) -> tuple[Burst, bool]:
    """Return the burst and whether it fills the queue."""
    packet_ns = on_line_ns(payload, rate_bps)
    queued = max(1, queue_ns // packet_ns)
    if rate_bps > FAST_BPS:
        at_once = max(fewest, min(FAST_PACKETS, round(AT_ONCE * queued)))
        return Burst(at_once=at_once, chunks=0, chunk=0, gap_ns=0, payload_bytes=payload), False
    if queue_ns > LONGEST_QUEUE_NS and queued > fewest:
        at_once = round(max(fewest, RATE_ONLY_NS // packet_ns) / (1 - loss))
        return Burst(at_once=min(at_once, queued), chunks=0, chunk=0, gap_ns=0, payload_bytes=payload), False
    # A chunk that is no larger than the queue leaves some of it when the next comes.
    chunk = min(LARGEST_CHUNK, queued)
    gap_ns = max(1, round(chunk * packet_ns * (1 - loss) / OVERLOAD))
    lasting_ns = max(BURST_NS, round(FILLING * queue_ns), fewest * packet_ns)
    at_once = round(AT_ONCE * queued)
    return Burst(
        at_once=at_once, chunks=-(-lasting_ns // gap_ns), chunk=chunk, gap_ns=gap_ns, payload_bytes=payload
    ), True
