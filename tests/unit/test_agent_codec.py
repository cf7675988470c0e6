"""What crosses to another machine comes out as it went in, and nothing else comes out."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from perfcheck.agent import requests as ask
from perfcheck.agent.codec import decode, encode
from perfcheck.agent.frames import Frame, read_frame, write_frame
from perfcheck.errors import LabError
from perfcheck.model.budget import Budget
from perfcheck.model.event import EventCount, EventKind, EventStream
from perfcheck.model.flow import FlowKey, Histogram, Protocol, TcpSocket
from perfcheck.model.observation import HostCounters, Observation, Overhead, ProgramCost, Scope


def through(kind: type[Any], value: object) -> Any:
    return decode(kind, json.loads(json.dumps(encode(value))))


def observation() -> Observation:
    histogram = Histogram(
        unit="us", edges=(1.0, 2.5, 4.0), counts=(3, 1), above=2, minimum=1.0, maximum=9.0, total=20.0
    )
    key = FlowKey(protocol=Protocol.TCP, host="a", local="::1", local_port=1, remote="::2", remote_port=2)
    socket = TcpSocket(
        key=key, cookie=7, established_ns=1, first_ns=2, last_ns=3, closed=True, congestion="bbr", rtt_us=histogram,
        srtt_us=histogram, cwnd=histogram, inflight=histogram, counters={"retrans": 1}, gauges={"min_rtt_us": 5},
        whole_bytes_acked=1, whole_bytes_received=2, whole_retrans_segs=3, whole_segs_out=4,
    )  # fmt: skip
    return Observation(
        collector="tcp", tcp_sockets=(socket,), distributions={"cpu.runq_delay_us": histogram},
        host_counters=(HostCounters(host="a", counters={"Tcp.RetransSegs": 1}),),
        by_interface={("a", "eth1"): {"qdisc.drops": 1.0}}, by_host={"a": {"cpu.busy_pct": 3.5}},
        overhead=Overhead(programs=(ProgramCost(program="tcp_probe", calls=1, run_ns=2),)), warnings=("ä",),
    )  # fmt: skip


def test_an_observation_survives() -> None:
    assert through(Observation, observation()) == observation()


def test_arrays_of_structs_survive() -> None:
    records = np.zeros(3, np.dtype([("at", "u8"), ("flag", "u1"), ("pair", "i4", (2,)), ("name", "S16")], align=True))
    records["pair"] = [[1, 2], [3, 4], [5, 6]]
    stream = EventStream(records=records, hosts=("a",), start_ns=5, counts={EventKind.RTO: EventCount(seen=2, told=1)})
    found = through(EventStream, stream)
    assert found.records.dtype == records.dtype
    assert (found.records == records).all()
    assert found.counts == stream.counts


def test_requests_survive() -> None:
    scope = Scope(namespaces={}, netns_paths={}, warmup_ns=5, phases_ns={"before": 7})
    for request in (
        ask.Begin(host="a", scope=scope),
        ask.Attach(layers=None, mode="summary", events=False, budget=Budget(cpu_pct=1.0)),
        ask.Start(number=3, argv=("true",), cpus=(0, 1)),
        ask.Ran(status=-9, stdout=b"\x00\xff", stderr=b""),
        ask.Apply(interface="e", sysctls={"a.b": "1 2"}, settings=("x",), setup=(), teardown=()),
    ):
        assert through(type(request), request) == request


@dataclass(frozen=True, slots=True, kw_only=True)
class Small:
    count: int
    names: tuple[str, ...] = ()
    maybe: float | None = None


@pytest.mark.parametrize(
    "value",
    [
        None, 5, "x", [], {}, {"count": "5"}, {"count": 1.5}, {"count": True}, {"count": 1, "names": "abc"},
        {"count": 1, "names": [1]}, {"count": 1, "maybe": "x"}, {"count": 1, "other": 2}, {"count": {}},
        {"count": {"array": "!!", "shape": [1], "dtype": "<u8"}},
    ],
)  # fmt: skip
def test_what_is_no_such_value_is_refused(value: object) -> None:
    with pytest.raises(LabError, match="sent no Small"):
        decode(Small, value)


@given(st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3), max_leaves=8,
))  # fmt: skip
def test_any_json_is_a_value_or_an_error(value: object) -> None:
    for kind in (Small, Observation, ask.ClockLook, ask.Description):
        try:
            found = decode(kind, value)
        except LabError:
            continue
        assert isinstance(found, kind)


def test_an_array_of_objects_is_refused() -> None:
    with pytest.raises(LabError):
        decode(EventStream, {"records": {"array": "", "shape": [0], "dtype": "|O"}, "hosts": [], "start_ns": 1})


def test_a_mapping_with_other_keys_than_texts_survives() -> None:
    assert through(Mapping[str, int], {"a": 1}) == {"a": 1}


def test_frames_follow_one_another() -> None:
    reading, writing = os.pipe()
    frames = [Frame(header={"id": 1, "answer": [1, None]}), Frame(header={}, payload=bytes(70_000)[:50_000])]
    try:
        for frame in frames:
            write_frame(writing, frame)
        os.close(writing)
        assert [read_frame(reading), read_frame(reading), read_frame(reading)] == [*frames, None]
    finally:
        os.close(reading)


@pytest.mark.parametrize(
    "content", [b"\xff" * 8, b"\x00\x00\x00\x02\x00\x00\x00\x00[]", b"\x00\x00\x00\x01\x00\x00\x00\x00{"]
)
def test_what_is_no_frame_is_refused(content: bytes) -> None:
    reading, writing = os.pipe()
    try:
        os.write(writing, content)
        os.close(writing)
        with pytest.raises(LabError):
            read_frame(reading)
    finally:
        os.close(reading)


def test_a_frame_that_is_cut_off_is_the_end() -> None:
    reading, writing = os.pipe()
    try:
        os.write(writing, b"\x00\x00\x00\x09\x00\x00\x00\x00{")
        os.close(writing)
        assert read_frame(reading) is None
    finally:
        os.close(reading)
