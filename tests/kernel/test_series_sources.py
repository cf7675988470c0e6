"""Time series against ss(8), tc(8) and iperf3, each asked right before and right after a sample is taken."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from itertools import accumulate
from typing import Any, Final

import collect_lab
import pytest
import witness
from witness import NO_LIMIT, Answer, Told

from perfcheck.analyse import curves
from perfcheck.collect.series.queues import HostQueues
from perfcheck.collect.series.sampler import Sampler
from perfcheck.collect.series.source import Moment
from perfcheck.collect.tcp.collector import TcpCollector
from perfcheck.scenario import load_text
from perfcheck.system.netns import NetnsThread, path_of
from perfcheck.system.rundir import RUN_DIR_VARIABLE

pytestmark = pytest.mark.kernel

RATE_BPS: Final = 10 * 10**6
SCENARIO: Final = """
scenario: series-against-ss
hosts: {client: {congestion: reno}, server: {}}
links: [{between: [client, server], delay: 10ms, rate: 10mbit, queue: 1bdp}]
traffic:
  - name: bulk
    iperf3: {from: client, to: server, duration: 5s}
repeat: 1
"""
UNDER_WAY_BYTES: Final = 50_000
"""More than iperf3's control connection ever sends."""
LEAST_LOOKS: Final = 8
"""Sampling takes fewer on a busy machine, where a sample costs more."""
LEAST_VALUES: Final = {"cwnd": 5, "ssthresh": 1}
LAG_S: Final = 0.05
MOST_SHARE: Final = 0.8
TBF: Final = "tc qdisc replace dev eth0 root tbf rate 800kbit burst 2kb limit 60kb"
_REPAIR: Final = ("retrans_out", "lost", "sacked")


def ss(thread: NetnsThread, paths: Mapping[str, str]) -> Answer:
    sender = witness.data_socket(thread, paths["client"], "bytes_sent")
    receiver = witness.data_socket(thread, paths["server"], "bytes_received")
    return sender | {"received": receiver.get("bytes_received", 0.0) - receiver.get("unread", 0.0)}


@dataclass(frozen=True, kw_only=True)
class Run:
    told: Told
    looks: Mapping[int, tuple[Answer, Answer]]
    """What ss said right before and right after the samples of a tick, of those at which the transfer was under way."""

    def steady(self) -> dict[int, tuple[Answer, Answer]]:
        """Return the looks between which nothing was lost or repaired: windows can only have grown."""
        return {
            tick: (first, second)
            for tick, (first, second) in self.looks.items()
            if first["retrans"] == second["retrans"]
            and not any(look.get(name) for look in (first, second) for name in _REPAIR)
        }


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    (scenario,) = load_text(SCENARIO, "series.yaml")
    before, after = (witness.TickWitness(name=name, ask=ss) for name in ("before", "after"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(RUN_DIR_VARIABLE, str(tmp_path_factory.mktemp("run")))
        told = witness.told_of(scenario, before, TcpCollector(64), after, series=True)
    looks = enumerate(zip(before.at_ticks, after.at_ticks, strict=True))
    return Run(
        told=told,
        looks={tick: pair for tick, pair in looks if all(look.get("bytes_sent", 0) > UNDER_WAY_BYTES for look in pair)},
    )


@pytest.mark.parametrize(
    ("metric", "name"),
    [
        ("tcp.retrans_segs", "retrans"),
        ("tcp.data_segs_out", "data_segs_out"),
        ("tcp.delivery_rate_bps", "bytes_acked"),
    ],
)
def test_counts_up_to_each_tick_are_those_of_ss(run: Run, metric: str, name: str) -> None:
    ours = run.told.up_to_ticks(metric, "bulk", rate=metric.endswith("_bps"))
    assert len(run.looks) >= LEAST_LOOKS
    for tick, (first, second) in run.looks.items():
        # A rate has been divided by a time and multiplied by it again.
        assert first[name] - 0.5 <= ours[tick] <= second[name] + 0.5, f"tick {tick}"
    assert max(first[name] for first, _ in run.looks.values()) > 10


@pytest.mark.parametrize(("metric", "name"), [("tcp.cwnd_segs", "cwnd"), ("tcp.ssthresh_segs", "ssthresh")])
def test_windows_at_each_tick_are_those_of_ss(run: Run, metric: str, name: str) -> None:
    ours = run.told.at_ticks(metric, "bulk")
    judged = run.steady()
    assert len(judged) >= LEAST_LOOKS
    for tick, (first, second) in judged.items():
        # A threshold that was never set has no value.
        assert first[name] <= ours.get(tick, NO_LIMIT) <= second[name], f"tick {tick}"
    assert len({first[name] for first, _ in judged.values()}) >= LEAST_VALUES[name]


def test_the_smoothed_round_trip_at_each_tick_is_that_of_ss(run: Run) -> None:
    ours = run.told.at_ticks("tcp.srtt_us", "bulk")
    judged = run.steady()
    near = 0
    for tick, (first, second) in judged.items():
        low, high = sorted((first["rtt_us"], second["rtt_us"]))
        near += 0.95 * low <= ours[tick] <= 1.05 * high
    # Ours is that of before the latest segment, which moves it the more the longer it was under way.
    assert near >= MOST_SHARE * len(judged)
    values = [ours[tick] for tick in judged]
    # A queue that fills and empties: one value could not pass for all.
    assert max(values) > 1.3 * min(values)


def test_throughput_is_what_iperf3_received_and_when_ss_saw_it(run: Run) -> None:
    ours = run.told.up_to_ticks("app.throughput_bps", "bulk", rate=True)
    (report,) = run.told.trial.reports
    server: Any = report.raw["server"]
    assert max(ours.values()) == pytest.approx(server["sum_received"]["bytes"], rel=0.01)
    # iperf3's intervals are of other moments than ours, and longer where it does not get a CPU at once: what came in
    # one is spread over it.
    lag_bytes = LAG_S * RATE_BPS / 8
    near = sum(
        first["received"] - lag_bytes <= ours[tick] <= second["received"] + lag_bytes
        for tick, (first, second) in run.looks.items()
    )
    assert near >= MOST_SHARE * len(run.looks)


# ---- the queue of a host


class Bursts(threading.Thread):
    """Sends bursts of datagrams that wait in the queue, the first of them more than it has room for."""

    def __init__(self, sender: socket.socket, address: tuple[str, int]) -> None:
        super().__init__(daemon=True)
        self._sender, self._address = sender, address
        self.over = threading.Event()

    def run(self) -> None:
        for number in range(5):
            for _ in range(90 if number % 2 == 0 else 40):
                self._sender.sendto(bytes(1000), self._address)
            if self.over.wait(0.6):
                return
        self.over.set()


@dataclass(kw_only=True)
class TcLook(witness.Curveless):
    """A source that asks tc(8) at each tick, and has no curves."""

    ask: Callable[[], Answer]
    looks: list[Answer] = field(default_factory=list)

    def sample(self, moment: Moment) -> None:
        del moment
        self.looks.append(self.ask())


def test_depth_and_drops_of_a_hosts_queue_are_those_of_tc(pair: collect_lab.Pair) -> None:
    client = path_of(pair.names[0])
    witness.asked(pair.thread, client, *TBF.split())
    sender = pair.client(lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
    with NetnsThread() as thread, sender:
        before, after = (TcLook(ask=partial(witness.root_qdisc, thread, client)) for _ in range(2))
        queues = HostQueues({"client": client}, {("client", "eth0"): "client>server"})
        sampler = Sampler([before, queues, after], interval_ns=50 * 10**6)
        bursts = Bursts(sender, (pair.addresses[1], collect_lab.PORT))
        try:
            sampler.start()
            bursts.start()
            assert bursts.over.wait(30)
            samples = sampler.finish()
            found: dict[str, list[float]] = {}
            for curve in curves(samples, (), (), ()):
                found.setdefault(curve.metric, []).extend(curve.values.tolist())
        finally:
            bursts.over.set()
            bursts.join()
            sampler.close()
    drops = accumulate(found["qdisc.drops"])
    ours = zip(found["qdisc.depth_bytes"], found["qdisc.depth_packets"], drops, before.looks, after.looks, strict=True)
    deepest = judged = 0
    for size_bytes, packets, dropped, first, second in ours:
        assert first["drops"] <= dropped + before.looks[0]["drops"] <= second["drops"]
        if _arrived(first) == _arrived(second):
            judged += 1
            deepest = max(deepest, int(size_bytes))
            assert first["backlog"] >= size_bytes >= second["backlog"]
            assert first["qlen"] >= packets >= second["qlen"]
    assert judged >= LEAST_LOOKS
    assert deepest > 20_000
    assert before.looks[-1]["drops"] >= 20


def _arrived(look: Answer) -> float:
    return look["packets"] + look["qlen"] + look["drops"]
