"""Differences of two looks at a layer's maps: what lies between them adds up to the whole window."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from perfcheck.collect.base import programs
from perfcheck.collect.base.collector import LookingCollector, Seen
from perfcheck.collect.base.histogram import bucket_of
from perfcheck.collect.base.look import Look, grown
from perfcheck.collect.base.window import Window
from perfcheck.collect.sockdiag.skmeminfo import DiagLook
from perfcheck.collect.socket.buffers import Looks
from perfcheck.model.flow import Protocol
from perfcheck.model.observation import Scope
from perfcheck.system.netns import NetnsThread

SPREAD = np.dtype([("total", "u8"), ("minimum", "u4"), ("maximum", "u4")])
DISTRIBUTION = np.dtype([("spread", SPREAD), ("counts", "u4", (1024,))])
QUEUE = np.dtype([("device", "u8"), ("depth", "u4"), ("sent", "u4"), ("__pad_end", "S4"), ("sojourn_us", DISTRIBUTION)])
NO_MINIMUM: Final = 0xFFFFFFFF
WRAPS: Final = 1 << 32


def empty() -> npt.NDArray[Any]:
    records = np.zeros(2, QUEUE)
    records["device"] = (5, 6)
    records["sojourn_us"]["spread"]["minimum"] = NO_MINIMUM
    return records


def add(records: npt.NDArray[Any], index: int, values: list[int]) -> None:
    record = records[index]
    record["sent"] = (int(record["sent"]) + len(values)) % WRAPS
    record["depth"] = len(values)
    spread = record["sojourn_us"]["spread"]
    for value in values:
        record["sojourn_us"]["counts"][bucket_of(value)] += 1
        spread["total"] += value
        spread["minimum"], spread["maximum"] = min(int(spread["minimum"]), value), max(int(spread["maximum"]), value)


batches = st.lists(st.tuples(st.integers(0, 1), st.lists(st.integers(0, WRAPS - 1), max_size=6)), max_size=8)


@given(batches, st.integers(0, WRAPS - 1))
def test_what_grew_between_looks_adds_up_and_holds_its_values(parts: list[tuple[int, list[int]]], sent: int) -> None:
    records = empty()
    records["sent"] = sent
    looks = [records.copy()]
    for index, values in parts:
        add(records, index, values)
        looks.append(records.copy())
    pieces = [grown(first, second, {"device", "depth"}) for first, second in itertools.pairwise(looks)]
    whole = grown(looks[0], looks[-1], {"device", "depth"})
    assert whole["device"].tolist() == [5, 6]
    assert whole["sent"].tolist() == [sum(int(piece["sent"][place]) for piece in pieces) for place in (0, 1)]
    for place in (0, 1):
        histogram = programs.histogram_of(whole["sojourn_us"][place : place + 1], "us")
        each = [programs.histogram_of(piece["sojourn_us"][place : place + 1], "us") for piece in pieces]
        values = [value for index, more in parts if index == place for value in more]
        if histogram is None:
            assert not values
            continue
        assert histogram.count == len(values) == sum(one.count for one in each if one is not None)
        assert (histogram.minimum, histogram.maximum, histogram.total) == (min(values), max(values), sum(values))
    for piece, (index, values) in zip(pieces, parts, strict=True):
        found = programs.histogram_of(piece["sojourn_us"][index : index + 1], "us")
        if found is None:
            assert not values
            continue
        assert found.minimum <= min(values)
        assert found.maximum >= max(values)
        assert found.total == sum(values)


def test_a_look_after_none_is_the_whole_window() -> None:
    look = Look(taken_ns=50, length_ns=40, maps={"queues": empty()}, covered_ns=30, lost=2)
    assert look.since(None) is look
    later = Look(taken_ns=80, length_ns=70, maps={"queues": empty()}, covered_ns=55, lost=5)
    grew = later.since(look)
    assert (grew.length_ns, grew.covered_ns, grew.lost) == (30, 25, 3)


def test_elements_that_came_later_grew_from_nothing() -> None:
    records = empty()
    add(records, 1, [7, 7])
    grew = grown(empty()[:1], records, {"device", "depth"})
    assert grew["sent"].tolist() == [0, 2]


@dataclass
class Counting(LookingCollector[int]):
    """A source that counts 10 more at each look."""

    name: str = "counting"
    counted: int = 0
    compared: list[tuple[int, int]] = field(default_factory=list)

    def __post_init__(self) -> None:
        super().__init__()

    def check(self) -> None:
        pass

    def look(self, namespaces: NetnsThread, paths: Any) -> int:
        del namespaces, paths
        self.counted += 10
        return self.counted

    def compare(self, before: int, after: int, length_ns: int) -> Seen:
        assert length_ns > 0
        self.compared.append((before, after))
        return Seen(metrics={"nic.rx_packets": after - before})


def test_a_snapshot_in_the_warmup_stands_for_its_end() -> None:
    source = Counting()
    source.begin(Scope(namespaces={}, netns_paths={}, warmup_ns=3600 * 10**9))
    early = source.snapshot()
    assert early is None
    source._window = Window(0, source._first_look)
    later = source.snapshot()
    assert source.between(early, early).metrics == {}
    assert source.between(early, later).metrics == {"nic.rx_packets": 10}
    assert source.between(later, source.snapshot()).metrics == {"nic.rx_packets": 10}
    assert source.end().metrics == {"nic.rx_packets": 30}
    assert source.compared[0] == (10, 20)


def looked(*drops: int) -> Looks:
    looks = Looks()
    for turn, dropped in enumerate(drops):
        looks.begin()
        looks.add("server", Protocol.UDP, [diag(rcv_bytes=100 * turn, drops=dropped)])
    return looks


def diag(**more: int) -> DiagLook:
    values = {"recvq": 0, "sendq": 0, "rcvbuf_bytes": 1000, "snd_bytes": 0, "sndbuf_bytes": 2000, **more}
    return DiagLook(cookie=9, state=1, local=("198.18.0.2", 1), remote=("198.18.0.1", 2), socket_id=bytes(48), **values)


@pytest.mark.parametrize("cut", [0, 1, 2, 4])
def test_looks_at_buffers_add_up(cut: int) -> None:
    looks = looked(3, 5, 5, 9)
    (whole,) = looks.buffers({})
    parts = [*looks.buffers({}, 0, cut), *looks.buffers({}, cut, 4)]
    assert whole.drops == 6
    assert sum(part.drops for part in parts) == whole.drops
    assert sum(part.rcv_use_pct.count for part in parts) == whole.rcv_use_pct.count == 4
