"""Proves one link: sends the trains, waits for the last arrival, judges, and tries again before it gives up."""

from __future__ import annotations

from math import ceil
from typing import Final

from perfcheck.errors import InvalidLink
from perfcheck.lab.links.probe.measure import measure
from perfcheck.lab.links.probe.mismatch import mismatch
from perfcheck.lab.links.probe.sockets import Pair, Side
from perfcheck.lab.links.probe.train import FAST_BPS, SETTLED_NS, Asked, ask
from perfcheck.model.link import DIRECTIONS, LinkSpec
from perfcheck.model.proof import DirectionProof, LinkProof
from perfcheck.model.seams import EmulatedLink
from perfcheck.model.units import format_value
from perfcheck.system.clock import now_ns
from perfcheck.system.netns import NetnsThread

ATTEMPTS: Final = 3
"""A machine that is held up for a moment spoils a probe; one that is too slow spoils all of them."""
PATIENCE_NS: Final = 30_000_000
PACKET_NS: Final = 30_000
"""What sending a packet takes, at the most, where the machine is not held up."""
LONGEST_PROBE_NS: Final = 40_000_000_000
"""A link whose probe would take longer is refused: what a file may ask for stays below it."""
LAST_ATTEMPT_NS: Final = 30_000_000_000
"""After this there is no other attempt: a probe that takes so long is not spoilt by a moment."""


def prove(
    index: int, emulator: str, link: LinkSpec, up: EmulatedLink, sides: tuple[Side, Side], thread: NetnsThread
) -> LinkProof:
    """Measure a link that is up, addressed and quiet; InvalidLink says what is not as in the file, with both values.

    How long that may take is known before it begins (`probe_limit_ns`), and InvalidLink where it is too long.
    The link's counters and loss patterns are left as the probe has moved them: the caller's next
    begin_trial puts them back.
    """
    begin = now_ns()
    problem = ""
    attempt = 0
    limit_ns = probe_limit_ns(asked_of(link))
    if limit_ns > LONGEST_PROBE_NS:
        raise InvalidLink(
            f"links[{index}] {'-'.join(link.between)} ({emulator}): its check would take "
            f"{format_value(limit_ns, 'ns')}, more than {format_value(LONGEST_PROBE_NS, 'ns')}: ask for a higher"
            " rate, or for a shorter delay or queue"
        )
    while attempt < ATTEMPTS and (not attempt or now_ns() - begin < LAST_ATTEMPT_NS):
        attempt += 1
        asked = asked_of(link)
        up.begin_trial(0)
        try:
            proofs, problem = _probe(asked, sides, thread)
        finally:
            up.end_trial()
        if not problem:
            return LinkProof(
                link=index, emulator=emulator, ways=proofs, attempts=attempt, took_ms=(now_ns() - begin) / 1e6
            )
    raise InvalidLink(
        f"links[{index}] {'-'.join(link.between)} ({emulator}) does not match the file after {attempt} probes: "
        f"{problem}. If the machine is busy, try again; otherwise ask for less, or use another emulator"
    )


def asked_of(link: LinkSpec) -> tuple[Asked, Asked]:
    """Return what both directions shall do to the probe; what changes before it ends is left out of it."""
    forward, reverse = link.directions
    asked = (ask(forward), ask(reverse))
    limit_ns = probe_limit_ns(asked)
    return asked if limit_ns <= SETTLED_NS else (ask(forward, limit_ns), ask(reverse, limit_ns))


def probe_limit_ns(asked: tuple[Asked, Asked]) -> int:
    """Return how long one probe of a link takes at the most, on a machine that is not held up."""
    trains = max(each.small.packets * each.small.gap_ns for each in asked)
    packets = sum(each.small.packets + (0 if each.burst is None else each.burst.packets) for each in asked)
    bursts = sum(0 if each.burst is None else each.burst.chunks * each.burst.gap_ns for each in asked)
    waits = max(_longest_ns(each) for each in asked) + sum(_longest_ns(each) for each in asked if _is_fast(each))
    return trains + bursts + waits + packets * PACKET_NS


def _is_fast(asked: Asked) -> bool:
    return asked.burst is not None and (asked.direction.rate_bps or 0) > FAST_BPS


def _probe(
    asked: tuple[Asked, Asked], sides: tuple[Side, Side], thread: NetnsThread
) -> tuple[tuple[DirectionProof, ...], str]:
    overtaking = (bool(asked[0].reorder), bool(asked[1].reorder))
    with Pair(sides, thread) as pair:
        pair.send_trains((asked[0].small, asked[1].small))
        for number, each in enumerate(asked):
            if each.burst is not None:
                pair.send_burst(number, each.burst)
                if _is_fast(each):
                    pair.await_arrivals(_longest_ns(each), overtaking)
        pair.await_arrivals(max(_longest_ns(each) for each in asked), overtaking)
        proofs = tuple(
            measure(name, each, sent, arrived, copies)
            for name, each, sent, arrived, copies in zip(
                DIRECTIONS, asked, pair.sent, pair.arrived, pair.copies, strict=True
            )
        )
    problems = [
        f"{name}: {text}"
        for name, each, proof in zip(DIRECTIONS, asked, proofs, strict=True)
        if (text := mismatch(each, proof))
    ]
    return tuple(proof for proof in proofs if proof is not None), "; ".join(problems)


def _longest_ns(asked: Asked) -> int:
    queue_ns = 0 if asked.queue is None else asked.queue.limit_ns(asked.packet_bytes)
    if asked.burst is not None and asked.direction.rate_bps is not None:
        packets = ceil(asked.burst.packets * (1 + asked.duplicate))
        queue_ns = min(queue_ns, packets * asked.packet_bytes * 8 * 10**9 // asked.direction.rate_bps)
    elif asked.burst is None:
        queue_ns = asked.drain_ns
    jitter_ns = ceil(asked.spread.highest * asked.direction.jitter_ns)
    return asked.path_ns + jitter_ns + queue_ns + PATIENCE_NS
