"""Joining records to packets' ways, on flows whose every packet's way is known."""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import pytest
import told_records
from detail_streams import CLIENT, FLOW, KEY, MSS, SERVER, START_NS, STEP_NS, Flow
from hypothesis import given
from hypothesis import strategies as st

from perfcheck.analyse.events import events_of
from perfcheck.analyse.paths import follow
from perfcheck.analyse.stages import STAGES, WAY, complete, stage_metrics, stage_ns
from perfcheck.ebpf import cache
from perfcheck.model.catalogue import CATALOGUE
from perfcheck.model.detail import Kind
from perfcheck.model.event import EventKind, EventType
from perfcheck.model.flow import flow_id
from perfcheck.model.observation import Observation

BASES = st.one_of(st.just(0), st.just(2**32 - 1500), st.integers(0, 2**32 - 1))
LOSSES = st.lists(st.booleans(), min_size=1, max_size=30).map(lambda rest: [False, *rest])


@given(
    base=BASES, losses=LOSSES, merged=st.integers(1, 5), delay_us=st.integers(1, 5000), resend_us=st.integers(1, 9000)
)
def test_each_transmission_has_its_own_arrival(
    base: int, losses: Sequence[bool], merged: int, delay_us: int, resend_us: int
) -> None:
    flow = Flow(base, delay_us * 1000)
    # A retransmission can be told from the original only where it is sent a little later.
    flow.run(losses, resend_ns=resend_us * 1000 + 20_000, merged=merged)
    packets = follow(flow.stream()).packets
    assert len(packets) == len(flow.sendings)
    expected = sorted(flow.sendings, key=lambda one: one.ns)
    assert packets["received_ns"].tolist() == [one.arrived_ns for one in expected]
    assert packets["attempt"].tolist() == [
        sum(other.number == one.number and other.ns < one.ns for other in expected) for one in expected
    ]
    latest = max(one.ns for one in expected if one.arrived_ns)
    assert packets["lost"].tolist() == [not one.arrived_ns and one.ns < latest for one in expected]
    arrived = packets[packets["received_ns"] > 0]
    assert complete(arrived).all()
    stages = np.stack([stage_ns(arrived, begin, end) for _, begin, end in STAGES])
    assert (stages >= 0).all()
    assert (stages.sum(axis=0) == stage_ns(arrived, WAY[1], WAY[2])).all()


def test_a_retransmission_that_was_not_needed_brings_nothing_new() -> None:
    flow = Flow(1000, delay_ns=100_000)
    for number in range(3):
        flow.add(Kind.WRITE, START_NS - 4 * STEP_NS, CLIENT, number * MSS, MSS)
        flow.transmit(number, START_NS + number * 10_000, lost=False)
    flow.transmit(1, START_NS + 90_000, lost=False)  # before the original arrives
    flow.receive(merged=1)
    packets = follow(flow.stream()).packets
    assert packets["received_ns"].tolist() == [START_NS + wire for wire in (100_000, 110_000, 120_000, 190_000)]
    assert packets["duplicate"].tolist() == [False, False, False, True]
    assert packets["ready_ns"][3] == 0


def test_a_packet_that_the_host_drops_does_not_take_its_retransmissions_place() -> None:
    flow = Flow(0, delay_ns=50_000)
    flow.run([False, False], resend_ns=0, merged=1)
    flow.records = [
        one for one in flow.records if not (one[12] in {Kind.RX_TCP, Kind.READY, Kind.READ} and one[2] != 0)
    ]
    flow.transmit(1, START_NS + 300_000, lost=False)
    again = START_NS + 350_000
    for kind, steps in ((Kind.RX_NIC, 0), (Kind.RX_IP, 1), (Kind.RX_TCP, 2)):
        flow.add(kind, again + steps * STEP_NS, SERVER, MSS, MSS)
    packets = follow(flow.stream()).packets
    assert packets["tcp_ns"].tolist()[1:] == [0, again + 2 * STEP_NS]
    assert not packets["lost"].any()


def test_a_packet_and_its_copy_that_wait_in_the_backlog_together_keep_their_order() -> None:
    flow = Flow(0, delay_ns=50_000)
    flow.run([False, False], resend_ns=0, merged=1)
    beyond = {Kind.RX_TCP, Kind.READY, Kind.READ}
    flow.records = [one for one in flow.records if one[12] not in beyond or one[0] < START_NS + 60_000]
    flow.transmit(1, START_NS + 20_000, lost=False)
    for kind, steps in ((Kind.RX_NIC, 0), (Kind.RX_IP, 1)):
        flow.add(kind, START_NS + 70_000 + steps * STEP_NS, SERVER, MSS, MSS)
    taken = START_NS + 90_000
    for kind, ns in ((Kind.RX_TCP, taken), (Kind.READY, taken + 1), (Kind.RX_TCP, taken + 2), (Kind.READ, taken + 9)):
        flow.add(kind, ns, SERVER, MSS if kind is Kind.RX_TCP else 2 * MSS, MSS)
    packets = follow(flow.stream()).packets
    assert packets["tcp_ns"].tolist()[1:] == [taken, taken + 2]
    assert packets["read_ns"].tolist()[1:] == [taken + 9, 0]
    assert packets["duplicate"].tolist() == [False, False, True]


def test_the_times_of_a_plain_packet() -> None:
    flow = Flow(7, delay_ns=10_000_000)
    flow.run([False] * 4, resend_ns=0, merged=1)
    metrics = stage_metrics(follow(flow.stream()))
    assert metrics["nic.wire_us.p50"] == 10_000
    assert metrics["tcp.tx_stage_us.max"] == 2
    assert metrics["qdisc.tx_stage_us.mean"] == 1
    assert metrics["nic.driver_us.p99"] == pytest.approx(0.3)
    assert metrics["app.oneway_us.p99"] == 10_008
    assert metrics["nic.wire_loss_pct"] == 0
    assert metrics["nic.followed_packets"] == 4
    assert set(metrics) <= set(CATALOGUE)


def test_share_of_packets_lost_on_the_wire() -> None:
    flow = Flow(7, delay_ns=10_000)
    flow.run([False, True, False, False], resend_ns=1_000_000, merged=1)
    assert stage_metrics(follow(flow.stream()))["nic.wire_loss_pct"] == pytest.approx(20)


def test_without_a_record_there_is_no_metric() -> None:
    assert stage_metrics(follow(Flow(0, 1).stream())) == {}


def test_packets_beyond_the_share_that_was_followed_do_not_count() -> None:
    flow = Flow(0, delay_ns=10_000)
    flow.run([False] * 2000, resend_ns=0, merged=1)
    packets = follow(flow.stream(share=0.5)).packets
    assert 0 < packets["counts"].sum() < len(packets)
    last = packets["seq"].astype(int) + packets["length"] - 1
    for bucket in np.unique(last >> 16):
        assert len(np.unique(packets["counts"][last >> 16 == bucket])) == 1


def test_events_of_a_packet_lead_from_one_to_the_next() -> None:
    flow = Flow(0, delay_ns=10_000)
    flow.run([False, True, False], resend_ns=500_000, merged=1)
    flow.add(Kind.BUSY, START_NS + 15_000, CLIENT, MSS, MSS)
    drop = told_records.told(EventKind.DROP, 0.02, SERVER, seq=MSS, length=MSS, value=7)
    again = told_records.told(EventKind.RETRANSMISSION, 0.4, CLIENT, seq=MSS, length=MSS, value=0, segments=1)
    for record in (drop, again):
        record["flow"] = FLOW
    told = Observation(collector="events", events=told_records.stream(drop, again))
    events = list(events_of([told], follow(flow.stream())))
    by_number = {event.number: event for event in events}
    assert len(by_number) == len(events)
    assert all(event.metric in CATALOGUE or f"{event.metric}.p50" in CATALOGUE for event in events)
    whole = [event for event in events if event.context.get("packet") == 0]
    assert [event.metric for event in whole] == [name for name, _, _ in STAGES]
    for before, event in pairwise(whole):
        assert event.related == (before.number,)
        assert event.timestamp_ns - before.timestamp_ns == round(event.value * 1000)
    (dropped,) = [event for event in events if event.metric == "ip.drops_netfilter"]
    (repeated,) = [event for event in events if event.metric == "tcp.retrans_segs" and event.type is EventType.ALERT]
    (busy,) = [event for event in events if event.metric == "nic.tx_busy"]
    assert by_number[dropped.related[0]].context["seq"] == dropped.context["seq"] == MSS
    assert by_number[busy.related[0]].context["seq"] == busy.context["seq"] == MSS
    assert by_number[repeated.related[0]].metric == "qdisc.tx_stage_us", "it left the sender and was not seen again"
    assert dropped.number in repeated.related


def test_an_event_as_json_says_everything() -> None:
    flow = Flow(0, delay_ns=10_000)
    flow.run([False], resend_ns=0, merged=1)
    event = next(one for one in events_of([], follow(flow.stream())) if one.metric == "nic.wire_us")
    assert event.as_dict(trial=3) == {
        "number": event.number, "timestamp": "1970-01-01T01:23:20.000010Z", "timestamp_ns": START_NS + 10_000,
        "tool": "perfcheck", "type": "detail", "layer": "nic", "metric": "nic.wire_us",
        "metrics": {"nic.wire_us": 10.0}, "diagnosis": None,
        "flow": {"src_ip": "198.18.0.1", "src_port": 4000, "dst_ip": "198.18.0.2", "dst_port": 80, "protocol": "tcp",
                 "id": flow_id(KEY)}, "value": 10.0,
        "context": {"host": "server", "hook": event.context["hook"], "packet": 0, "seq": 0, "bytes": MSS,
                    "attempt": 0, "trial": 3},
        "related": [event.number - 1],
    }  # fmt: skip


def test_kinds_are_numbered_as_in_the_kernels_part() -> None:
    text = (cache.sources() / "detail.h").read_text()
    body = re.sub(r"/\*.*?\*/", "", text[text.index("enum pc_kind_of_event") :], flags=re.DOTALL)
    names = re.findall(r"PC_AT_(\w+)", body[: body.index("}")])
    assert {name: number for number, name in enumerate(names, start=1)} == {kind.name: kind.value for kind in Kind}
    assert FLOW
