"""The proof of a link: it passes links that are as asked and refuses those that are not, with both values."""

from __future__ import annotations

from typing import Any

import pytest
from links_lab import relay

from perfcheck.errors import InvalidLink
from perfcheck.lab.links.probe import prove
from perfcheck.model.proof import LinkProof
from perfcheck.model.scenario import LinkSpec

pytestmark = pytest.mark.kernel


def proof(made: dict[str, Any], asked: dict[str, Any] | None = None) -> LinkProof:
    """Make one link and prove it against what is asked, itself where nothing else is."""
    with relay(**made) as hosts:
        spec = hosts.spec if asked is None else LinkSpec.model_validate({"between": ("a", "b")} | asked)
        return prove(0, "relay", spec, hosts.link, hosts.sides, hosts.thread)


def test_a_wan_link_is_proved_both_ways() -> None:
    found = proof({"delay": "10ms", "rate": "50mbit", "queue": "1bdp", "reverse": {"delay": "30ms", "rate": "5mbit"}})
    forward, reverse = found.ways
    assert (forward.way, reverse.way) == ("forward", "reverse")
    assert forward.delay_p50_us == pytest.approx(10_000, abs=550)
    assert reverse.delay_p50_us == pytest.approx(30_120, abs=1000)
    assert forward.rate_bps == pytest.approx(50e6, rel=0.05)
    assert reverse.rate_bps == pytest.approx(5e6, rel=0.05)
    assert forward.lost == reverse.lost == 0
    assert found.took_ms < 500 * found.attempts


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"delay": "20ms", "jitter": "5ms", "loss": "5%"},
        {"delay": "5ms", "rate": "10mbit", "queue": "10p", "loss": {"model": "gilbert-elliott", "p": "2%", "r": "30%"}},
        {"delay": "5ms", "reorder": "10%", "duplicate": "10%", "corrupt": "10%"},
        {"delay": "200ms", "rate": "1mbit"},
        {"loss": "100%"},
        {"delay": "5ms", "rate": "600mbit", "queue": "1bdp"},
        {"delay": "20ms", "jitter": {"spread": "4ms", "distribution": "normal"}},
        {"policer": {"rate": "10mbit", "burst": "64kb"}, "delay": "5ms"},
        {"delay": "5ms", "rate": "20mbit", "queue": {"size": "40p", "discipline": "codel"}},
        {"delay": "5ms", "rate": "20mbit", "schedule": [{"at": "3s", "rate": "1mbit"}]},
        {"delay": "10ms", "rate": "40mbit", "reorder": "3%"},
        {"delay": "20ms", "jitter": "2ms", "rate": "10mbit", "queue": "40p", "reorder": "20%", "loss": "1%"},
        {"delay": "5ms", "rate": "20mbit", "queue": "40p", "duplicate": "10%", "corrupt": "5%", "ecn": True},
        {"delay": "5ms", "rate": "64kbit", "reorder": "10%"},
    ],
)
def test_other_links_are_proved(fields: dict[str, Any]) -> None:
    assert proof(fields).attempts <= 3


@pytest.mark.parametrize(
    ("made", "asked", "text"),
    [
        ({"delay": "10ms"}, {"delay": "12ms"}, r"forward: delay: asked 12 ms, measured 10\.\d* ms"),
        ({"reverse": {"delay": "3ms"}}, {}, r"a-b \(relay\).*reverse: delay: asked 0 ns, measured 3\.\d* ms"),
        ({"delay": "5ms"}, {"delay": "5ms", "jitter": "3ms"}, "jitter: asked 3 ms"),
        ({"loss": "30%"}, {"loss": "1%"}, r"loss: asked 1\.000%, measured \d+ of 120"),
        ({}, {"loss": "30%"}, r"loss: asked 30\.000%, measured 0 of 120"),
        (
            {"policer": {"rate": "10mbit", "burst": "64kb"}}, {"policer": {"rate": "10mbit", "burst": "20kb"}},
            r"policer: asked 10 Mbit/s with a burst of 20000 bytes, which lets \d+ of \d+ packets pass; \d+ arrived",
        ),
        ({"rate": "20mbit"}, {"rate": "25mbit"}, r"rate: asked 25 Mbit/s, measured (19\.|20)"),
        (
            {"delay": "10ms", "rate": "33mbit", "reorder": "3%"}, {"delay": "10ms", "rate": "40mbit", "reorder": "3%"},
            r"rate: asked 40 Mbit/s, measured 3[23]",
        ),
        ({"delay": "10ms"}, {"delay": "10ms", "reorder": "10%"}, r"reorder: asked 10\.000%, measured 0 of \d+"),
        ({}, {"duplicate": "10%"}, r"duplicate: asked 10\.000%, measured 0 of \d+"),
        (
            {"rate": "20mbit", "queue": "40p"}, {"rate": "20mbit", "queue": "60p"},
            r"queue: asked 36\.\d* ms at the link's rate, measured 2\d\.\d* ms",
        ),
    ],
)  # fmt: skip
def test_a_link_that_is_not_as_asked_is_refused(made: dict[str, Any], asked: dict[str, Any], text: str) -> None:
    with pytest.raises(InvalidLink, match=text):
        proof(made, asked)
