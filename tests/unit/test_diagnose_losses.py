"""The shipped rules on recorded losses that earlier rules named wrongly, or that look alike.

Each line of tests/golden/losses.jsonl has the name of a combination, what was made, the metrics of its trials, and the
medians of healthy runs of the same network.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from statistics import median
from typing import Any, Final

import pytest

from perfcheck.diagnose import RuleSet, diagnose, judge, load_rules
from perfcheck.model.record import DiagnosisRecord

RECORDED: Final = Path(__file__).parents[1] / "golden" / "losses.jsonl"
RUNS: Final[dict[str, dict[str, Any]]] = {
    run["name"]: run for run in map(json.loads, RECORDED.read_text().splitlines())
}  # fmt: skip
DROP_REASONS: Final = ("ip.drops_", "qdisc.drops_", "nic.drops_", "socket.drops")


@pytest.fixture(scope="module")
def rules() -> RuleSet:
    return load_rules()


def metrics_of(name: str) -> dict[str, float]:
    trials = RUNS[name]["trials"]
    names = {key for trial in trials for key in trial}
    return {key: float(median(trial[key] for trial in trials if key in trial)) for key in names}


def diagnosed(rules: RuleSet, name: str, changed: Mapping[str, float | None]) -> tuple[DiagnosisRecord, ...]:
    """Diagnose a run of one trial of which some metrics have other values, or none."""
    values: dict[str, float | None] = {**metrics_of(name), **changed}
    metrics = {key: value for key, value in values.items() if value is not None}
    return diagnose(rules, metrics, [metrics], RUNS[name]["baseline"])


def state_of(rules: RuleSet, bit: str, metrics: Mapping[str, float]) -> str:
    judgement = judge(rules, metrics)
    return next(each.outcome.state for each in judgement.evidence if each.evidence.name == bit)


@pytest.mark.parametrize("name", RUNS)
def test_one_fault_is_named_first(rules: RuleSet, name: str) -> None:
    found = diagnosed(rules, name, {})
    assert [found[0].cause] == RUNS[name]["causes"], [(record.cause, record.confidence) for record in found]


@pytest.mark.parametrize("name", RUNS)
def test_no_drop_reason_is_needed(rules: RuleSet, name: str) -> None:
    hidden = dict.fromkeys(key for key in metrics_of(name) if key.startswith(DROP_REASONS))
    found = diagnosed(rules, name, hidden)
    assert [found[0].cause] == RUNS[name]["causes"], [(record.cause, record.confidence) for record in found]


def test_short_groups_far_below_the_rate_are_no_policers(rules: RuleSet) -> None:
    run = metrics_of("policer/bytes-at-receiver/town/stream/third")
    assert state_of(rules, "long-groups-lost", run) == "holds"
    single = run | {"tcp.retrans_fast_segs": 24.0, "tcp.retrans_segs": 24.0, "tcp.retrans_pct": 0.9}
    assert state_of(rules, "long-groups-lost", single) == "fails"
    assert state_of(rules, "long-groups-lost", run | {"tcp.inflight_segs.p50": 5.0}) == "not applicable"  # paced


def test_a_bbr_flow_that_fills_the_path_meets_a_lossy_line_and_no_policer(rules: RuleSet) -> None:
    name = "policer/packets-per-second/region/bulk-bbr-8kb/half"
    full = {
        "tcp.bdp_use_pct": 91.0, "tcp.delivery_rate_bps": 63.7e6, "app.throughput_bps": 63.5e6,
        "tcp.inflight_segs.p50": 115.0, "tcp.inflight_segs.p99": 150.0, "tcp.cwnd_segs.p50": 200.0,
        "tcp.pacing_rate_bps": 69e6,
    }  # fmt: skip
    assert diagnosed(rules, name, full)[0].cause == "random_loss"


def test_an_application_that_sends_little_is_no_shaper(rules: RuleSet) -> None:
    name = "shaper/htb-of-the-server/region6/stream-down/third"
    bit = "packets-wait-in-a-host-on-an-idle-path"
    run = metrics_of(name)
    assert state_of(rules, bit, run) == "holds"
    assert state_of(rules, bit, run | {"qdisc.sojourn_us.p50": 20.0}) == "fails"
    idle = run | {"socket.snd_use_pct.p90": 3.0, "socket.sendq_bytes.p90": 0.0}
    assert state_of(rules, bit, idle) == "not applicable"


def test_connections_that_have_nothing_to_send_are_no_blackhole(rules: RuleSet) -> None:
    run = metrics_of("mtu_blackhole/length-at-receiver/region6/stream-down/above-1240")
    bit = "data-waits-and-nothing-moves"
    assert state_of(rules, bit, run) == "holds"
    assert state_of(rules, bit, run | {"socket.sendq_bytes.p90": 0.0}) == "fails"
    closed = run | {"tcp.snd_wnd_bytes": 0.0}  # the receiver does not read
    assert state_of(rules, bit, closed) == "fails"
    assert state_of(rules, bit, run | {"tcp.data_segs_out": 5.0}) == "not applicable"


def test_three_syns_and_the_loss_of_data_are_one_cause(rules: RuleSet) -> None:
    name = "random_loss/corruption/region/redis/two-percent"
    found = diagnosed(rules, name, {"ip.drops_checksum": None})
    assert found[0].cause == "random_loss"
    assert all(record.cause != "syn_loss" for record in found)
    only_syns = {
        "tcp.retrans_segs": 6.0, "tcp.retrans_syn_segs": 6.0, "tcp.retrans_tlp_segs": 0.0, "tcp.retrans_rto_segs": 0.0,
        "tcp.retrans_pct": 0.8,
        "tcp.dsack_dups_segs": 0.0, "tcp.rto_events": 0.0, "ip.drops_checksum": None,
    }  # fmt: skip
    assert diagnosed(rules, name, only_syns)[0].cause == "syn_loss"


def test_damaged_packets_speak_for_the_line_alone(rules: RuleSet) -> None:
    told = {each.name: each for each in rules.evidence}
    assert set(told["packets-damaged"].says) == {"random_loss"}
    for metric in ("ip.drops_checksum", "udp.csum_errors", "nic.rx_errors"):
        assert state_of(rules, "packets-damaged", {metric: 3.0}) == "holds"
        assert state_of(rules, "packets-damaged", {metric: 0.0}) == "not applicable"


def test_small_messages_do_not_use_the_window(rules: RuleSet) -> None:
    run = {
        "tcp.inflight_segs.p50": 13.0, "tcp.inflight_segs.p99": 14.0, "tcp.cwnd_segs.p50": 18.0,
        "tcp.mss_bytes": 1448.0, "tcp.bdp_bytes": 114e3, "tcp.min_rtt_us": 30e3, "tcp.rtt_us.p50": 120e3,
        "tcp.rtt_us.p90": 123e3, "tcp.connections": 1.0, "tcp.bdp_use_pct": 0.5, "tcp.limited_cwnd_pct": 100.0,
        "tcp.limited_app_pct": 0.0,
        "tcp.delivery_rate_bps": 160e3, "tcp.data_segs_out": 390.0, "app.duration_us": 6.2e6,
        "socket.sendq_bytes.p90": 2600.0,
    }  # fmt: skip
    bit = "queue-below-the-rate"
    assert state_of(rules, bit, run | {"tcp.ce_pct": 0.0}) == "fails"
    waiting = run | {"tcp.ce_pct": 0.0, "socket.sendq_bytes.p90": 50_000.0}
    assert state_of(rules, bit, waiting) == "holds"
