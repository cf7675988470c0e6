"""From the probe's sendings and arrivals to what one direction is, and whether that is what the file asks for."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from math import comb
from statistics import median, quantiles
from typing import Final

from perfcheck.lab.links.impair.police import TokenBucket
from perfcheck.lab.links.probe.train import HOPELESS_LOSS, Asked
from perfcheck.model.proof import WayProof
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
FEWEST_ARRIVALS: Final = 3
POLICER_TOLERANCE_PACKETS: Final = 2
CHANCE: Final = 5.0
"""Standard deviations by which chance may be off."""
CLOCK_US: Final = 300.0
"""By so much may the first and last arrival of a train be off."""
QUEUE_TOLERANCE: Final = 0.1
QUEUE_TOLERANCE_US: Final = 500.0
QUEUE_TOLERANCE_PACKETS: Final = 2
RARE: Final = 1e-6
"""Probability with which a link that loses as asked is found not to, on either side."""


def measure(way: str, asked: Asked, sent: Sequence[int], arrived: Mapping[int, int]) -> WayProof | None:
    """Work out what one direction did; None where no small packet arrived. Times are in ns, by packet number."""
    small = range(min(asked.small.packets, len(sent)))
    delays = [(arrived[number] - sent[number]) / 1000 for number in small if number in arrived]
    if not delays:
        return None
    middle = median(delays)
    large = range(len(small), len(sent))
    passing = _passing(asked, large, sent)
    rate_bps, rate_over_us = _rate_bps(asked, _busy_run(asked, passing, sent), arrived)
    return WayProof(
        way=way,
        delay_asked_us=asked.delay_ns / 1000,
        delay_p50_us=middle,
        delay_min_us=min(delays),
        delay_p90_us=quantiles(delays, n=10, method="inclusive")[-1] if len(delays) > 1 else middle,
        jitter_asked_us=asked.jitter_ns / 1000,
        sent=len(small),
        lost=len(small) - len(delays),
        loss_asked_pct=100 * asked.loss,
        rate_asked_bps=asked.rate_bps,
        rate_bps=rate_bps,
        rate_over_us=rate_over_us,
        queue_asked_us=None if asked.queue_ns is None else asked.queue_ns / 1000,
        queue_us=_queue_us(asked, large, sent, arrived, middle),
        policed_sent=0 if asked.policer is None else len(large),
        policed_asked=None if asked.policer is None else len(passing),
        policed_passed=None if asked.policer is None else sum(number in arrived for number in large),
    )


def mismatch(asked: Asked, proof: WayProof | None) -> str | None:
    """Say what is not as the file asks, with both values, or None; the first of delay, jitter, loss, rate, queue."""
    if proof is None:
        return None if asked.loss > HOPELESS_LOSS else f"none of {asked.small.packets} packets arrived"
    return next((text for text in _mismatches(asked, proof) if text), None)


def _mismatches(asked: Asked, proof: WayProof) -> Iterator[str | None]:
    yield _delay(asked, proof)
    yield _jitter(asked, proof)
    yield _loss(asked, proof)
    yield _policer(asked, proof)
    yield _rate(asked, proof)
    yield _queue(asked, proof)


def _delay(asked: Asked, proof: WayProof) -> str | None:
    if asked.delay_varies:
        return None
    tolerance_us = DELAY_TOLERANCE_US + DELAY_TOLERANCE * proof.delay_asked_us
    jitter_us, spread = proof.jitter_asked_us, asked.spread
    low, high = spread.medians(asked.knots) if asked.knots else (0.0, 0.0)
    # An emulator that puts independent delays into order holds packets up, and raises the median.
    high = max(high, spread.highest)
    # A token bucket lets a small packet pass without its time on the line; no delay is below 0.
    path_us = proof.delay_asked_us - asked.small_ns / 1000
    earliest_us = max(0.0, path_us + spread.lowest * jitter_us) - EARLY_TOLERANCE_US
    asked_text = format_value(proof.delay_asked_us, "us")
    off_us = proof.delay_p50_us - proof.delay_asked_us
    if not low * jitter_us - tolerance_us <= off_us <= high * jitter_us + tolerance_us:
        return f"delay: asked {asked_text}, measured {format_value(proof.delay_p50_us, 'us')} (median of {proof.sent})"
    if proof.delay_min_us < earliest_us:
        return f"delay: asked {asked_text}, but a packet took only {format_value(proof.delay_min_us, 'us')}"
    return None


def _jitter(asked: Asked, proof: WayProof) -> str | None:
    if asked.delay_varies:
        return None
    spread, jitter_us = asked.spread, proof.jitter_asked_us
    above_us = proof.delay_p90_us - proof.delay_p50_us
    allowed_us = jitter_us * (spread.highest - spread.lowest) + max(
        SPREAD_TOLERANCE_US, SPREAD_TOLERANCE * proof.delay_asked_us
    )
    range_us = proof.delay_p90_us - proof.delay_min_us
    least_us = jitter_us * spread.least_range(asked.knots)
    if above_us <= allowed_us and (not least_us or range_us >= least_us):
        return None
    return (
        f"jitter: asked {format_value(jitter_us, 'us')}, measured delays from"
        f" {format_value(proof.delay_min_us, 'us')} to {format_value(proof.delay_p90_us, 'us')} (90 %)"
    )


def _loss(asked: Asked, proof: WayProof) -> str | None:
    if asked.loss_varies:
        return None
    # Of packets lost in bursts, several count as one independent one.
    shrink = (1 - asked.clumping) / (1 + asked.clumping)
    packets = max(1, round(proof.sent * shrink))
    lost = round(proof.lost * packets / proof.sent)
    if proof.lost and not asked.loss:
        lost = max(1, lost)
    if _at_most(lost, packets, asked.loss) >= RARE and 1 - _at_most(lost - 1, packets, asked.loss) >= RARE:
        return None
    return f"loss: asked {asked.loss:.3%}, measured {proof.lost} of {proof.sent} packets lost"


def _policer(asked: Asked, proof: WayProof) -> str | None:
    if asked.policer is None or asked.burst is None or proof.policed_asked is None or proof.policed_passed is None:
        return None
    expected = proof.policed_asked * (1 - asked.loss)
    clock = CLOCK_US * asked.policer.rate_bps / 8e6 / asked.packet_bytes
    chance = CHANCE * (proof.policed_asked * asked.loss * (1 - asked.loss)) ** 0.5
    tolerance = POLICER_TOLERANCE_PACKETS + RATE_TOLERANCE * expected + clock + chance
    if abs(proof.policed_passed - expected) <= tolerance:
        return None
    return (
        f"policer: asked {format_value(asked.policer.rate_bps, 'bps')} with a burst of"
        f" {asked.policer.burst_bytes} bytes, which lets {expected:.0f} of {proof.policed_sent} packets pass;"
        f" {proof.policed_passed} arrived"
    )


def _rate(asked: Asked, proof: WayProof) -> str | None:
    if proof.rate_asked_bps is None or asked.burst is None or (asked.policer is not None and proof.rate_bps is None):
        return None
    if proof.rate_bps is None:
        return "rate: the probe could not send fast enough to see it"
    # A short queue runs empty now and then where packets are lost in front of it.
    idle = asked.loss * (IDLE_LONG_QUEUE if _queued(asked) >= LONG_QUEUE_PACKETS else IDLE_SHORT_QUEUE)
    tolerance = RATE_TOLERANCE + idle + (CLOCK_US + _swing_us(asked, proof)) / proof.rate_over_us
    if abs(proof.rate_bps / proof.rate_asked_bps - 1) <= tolerance:
        return None
    return (
        f"rate: asked {format_value(proof.rate_asked_bps, 'bps')}, measured {format_value(proof.rate_bps, 'bps')}"
        f" (within {tolerance:.0%} would do)"
    )


def _queue(asked: Asked, proof: WayProof) -> str | None:
    if proof.queue_us is None or proof.queue_asked_us is None or asked.rate_bps is None:
        return None
    packet_us = asked.packet_bytes * 8e6 / asked.rate_bps
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


def _swing_us(asked: Asked, proof: WayProof) -> float:
    return asked.spread.swing * proof.jitter_asked_us


def longest_busy(sent: Sequence[int], packet_ns: int, queue_ns: int) -> range:
    """Give the longest run of packets (places in `sent`) during which the line they wait for is never idle.

    `packet_ns` is a packet's time on the line, `queue_ns` the longest that one can wait.
    """
    longest, begin, free_ns = range(0), 0, 0
    for place, now_ns in enumerate(sent):
        if now_ns > free_ns:
            begin = place
        free_ns = min(max(free_ns, now_ns) + packet_ns, now_ns + queue_ns)
        longest = max(longest, range(begin, place + 1), key=len)
    return longest


def _passing(asked: Asked, large: range, sent: Sequence[int]) -> Sequence[int]:
    """Give what of the burst a policer as asked lets pass, and the queue behind it takes; all without a policer."""
    if asked.policer is None or not large:
        return large
    bucket = TokenBucket(asked.policer.rate_bps, asked.policer.burst_bytes, sent[large.start])
    passing = [number for number in large if bucket.conforms(sent[number], asked.packet_bytes)]
    if asked.queue is None:
        return passing
    return [number for number in passing if asked.queue.enqueue(sent[number], asked.packet_bytes) >= 0]


def _busy_run(asked: Asked, passing: Sequence[int], sent: Sequence[int]) -> Sequence[int]:
    if asked.rate_bps is None or asked.queue is None:
        return ()
    packet_ns = asked.packet_bytes * 8 * 10**9 // asked.rate_bps
    run = longest_busy([sent[number] for number in passing], packet_ns, asked.queue.limit_ns(asked.packet_bytes))
    return passing[run.start : run.stop]


def _rate_bps(asked: Asked, run: Sequence[int], arrived: Mapping[int, int]) -> tuple[float | None, float]:
    """Give the rate at which packets sent without a pause left the line, None of too few, and over how many us."""
    stamps = [arrived[number] for number in run if number in arrived]
    span_ns = max(stamps) - min(stamps) if stamps else 0
    if len(stamps) < FEWEST_ARRIVALS or span_ns <= 0:
        return None, 0.0
    return (len(stamps) - 1) * asked.packet_bytes * 8e9 / span_ns, span_ns / 1000


def _queue_us(
    asked: Asked, large: Sequence[int], sent: Sequence[int], arrived: Mapping[int, int], small_us: float
) -> float | None:
    """Give the longest wait (its upper tenth's median), or None where the sender did not fill the queue."""
    if asked.queue_ns is None or asked.queue is None or asked.rate_bps is None:
        return None
    reaching = (number for place, number in enumerate(large) if _reaches(place, 1 - asked.loss))
    refused = sum(asked.queue.enqueue(sent[number], asked.packet_bytes) < 0 for number in reaching)
    waits = sorted((arrived[number] - sent[number]) / 1000 for number in large if number in arrived)
    if refused <= len(waits) // 10 or not waits:
        return None
    # The path's own delay: what a small packet took, less its time on the line.
    path_us = small_us - (asked.small.payload_bytes + 42) * 8e6 / asked.rate_bps
    return median(waits[-max(1, len(waits) // 10) :]) - path_us


def _queued(asked: Asked) -> int:
    if asked.queue is None or asked.rate_bps is None:
        return 0
    return asked.queue.limit_ns(asked.packet_bytes) * asked.rate_bps // (asked.packet_bytes * 8 * 10**9)


def _reaches(place: int, share: float) -> bool:
    """Whether a packet is one of the share, spread evenly, that random loss leaves for the queue."""
    return int((place + 1) * share) > int(place * share)


def _at_most(successes: int, trials: int, probability: float) -> float:
    """Give the binomial distribution function."""
    if successes < 0:
        return 0.0
    return sum(
        comb(trials, k) * probability**k * (1 - probability) ** (trials - k) for k in range(min(successes, trials) + 1)
    )
