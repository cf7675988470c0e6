"""The TCP collector read while it counts: the intervals between snapshots add up to the trial."""

from __future__ import annotations

import itertools
from dataclasses import replace
from typing import Any

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from tcp_maps import HOSTS, PENDING, Kernel, steps

from perfcheck.collect.base import histogram
from perfcheck.collect.tcp import decode
from perfcheck.collect.tcp.snapshot import TcpSnapshot, settle, sockets_between
from perfcheck.model.flow import Histogram, TcpSocket


def driven(trace: list[tuple[Any, ...]]) -> list[TcpSnapshot]:
    kernel = Kernel()
    found = [kernel.snapshot()]
    for name, *arguments in trace:
        if name == "look":
            found.append(kernel.snapshot())
        else:
            getattr(kernel, name)(*arguments)
    return [*found, kernel.snapshot()]


def between(first: TcpSnapshot, second: TcpSnapshot) -> dict[int, TcpSocket]:
    return {one.cookie: one for one in sockets_between(first, second, HOSTS, 4000, frozenset())}


def histograms(socket: TcpSocket) -> tuple[Histogram, ...]:
    assert socket.slow_start_rtt_us is not None
    return socket.rtt_us, socket.srtt_us, socket.cwnd, socket.inflight, socket.slow_start_rtt_us


@given(st.lists(steps, max_size=120).map(lambda more: [("admit",), *more]))
def test_intervals_add_up_to_the_trial(trace: list[tuple[Any, ...]]) -> None:
    looks = driven(trace)
    whole = between(looks[0], looks[-1])
    parts = [between(first, second) for first, second in itertools.pairwise(looks)]
    assert whole
    for cookie, socket in whole.items():
        mine = [part[cookie] for part in parts if cookie in part]
        for name, value in socket.counters.items():
            assert sum(part.counters[name] for part in mine) == value, name
        assert sum(part.whole_bytes_acked for part in mine) == socket.whole_bytes_acked
        assert sum("handshake_us" in part.gauges for part in mine) == 1
        for each, all_of in zip(zip(*map(histograms, mine), strict=True), histograms(socket), strict=True):
            assert tuple(np.sum([one.counts for one in each], axis=0).tolist()) == all_of.counts
            assert sum(one.above for one in each) == all_of.above
            assert sum(one.total for one in each) == all_of.total
            assert all(one.minimum >= all_of.minimum and one.maximum <= all_of.maximum for one in each if one.count)
        assert replace(mine[-1], counters={}, gauges={}).closed == socket.closed
    assert sum(second.lost - first.lost for first, second in itertools.pairwise(looks)) == looks[-1].lost


@given(st.lists(steps, max_size=80).map(lambda more: [("admit",), *more]))
def test_from_the_begin_to_the_end_is_what_the_end_tells(trace: list[tuple[Any, ...]]) -> None:
    looks = driven([step for step in trace if step[0] != "look"])
    last = looks[-1]
    alone = {
        int(record["cookie"]): decode.socket_of(record, last.histograms, HOSTS, 4000, frozenset())
        for record in last.records
    }
    assert between(looks[0], last) == alone


def test_a_connection_that_was_closed_before_an_interval_is_not_in_it() -> None:
    looks = driven([("admit",), ("segment", 0, 20_000, 0), ("close", 0), ("look",), ("admit",), ("segment", 1, 5, 0)])
    assert list(between(looks[1], looks[2])) == [102]


@given(st.lists(st.integers(1, 10**6), min_size=1), st.lists(st.integers(1, 10**6), min_size=1))
def test_extremes_of_a_difference_hold_its_values(before: list[int], later: list[int]) -> None:
    scale = histogram.edges(histogram.RTT_BUCKETS)
    first = histogram.of_values("us", scale, np.array(before))
    found = histogram.since(first, histogram.of_values("us", scale, np.array([*before, *later])))
    assert found.count == len(later)
    assert found.minimum <= min(later)
    assert found.maximum >= max(later)
    # A bucket is at most 1/32 of its values wide.
    assert min(later) <= found.minimum * (1 + 1 / 32) + 1
    assert found.maximum <= max(later) * (1 + 1 / 32) + 1


def test_samples_that_the_kernel_counts_while_they_are_copied_are_counted_once() -> None:
    kernel = Kernel()
    kernel.admit()
    for _ in range(PENDING - 1):
        kernel.segment(0, 20_000, 0)
    torn, sets = kernel.records[:1].copy(), kernel.sets[:1].copy()
    kernel.segment(0, 20_000, 0)
    # The record as it was before the kernel counted its samples, the histograms as they were after.
    sets[:] = kernel.sets[:1]
    settle(torn, sets, kernel.records, kernel.sets)
    decode.count_pending(torn, sets)
    assert int(sets["times"]["rtt"].sum()) == PENDING
