"""What detail mode's losses make of a record, and what a scenario asks of detail mode."""

from __future__ import annotations

import pytest

from perfcheck.errors import ScenarioError
from perfcheck.model.record import DetailRecord, ExpectationRecord, RunRecord
from perfcheck.model.verdict import Verdict
from perfcheck.runner.bench import judged
from perfcheck.runner.detailing import packet_filter, why_incomplete
from perfcheck.scenario import load_text
from perfcheck.testing import make_record
from perfcheck.testing.fakes import make_hosts

WIRE, RTT = "nic.wire_us.p50", "tcp.rtt_us.p50"


def record(lost: int) -> RunRecord:
    made = make_record({WIRE: (10.0, 11.0), RTT: (20.0, 20.0)})
    detail = DetailRecord(share=1.0, records=1000, records_lost=lost, packets=100, packets_whole=99)
    trials = (made.trials[0], made.trials[1].model_copy(update={"detail": detail}))
    return made.model_copy(update={"trials": trials})


def line(metric: str, verdict: Verdict) -> ExpectationRecord:
    return ExpectationRecord(metric=metric, expected="<= 15", actual=10.0, verdict=verdict)


def test_lost_records_leave_open_what_rests_on_them_and_nothing_else() -> None:
    found = judged(record(7), expectations=(line(WIRE, Verdict.PASS), line(RTT, Verdict.PASS)))
    assert [each.verdict for each in found.expectations] == [Verdict.INCONCLUSIVE, Verdict.PASS]
    assert found.verdict is Verdict.INCONCLUSIVE
    reason = found.expectations[0].reason
    assert reason is not None
    assert "7 records" in reason
    assert "run 2" in reason


def test_a_failure_of_detail_mode_is_left_open_too_but_another_stands() -> None:
    found = judged(record(1), expectations=(line(WIRE, Verdict.FAIL), line(RTT, Verdict.FAIL)))
    assert [each.verdict for each in found.expectations] == [Verdict.INCONCLUSIVE, Verdict.FAIL]
    assert found.verdict is Verdict.FAIL


def test_without_losses_everything_stands() -> None:
    assert why_incomplete(record(0)) is None
    found = judged(record(0), expectations=(line(WIRE, Verdict.PASS),))
    assert found.verdict is Verdict.PASS


def test_losses_of_a_run_that_does_not_count_do_not_matter() -> None:
    made = record(5)
    spoilt = made.trials[1].model_copy(update={"valid": False, "invalid_reason": "busy"})
    assert why_incomplete(made.model_copy(update={"trials": (made.trials[0], spoilt)})) is None


SCENARIO = """
scenario: a
hosts: {client: {}, server: {}}
links: [{between: [client, server], delay: 1ms}]
traffic: [{iperf3: {from: client, to: server}}]
measure: %s
"""


def test_a_filter_names_a_host_by_its_addresses_in_the_lab() -> None:
    (scenario,) = load_text(SCENARIO % "{mode: detail, filter: {protocol: udp, port: 53, host: server}}", "a.yaml")
    chosen = packet_filter(scenario, make_hosts(scenario))
    assert (chosen.protocol, chosen.port) == (17, 53)
    assert chosen.addresses == tuple(make_hosts(scenario)["server"].addresses)


def test_a_filters_host_has_to_be_one_of_the_file() -> None:
    with pytest.raises(ScenarioError, match=r"unknown host 'sever'.*server"):
        load_text(SCENARIO % "{mode: detail, filter: {host: sever}}", "a.yaml")
