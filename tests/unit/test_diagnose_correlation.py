"""Events are joined into incidents by flow, bytes and time, whatever the order in which they come."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from told_records import SERVER, START_NS, TO_CLIENT, stream, told

from perfcheck.analyse import events_of
from perfcheck.diagnose.correlation import EventTable, Windows, described, incidents, lags_ns, name_of, table_of
from perfcheck.model.event import Event, EventKind, EventType, ListenOverflow
from perfcheck.model.flow import FlowKey, Protocol
from perfcheck.model.metric import Layer
from perfcheck.model.observation import Observation

MS: Final = 1_000_000
OVERLIMIT: Final = 8


def flow(port: int, *, back: bool = False) -> FlowKey:
    ends = (("198.18.0.1", port), ("198.18.0.2", 80))
    (local, local_port), (remote, remote_port) = reversed(ends) if back else ends
    return FlowKey(
        protocol=Protocol.TCP, host="client", local=local, local_port=local_port, remote=remote, remote_port=remote_port
    )


def event(
    number: int, at_ns: int, kind: str, port: int | None = 4000, *, host: str = "client", seq: int | None = None,
    length: int = 1000, rtt_us: float = 0.0, lasted_us: float = 0.0, back: bool = False,
) -> Event:  # fmt: skip
    metric = {"drop": "qdisc.drops_full", "cpu_wait": "cpu.runq_delay_us"}.get(kind, f"tcp.{kind}")
    return Event(
        number=number, timestamp_ns=at_ns, flow=None if port is None else flow(port, back=back), layer=Layer.TCP,
        metric=metric, value=lasted_us, type=EventType.ALERT, metrics={"tcp.srtt_us": rtt_us} if rtt_us else {},
        context={"kind": kind, "host": host, **({} if seq is None else {"seq": seq, "bytes": length})},
    )  # fmt: skip


def groups(events: list[Event], windows: Windows | None = None) -> set[frozenset[int]]:
    table = table_of(events)
    labels = incidents(table, windows)
    return {frozenset(table.number[labels == label].tolist()) for label in np.unique(labels)}


EVENTS: Final[st.SearchStrategy[list[dict[str, object]]]] = st.lists(
    st.builds(
        dict, at=st.integers(0, 400), kind=st.sampled_from(("drop", "rto", "retransmission", "cpu_wait", "ca_state")),
        port=st.sampled_from((4000, 4001, None)), host=st.sampled_from(("client", "server")),
        seq=st.one_of(st.none(), st.integers(0, 5000)), rtt_ms=st.sampled_from((0, 5, 40)), back=st.booleans(),
    ),
    max_size=40,
)  # fmt: skip


def made(drawn: list[dict[str, object]], factor: int = 1) -> list[Event]:
    return [
        event(
            number, int(str(one["at"])) * MS * factor, str(one["kind"]),
            None if one["port"] is None else int(str(one["port"])), host=str(one["host"]),
            seq=None if one["seq"] is None else int(str(one["seq"])), rtt_us=int(str(one["rtt_ms"])) * 1000.0 * factor,
            back=bool(one["back"]),
        )
        for number, one in enumerate(drawn)
    ]  # fmt: skip


@given(EVENTS, st.randoms(use_true_random=False))
def test_the_order_in_which_events_come_does_not_matter(drawn: list[dict[str, object]], random: object) -> None:
    events = made(drawn)
    mixed = list(events)
    random.shuffle(mixed)  # type: ignore[attr-defined]
    assert groups(events) == groups(mixed)


@given(EVENTS)
def test_each_event_is_in_one_incident(drawn: list[dict[str, object]]) -> None:
    found = groups(made(drawn))
    assert sorted(number for group in found for number in group) == list(range(len(drawn)))


@given(EVENTS, st.integers(2, 50))
def test_windows_scale_with_the_round_trip(drawn: list[dict[str, object]], factor: int) -> None:
    """What takes ten times as long on a path of ten times the round trip hangs together in the same way."""
    assert groups(made(drawn), Windows()) == groups(made(drawn, factor), Windows().scaled(factor))


@given(EVENTS, st.integers(0, 400), st.integers(1, 3))
def test_a_wider_window_never_parts_what_a_narrower_one_joins(
    drawn: list[dict[str, object]], at: int, times: int
) -> None:  # fmt: skip
    events = [*made(drawn), event(len(drawn), at * MS, "rto")]
    narrow, wide = groups(events), groups(events, replace(Windows(), rtts=2.0 * times))
    assert all(any(group <= other for other in wide) for group in narrow)


def test_two_round_trips_join_and_more_do_not() -> None:
    near = [event(0, 0, "rto", rtt_us=10_000), event(1, 20 * MS, "rto", rtt_us=10_000)]
    assert groups(near) == {frozenset({0, 1})}
    assert groups([near[0], event(1, 20 * MS + 1, "rto", rtt_us=10_000)]) == {frozenset({0}), frozenset({1})}
    assert groups([near[0], event(1, 1, "rto", port=4001)]) == {frozenset({0}), frozenset({1})}, "another flow"


def test_a_retransmission_belongs_to_the_drop_of_its_bytes_long_before() -> None:
    drop = event(0, 0, "drop", seq=1000, length=500)
    late = 300 * MS
    assert groups([drop, event(1, late, "retransmission", seq=1200)]) == {frozenset({0, 1})}
    assert len(groups([drop, event(1, late, "retransmission", seq=1500)])) == 2, "the bytes behind"
    assert len(groups([drop, event(1, late, "retransmission", seq=1200, back=True)])) == 2, "the other direction"
    assert len(groups([drop, event(1, late, "retransmission", port=4001, seq=1200)])) == 2, "another flow"
    assert len(groups([drop, event(1, 60_000 * MS, "retransmission", seq=1200)])) == 2, "too late"


def test_a_wait_for_a_cpu_belongs_to_what_its_host_does_next() -> None:
    wait = event(0, 50 * MS, "cpu_wait", None, lasted_us=40_000)
    assert groups([wait, event(1, 55 * MS, "rto")]) == {frozenset({0, 1})}
    assert groups([wait, event(1, 15 * MS, "rto")]) == {frozenset({0, 1})}, "while it lasted"
    assert len(groups([wait, event(1, 5 * MS, "rto")])) == 2, "before it began"
    assert len(groups([wait, event(1, 55 * MS, "rto", host="server")])) == 2


def test_what_the_collector_tells_becomes_one_incident() -> None:
    overflow = ListenOverflow(ns=START_NS + 9_000 * MS, host="server", count=3, port=80)
    seen = stream(
        told(EventKind.DROP, 1, SERVER, seq=1000, length=500, value=OVERLIMIT, segments=1),
        told(EventKind.CA_STATE, 6, value=3, before=0, srtt_us=10_000, cwnd_segs=20, inflight_segs=18),
        told(EventKind.RETRANSMISSION, 6.1, seq=1000, length=500, value=0, segments=1, srtt_us=10_000, cwnd_segs=20),
        told(EventKind.RESET_SENT, 5_000, SERVER, flow=TO_CLIENT, value=7),
        overflows=(overflow,),
    )
    table = table_of(events_of([Observation(collector="events", events=seen)]))
    labels = incidents(table)
    assert labels.tolist() == [0, 0, 0, 1, 2]
    first, *_ = described(table, labels, 1)
    assert first.text == ("drop qdisc.drops_full: ca_state Recovery after 5.0 ms, retransmission fast after 5.1 ms")
    assert first.numbers == (0, 1, 2)


def test_lags_are_from_the_latest_cause_within_the_incident() -> None:
    events = [
        event(0, 0, "drop"), event(1, 4 * MS, "drop"), event(2, 9 * MS, "ca_state", rtt_us=10_000),
        event(3, 5_000 * MS, "drop", port=4001), event(4, 5_001 * MS, "ca_state"),
    ]  # fmt: skip
    table = table_of(events)
    found = lags_ns(
        table, incidents(table), table.matching(lambda name: name.startswith("drop")),
        table.matching(lambda name: name.startswith("ca_state")), np.full(len(table), 100 * MS),
    )  # fmt: skip
    assert found.tolist() == [5 * MS], "the other flow's drop is no cause"


def test_no_events_are_no_incidents() -> None:
    empty = table_of(())
    assert isinstance(empty, EventTable)
    assert incidents(empty).tolist() == []
    assert name_of(event(0, 0, "drop")) == "drop qdisc.drops_full"
