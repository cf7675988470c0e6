"""Which packets the probe sends through one direction, worked out from what the file asks for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from perfcheck.lab.links.impair.plan import WayPlan
from perfcheck.lab.links.impair.queue import DropTail, queue_of
from perfcheck.lab.links.plans import way_plan
from perfcheck.lab.links.probe.spread import Spread
from perfcheck.model.impairments import Policer
from perfcheck.model.scenario import Impairments, LinkSpec

SMALL_BYTES: Final = 32
"""Payload of the packets that measure delay and loss."""
HEADERS_BYTES: Final = 42
"""Ethernet, IPv4 and UDP; IPv6 takes 20 more, which the tolerance covers."""
SPREAD_NS: Final = 120_000_000
"""Small packets are spread over this long."""
SMALL_PACKETS: Final = 120
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
"""On a faster link the probe's packets alone are much work: one short burst a way, in turn, and no full queue."""
FAST_PACKETS: Final = 400
FEWEST_IN_BURST: Final = 8
LARGEST_CHUNK: Final = 16
LONGEST_PACKET_NS: Final = 12_200_000
"""A full packet at 1 Mbit/s; at lower rates the train's packets are smaller."""
HOPELESS_LOSS: Final = 0.5
"""Above it too little of a train arrives to tell the rate, or anything else."""
KNOTS: Final = 8
"""Independent jitters that shall fall into the small train, so that their range can be judged."""
LONGEST_SPREAD_NS: Final = 200_000_000
SETTLED_NS: Final = 1_000_000_000
"""A schedule's entry after this does not change what the probe sees."""
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
    """What one direction shall do to the probe, from the file; `queue_ns` is None where it is not measured."""

    delay_ns: int
    small_ns: int
    jitter_ns: int
    spread: Spread
    rate_bps: int | None
    policer: Policer | None
    knots: int
    delay_varies: bool
    loss_varies: bool
    loss: float
    clumping: float
    queue: DropTail | None
    queue_ns: int | None
    packet_bytes: int
    small: Train
    burst: Burst | None


def ask(link: LinkSpec, way: str) -> Asked:
    """Work out the probe of one direction.

    `loss` is the probability of not arriving (corrupted packets do not), `clumping` the chance that
    a packet after a lost one is lost above that of any packet (0 for random loss). `knots`
    independent jitters fall into the small train. `queue` is a fresh model of the queue and
    `queue_ns` its length in time, None where it is not judged. What changes within the probe's time is not judged.
    """
    spec = link.direction(way).at_start()
    soon = {
        name
        for change in spec.later()
        if change.at_ns < SETTLED_NS
        for name in ("rate_bps", "delay_ns", "loss")
        if getattr(change, name) is not None
    }
    loss = (spec.loss.mean_pct if spec.loss else 0.0) / 100
    rate, jitter_ns = spec.rate_bps, spec.jitter_ns
    spread = Spread(spec.jitter.distribution if spec.jitter else "uniform")
    slowest = min((bps for bps in (rate, spec.policer and spec.policer.rate_bps) if bps), default=None)
    small_ns = 0 if rate is None else on_line_ns(SMALL_BYTES, rate)
    plan = WayPlan(**way_plan(link, way))
    queue = queue_of(plan)
    payload = link.mtu - 28 if slowest is None else _full_payload(link.mtu, slowest)
    queue_ns = burst = None
    steady = loss < HOPELESS_LOSS and spec.trace is None and not soon & {"rate_bps", "loss"}
    if spec.policer is not None and steady:
        burst = _policed_burst(payload, spec.policer)
    elif rate is not None and queue is not None and steady:
        burst, fills = _burst(payload, rate, queue.limit_ns(payload + HEADERS_BYTES), loss)
        queue_ns = queue.limit_ns(payload + HEADERS_BYTES) if fills and _stands(spec) else None
    step_ns = spread.coherence * jitter_ns
    spread_ns = min(LONGEST_SPREAD_NS, max(SPREAD_NS, KNOTS * step_ns))
    return Asked(
        delay_ns=(spec.delay_ns or 0) + small_ns,
        small_ns=small_ns,
        jitter_ns=jitter_ns,
        spread=spread,
        rate_bps=rate,
        policer=spec.policer,
        knots=spread_ns // step_ns if jitter_ns else 0,
        delay_varies=bool(spec.reorder_pct)
        or "delay_ns" in soon
        or (spec.trace is not None and "delay" in (plan.trace or {})),
        loss_varies="loss" in soon,
        loss=1 - (1 - loss) * (1 - (spec.corrupt_pct or 0.0) / 100),
        clumping=_clumping(spec),
        queue=queue,
        queue_ns=queue_ns,
        packet_bytes=payload + HEADERS_BYTES,
        small=_small_train(0 if slowest is None else on_line_ns(SMALL_BYTES, slowest), spread_ns),
        burst=burst,
    )


def _clumping(spec: Impairments) -> float:
    if spec.loss is None or spec.loss.model != "gilbert-elliott":
        return 0.0
    return max(0.0, 1 - (spec.loss.p_pct + (spec.loss.r_pct or 0.0)) / 100)


def _stands(spec: Impairments) -> bool:
    """Whether a queue that the probe fills is left alone: CoDel begins to drop after its interval."""
    managed = spec.queue is not None and spec.queue.discipline == "codel"
    return not managed or (spec.queue is not None and spec.queue.interval_ns >= LONGEST_QUEUE_NS)


def _policed_burst(payload: int, policer: Policer) -> Burst:
    """Give a burst that empties the bucket, where it is not larger than the probe, and then exceeds the rate."""
    packet_bytes = payload + HEADERS_BYTES
    packet_ns = on_line_ns(payload, policer.rate_bps)
    at_once = min(FAST_PACKETS, round(POLICED * policer.burst_bytes / packet_bytes) + FEWEST_IN_BURST)
    chunk = 4
    packets = max(FEWEST_IN_BURST, min(POLICED_PACKETS, 2 * POLICED_NS // packet_ns))
    return Burst(
        at_once=at_once, chunks=packets // chunk, chunk=chunk, gap_ns=max(1, packet_ns * chunk // 2),
        payload_bytes=payload,
    )  # fmt: skip


def on_line_ns(payload_bytes: int, rate_bps: int) -> int:
    """Give how long a datagram's frame takes at the rate."""
    return (payload_bytes + HEADERS_BYTES) * 8 * 10**9 // rate_bps


def _small_train(small_ns: int, spread_ns: int) -> Train:
    # At most a third of the line, so that no packet waits for the one before.
    gap_ns = max(spread_ns // SMALL_PACKETS, 3 * small_ns)
    return Train(packets=max(3, spread_ns // gap_ns), payload_bytes=SMALL_BYTES, gap_ns=gap_ns)


def _full_payload(mtu: int, rate_bps: int) -> int:
    fits = LONGEST_PACKET_NS * rate_bps // (8 * 10**9) - HEADERS_BYTES
    return max(SMALL_BYTES, min(mtu - 28, fits))


def _burst(payload: int, rate_bps: int, queue_ns: int, loss: float) -> tuple[Burst, bool]:
    """Give the burst and whether it fills the queue."""
    packet_ns = on_line_ns(payload, rate_bps)
    queued = max(1, queue_ns // packet_ns)
    if rate_bps > FAST_BPS:
        at_once = max(FEWEST_IN_BURST, min(FAST_PACKETS, round(AT_ONCE * queued)))
        return Burst(at_once=at_once, chunks=0, chunk=0, gap_ns=0, payload_bytes=payload), False
    if queue_ns > LONGEST_QUEUE_NS and queued > FEWEST_IN_BURST:
        at_once = round(max(FEWEST_IN_BURST, RATE_ONLY_NS // packet_ns) / (1 - loss))
        return Burst(at_once=min(at_once, queued), chunks=0, chunk=0, gap_ns=0, payload_bytes=payload), False
    # A chunk that is no larger than the queue leaves some of it when the next comes.
    chunk = min(LARGEST_CHUNK, queued)
    gap_ns = max(1, round(chunk * packet_ns * (1 - loss) / OVERLOAD))
    lasting_ns = max(BURST_NS, round(FILLING * queue_ns), FEWEST_IN_BURST * packet_ns)
    at_once = round(AT_ONCE * queued)
    return Burst(
        at_once=at_once, chunks=-(-lasting_ns // gap_ns), chunk=chunk, gap_ns=gap_ns, payload_bytes=payload
    ), True
