"""The probe's plan and verdict, fed with sendings and arrivals that a model line makes up."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from perfcheck.lab.links.impair.managed import ManagedWay
from perfcheck.lab.links.impair.plan import WayPlan
from perfcheck.lab.links.plans import way_plan
from perfcheck.lab.links.probe.judge import measure, mismatch
from perfcheck.lab.links.probe.train import HEADERS_BYTES, Asked, ask
from perfcheck.lab.links.relay.process import way_of
from perfcheck.model.proof import WayProof
from perfcheck.model.scenario import LinkSpec

MS = 1_000_000
FRAME_HEAD = bytes(12) + b"\x88\xb5"


def link(**fields: Any) -> LinkSpec:
    return LinkSpec.model_validate({"between": ("a", "b")} | fields)


def sendings(asked: Asked) -> list[tuple[int, int]]:
    """Give (time, frame bytes) of a whole probe, the burst as fast as a program can send."""
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


def through(spec: LinkSpec, sent: Sequence[tuple[int, int]]) -> dict[int, int]:
    """Send the frames through the link's own forward model and give the arrivals by number."""
    way = way_of(WayPlan(**way_plan(spec, "forward")), super_packets=False)
    for number, (now, size) in enumerate(sent):
        way.accept(FRAME_HEAD + number.to_bytes(4, "big") + bytes(size - 18), now)
    if isinstance(way, ManagedWay):
        way.advance(10**15)
    arrived: dict[int, int] = {}
    for due, frame in sorted([*way.line, *way.early]):
        arrived.setdefault(int.from_bytes(frame[14:18], "big"), due)
    return arrived


def judged(made: LinkSpec, asked_of: LinkSpec | None = None) -> tuple[WayProof | None, str | None]:
    asked = ask(asked_of or made, "forward")
    sent = sendings(asked)
    proof = measure("forward", asked, [now for now, _ in sent], through(made, sent))
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
    asked = ask(link(rate="100mbit", queue="1bdp", delay="5ms"), "forward")
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
        for packets in [sendings(ask(link(**fields), "forward"))]:
            assert packets[-1][0] - packets[0][0] < 200 * MS


def test_bursts_of_loss_are_judged_by_fewer_packets() -> None:
    asked = ask(link(loss={"model": "gilbert-elliott", "p": "1%", "r": "5%"}), "forward")
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
