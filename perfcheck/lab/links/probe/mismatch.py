"""Whether one direction is what the file asks for, judged by what the probe measured of it."""

from __future__ import annotations

from collections.abc import Iterator
from math import comb
from typing import Final

from perfcheck.lab.links.probe.train import HOPELESS_LOSS, Asked
from perfcheck.model.proof import DirectionProof
from perfcheck.model.units import format_value

DELAY_TOLERANCE_US: Final = 300.0
DELAY_TOLERANCE: Final = 0.02
EARLY_TOLERANCE_US: Final = 50.0
SPREAD_TOLERANCE_US: Final = 1000.0
SPREAD_TOLERANCE: Final = 0.1
RATE_TOLERANCE: Final = 0.03
LONG_QUEUE_PACKETS: Final = 16
IDLE_SHORT_QUEUE: Final = 1.5
IDLE_LONG_QUEUE: Final = 1 / 3
POLICER_TOLERANCE_PACKETS: Final = 2
PACKETS_FOR_A_DRAW: Final = 4
UNSEEN: Final = 4.0
"""Standard deviations by which the number of corrupted packets may be off."""
HIDDEN: Final = 1e-5
"""Probability below which it is left out of account that only packets that overtook end a rate's span."""
CHANCE: Final = 5.0
"""Standard deviations by which chance may be off."""
CLOCK_US: Final = 300.0
"""By so much may the first and last arrival of a train be off."""
QUEUE_TOLERANCE: Final = 0.1
QUEUE_TOLERANCE_US: Final = 500.0
QUEUE_TOLERANCE_PACKETS: Final = 2
RARE: Final = 1e-6
"""Probability with which a link that loses as asked is found not to, on either side."""


def mismatch(asked: Asked, proof: DirectionProof | None) -> str | None:
    """Return what is not as in the file, with both values, or None; the first where several are not."""
    if proof is None:
        return None if asked.loss > HOPELESS_LOSS else f"none of {asked.small.packets} packets arrived"
    return next((text for text in _mismatches(asked, proof) if text), None)


def _mismatches(asked: Asked, proof: DirectionProof) -> Iterator[str | None]:
    yield _delay(asked, proof)
    yield _jitter(asked, proof)
    yield _loss(asked, proof)
    yield _reorder(asked, proof)
    yield _duplicate(asked, proof)
    yield _policer(asked, proof)
    yield _rate(asked, proof)
    yield _queue(asked, proof)


def _told_apart(asked: Asked, proof: DirectionProof) -> bool:
    """Whether the delays are those of packets that did not overtake, and do not vary."""
    if asked.delay_varies or not asked.reorder:
        return not asked.delay_varies
    return proof.reordered is not None and proof.reordered < proof.sent - proof.lost


def _delay(asked: Asked, proof: DirectionProof) -> str | None:
    if not _told_apart(asked, proof):
        return None
    tolerance_us = DELAY_TOLERANCE_US + DELAY_TOLERANCE * proof.delay_asked_us
    jitter_us, spread = proof.jitter_asked_us, asked.spread
    draws = _draws(asked, proof)
    low, high = spread.medians(draws) if draws else (spread.lowest, spread.highest)
    # An emulator that puts independent delays into order holds packets up, and raises the median.
    high = max(high, spread.highest)
    # A token bucket lets a small packet pass without its time on the line; no delay is below 0.
    path_us = proof.delay_asked_us - asked.small_ns / 1000
    earliest_us = max(0.0, path_us + spread.lowest * jitter_us) - EARLY_TOLERANCE_US
    asked_text = format_value(proof.delay_asked_us, "us")
    off_us = proof.delay_p50_us - proof.delay_asked_us
    if not low * jitter_us - tolerance_us <= off_us <= high * jitter_us + tolerance_us:
        return f"delay: asked {asked_text}, measured {format_value(proof.delay_p50_us, 'us')} (median of {proof.sent})"
    # One that overtook, and was then held up, may be taken for one that did not.
    if proof.delay_min_us < earliest_us and not asked.reorder:
        return f"delay: asked {asked_text}, but a packet took only {format_value(proof.delay_min_us, 'us')}"
    return None


def _draws(asked: Asked, proof: DirectionProof) -> int:
    """Return how many independent jitters the delays have seen, if several packets fell into each."""
    in_order = proof.sent - proof.lost - (proof.reordered or 0)
    return min(asked.knots, in_order // PACKETS_FOR_A_DRAW)


def _jitter(asked: Asked, proof: DirectionProof) -> str | None:
    if not _told_apart(asked, proof):
        return None
    spread, jitter_us = asked.spread, proof.jitter_asked_us
    above_us = proof.delay_p90_us - proof.delay_p50_us
    allowed_us = jitter_us * (spread.highest - spread.lowest) + max(
        SPREAD_TOLERANCE_US, SPREAD_TOLERANCE * proof.delay_asked_us
    )
    range_us = proof.delay_p90_us - proof.delay_min_us
    least_us = jitter_us * spread.least_range(_draws(asked, proof))
    if above_us <= allowed_us and (not least_us or range_us >= least_us):
        return None
    return (
        f"jitter: asked {format_value(jitter_us, 'us')}, measured delays from"
        f" {format_value(proof.delay_min_us, 'us')} to {format_value(proof.delay_p90_us, 'us')} (90 %)"
    )


def _loss(asked: Asked, proof: DirectionProof) -> str | None:
    if asked.loss_varies:
        return None
    # Of packets lost in bursts, several count as one independent one.
    shrink = (1 - asked.clumping) / (1 + asked.clumping)
    packets = max(1, round(proof.sent * shrink))
    lost = round(proof.lost * packets / proof.sent)
    if proof.lost and not asked.loss:
        lost = max(1, lost)
    if _likely(lost, packets, asked.loss):
        return None
    return f"loss: asked {asked.loss:.3%}, measured {proof.lost} of {proof.sent} packets lost"


def _reorder(asked: Asked, proof: DirectionProof) -> str | None:
    arrived = proof.sent - proof.lost
    if proof.reordered is None or asked.delay_varies or _likely(proof.reordered, arrived, asked.reorder):
        return None
    return f"reorder: asked {asked.reorder:.3%}, measured {proof.reordered} of {arrived} packets that overtook"


def _duplicate(asked: Asked, proof: DirectionProof) -> str | None:
    # A copy of a corrupted packet is its first arrival.
    share = asked.duplicate * (1 - asked.corrupt) / max(1e-9, 1 - asked.corrupt * (1 - asked.duplicate))
    arrived = proof.sent - proof.lost
    if _likely(proof.duplicated, arrived, share):
        return None
    return f"duplicate: asked {asked.duplicate:.3%}, measured {proof.duplicated} of {arrived} packets that came twice"


def _policer(asked: Asked, proof: DirectionProof) -> str | None:
    policer = asked.direction.policer
    if policer is None or asked.burst is None or proof.policed_asked is None or proof.policed_passed is None:
        return None
    expected = proof.policed_asked * (1 - asked.loss)
    clock = CLOCK_US * policer.rate_bps / 8e6 / asked.packet_bytes
    copied = 0.0 if asked.queue is None else asked.duplicate
    chance = CHANCE * (proof.policed_asked * (asked.loss * (1 - asked.loss) + copied * (1 - copied))) ** 0.5
    tolerance = POLICER_TOLERANCE_PACKETS + RATE_TOLERANCE * expected + clock + chance
    # CoDel drops some of what the policer has let pass.
    least = 0.0 if asked.direction.codel else expected - tolerance
    if least <= proof.policed_passed <= expected + tolerance:
        return None
    return (
        f"policer: asked {format_value(policer.rate_bps, 'bps')} with a burst of"
        f" {policer.burst_bytes} bytes, which lets {expected:.0f} of {proof.policed_sent} packets pass;"
        f" {proof.policed_passed} arrived"
    )


def _rate(asked: Asked, proof: DirectionProof) -> str | None:
    policed = asked.direction.policer is not None
    if proof.rate_asked_bps is None or asked.burst is None or (policed and proof.rate_bps is None):
        return None
    if proof.rate_bps is None:
        return "rate: the probe could not send fast enough to see it"
    packets = max(1.0, proof.rate_over_us * proof.rate_asked_bps / 8e6 / asked.packet_bytes)
    # A short queue runs empty now and then where packets are lost in front of it; so does one behind a policer.
    if _queued(asked) >= LONG_QUEUE_PACKETS and not policed:
        idle = asked.dropped * IDLE_LONG_QUEUE
    else:
        idle = asked.dropped * IDLE_SHORT_QUEUE + UNSEEN * (asked.dropped * (1 - asked.dropped) / packets) ** 0.5
    # How many corrupted packets took their time on the line is a matter of chance.
    unseen = UNSEEN * (asked.corrupt / (1 - asked.corrupt) / packets) ** 0.5
    off_us = CLOCK_US + _swing_us(asked, proof) + _overtaking_us(asked)
    tolerance = RATE_TOLERANCE + idle + unseen + off_us / proof.rate_over_us
    if abs(proof.rate_bps / proof.rate_asked_bps - 1) <= tolerance:
        return None
    return (
        f"rate: asked {format_value(proof.rate_asked_bps, 'bps')}, measured {format_value(proof.rate_bps, 'bps')}"
        f" (within {tolerance:.0%} is allowed)"
    )


def _overtaking_us(asked: Asked) -> float:
    """Return by how much the span of a rate may be off: the delay, where the span may end with one that overtook.

    That is found by a packet that is still on its way, sent before it: one of those which the line sends
    within the delay, unless all of them overtook as well.
    """
    if not asked.reorder or asked.direction.rate_bps is None:
        return 0.0
    delay_ns = asked.direction.delay_ns
    behind = int(delay_ns * asked.direction.rate_bps // (asked.packet_bytes * 8 * 10**9))
    hidden = asked.early_ns is None or asked.corrupt or asked.reorder**behind * (1 - asked.reorder) > HIDDEN
    return delay_ns / 1000 if hidden else 0.0


def _queue(asked: Asked, proof: DirectionProof) -> str | None:
    if proof.queue_us is None or proof.queue_asked_us is None or asked.direction.rate_bps is None:
        return None
    packet_us = asked.packet_bytes * 8e6 / asked.direction.rate_bps
    tolerance_us = (
        QUEUE_TOLERANCE * proof.queue_asked_us
        + QUEUE_TOLERANCE_US
        + QUEUE_TOLERANCE_PACKETS * packet_us
        + _swing_us(asked, proof)
    )
    if abs(proof.queue_us - proof.queue_asked_us) <= tolerance_us:
        return None
    return (
        f"queue: asked {format_value(proof.queue_asked_us, 'us')} at the link's rate,"
        f" measured {format_value(proof.queue_us, 'us')}"
    )


def _swing_us(asked: Asked, proof: DirectionProof) -> float:
    return asked.spread.swing * proof.jitter_asked_us


def _queued(asked: Asked) -> int:
    if asked.queue is None or asked.direction.rate_bps is None:
        return 0
    return asked.queue.limit_ns(asked.packet_bytes) * asked.direction.rate_bps // (asked.packet_bytes * 8 * 10**9)


def _likely(found: int, trials: int, probability: float) -> bool:
    """Whether so many may be found, of which each comes with this probability."""
    return _at_most(found, trials, probability) >= RARE and 1 - _at_most(found - 1, trials, probability) >= RARE


def _at_most(successes: int, trials: int, probability: float) -> float:
    """Return the binomial distribution function."""
    if successes < 0:
        return 0.0
    return sum(
        comb(trials, k) * probability**k * (1 - probability) ** (trials - k) for k in range(min(successes, trials) + 1)
    )
