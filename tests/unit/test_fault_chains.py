"""The campaign of chains: what it injects, and how it compares a chain with the injected order."""

from __future__ import annotations

from typing import Any, Final

import pytest
from chain_scores import (
    Injected,
    compact,
    event_of,
    injected_orders,
    label_of,
    lag_ms,
    markdown,
    own_scored,
    pairs_in_time,
    scored,
)
from fault_chains import late_faults

from perfcheck.diagnose import load_rules
from perfcheck.diagnose.correlation import name_of
from perfcheck.faults import load_library
from perfcheck.model.event import Event, EventType
from perfcheck.model.flow import FlowKey, Protocol
from perfcheck.model.metric import Layer

KNOWN: Final[Injected] = injected_orders()


def judgement(cause: str, *chain: str) -> dict[str, Any]:
    return {"diagnosis": [{"cause": cause, "chain": chain}], "injected_chain": chain}


def test_the_injected_orders_speak_of_states_of_the_graph() -> None:
    states = load_rules().causality.states
    for cause, ranks in KNOWN.orders.items():
        assert ranks[cause] == 0
        assert ranks.keys() - {cause} <= states.keys()


def test_faults_that_begin_later_are_scenarios_with_a_phase_before_them() -> None:
    made = list(late_faults(KNOWN, load_library()))
    assert {each.causes[0] for each in made} == set(KNOWN.orders)
    for each in made:
        scenario = each.scenario()
        assert scenario.phases_ns["fault"] == KNOWN.onset_s * 10**9
        assert str(KNOWN.onset_s) in each.text()


@pytest.mark.parametrize(
    ("chain", "root", "order"),
    [
        (("queue_overflow", "loss", "cwnd cut (+21.0 ms)", "low throughput"), True, True),
        (("queue_overflow", "loss (within 100 ms)", "low throughput (about +0.30 s)"), True, True),
        (("queue_overflow", "cwnd cut", "loss"), True, False),
        (("shaper", "queue", "loss"), False, False),
        (("queue_overflow", "receive buffer full", "loss"), True, False),
        (("queue_overflow", "loss", "cwnd cut (+-3.0 ms)"), True, False),
        (("queue_overflow", "low_throughput"), True, True),
    ],
)
def test_a_chain_is_compared_pair_by_pair(chain: tuple[str, ...], *, root: bool, order: bool) -> None:
    found = scored(judgement("queue_overflow", *chain), "queue_overflow", KNOWN)
    assert (found.root_right, found.order_right) == (root, order), found.wrong


def test_without_a_chain_nothing_is_right() -> None:
    found = scored(judgement("healthy"), "queue_overflow", KNOWN)
    assert (found.named, found.shown, found.root_right, found.order_right) == ("healthy", False, False, False)
    own = own_scored({"injected_chain": ["queue_overflow", "loss"]}, "queue_overflow", KNOWN)
    assert (own.named, own.order_right) == ("queue_overflow", True)


def test_a_step_has_a_label_and_may_have_a_lag() -> None:
    assert label_of("receive buffer full (not measured)") == "receive buffer full"
    assert lag_ms("cwnd cut (+21.0 ms)") == 21
    assert lag_ms("late answers (about +1.20 s)") == 1200
    assert lag_ms("late answers (within 100 ms)") == 100
    assert lag_ms("loss") is None
    with pytest.raises(ValueError, match="no step"):
        label_of("loss -> cwnd cut")


def test_times_after_a_later_begin_are_compared_without_the_graph() -> None:
    onsets = {
        "mtu_blackhole": 3_000_000_000,
        "loss": 3_000_000_001,
        "rto": 3_400_000_000,
        "low throughput": 3_100_000_000,
    }
    chain = ["mtu_blackhole", "loss", "rto (+400.0 ms)", "low throughput"]
    row = {"onsets_ns": onsets, "fault": {"injected_chain": chain}}
    assert pairs_in_time(row) == (5, 6), "throughput was low 300 ms before the timer ran off"


def test_an_alert_that_was_kept_names_the_same_state() -> None:
    key = FlowKey(
        protocol=Protocol.TCP, host="client", local="198.18.0.1", local_port=4000, remote="198.18.0.2", remote_port=80
    )
    event = Event(
        number=7, timestamp_ns=5_000_000_000, flow=key, layer=Layer.TCP, metric="tcp.ca_state_events", value=1.0,
        type=EventType.ALERT, metrics={"tcp.srtt_us": 20_000.0}, context={"kind": "ca_state", "host": "client",
        "state": "Recovery", "seq": 5, "bytes": 9, "hook": "x"},
    )  # fmt: skip
    again = event_of(compact(event.as_dict(), 2_000_000_000))
    assert name_of(again) == name_of(event)
    assert (again.timestamp_ns, again.flow, again.metrics) == (3_000_000_000, key, {"tcp.srtt_us": 20_000.0})
    assert again.context["seq"] == 5


def test_the_table_counts_each_cause_and_all() -> None:
    row = {
        "valid": True, "causes": ["queue_overflow"], "before": judgement("healthy"), "onsets_ns": {},
        "fault": judgement("queue_overflow", "queue_overflow", "loss"), **judgement("shaper", "shaper", "loss"),
        "injected_chain": ["queue_overflow", "loss"],
    }  # fmt: skip
    lines = list(markdown([row, {**row, "valid": False}], KNOWN))
    assert lines[-1] == "| all | 1 | 0 | 0 | 0 | 0 | 1 | 1 | 1 | 1 | 1 | 1 | 1 | 0 of 0 |"
    assert len(lines) == 2 + len(KNOWN.orders) + 1
