"""From the probe's sendings and arrivals to what one direction did to them."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping, Sequence
from itertools import accumulate
from statistics import median, quantiles
from types import MappingProxyType
from typing import Final

from perfcheck.lab.links.impair.police import TokenBucket
from perfcheck.lab.links.probe.train import HEADERS_BYTES, Asked
from perfcheck.model.proof import DirectionProof

FEWEST_ARRIVALS: Final = 3
MOSTLY_IN_ORDER: Final = 0.8
"""Where more packets than this share overtake, the longest waits are no longer those of the others."""
_NO_COPIES: Final[Mapping[int, int]] = MappingProxyType({})


def measure(
    direction: str,
    asked: Asked,
    sent: Sequence[int],
    arrived: Mapping[int, int],
    copies: Mapping[int, int] = _NO_COPIES,
) -> DirectionProof | None:
    """Work out what one direction did; None where no small packet arrived. Times are in ns, by packet number.

    `arrived` are the first arrivals, `copies` says how many more came of a packet.
    """
    small = range(min(asked.small.packets, len(sent)))
    all_delays = [(arrived[number] - sent[number]) / 1000 for number in small if number in arrived]
    if not all_delays:
        return None
    early_us = 0.0 if asked.early_ns is None else asked.early_ns / 1000
    delays = [delay for delay in all_delays if delay >= early_us]
    reordered = len(all_delays) - len(delays)
    delays = delays or all_delays
    middle = median(delays)
    large = range(len(small), len(sent))
    policed = asked.direction.policer is not None
    passing = _passing(asked, large, sent)
    rate_bps, rate_over_us = _rate_bps(asked, _busy_run(asked, passing, sent), sent, arrived, copies)
    return DirectionProof(
        way=direction,
        delay_asked_us=asked.path_ns / 1000,
        delay_p50_us=middle,
        delay_min_us=min(delays),
        delay_p90_us=quantiles(delays, n=10, method="inclusive")[-1] if len(delays) > 1 else middle,
        jitter_asked_us=asked.direction.jitter_ns / 1000,
        sent=len(small),
        lost=len(small) - len(all_delays),
        loss_asked_pct=100 * asked.loss,
        reorder_asked_pct=100 * asked.reorder,
        reordered=None if asked.reorder and asked.early_ns is None else reordered,
        duplicate_asked_pct=100 * asked.duplicate,
        duplicated=sum(number in copies for number in small),
        rate_asked_bps=asked.direction.rate_bps,
        rate_bps=rate_bps,
        rate_over_us=rate_over_us,
        queue_asked_us=None if asked.queue_ns is None else asked.queue_ns / 1000,
        queue_us=_queue_us(asked, large, sent, arrived, middle),
        policed_sent=len(large) if policed else 0,
        policed_asked=len(passing) if policed else None,
        policed_passed=sum(number in arrived for number in large) if policed else None,
    )


def longest_busy(sent: Sequence[int], packet_ns: int, queue_ns: int) -> range:
    """Return the longest run of packets (places in `sent`) during which the line they wait for is never idle.

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
    """Return what of the burst a policer as asked lets pass, and the queue behind it takes; all without a policer."""
    policer = asked.direction.policer
    if policer is None or not large:
        return large
    bucket = TokenBucket(policer.rate_bps, policer.burst_bytes, sent[large.start])
    passing = [number for number in large if bucket.conforms(sent[number], asked.packet_bytes)]
    queue = asked.queue
    if queue is None:
        return passing
    queued = []
    for place, number in enumerate(passing):
        arrivals = 2 if _reaches(place, asked.duplicate) else 1
        if max([queue.enqueue(sent[number], asked.packet_bytes) for _ in range(arrivals)]) >= 0:
            queued.append(number)
    return queued


def _busy_run(asked: Asked, passing: Sequence[int], sent: Sequence[int]) -> Sequence[int]:
    if asked.direction.rate_bps is None or asked.queue is None:
        return ()
    packet_ns = asked.packet_bytes * 8 * 10**9 // asked.direction.rate_bps
    run = longest_busy([sent[number] for number in passing], packet_ns, asked.queue.limit_ns(asked.packet_bytes))
    # Of random losses the model knows only how many: what it has refused may have found room after all.
    return range(passing[run.start], passing[run.stop - 1] + 1) if run else ()


def _rate_bps(
    asked: Asked, run: Sequence[int], sent: Sequence[int], arrived: Mapping[int, int], copies: Mapping[int, int]
) -> tuple[float | None, float]:
    """Return the rate at which packets sent without a pause left the line, None of too few, and over how many us.

    It is taken between two packets that did not overtake. Those that did, and copies, took their time on
    the line as well; corrupted ones did, unseen.
    """
    present = [number for number in run if number in arrived]
    steady = _in_order(asked, present, sent, arrived, copies) if asked.reorder else present
    if len(steady) < FEWEST_ARRIVALS:
        return None, 0.0
    first, last = steady[0], steady[-1]
    span_ns = arrived[last] - arrived[first]
    if span_ns <= 0:
        return None, 0.0
    within = [number for number in present if first <= number < last]
    rates = [_slots(asked, within, copies) * asked.packet_bytes * 8e9 / span_ns]
    if asked.reorder:
        # The relay lets packets overtake behind the line, netem in front of it: there the next in time count.
        within = [number for number in present if arrived[first] <= arrived[number] < arrived[last]]
        rates.append(_slots(asked, within, copies) * asked.packet_bytes * 8e9 / span_ns)
    wanted = asked.direction.rate_bps or 0
    return min(rates, key=lambda rate: abs(rate - wanted)), span_ns / 1000


def _slots(asked: Asked, numbers: Sequence[int], copies: Mapping[int, int]) -> float:
    """Return how many packets had the line for these to arrive."""
    return len(numbers) / (1 - asked.corrupt) + sum(copies.get(number, 0) for number in numbers)


def _in_order(
    asked: Asked, present: Sequence[int], sent: Sequence[int], arrived: Mapping[int, int], copies: Mapping[int, int]
) -> Sequence[int]:
    """Return the packets that did not overtake.

    What overtook arrived before another that was sent before it. The first ones have nobody to
    overtake, and are told by when they would leave a line as asked, which was idle when they came.
    """
    highest = accumulate((arrived[number] for number in present), max)
    steady = [number for number, stamp in zip(present, highest, strict=True) if arrived[number] == stamp]
    if asked.early_ns is None or asked.direction.rate_bps is None or not steady:
        return steady
    split_ns = (asked.direction.delay_ns + asked.spread.lowest * asked.direction.jitter_ns) / 2
    packet_ns = asked.packet_bytes * 8e9 / asked.direction.rate_bps
    for place, number in enumerate(steady):
        before = present[: bisect_right(present, number)]
        # At the earliest: corrupted ones in front of it would make it later.
        left_ns = sent[present[0]] + packet_ns * (len(before) + sum(copies.get(each, 0) for each in before))
        if arrived[number] - left_ns >= split_ns:
            return steady[place:]
    return steady


def _queue_us(
    asked: Asked, large: Sequence[int], sent: Sequence[int], arrived: Mapping[int, int], small_us: float
) -> float | None:
    """Return the longest wait (its upper tenth's median), or None where the sender did not fill the queue."""
    if asked.queue_ns is None or asked.queue is None or asked.direction.rate_bps is None:
        return None
    if MOSTLY_IN_ORDER < asked.reorder < 1 or (asked.reorder and asked.early_ns is None):
        return None
    reaching = (number for place, number in enumerate(large) if _reaches(place, 1 - asked.dropped))
    refused = sum(asked.queue.enqueue(sent[number], asked.packet_bytes) < 0 for number in reaching)
    waits = sorted((arrived[number] - sent[number]) / 1000 for number in large if number in arrived)
    if refused <= len(waits) // 10 or not waits:
        return None
    # The path's own delay: what a small packet took, less its time on the line.
    path_us = small_us - (asked.small.payload_bytes + HEADERS_BYTES) * 8e6 / asked.direction.rate_bps
    return median(waits[-max(1, len(waits) // 10) :]) - path_us


def _reaches(place: int, share: float) -> bool:
    """Whether a packet is one of the share, spread evenly, that random loss leaves for the queue."""
    return int((place + 1) * share) > int(place * share)
