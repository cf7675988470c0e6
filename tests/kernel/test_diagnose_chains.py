"""The chain of a fault that was really made shows the order in which it was made, with lags of the path's own size."""

from __future__ import annotations

import re
from typing import Final

import pytest
from measured import measured

from perfcheck.model.record import RunRecord
from perfcheck.runner import Runner, RunOptions

pytestmark = pytest.mark.kernel

RTT_MS: Final = 20
SHORT_QUEUE: Final = """
scenario: short-queue
hosts:
  client: {congestion: cubic}
  router:
    router: true
    setup: ["tc qdisc add dev eth1 root tbf rate 20mbit burst 16kb limit 20kb"]
  server: {congestion: cubic}
links:
  - {between: [client, router], delay: 5ms, rate: 50mbit, queue: 2bdp}
  - {between: [router, server], delay: 5ms, rate: 50mbit, queue: 2bdp}
traffic: [{iperf3: {from: client, to: server, duration: 4s}}]
repeat: 1
warmup: 500ms
"""


@pytest.fixture(scope="module")
def record(tmp_path_factory: pytest.TempPathFactory) -> RunRecord:
    folder = tmp_path_factory.mktemp("chains")
    with Runner.create(RunOptions(events=folder / "events.jsonl", series=folder / "series.parquet")) as runner:
        return measured(runner, SHORT_QUEUE)


def test_the_account_has_the_incident_of_drop_cut_and_retransmission(record: RunRecord) -> None:
    assert any(line.startswith("events: ") for line in record.account)
    largest = [line for line in record.account if " events: drop qdisc." in line]
    assert largest, record.account
    assert any("ca_state Recovery after" in line and "retransmission fast after" in line for line in largest)


def test_the_chain_shows_the_queue_then_the_loss_then_the_cut(record: RunRecord) -> None:
    chains = [cause.chain for cause in record.diagnosis if any("queue_overflow" in step for step in cause.chain)]
    assert chains, record.diagnosis
    chain = chains[0]
    names = [re.sub(r" \(.*", "", step) for step in chain]
    places = [names.index(name) for name in ("queue_overflow", "loss", "cwnd cut")]
    assert places == sorted(places)
    lag = re.search(r"\(\+([\d.]+) ms\)", chain[names.index("cwnd cut")])
    assert lag is not None, chain
    # The sender learns of a drop after the rest of the round trip, the queue's length included.
    assert 0.2 * RTT_MS < float(lag[1]) < 3 * RTT_MS


def test_without_events_the_chain_says_so() -> None:
    with Runner.create(RunOptions()) as runner:
        found = measured(runner, SHORT_QUEUE.replace("duration: 4s", "duration: 2s"))
    chains = [cause for cause in found.diagnosis if cause.chain_rests_on]
    assert chains, found.diagnosis
    assert all(cause.chain_rests_on.startswith("metrics alone") for cause in chains)
    assert not any("+" in step for cause in chains for step in cause.chain)
