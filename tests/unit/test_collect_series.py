"""The sampler without a kernel: equal intervals, less often where that costs too much, and queues by direction."""

from __future__ import annotations

import socket
import struct
import time
from dataclasses import dataclass, field

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from perfcheck.collect.kernel.rtnetlink import ROOT
from perfcheck.collect.series.copies import MOST_BYTES, Copies
from perfcheck.collect.series.hosts import HostTimes
from perfcheck.collect.series.queues import LinkQueues, root_queue
from perfcheck.collect.series.sampler import Sampler, Sampling
from perfcheck.collect.series.source import BATCH, Moment
from perfcheck.collect.session import Core
from perfcheck.lab.links.impair.queue import BITS_NS, DropTail
from perfcheck.lab.links.relay.page import QueuePage
from perfcheck.model.budget import Budget
from perfcheck.model.observation import QueueLook, Scope
from perfcheck.model.series import NamedSamples
from perfcheck.system.clock import now_ns, wait_until
from perfcheck.testing.fakes import FakeCollector

INTERVAL_NS = 10_000_000


@dataclass
class Ticking:
    """A source that notes when it was sampled; `busy_s` of CPU time each, and `fails` at that tick."""

    busy_s: float = 0.0
    fails: int | None = None
    moments: list[Moment] = field(default_factory=list)
    spooled: list[int] = field(default_factory=list)
    closed: int = 0

    def sample(self, moment: Moment) -> None:
        if moment.tick == self.fails:
            raise OSError(28, "No space left on device")
        self.moments.append(moment)
        until_s = time.thread_time() + self.busy_s
        while time.thread_time() < until_s:
            pass

    def spool(self) -> None:
        self.spooled.append(len(self.moments))

    def samples(self) -> NamedSamples:
        return NamedSamples()

    def warnings(self) -> tuple[str, ...]:
        return ("a warning",)

    def close(self) -> None:
        self.closed += 1


def test_intervals_follow_one_another_up_to_the_end() -> None:
    source = Ticking()
    sampler = Sampler([source], INTERVAL_NS)
    before_ns = now_ns()
    sampler.start()
    assert wait_until(lambda: len(source.moments) >= 4, timeout_s=10)
    samples = sampler.finish()
    assert samples.ticks_ns.tolist() == [moment.now_ns for moment in source.moments]
    assert [moment.tick for moment in source.moments] == list(range(len(source.moments)))
    # Without a gap, and up to the call.
    edges = [samples.began_ns, *samples.ticks_ns.tolist()]
    assert [moment.length_ns for moment in source.moments] == [max(length, 1) for length in np.diff(edges).tolist()]
    assert before_ns <= samples.began_ns
    # On a busy machine a look costs more, and intervals become longer.
    assert [text for text in samples.warnings if not text.startswith("series: intervals of up to ")] == ["a warning"]
    assert len(samples.named) == 1
    sampler.close()
    assert source.closed == 1


def test_what_costs_too_much_is_sampled_less_often() -> None:
    source = Ticking(busy_s=0.001)
    sampler = Sampler([source], INTERVAL_NS)
    sampler.start()
    assert wait_until(lambda: len(source.moments) >= 8, timeout_s=20)
    warning = sampler.finish().warnings[-1]
    assert "instead of 10 ms" in warning
    # 1 ms of CPU time in every 100 ms.
    assert max(moment.length_ns for moment in source.moments) >= 90_000_000
    sampler.close()


def test_a_series_that_fails_ends_and_says_so() -> None:
    source = Ticking(fails=2)
    sampler = Sampler([source], INTERVAL_NS)
    sampler.start()
    sampler.join(10)
    samples = sampler.finish()
    # What others had copied at the tick at which it failed has a time, too.
    assert len(samples.ticks_ns) == 3
    assert source.spooled == [2]
    assert any("ends after 2 intervals" in text and "No space left" in text for text in samples.warnings)
    sampler.close()


def test_what_was_copied_before_a_failure_is_told() -> None:
    looks = iter([(QueueLook(size_bytes=10 * tick, drops=0, losses=0),) for tick in range(9)])
    queues = LinkQueues([(("client>server",), lambda: next(looks))])
    sampler = Sampler([queues, Ticking(fails=5)], INTERVAL_NS)
    sampler.start()
    sampler.join(10)
    samples = sampler.finish()
    (rows,) = samples.named[0].values()
    # The tick at which the other one failed, too.
    assert rows["value"][rows["curve"] == 0].tolist() == [0, 10, 20, 30, 40, 50]
    assert int(rows["tick"].max()) < len(samples.ticks_ns)
    assert any("ends after 5 intervals" in text for text in samples.warnings)
    sampler.close()


def test_a_batch_is_decoded_when_it_is_full_and_at_the_end() -> None:
    source = Ticking()
    sampler = Sampler([source], INTERVAL_NS)
    sampler.start()
    assert wait_until(lambda: len(source.moments) >= BATCH + 2, timeout_s=20)
    sampler.finish()
    assert source.spooled == [*range(BATCH, len(source.moments), BATCH), len(source.moments)]
    sampler.close()


def test_copies_of_much_memory_are_few() -> None:
    memory = np.arange(3 * MOST_BYTES // 8 // 4, dtype=np.uint64)
    copies = Copies(memory)
    copies.take()
    full = copies.full
    memory += 1
    assert int(copies.taken()[0, -1]) == len(memory) - 1
    assert (full, copies.full) == (True, False)
    assert Copies(memory[:8]).taken().shape == (0, 8)


@dataclass(kw_only=True)
class Charted(FakeCollector):
    """A collector of which a series can be made."""

    source: Ticking = field(default_factory=Ticking)

    def series(self) -> Ticking:
        return self.source


def test_the_core_samples_only_where_that_is_wanted() -> None:
    collector = Charted()
    core = Core([collector, FakeCollector(name="nic")], Budget(cpu_pct=100.0))
    scope = Scope(namespaces={}, netns_paths={}, warmup_ns=0)
    core.begin(scope)
    core.end()
    assert not core.samples
    assert collector.source.moments == []
    core.begin(scope, Sampling(interval_ns=INTERVAL_NS))
    core.end()
    samples = core.samples
    assert samples
    assert len(samples.ticks_ns) == len(collector.source.moments) > 0
    core.drop_samples()
    assert collector.source.closed == 1
    core.begin(scope, Sampling(interval_ns=INTERVAL_NS))
    core.abandon()
    assert collector.source.closed == 2


def attribute(kind: int, content: bytes) -> bytes:
    return struct.pack("=HH", 4 + len(content), kind) + content + bytes(-len(content) % 4)


def message(kind: bytes, parent: int, queue: tuple[int, ...] | None) -> bytes:
    head = struct.pack("=BxxxiIII", socket.AF_UNSPEC, 7, 0x10000, parent, 2)
    basic = attribute(1, struct.pack("=QI4x", 1000, 10))
    stats = attribute(7, basic + attribute(3, struct.pack("=IIIII", *queue))) if queue is not None else b""
    return head + attribute(1, kind + b"\0") + stats


def test_a_root_queue_is_read() -> None:
    found = root_queue(message(b"pfifo_fast", ROOT, (3, 4542, 17, 0, 0)))
    assert found is not None
    assert (found.ifindex, found.packets, found.size_bytes, found.drops) == (7, 3, 4542, 17)
    assert root_queue(message(b"noqueue", ROOT, (0, 0, 0, 0, 0))) is None
    assert root_queue(message(b"pfifo", 0x10001, (3, 4542, 17, 0, 0))) is None
    assert root_queue(message(b"pfifo", ROOT, None)) is None


def values_of(source: HostTimes | LinkQueues) -> dict[tuple[str | None, str], list[float]]:
    source.spool()
    samples = source.samples()
    rows = np.concatenate(list(samples.values()))
    source.close()
    return {name: rows["value"][rows["curve"] == number].tolist() for number, name in enumerate(samples.curves)}


def test_a_links_queue_is_told_by_direction() -> None:
    looks = iter([
        (QueueLook(size_bytes=1500, drops=2, losses=1), QueueLook(size_bytes=0, drops=0, losses=0)),
        (QueueLook(size_bytes=3000, drops=4, policed=3, losses=1), QueueLook(size_bytes=60, drops=0, losses=4)),
    ])  # fmt: skip
    source = LinkQueues([(("client>server", "server>client"), lambda: next(looks))])
    for tick in range(2):
        source.sample(Moment(tick=tick, now_ns=tick, length_ns=1))
    assert values_of(source) == {
        ("client>server", "qdisc.link_queue_bytes"): [1500, 3000],
        ("server>client", "qdisc.link_queue_bytes"): [0, 60],
        ("client>server", "qdisc.link_drops"): [2, 5],
        ("server>client", "qdisc.link_drops"): [0, 0],
        ("client>server", "qdisc.link_losses"): [1, 0],
        ("server>client", "qdisc.link_losses"): [0, 4],
    }


def test_the_page_holds_what_the_relay_noted() -> None:
    page, file = QueuePage.create()
    with file:
        other = QueuePage(file.fileno())
    assert page.read() == ((0, 0, 0, 0, 0), (0, 0, 0, 0, 0))
    other.write([(1, 2, 3, 4, 5), (6, 7, 8, 9, 10)])
    assert page.read() == ((1, 2, 3, 4, 5), (6, 7, 8, 9, 10))
    page.close()
    other.close()


@given(st.lists(st.tuples(st.integers(0, 3_000_000), st.integers(60, 1514)), min_size=1, max_size=40))
def test_what_waits_is_what_came_and_has_not_left(packets: list[tuple[int, int]]) -> None:
    rate_bps = 10**7
    queue, now, ends = DropTail(rate_bps, limit_bytes=10_000), 0, []
    for later_ns, size in packets:
        now += later_ns
        end = queue.enqueue(now, size)
        if end >= 0:
            ends.append((end, size))
        left = sum(
            min(size, max(0, end - now) * rate_bps / BITS_NS)
            for end, size in ends
        )  # fmt: skip
        assert queue.waiting_bytes(now) == pytest.approx(left, abs=len(ends) + 1)


SPREAD = np.dtype([("total", "u8"), ("minimum", "u4"), ("maximum", "u4")])
SUMS = np.dtype([("busy_ns", "u8"), ("waited_ns", "u8"), ("delay_ns", [("spread", SPREAD), ("counts", "u4", (1024,))])])
TASK = np.dtype([("pid", "u4"), ("class", "u4"), ("forced", "u4"), ("in_ns", "u8"), ("out_ns", "u8")])


def test_a_hosts_time_on_the_cpus_is_told_with_what_is_under_way() -> None:
    sums, tasks = np.zeros(3 * 2, SUMS), np.zeros(16, TASK)
    scope = np.zeros(1, [("window_ns", "u8")])
    maps = {"cpus": sums, "tasks": tasks, "scope": scope}
    source = HostTimes(maps.__getitem__, ("client", "server"), cpus=2)
    source.sample(Moment(tick=0, now_ns=500, length_ns=500))
    scope["window_ns"] = 1000
    # The client's task runs since 1000, and one of the server was preempted at 1500.
    tasks[3] = (3, 1, 0, 1000, 900)
    tasks[4] = (4, 2, 1, 900, 1500)
    source.sample(Moment(tick=1, now_ns=2000, length_ns=1500))
    # Both settle: the client's ran until 2200, the server's went on at 2100 and ran until 2300.
    tasks["pid"] = 0
    sums["busy_ns"][2], sums["busy_ns"][5], sums["waited_ns"][5] = 1200, 200, 600
    sums["delay_ns"]["counts"][5][10] = 1
    source.sample(Moment(tick=2, now_ns=3000, length_ns=1000))
    source.spool()
    samples = source.samples()
    (counts,) = samples.counts()
    assert [(int(row["tick"]), samples.distributions[row["group"]], int(row["count"])) for row in counts] == [
        (2, ("server", "cpu.runq_delay_us"), 1)
    ]
    found = values_of(source)
    assert found["client", "cpu.busy_pct"] == pytest.approx([100, 20])
    assert found["server", "cpu.busy_pct"] == pytest.approx([0, 20])
    assert found["server", "cpu.runq_wait_pct"] == pytest.approx([100, 100 / 3])
