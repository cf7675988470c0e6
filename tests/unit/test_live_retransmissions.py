"""What was behind retransmissions: drops of the same bytes, waits for a CPU, full queues, also across intervals."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from live_traffic import S, interval, table

from perfcheck.live.retransmissions import Behind, Retransmission, RetransmissionJoin, shares_kept, summary_of
from perfcheck.model.event import Event, EventType
from perfcheck.model.flow import FlowKey, Protocol
from perfcheck.model.interval import Interval
from perfcheck.model.metric import Layer

MS = 1_000_000
FLOW = FlowKey(protocol=Protocol.TCP, host="", local="10.0.0.1", local_port=40000, remote="10.0.0.2", remote_port=443)
BACK = replace(FLOW, local=FLOW.remote, local_port=FLOW.remote_port, remote=FLOW.local, remote_port=FLOW.local_port)


def event(kind: str, at_ms: float, *, flow: FlowKey | None = FLOW, value: float = 1.0, metric: str = "tcp.retrans_segs",
          srtt_us: float = 0.0, **context: str | int) -> Event:  # fmt: skip
    return Event(
        number=round(at_ms * 1000), timestamp_ns=S + round(at_ms * MS), flow=flow, layer=Layer.TCP, metric=metric,
        value=value, type=EventType.ALERT, metrics={"tcp.srtt_us": srtt_us}, context={"kind": kind, **context},
    )  # fmt: skip


def again(at_ms: float, seq: int = 1000) -> Event:
    return event("retransmission", at_ms, seq=seq, bytes=1448, retransmission="fast")


def drop(at_ms: float, seq: int = 1000, *, flow: FlowKey = FLOW, length: int = 1448, host: str = "") -> Event:
    return event("drop", at_ms, flow=flow, metric="qdisc.drops_full", seq=seq, bytes=length, reason="QDISC_OVERLIMIT",
                 host=host)  # fmt: skip


def wait(at_ms: float, lasted_ms: float, *, pid: int = 77, comm: str = "nginx") -> Event:
    return event("cpu_wait", at_ms, flow=None, value=lasted_ms * 1000, metric="cpu.runq_delay_us", pid=pid, comm=comm)


def explained(*events: Event, intervals: int = 2, **columns: object) -> list[Retransmission]:
    """Return what is found in intervals of 1 s that hold the events."""
    join, found = RetransmissionJoin(), list[Retransmission]()
    for made in made_of(events, intervals, columns):
        found += join.explain(made)
    return found + list(join.finish())


def made_of(events: tuple[Event, ...], intervals: int, columns: dict[str, object]) -> list[Interval]:
    found = []
    for number in range(intervals):
        bare = interval(number, table(8, **{"pid": 77, "comm": b"nginx", **columns}))
        own = sorted(
            (each for each in events if bare.begin_ns <= each.timestamp_ns < bare.end_ns),
            key=lambda each: each.timestamp_ns,
        )
        found.append(replace(bare, events=tuple(own)))
    return found


def test_a_drop_of_the_same_segment_is_named_with_its_place() -> None:
    (one,) = explained(drop(10, host="router"), again(40))
    assert (one.behind, one.same_segment, one.host) == (Behind.SEGMENT_DROPPED, True, "router")
    assert one.place == "in a full queue (QDISC_OVERLIMIT)"


def test_a_drop_at_the_end_of_one_interval_explains_the_next() -> None:
    (one,) = explained(drop(995), again(1210))
    assert one.behind is Behind.SEGMENT_DROPPED


def test_a_drop_is_forgotten_after_seconds() -> None:
    (one,) = explained(drop(995), again(9000), intervals=10)
    assert one.behind is Behind.UNEXPLAINED


@pytest.mark.parametrize(
    ("dropped", "length", "sent", "same"),
    [(1000, 1448, 1000, True), (1000, 14480, 2448, True), (2448, 1448, 1000, False), (2000, 100, 1000, True),
     (2**32 - 500, 1448, 100, True), (100, 1448, 2**32 - 500, True), (5000, 1448, 1000, False)],
)  # fmt: skip
def test_which_bytes_are_the_same(dropped: int, length: int, sent: int, same: bool) -> None:
    (one,) = explained(drop(10, dropped, length=length), again(40, sent))
    assert one.same_segment is same
    assert one.behind is (Behind.SEGMENT_DROPPED if same else Behind.FLOW_DROPPED)


def test_a_dropped_acknowledgement_is_another_packet_of_the_flow() -> None:
    (one,) = explained(drop(10, flow=BACK), again(40))
    assert (one.behind, one.same_segment) == (Behind.FLOW_DROPPED, False)


def test_a_drop_after_it_or_of_another_flow_explains_nothing() -> None:
    other = replace(FLOW, local_port=40001)
    (one,) = explained(drop(50), drop(10, flow=other), again(40))
    assert one.behind is Behind.UNEXPLAINED


def test_the_process_off_the_cpu_before_and_after() -> None:
    (before,) = explained(wait(35, 31), again(40))
    assert (before.behind, before.off_cpu_before_us) == (Behind.OFF_CPU_BEFORE, 31_000)
    (during,) = explained(wait(60, 31), again(40))
    assert (during.behind, during.off_cpu_before_us) == (Behind.OFF_CPU_BEFORE, 31_000)
    (after,) = explained(wait(80, 31), again(40))
    assert (after.behind, after.off_cpu_after_us) == (Behind.OFF_CPU_AFTER, 31_000)
    (never,) = explained(wait(35, 31, pid=1, comm="other"), again(40))
    assert never.behind is Behind.UNEXPLAINED
    (thread,) = explained(wait(35, 31, pid=78), again(40))
    assert thread.behind is Behind.OFF_CPU_BEFORE


def test_a_wait_after_the_interval_is_waited_for() -> None:
    join = RetransmissionJoin()
    first, second = made_of((again(990), wait(1035, 20)), 2, {})
    assert join.explain(first) == ()
    (one,) = join.explain(second)
    assert one.behind is Behind.OFF_CPU_AFTER
    assert join.finish() == ()


def test_full_queues() -> None:
    (sender,) = explained(again(40), wmem_bytes=100_000.0, sndbuf_bytes=87_040.0)
    assert (sender.behind, sender.send_queue_full) == (Behind.SEND_QUEUE_FULL, True)
    (limited,) = explained(again(40), sndbuf_limited_us=500)
    assert limited.send_queue_full is True
    (receiver,) = explained(event("receive_queue_full", 30), again(40))
    assert (receiver.behind, receiver.send_queue_full) == (Behind.RECEIVE_QUEUE_FULL, False)
    unknown = replace(again(40), flow=replace(FLOW, local_port=1))
    assert explained(unknown)[0].send_queue_full is None


def test_the_summary_counts_segments_by_what_was_behind() -> None:
    events = [each for at in range(9) for each in (drop(10 + at, at * 1448), again(100 + at, at * 1448))]
    other = replace(FLOW, local_port=40001)
    silent = replace(FLOW, local_port=40002)
    late = replace(again(600), flow=other)
    found = explained(*events, wait(595, 31), late, replace(again(990), flow=silent, value=2.0))
    assert summary_of(found) == (
        "12 retransmissions: 9 after a drop of the same segment in a full queue (QDISC_OVERLIMIT), 2 unexplained on "
        "this machine, 1 with the process off the CPU before, for up to 31 ms"
    )
    assert summary_of([]) == ""


def test_the_share_of_drops_that_was_kept_is_told() -> None:
    kept = Event(
        number=1, timestamp_ns=S + 900 * MS, flow=None, layer=Layer.IP, metric="ip.drops_other", value=1000,
        type=EventType.SUMMARY, context={"kind": "drop", "told": 120, "share_pct": 12.0},
    )  # fmt: skip
    found = explained(again(40), kept)
    assert found[0].drops_kept_pct == 12
    assert summary_of(found) == "1 retransmission: 1 unexplained on this machine (12 % of the drops were kept)"
    assert shares_kept([kept]) == {"drop": 12.0}


@given(st.lists(st.tuples(st.floats(0, 4999), st.integers(0, 5), st.integers(0, 3)), max_size=60))
def test_each_retransmission_is_explained_once(made: list[tuple[float, int, int]]) -> None:
    make = (again, lambda at, _: wait(at, 30), drop, lambda at, seq: drop(at, seq, flow=BACK))
    events = [make[kind](at, seq * 1448) for at, seq, kind in made]
    found = explained(*events, intervals=5)
    expected = sorted(id(each) for each in events if each.context["kind"] == "retransmission")
    assert sorted(id(one.event) for one in found) == expected
