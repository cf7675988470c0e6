"""Proves one link: sends the trains, waits for the last arrival, judges, and tries again before it gives up."""

from __future__ import annotations

from typing import Final

from perfcheck.errors import InvalidLink
from perfcheck.lab.links.plans import WAYS
from perfcheck.lab.links.probe import judge
from perfcheck.lab.links.probe.sockets import Pair, Side
from perfcheck.lab.links.probe.train import FAST_BPS, Asked, ask
from perfcheck.model.proof import LinkProof, WayProof
from perfcheck.model.scenario import LinkSpec
from perfcheck.model.seams import EmulatedLink
from perfcheck.system.clock import now_ns
from perfcheck.system.netns import NetnsThread

ATTEMPTS: Final = 3
"""A machine that is held up for a moment spoils a probe; one that is too slow spoils all of them."""
PATIENCE_NS: Final = 30_000_000


def prove(
    index: int, emulator: str, link: LinkSpec, up: EmulatedLink, sides: tuple[Side, Side], thread: NetnsThread
) -> LinkProof:
    """Measure a link that is up, addressed and quiet; InvalidLink says what is not as the file asks, with both values.

    The link's counters and loss patterns are left as the probe has moved them: the caller's next
    begin_trial puts them back.
    """
    begin = now_ns()
    problem = ""
    for attempt in range(1, ATTEMPTS + 1):
        asked = (ask(link, WAYS[0]), ask(link, WAYS[1]))
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
        f"links[{index}] {'-'.join(link.between)} ({emulator}) is not what the file asks for, in {ATTEMPTS} probes:"
        f" {problem}. On a busy machine try again; else ask for less, or for another emulator"
    )


def _probe(
    asked: tuple[Asked, Asked], sides: tuple[Side, Side], thread: NetnsThread
) -> tuple[tuple[WayProof, ...], str]:
    with Pair(sides, thread) as pair:
        pair.send_trains((asked[0].small, asked[1].small))
        for number, way in enumerate(asked):
            if way.burst is not None:
                pair.send_burst(number, way.burst)
                if way.rate_bps is not None and way.rate_bps > FAST_BPS:
                    pair.await_arrivals(_longest_ns(way))
        pair.await_arrivals(max(_longest_ns(way) for way in asked))
        proofs = tuple(
            judge.measure(name, way, sent, arrived)
            for name, way, sent, arrived in zip(WAYS, asked, pair.sent, pair.arrived, strict=True)
        )
    problems = [
        f"{name}: {text}"
        for name, way, proof in zip(WAYS, asked, proofs, strict=True)
        if (text := judge.mismatch(way, proof))
    ]
    return tuple(proof for proof in proofs if proof is not None), "; ".join(problems)


def _longest_ns(asked: Asked) -> int:
    queue_ns = 0 if asked.queue is None else asked.queue.limit_ns(asked.packet_bytes)
    if asked.burst is not None and asked.rate_bps is not None:
        queue_ns = min(queue_ns, asked.burst.packets * asked.packet_bytes * 8 * 10**9 // asked.rate_bps)
    return asked.delay_ns + asked.jitter_ns + queue_ns + PATIENCE_NS
