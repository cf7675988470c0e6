"""Alerts: their schema, what led to each, and that what a flood leaves out adds up."""

from __future__ import annotations

import json
from collections import Counter, defaultdict

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from told_records import BUCKET, MS, SERVER, START_NS, TO_CLIENT, halves, stream, told

from perfcheck.analyse import events_of
from perfcheck.analyse.alerts import MOST_RELATED
from perfcheck.collect.events.collector import counted
from perfcheck.model.catalogue import CATALOGUE
from perfcheck.model.causes import CAUSES
from perfcheck.model.event import Event, EventKind, EventStream, EventType, ListenOverflow
from perfcheck.model.flow import flow_id
from perfcheck.model.observation import Observation

NETFILTER, OVERLIMIT = 7, 8
ONE_OF_EACH = (
    told(EventKind.DROP, 1, SERVER, seq=1000, length=500, value=OVERLIMIT, segments=1),
    told(EventKind.CA_STATE, 2, value=3, before=0, srtt_us=10_000, cwnd_segs=20, inflight_segs=18),
    told(EventKind.RETRANSMISSION, 3, seq=1000, length=500, value=0, segments=1, srtt_us=10_000, cwnd_segs=20),
    told(EventKind.RTO, 300, seq=1000, before=3, srtt_us=10_000, cwnd_segs=20),
    told(EventKind.RECEIVE_QUEUE_FULL, 301, SERVER, value=4096),
    told(EventKind.RECEIVE_QUEUE_FULL, 302, SERVER, flow=0, value=4096, protocol=17, target_port=53),
    told(EventKind.RESET_RECEIVED, 303, value=1),
    told(EventKind.RESET_SENT, 304, SERVER, flow=TO_CLIENT, value=7),
    told(EventKind.CPU_WAIT, 305, SERVER, flow=0, pid=77, value=12_000, comm=b"nginx"),
)


def alerts(found: EventStream) -> list[Event]:
    every = list(events_of([Observation(collector="events", events=found)]))
    return [event for event in every if event.type is EventType.ALERT]


def test_each_kind_says_what_happened_to_whom() -> None:
    overflow = ListenOverflow(ns=START_NS + 306 * MS, host="server", count=3, port=80)
    drop, state, again, rto, full, udp, cut, sent, waited, refused = alerts(stream(*ONE_OF_EACH, overflows=(overflow,)))
    assert (drop.metric, drop.context["reason"], drop.cause) == (
        "qdisc.drops_full",
        "QDISC_OVERLIMIT",
        "queue_overflow",
    )
    assert (state.context["before"], state.context["state"]) == ("Open", "Recovery")
    assert state.metrics == {"tcp.srtt_us": 10_000, "tcp.cwnd_segs": 20, "tcp.inflight_segs": 18}
    assert (again.context["retransmission"], again.value) == ("fast", 1)
    assert (rto.metric, rto.context["state"]) == ("tcp.rto_events", "Recovery")
    assert (full.metric, full.context["rcvbuf_bytes"]) == ("socket.rcvqueue_full", 4096)
    assert (udp.metric, udp.context["port"], udp.flow) == ("udp.rcvqueue_full", 53, None)
    assert (cut.context["state"], cut.cause) == ("ESTABLISHED", "connection_reset")
    assert (sent.context["state"], sent.cause) == ("CLOSE", None)
    assert (waited.value, waited.context["comm"], waited.context["pid"]) == (12_000, "nginx", 77)
    assert (refused.value, refused.context["port"], refused.cause) == (3, 80, "accept_backlog")
    assert [event.context["host"] for event in (drop, state, refused)] == ["server", "client", "server"]


def test_every_cause_and_every_layer_is_known() -> None:
    found = alerts(stream(*ONE_OF_EACH))
    assert {event.cause for event in found} - {None} <= set(CAUSES)
    assert len({event.layer for event in found}) > 3
    known = [event.metric for event in found if event.metric in CATALOGUE or f"{event.metric}.p50" in CATALOGUE]
    # A change of state and a reset that was sent are not metrics, only events.
    assert len(known) >= len(found) - 2


def test_a_retransmission_leads_back_to_the_drop_of_its_bytes_and_has_its_cause() -> None:
    drop, state, again, *_ = alerts(stream(*ONE_OF_EACH))
    assert drop.number in again.related
    assert again.cause == "queue_overflow"
    assert state.number in again.related, "the flow's state changed within the round trip before"
    other = alerts(stream(ONE_OF_EACH[0], told(EventKind.RETRANSMISSION, 3, seq=1500, length=500, segments=1)))[-1]
    assert other.cause is None, "other bytes than those that were dropped"
    back = alerts(stream(ONE_OF_EACH[0], told(EventKind.RETRANSMISSION, 3, flow=TO_CLIENT, seq=1000, segments=1)))[-1]
    assert back.cause is None, "the other direction"


def test_only_the_events_of_one_round_trip_are_related() -> None:
    times = (0, 5, 11, 14)
    found = alerts(stream(*(told(EventKind.CA_STATE, at, value=1, srtt_us=10_000) for at in times)))
    assert [event.related for event in found] == [(), (0,), (1,), (1, 2)]


def test_of_many_events_in_one_round_trip_the_latest_are_related() -> None:
    records = [told(EventKind.DROP, at / 100, SERVER, value=NETFILTER, seq=at) for at in range(100)]
    last = alerts(stream(*records, told(EventKind.RTO, 2, srtt_us=50_000)))[-1]
    assert last.related == tuple(range(100 - MOST_RELATED, 100))


def test_the_schema_is_one_for_all() -> None:
    every = list(events_of([Observation(collector="events", events=stream(*ONE_OF_EACH))]))
    lines = [json.loads(event.to_json(epoch_ns=1_700_000_000 * 10**9 - START_NS, run="r", trial=0)) for event in every]
    assert {frozenset(line) for line in lines} == {frozenset({
        "number", "timestamp", "timestamp_ns", "tool", "type", "flow", "layer", "metric", "metrics", "value", "context",
        "related", "diagnosis",
    })}  # fmt: skip
    first = lines[0]
    assert first["timestamp"] == "2023-11-14T22:13:20.001000Z"
    assert first["flow"] == {
        "src_ip": "198.18.0.1", "dst_ip": "198.18.0.2", "src_port": 4000, "dst_port": 80, "protocol": "tcp",
        "id": first["flow"]["id"],
    }  # fmt: skip
    assert (first["type"], first["tool"]) == ("alert", "perfcheck")
    assert first["diagnosis"] == {"cause": "queue_overflow"}
    assert first["metrics"] == {"qdisc.drops_full": 1}
    assert first["context"]["run"] == "r"
    numbers = [line["number"] for line in lines]
    assert numbers == sorted(set(numbers))
    assert all(related < line["number"] for line in lines for related in line["related"])
    sums = {line["context"]["kind"]: line["value"] for line in lines if line["type"] == "summary"}
    assert sums == Counter(line["context"]["kind"] for line in lines if line["type"] == "alert")


def test_both_directions_are_one_flow() -> None:
    one, other = alerts(stream(told(EventKind.RTO, 1), told(EventKind.RESET_RECEIVED, 2, SERVER, flow=TO_CLIENT)))
    assert one.flow is not None
    assert other.flow is not None
    assert (one.flow.local, one.flow.local_port) == (other.flow.remote, other.flow.remote_port)
    assert flow_id(one.flow) == flow_id(other.flow)


def test_an_ipv6_flow_is_named_by_its_addresses() -> None:
    record = told(EventKind.RTO, 1)
    record["source"], record["target"] = halves("2001:2::1"), halves("2001:2::2")
    (event,) = alerts(stream(record))
    assert event.flow is not None
    assert (event.flow.local, event.flow.remote) == ("2001:2::1", "2001:2::2")


@given(st.lists(st.tuples(st.integers(0, 3), st.sampled_from([EventKind.DROP, EventKind.RTO]),
                          st.sampled_from(["told", "sampled", "lost"])), max_size=60))  # fmt: skip
def test_what_is_told_left_out_and_lost_is_all_that_was_seen(happened: list[tuple[int, EventKind, str]]) -> None:
    cpus = 4
    buckets = np.zeros(9 * cpus, BUCKET)
    records = []
    tails: dict[tuple[int, EventKind], int] = defaultdict(int)
    for at, (cpu, kind, fate) in enumerate(happened):
        bucket = buckets[kind * cpus + cpu]
        if fate == "told":
            records.append(told(kind, at, cpu=cpu, ordinal=int(bucket["seen"]), value=NETFILTER))
            tails[cpu, kind] = 0
        else:
            tails[cpu, kind] += 1
        bucket["seen"] += 1
        bucket["no_room"] += fate == "lost"
    made = stream(*records)
    counts = counted(buckets, made.records)
    for kind in (EventKind.DROP, EventKind.RTO):
        fates = Counter(fate for _, mine, fate in happened if mine is kind)
        if not fates:
            assert kind not in counts
            continue
        count = counts[kind]
        assert (count.seen, count.told, count.lost) == (fates.total(), fates["told"], fates["lost"])
        assert count.sampled_out == fates["sampled"]
        assert count.share_pct == pytest.approx(100 * fates["told"] / fates.total())
        mine = [event for event in alerts(made) if event.context["kind"] == kind.label]
        gaps = sum(int(event.context.get("sampled_out", 0)) for event in mine)
        tail = sum(left for (_, other), left in tails.items() if other is kind)
        # A record says what was not told before it, for whatever reason.
        assert len(mine) + gaps + tail == count.seen
