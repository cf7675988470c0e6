"""Causes tested by intervention on real traffic: the right one is confirmed, wrong ones are refuted."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import pytest

from perfcheck.model.confirmation import Answer
from perfcheck.runner import Runner, RunOptions
from perfcheck.testing import make_scenario

SMALL_RMEM: Final = make_scenario(
    "small-rmem",
    hosts={"client": {}, "server": {"sysctl": {"net.ipv4.tcp_rmem": "4096 65536 65536"}}},
    links=[{"between": ["client", "server"], "delay": "10ms", "rate": "50mbit", "queue": "1bdp"}],
    traffic=[{"iperf3": {"from": "client", "to": "server", "duration": "1s"}}],
    repeat=1,
    warmup_ns=400_000_000,
)
LOSSY_ROUTER: Final = make_scenario(
    "lossy-router",
    hosts={
        "client": {"congestion": "cubic"},
        "router": {
            "router": True,
            "setup": [
                "nft add table inet t",
                "nft 'add chain inet t f { type filter hook forward priority 0; }'",
                "nft add rule inet t f ip protocol tcp numgen random mod 100 < 2 drop",
            ],
        },
        "server": {},
    },
    links=[
        {"between": ["client", "router"], "delay": "5ms", "rate": "50mbit", "queue": "1bdp"},
        {"between": ["router", "server"], "delay": "5ms"},
    ],
    traffic=[{"iperf3": {"from": "client", "to": "server", "duration": "1s", "congestion": "cubic"}}],
    repeat=1,
    warmup_ns=400_000_000,
)


@pytest.fixture
def runner(run_directory: object) -> Iterator[Runner]:
    with Runner.create(RunOptions()) as session:
        yield session


def test_a_small_receive_buffer_is_named_and_confirmed(runner: Runner) -> None:
    record = runner.run(SMALL_RMEM)
    assert record.diagnosis[0].cause == "receive_window"
    found = runner.confirm(SMALL_RMEM, record.diagnosis[0].cause)
    assert found.outcome is Answer.CONFIRMED, found
    effect = found.effects[0]
    assert effect.metric == "app.throughput_bps"
    assert effect.relieved > 1.5 * effect.unchanged


def test_wrong_causes_of_a_small_receive_buffer_are_refuted(runner: Runner) -> None:
    there_is_none = runner.confirm(SMALL_RMEM, "random_loss")
    assert (there_is_none.outcome, there_is_none.runs) == (Answer.REFUTED, 0), there_is_none
    measured = runner.confirm(SMALL_RMEM, "send_buffer")
    assert measured.outcome is Answer.REFUTED, measured
    assert measured.runs == 0
    assert measured.reason.startswith("there is no sign of it: tcp.limited_sndbuf_pct is ")
    assert measured.changes


def test_loss_that_a_routers_rule_makes_is_confirmed(runner: Runner) -> None:
    found = runner.confirm(LOSSY_ROUTER, "random_loss")
    assert found.outcome is Answer.CONFIRMED, found
    assert [change.where for change in found.changes] == ["router: nft inet t f"]
