"""What the TCP layer samples at intervals adds up to what the trial tells, and so do the curves made of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tcp_maps import HOSTS, Kernel, steps

from perfcheck.analyse.series import curves
from perfcheck.collect.series.source import Moment
from perfcheck.collect.tcp import decode
from perfcheck.collect.tcp.series import TcpSeries
from perfcheck.collect.tcp.snapshot import sockets_between
from perfcheck.collect.tcp.whole import WholeCopies
from perfcheck.model.flow import TcpSocket
from perfcheck.model.observation import FlowReport, Observation, TrafficReport
from perfcheck.model.series import Curve, FlowSamples, Rows, Samples
from perfcheck.model.traffic import Iperf3Spec, TrafficSpec

ENTRIES = (TrafficSpec(name="bulk", iperf3=Iperf3Spec.model_validate({"from": "client", "to": "server"})),)


@dataclass
class Sampled:
    """A trial that was sampled, and what the collector told of it at its end."""

    samples: Samples
    sockets: tuple[TcpSocket, ...]
    warnings: tuple[str, ...]

    @property
    def flows(self) -> FlowSamples:
        return self.samples.flows[0]


def driven(trace: list[tuple[Any, ...]], most: int = 256, ports: bool = True, batch: int = 0) -> Sampled:
    """Sample a trial at each `look`; spool every `batch` ticks, or where there is no more room."""
    kernel = Kernel()
    first = kernel.snapshot()
    series = TcpSeries(
        kernel.control[0], kernel.records, kernel.sets, kernel.bring_up_to_date,
        lambda record: decode.key_of(record, HOSTS), most,
    )  # fmt: skip
    ticks: list[int] = []

    def sample(last: bool = False) -> None:
        before_ns = ticks[-1] if ticks else 10**9
        series.sample(
            Moment(tick=len(ticks), now_ns=kernel.now_ns, length_ns=max(kernel.now_ns - before_ns, 1), last=last)
        )
        ticks.append(kernel.now_ns)
        if batch and not len(ticks) % batch:
            series.spool()

    for name, *arguments in trace:
        if name == "look":
            sample()
        else:
            getattr(kernel, name)(*arguments)
        if ports:
            kernel.records["local_port"] = np.arange(len(kernel.records)) + 40000
    sample(last=True)
    last = kernel.snapshot()
    sockets = tuple(sockets_between(first, last, HOSTS, decode.jiffy_us(), frozenset()))
    samples = Samples(began_ns=10**9, ticks_ns=np.array(ticks), flows=(read(series),))
    return Sampled(samples, sockets, series.warnings())


def read(series: TcpSeries) -> FlowSamples:
    """Return the samples, read from the disk and the files closed."""
    series.spool()
    found = series.samples()
    rows, rtts = list(found.rows()), list(found.rtts())
    series.close()
    return replace(found, rows=lambda: iter(rows), rtts=lambda: iter(rtts))


def made(sampled: Sampled) -> dict[str, Curve]:
    """Return the curves by their metrics, their parts joined."""
    flows = tuple(FlowReport(sender=socket.key, receiver=socket.key) for socket in sampled.sockets)
    report = TrafficReport(
        generator="iperf3", metrics={}, flows=flows, start_ns=10**9, end_ns=int(sampled.samples.ticks_ns[-1])
    )
    seen = Observation(collector="tcp", tcp_sockets=sampled.sockets)
    parts: dict[str, list[Curve]] = {}
    for curve in curves(sampled.samples, ENTRIES, [report], [seen]):
        assert curve.subject == "bulk"
        assert len(curve.t_ns) == len(curve.values)
        parts.setdefault(curve.metric, []).append(curve)
    return {
        metric: replace(
            each[0],
            t_ns=np.concatenate([one.t_ns for one in each]),
            values=np.concatenate([one.values for one in each]),
        )
        for metric, each in parts.items()
    }


@settings(deadline=None)
@given(st.lists(steps, max_size=120).map(lambda more: [("admit",), *more]), st.sampled_from([1, 2, 256]))
def test_samples_add_up_to_the_trial_also_where_there_is_no_time_for_all(
    trace: list[tuple[Any, ...]], most: int
) -> None:
    sampled = driven(trace, most)
    if most < 256:
        # Those that were left out are sampled in one of the ticks after.
        sampled = driven([*trace, *[("look",)] * 4], most)
    rtts = np.concatenate([np.zeros(0, np.uint32), *(block["count"] for block in sampled.flows.rtts())])
    assert int(rtts.sum()) == sum(socket.rtt_us.count - socket.rtt_us.above for socket in sampled.sockets)
    rows = list(sampled.flows.rows())
    for socket in sampled.sockets:
        flow = next(number for number, key in sampled.flows.keys.items() if key == socket.key)
        last = [row for block in rows for row in block if row["flow"] == flow][-1]
        assert int(last["retrans_fast_segs"]) == socket.counters["retrans_fast_segs"]
        assert int(last["bytes_acked"]) == socket.whole_bytes_acked + 1 or not socket.whole_bytes_acked


@settings(deadline=None)
@given(
    st.lists(st.one_of(steps, st.just(("look",))), max_size=150).map(lambda more: [("admit",), *more]),
    st.integers(2, 15), st.sampled_from([1, 2, 256]),
)  # fmt: skip
def test_how_many_ticks_are_decoded_at_once_changes_nothing(
    trace: list[tuple[Any, ...]], batch: int, most: int
) -> None:  # fmt: skip
    # Beyond 64 looks, or 16 with many connections, there is no more room; the last batch is seldom a whole one.
    alone, some, full = (driven(trace, most, batch=ticks).flows for ticks in (1, batch, 0))
    assert joined(alone.rows()) == joined(some.rows()) == joined(full.rows())
    assert joined(alone.rtts()) == joined(some.rtts()) == joined(full.rtts())


def joined(blocks: Iterator[Rows]) -> list[tuple[Any, ...]]:
    """Return all rows, by tick, flow and what else they have."""
    return sorted(tuple(map(str, row)) for block in blocks for row in block)


@pytest.mark.parametrize("ticks", [15, 16, 17, 63, 64, 65, 129])
def test_nothing_is_lost_at_the_end_of_a_batch(ticks: int) -> None:
    found = driven([("admit",), *(step for _ in range(ticks - 1) for step in (("segment", 0, 20_000, 0), ("look",)))])
    (rows,) = found.flows.rows()
    assert rows["tick"].tolist() == list(range(ticks))
    (rtts,) = found.flows.rtts()
    # One round trip in each interval, but for the last one.
    assert rtts["tick"].tolist() == list(range(ticks - 1))
    assert rtts["count"].tolist() == [1] * (ticks - 1)


@dataclass
class Interrupted:
    """Memory of which each copy is preceded by what the kernel does meanwhile."""

    memory: memoryview
    meanwhile: Callable[[], object]

    def __getitem__(self, place: slice) -> memoryview:
        self.meanwhile()
        return self.memory[place]


@given(st.lists(st.integers(1, 60_000), min_size=40, max_size=40), st.booleans())
@settings(deadline=None)
def test_what_the_kernel_counts_while_a_tick_copies_is_told_once(rtts_us: list[int], closes: bool) -> None:
    kernel, left = Kernel(), list(rtts_us)
    kernel.admit()
    whole = WholeCopies(kernel.control[0], kernel.records, kernel.sets)

    def meanwhile() -> None:
        # So many that samples are counted now and then between the copy of the histograms and that of the records.
        for _ in range(min(3, len(left))):
            kernel.segment(0, left.pop(), 0)
        if closes and not left:
            kernel.close(0)

    interrupted: Any = Interrupted(whole._records, meanwhile)
    whole._records = interrupted
    told: list[int] = []
    for tick in range(16):
        if not whole.fits(1):
            assert not whole.holds or whole.taken(np.zeros(4, bool))
            whole.make_room(1)
        whole.take(tick, 1)
        taken = whole.taken(np.zeros(4, bool))
        assert taken is not None
        if taken.rows["histogram"][0, 0]:
            _, counts = taken.counted(np.array([0]), np.array([0]))
            told.append(int(counts.sum()))
            sent = len(rtts_us) - len(left)
            # What was counted between the two copies comes with the next tick, eight values at most.
            assert sent - 8 <= told[-1] <= sent
    assert told[-1] == len(rtts_us)


@settings(deadline=None)
@given(st.lists(steps, max_size=120).map(lambda more: [("admit",), *more]))
def test_curves_add_up_to_the_metrics_of_the_trial(trace: list[tuple[Any, ...]]) -> None:
    sampled = driven(trace)
    found = made(sampled)
    for name in ("retrans_segs", "retrans_fast_segs", "data_segs_out"):
        assert found[f"tcp.{name}"].values.sum() == sum(socket.counters[name] for socket in sampled.sockets)
    lengths_ns = np.diff(np.concatenate(([10**9], sampled.samples.ticks_ns)))
    length_of = dict(zip((sampled.samples.ticks_ns - 10**9).tolist(), np.maximum(lengths_ns, 1).tolist(), strict=True))
    rate = found["tcp.delivery_rate_bps"]
    acked = sum(
        value * length_of[moment] / 8e9 for moment, value in zip(rate.t_ns.tolist(), rate.values.tolist(), strict=True)
    )
    # Each connection's SYN is a byte, too.
    assert acked == pytest.approx(sum(socket.whole_bytes_acked + 1 for socket in sampled.sockets), abs=0.1)
    for names, prefix in ((decode.STATES, "state"), (("rwnd", "sndbuf", "cwnd", "app"), "limited")):
        if parts := [found[f"tcp.{prefix}_{name}_pct"].values for name in names if f"tcp.{prefix}_{name}_pct" in found]:
            assert np.sum(parts, axis=0) == pytest.approx(np.full(len(parts[0]), 100.0))
    if "tcp.rtt_us.p50" in found:
        assert (found["tcp.rtt_us.p50"].values <= found["tcp.rtt_us.p99"].values).all()


def test_a_connection_that_moves_no_more_is_flat_and_one_that_is_closed_ends() -> None:
    steps = [("admit",), ("segment", 0, 20_000, 1), ("look",), ("look",), ("close", 0), ("look",), ("look",)]
    found = made(driven(steps))
    assert found["tcp.retrans_segs"].values.tolist() == [1.0, 0.0, 0.0]
    assert found["tcp.srtt_us"].values.tolist() == [20_003.0] * 3
    assert found["tcp.state_open_pct"].values[:2].tolist() == [100.0, 100.0]


def test_what_there_is_no_time_for_is_said() -> None:
    busy = [("admit",), ("admit",), ("admit",), *(("segment", index, 20_000, 0) for index in range(3)), ("look",)]
    (warning,) = driven(busy, most=2).warnings
    assert "in 1 intervals 1 connections' ends" in warning
    assert driven(busy).warnings == ()


def test_a_connection_from_before_the_trial_brings_nothing_along() -> None:
    kernel = Kernel()
    kernel.admit()
    kernel.records["syn_ns"] = kernel.records["established_ns"] = 0
    kernel.records["now"]["bytes_acked"] = 5_000_000
    series = TcpSeries(
        kernel.control[0], kernel.records, kernel.sets, kernel.bring_up_to_date,
        lambda record: decode.key_of(record, HOSTS),
    )  # fmt: skip
    for tick in range(2):
        series.sample(Moment(tick=tick, now_ns=kernel.now_ns + 10**8 * tick, length_ns=10**8))
        kernel.segment(0, 20_000, 0)
    last = kernel.snapshot()
    sockets = tuple(sockets_between(last, last, HOSTS, 4000, frozenset()))
    samples = Samples(began_ns=10**9, ticks_ns=np.array([10**9 + 10**8, 10**9 + 2 * 10**8]), flows=(read(series),))
    found = made(Sampled(samples, sockets, ()))
    assert found["tcp.delivery_rate_bps"].values.tolist() == [0.0, 1448 * 8 * 10]
