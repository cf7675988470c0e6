"""The probe's plan and verdict, fed with sendings and arrivals that a model line makes up."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from perfcheck.lab.links.impair.codel_direction import CodelDirection
from perfcheck.lab.links.probe.measure import measure
from perfcheck.lab.links.probe.mismatch import mismatch
from perfcheck.lab.links.probe.train import HEADERS_BYTES, Asked, ask
from perfcheck.lab.links.relay.config import plan_of
from perfcheck.lab.links.relay.process import direction_of
from perfcheck.model.proof import DirectionProof
from perfcheck.model.scenario import LinkSpec

MS = 1_000_000
FRAME_HEAD = bytes(12) + b"\x88\xb5"


def link(**fields: Any) -> LinkSpec:
    return LinkSpec.model_validate({"between": ("a", "b")} | fields)


def sendings(asked: Asked) -> list[tuple[int, int]]:
    """Return (time, frame bytes) of a whole probe, the burst as fast as a program can send."""
    sent = [
        (MS + n * asked.small.gap_ns, asked.small.payload_bytes + HEADERS_BYTES) for n in range(asked.small.packets)
    ]
    now = sent[-1][0] + asked.small.gap_ns
    if asked.burst is not None:
        for _ in range(asked.burst.at_once):
            sent.append((now, asked.packet_bytes))
            now += 6000
        for _ in range(asked.burst.chunks):
            sent += [(now + 6000 * n, asked.packet_bytes) for n in range(asked.burst.chunk)]
            now += asked.burst.gap_ns
    return sent


def through(spec: LinkSpec, sent: Sequence[tuple[int, int]]) -> tuple[dict[int, int], Counter[int]]:
    """Send the frames through the link's own forward model and return first arrivals and copies by number.

    What comes out with another content was corrupted, and is dropped as the receiver's checksum has it dropped.
    """
    direction = direction_of(plan_of(spec.direction("forward")), super_packets=False)
    frames = [FRAME_HEAD + 2 * number.to_bytes(4, "big") + bytes(size - 22) for number, (_, size) in enumerate(sent)]
    for frame, (now, _) in zip(frames, sent, strict=True):
        direction.accept(frame, now)
    if isinstance(direction, CodelDirection):
        direction.advance(10**15)
    arrived: dict[int, int] = {}
    copies: Counter[int] = Counter()
    for due, frame in sorted([*direction.line, *direction.early]):
        number = int.from_bytes(frame[14:18], "big")
        if number >= len(frames) or frame != frames[number]:
            continue
        if number in arrived:
            copies[number] += 1
        arrived.setdefault(number, due)
    return arrived, copies


def judged(made: LinkSpec, asked_of: LinkSpec | None = None) -> tuple[DirectionProof | None, str | None]:
    asked = ask((asked_of or made).direction("forward"))
    sent = sendings(asked)
    proof = measure("forward", asked, [now for now, _ in sent], *through(made, sent))
    return proof, mismatch(asked, proof)


@settings(max_examples=60, deadline=None)
@given(
    rate_kbit=st.integers(200, 500_000),
    queue=st.sampled_from(["1bdp", "5p", "40p", "1000p", "64kb"]),
    delay_us=st.integers(200, 200_000),
    loss=st.sampled_from(["0%", "1%", "10%"]),
    seed=st.integers(1, 30),
)
def test_a_perfect_link_is_always_accepted(rate_kbit: int, queue: str, delay_us: int, loss: str, seed: int) -> None:
    made = link(rate=f"{rate_kbit}kbit", queue=queue, delay=f"{delay_us}us", loss=loss, seed=seed)
    proof, problem = judged(made)
    assert problem is None
    assert proof is not None
    assert proof.delay_p50_us == pytest.approx(proof.delay_asked_us, rel=0.001)
    if loss == "0%":
        assert proof.rate_bps == pytest.approx(rate_kbit * 1000, rel=0.001)
    if proof.queue_us is not None:
        assert proof.queue_us == pytest.approx(proof.queue_asked_us, rel=0.1, abs=2.5e6 * 8 * 1514 / rate_kbit / 1000)


@pytest.mark.parametrize("jitter_ms", [1, 4, 10, 40])
@pytest.mark.parametrize("seed", range(1, 8))
def test_jitter_is_accepted_and_its_lack_is_not(jitter_ms: int, seed: int) -> None:
    asked = link(delay="50ms", jitter=f"{jitter_ms}ms", seed=seed)
    assert judged(asked)[1] is None
    if jitter_ms <= 10:
        text = judged(link(delay="50ms"), asked)[1]
        assert text is not None
        assert text.startswith("jitter: asked")


@pytest.mark.parametrize(
    ("made", "asked", "begins"),
    [
        ({"delay": "9ms"}, {"delay": "10ms"}, "delay: asked 10 ms, measured 9 ms"),
        ({"delay": "10ms", "jitter": "3ms"}, {"delay": "10ms"}, ""),
        ({"rate": "9mbit"}, {"rate": "10mbit"}, "rate: asked 10 Mbit/s, measured 9"),
        ({"rate": "10mbit", "queue": "20p"}, {"rate": "10mbit", "queue": "40p"}, "queue: asked 48.45 ms"),
        ({"rate": "10mbit", "queue": "60p"}, {"rate": "10mbit", "queue": "40p"}, "queue: asked 48.45 ms"),
        ({"loss": "5%"}, {}, "loss: asked 0.000%, measured"),
        ({"loss": "100%"}, {}, "none of 120 packets arrived"),
        ({}, {"loss": "20%"}, "loss: asked 20.000%, measured 0 of 120"),
        ({}, {"corrupt": "20%"}, "loss: asked 20.000%, measured 0 of 120"),
    ],
)
def test_what_is_not_as_asked_is_found(made: dict[str, Any], asked: dict[str, Any], begins: str) -> None:
    text = judged(link(**made), link(**asked))[1]
    assert text is not None
    assert text.startswith(begins)


def test_a_sender_that_is_too_slow_proves_no_rate() -> None:
    asked = ask(link(rate="100mbit", queue="1bdp", delay="5ms").direction("forward"))
    sent = [now + 200_000 * number for number, (now, _) in enumerate(sendings(asked))]
    arrived = {number: now + 5 * MS + 121_120 for number, now in enumerate(sent)}
    proof = measure("forward", asked, sent, arrived)
    assert proof is not None
    assert proof.rate_bps is None
    assert proof.queue_us is None


def test_the_probe_is_short() -> None:
    for fields in (
        {"rate": "1mbit"},
        {"rate": "500mbit", "queue": "1bdp", "delay": "30ms"},
        {"delay": "1ms", "jitter": "1ms"},
    ):
        for packets in [sendings(ask(link(**fields).direction("forward")))]:
            assert packets[-1][0] - packets[0][0] < 200 * MS


def test_bursts_of_loss_are_judged_by_fewer_packets() -> None:
    asked = ask(link(loss={"model": "gilbert-elliott", "p": "1%", "r": "5%"}).direction("forward"))
    assert asked.clumping == pytest.approx(0.94)
    sent = list(range(0, 120 * MS, MS))
    lucky = measure("forward", asked, sent, dict(enumerate(sent)))
    assert mismatch(asked, lucky) is None


CODEL = {"size": "50p", "discipline": "codel"}
POLICER = {"rate": "5mbit", "burst": "30kb"}


@pytest.mark.parametrize("distribution", ["uniform", "normal", "pareto"])
@pytest.mark.parametrize("seed", range(1, 16))
def test_each_distribution_is_found_as_asked(distribution: str, seed: int) -> None:
    spec = link(delay="40ms", jitter={"spread": "5ms", "distribution": distribution}, seed=seed)
    assert judged(spec)[1] is None


def test_jitter_that_is_not_there_is_found_missing() -> None:
    for distribution in ("uniform", "normal"):
        asked = link(delay="40ms", jitter={"spread": "5ms", "distribution": distribution})
        assert "jitter: asked 5 ms" in str(judged(link(delay="40ms"), asked)[1])


def test_jitter_of_a_larger_spread_is_found() -> None:
    asked = link(delay="40ms", jitter={"spread": "1ms", "distribution": "normal"})
    made = (link(delay="40ms", jitter={"spread": "12ms", "distribution": "normal"}, seed=seed) for seed in range(20))
    assert sum(judged(each, asked)[1] is not None for each in made) == 20


@pytest.mark.parametrize(
    "fields",
    [
        {"policer": POLICER},
        {"policer": POLICER, "delay": "10ms", "loss": "5%"},
        {"policer": POLICER, "rate": "50mbit", "queue": "100p"},
        {"policer": {"rate": "128kbit", "burst": "2kb"}},
        {"policer": {"rate": "400mbit", "burst": "2mb"}},
        {"rate": "10mbit", "delay": "5ms", "queue": CODEL},
        {"rate": "10mbit", "queue": {**CODEL, "target": "1ms", "interval": "10ms"}},
        {"rate": "10mbit", "delay": "5ms", "schedule": [{"at": "2s", "rate": "1mbit"}]},
        {"rate": "10mbit", "schedule": [{"at": "0s", "rate": "2mbit", "delay": "7ms"}]},
        {"rate": "10mbit", "schedule": [{"at": "50ms", "rate": "1mbit", "delay": "50ms", "loss": "20%"}]},
    ],
)
def test_links_of_every_kind_are_as_asked(fields: dict[str, Any]) -> None:
    assert judged(link(**fields))[1] is None


@pytest.mark.parametrize(
    ("made", "asked", "text"),
    [
        ({}, {"policer": POLICER}, "policer: asked 5 Mbit/s with a burst of 30000 bytes, which lets "),
        ({"policer": {**POLICER, "burst": "60kb"}}, {"policer": POLICER}, "policer: asked 5 Mbit/s"),
        ({"policer": {**POLICER, "rate": "50mbit"}}, {"policer": POLICER}, "policer: asked 5 Mbit/s"),
        ({"policer": POLICER, "rate": "30mbit"}, {"policer": POLICER, "rate": "50mbit"}, "rate: asked 50 Mbit/s"),
        ({"rate": "10mbit", "queue": CODEL}, {"rate": "10mbit", "queue": {**CODEL, "size": "20p"}}, "queue: asked"),
        ({"rate": "5mbit"}, {"rate": "10mbit", "schedule": [{"at": "2s", "rate": "5mbit"}]}, "rate: asked 10 Mbit/s"),
        ({}, {"rate": "10mbit", "schedule": [{"at": "0s", "delay": "5ms"}]}, "delay: asked 5"),
    ],
)
def test_what_is_not_as_asked_is_told(made: dict[str, Any], asked: dict[str, Any], text: str) -> None:
    assert text in str(judged(link(**made), link(**asked))[1])


REORDERING = {"rate": "40mbit", "delay": "10ms", "reorder": "3%"}
SHARES = st.sampled_from(["0%", "0.5%", "3%", "10%", "30%"])


@st.composite
def links(draw: st.DrawFn) -> dict[str, Any]:
    """Links with everything that one can ask for at a time."""
    delay_us = draw(st.integers(200, 100_000))
    fields: dict[str, Any] = {"delay": f"{delay_us}us", "seed": draw(st.integers(1, 1000)), "loss": draw(SHARES)}
    fields |= {name: draw(SHARES) for name in ("reorder", "duplicate", "corrupt")}
    fields["ecn"] = draw(st.booleans())
    if draw(st.booleans()):
        fields["jitter"] = f"{draw(st.integers(1, delay_us))}us"
    if draw(st.booleans()):
        fields["rate"] = f"{int(10 ** draw(st.floats(2, 5.4)))}kbit"
        fields["queue"] = draw(st.sampled_from(["1bdp", "5p", "40p", "1000p", "64kb", CODEL]))
    if draw(st.integers(0, 3)) == 0:
        fields["policer"] = {"rate": f"{int(10 ** draw(st.floats(2, 5)))}kbit", "burst": "30kb"}
    return fields


@settings(max_examples=150, deadline=None)
@given(links())
def test_whatever_a_file_asks_for_is_accepted_where_the_link_does_it(fields: dict[str, Any]) -> None:
    assert judged(link(**fields))[1] is None


@settings(max_examples=80, deadline=None)
@given(links(), st.sampled_from([0.5, 0.7, 1.5, 2.0]))
def test_a_rate_that_is_clearly_another_is_refused(fields: dict[str, Any], factor: float) -> None:
    fields = {name: value for name, value in fields.items() if name not in ("policer", "jitter")}
    fields |= {"rate": "20mbit", "queue": "40p", "corrupt": "0%", "loss": "0%"}
    made = link(**{**fields, "rate": f"{round(20_000 * factor)}kbit"})
    assert judged(made, link(**fields))[1] is not None


@pytest.mark.parametrize("seed", range(1, 9))
@pytest.mark.parametrize("rate", ["10mbit", "40mbit", "200mbit"])
@pytest.mark.parametrize("reorder", ["3%", "30%", "100%"])
def test_overtaking_behind_a_rate_is_no_other_rate(rate: str, reorder: str, seed: int) -> None:
    asked = link(**{**REORDERING, "rate": rate, "reorder": reorder, "seed": seed})
    proof, problem = judged(asked)
    assert problem is None
    assert proof is not None
    assert proof.rate_bps == pytest.approx(asked.rate_bps, rel=0.03)
    assert proof.reordered == pytest.approx(proof.sent * float(reorder[:-1]) / 100, abs=24)


@pytest.mark.parametrize(
    ("changed", "text"),
    [
        ({"rate": "33mbit"}, "rate: asked 40 Mbit/s, measured 33"),
        ({"rate": "50mbit"}, "rate: asked 40 Mbit/s, measured 50"),
        ({"delay": "5ms"}, "delay: asked 10.01 ms, measured 5.01"),
        ({"delay": "15ms"}, "delay: asked 10.01 ms, measured 15.01"),
        ({"reorder": "0%"}, "reorder: asked 3.000%, measured 0 of "),
        ({"reorder": "20%"}, "reorder: asked 3.000%, measured "),
        ({"duplicate": "3%"}, "duplicate: asked 0.000%, measured "),
    ],
)
def test_a_link_that_reorders_and_is_not_as_asked_is_refused(changed: dict[str, Any], text: str) -> None:
    assert text in str(judged(link(**{**REORDERING, **changed}), link(**REORDERING))[1])


@pytest.mark.parametrize("seed", range(1, 10))
def test_copies_and_corrupted_packets_take_their_time_on_the_line(seed: int) -> None:
    for fields in ({"duplicate": "30%"}, {"corrupt": "10%"}, {"duplicate": "10%", "corrupt": "10%"}):
        asked = link(rate="20mbit", queue="40p", delay="10ms", seed=seed, **fields)
        assert judged(asked)[1] is None
    asked = link(rate="20mbit", queue="40p", delay="10ms", seed=seed, duplicate="30%")
    assert "duplicate: asked 30.000%, measured 0 of " in str(
        judged(link(rate="20mbit", queue="40p", delay="10ms"), asked)[1]
    )


def test_the_relays_overtaking_and_netems_are_both_one_rate() -> None:
    """netem lets packets overtake in front of its line: here they had it first, and the others after the delay."""
    asked = ask(link(**{**REORDERING, "reorder": "20%", "queue": "100p"}).direction("forward"))
    sent = [now for now, _ in sendings(asked)]
    small, packet_ns = asked.small.packets, asked.packet_bytes * 8 * 10**9 // 40_000_000
    overtakes = [number % 5 == 0 for number in range(len(sent))]
    arrived = {number: now + (0 if overtakes[number] else 10 * MS) for number, now in enumerate(sent[:small])}
    due = sorted((now + (0 if overtakes[small + n] else 10 * MS), small + n) for n, now in enumerate(sent[small:]))
    free = 0
    for now, number in due:
        free = max(free, now) + packet_ns
        arrived[number] = free
    proof = measure("forward", asked, sent, arrived)
    assert proof is not None
    assert proof.rate_bps == pytest.approx(40e6, rel=0.03)
