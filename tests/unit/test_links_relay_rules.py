"""What the relay is told, refuses, counts and judges; no process is started."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perfcheck.lab.links import emulators
from perfcheck.lab.links.relay.config import plan_of
from perfcheck.lab.links.relay.lateness import Lateness
from perfcheck.lab.links.relay.limits import floor, invalid_reason, takes_super_packets
from perfcheck.model.scenario import LinkSpec

HOSTS = {"between": ("client", "server")}
GOOD = {
    "received": 1000,
    "delivered": 990,
    "frames_in": 1000,
    "frames_out": 993,
    "oversize": 0,
    "device_sent": 1000,
    "device_tx_dropped": 0,
    "device_received": 993,
    "lateness_us": {"p50": 30.0, "p99": 400.0, "max": 9000.0},
    "late_read_p99_us": 300.0,
}


def link(**fields: object) -> LinkSpec:
    return LinkSpec.model_validate(HOSTS | fields)


def test_the_plan_has_a_schedule_as_steps() -> None:
    spec = link(
        delay="10ms", rate="10mbit", queue="1bdp", loss="1%",
        schedule=[
            {"at": "0s", "delay": "20ms"}, {"at": "2s", "rate": "1mbit", "loss": "0%"}, {"at": "3s", "rate": "0bit"},
        ],
    )  # fmt: skip
    plan = plan_of(spec.direction("forward"))
    assert (plan.delay_ns, plan.rate_bps, plan.loss is not None) == (2 * 10**7, 10**7, True)
    assert plan.trace == {"rate": {"at_ns": [0, 2 * 10**9, 3 * 10**9], "bps": [10**7, 10**6, 0], "repeat_ns": None}}
    assert plan.loss_steps is not None
    assert plan.loss_steps["at_ns"] == [0, 2 * 10**9]
    assert [bool(loss) for loss in plan.loss_steps["losses"]] == [True, False]
    assert plan.queue_bytes == 25_000


@pytest.mark.parametrize(
    ("fields", "text"),
    [
        (
            {"rate": "10mbit", "schedule": [{"at": "1s", "rate": "2gbit"}]},
            "rate 2 Gbit/s is more than the relay supports",
        ),
        ({"rate": "10mbit", "schedule": [{"at": "1s", "delay": "50us"}]}, "delay 50 us is shorter"),
        (
            {"rate": "10mbit", "schedule": [{"at": "1s", "rate": "800mbit"}]},
            "schedule on a link faster than 500 Mbit/s",
        ),
        ({"rate": "800mbit", "queue": {"size": "1mb", "discipline": "codel"}}, "discipline: codel on a link faster"),
        ({"policer": {"rate": "800mbit", "burst": "1mb"}}, "policer: rate 800 Mbit/s is more than"),
    ],
)
def test_what_it_cannot_carry_over_time_it_refuses(fields: dict[str, object], text: str) -> None:
    assert text in str(floor(link(**fields)))


def test_it_carries_what_is_asked_with_more_than_one_value() -> None:
    spec = link(
        delay="10ms", jitter={"spread": "1ms", "distribution": "normal"}, rate="10mbit",
        queue={"size": "1bdp", "discipline": "codel"}, policer={"rate": "8mbit", "burst": "64kb"},
        schedule=[{"at": "2s", "rate": "1mbit"}],
    )  # fmt: skip
    assert floor(spec) is None
    assert not takes_super_packets(spec)
    plan = plan_of(spec.direction("reverse"))
    assert (plan.distribution, plan.codel) == ("normal", {"target_ns": 5_000_000, "interval_ns": 100_000_000})
    assert plan.policer == {"rate_bps": 8_000_000, "burst_bytes": 64_000}


def test_the_plan_has_each_directions_own_values() -> None:
    spec = link(
        delay="10ms", rate="100mbit", queue="1bdp", seed=9, reverse={"delay": "30ms", "queue": "50p", "loss": "1%"}
    )
    forward, reverse = map(plan_of, spec.directions)
    assert (forward.direction, forward.delay_ns, forward.queue_bytes, forward.queue_packets) == (
        0,
        10**7,
        500_000,
        None,
    )
    assert (reverse.direction, reverse.delay_ns, reverse.queue_bytes, reverse.queue_packets) == (1, 3 * 10**7, None, 50)
    assert forward.loss is None
    assert reverse.loss is not None
    assert reverse.loss.good_loss == pytest.approx(0.01)
    assert (forward.seed, forward.rate_bps, forward.mtu) == (9, 10**8, 1500)


def test_the_plan_of_a_burst_loss() -> None:
    spec = link(loss={"model": "gilbert-elliott", "p": "1%", "r": "30%", "h": "90%", "k": "0.1%"})
    loss = plan_of(spec.direction("forward")).loss
    assert loss is not None
    assert (loss.to_bad, loss.to_good, loss.bad_loss, loss.good_loss) == pytest.approx((0.01, 0.3, 0.9, 0.001))


@pytest.mark.parametrize(
    ("fields", "text"),
    [
        ({"rate": "10gbit"}, "forward: rate 10 Gbit/s is more than the relay supports (1 Gbit/s)"),
        ({"rate": "1mbit", "reverse": {"rate": "1001mbit"}}, "reverse: rate 1.001 Gbit/s"),
        ({"delay": "50us"}, "forward: delay 50 us is shorter"),
        ({"rate": "900mbit", "corrupt": "1%", "ecn": True}, "forward: corrupt, ecn on a link faster than 500 Mbit/s"),
        ({"delay": "2ms", "jitter": "1ms", "reverse": {"rate": "900mbit"}}, "forward: jitter on a link faster"),
    ],
)
def test_what_it_cannot_carry_it_refuses(fields: dict[str, object], text: str) -> None:
    refusal = floor(link(**fields))
    assert refusal is not None
    assert text in refusal


def test_what_it_can_carry_it_takes() -> None:
    assert floor(link(rate="500mbit", delay="200us", jitter="200us", queue="1bdp", loss="5%", reorder="1%")) is None
    assert floor(link()) is None
    assert floor(link(rate="1gbit", delay="5ms", queue="1bdp", loss="1%")) is None


def test_super_packets_are_for_fast_plain_links() -> None:
    assert takes_super_packets(link(rate="1gbit", loss="1%", queue="1bdp", delay="5ms"))
    assert takes_super_packets(link(reverse={"rate": "301mbit"}))
    assert not takes_super_packets(link(rate="300mbit"))
    assert not takes_super_packets(link())
    assert not takes_super_packets(link(rate="400mbit", delay="5ms", jitter="1ms"))
    assert floor(link(rate="400mbit", delay="5ms", jitter="1ms")) is None


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"device_tx_dropped": 4}, "4 packets were dropped before the relay"),
        ({"oversize": 2}, "2 packets larger than the MTU"),
        ({"device_sent": 1001}, "the kernel counted 1001 frames into the relay, the relay 1000"),
        ({"device_received": 992}, "the kernel counted 992 frames out of the relay, the relay 993"),
        ({"lateness_us": {"p50": 260.0, "p99": 300.0}}, "260 us late (p50), more than the 250 us"),
        ({"lateness_us": {"p50": 20.0, "p99": 5100.0}}, "5100 us late (p99), more than the 5000 us"),
        ({"late_read_p99_us": 5100.0}, "read packets 5100 us late (p99), more than the 5000 us"),
    ],
)
def test_a_spoilt_trial_says_why(change: dict[str, object], text: str) -> None:
    reason = invalid_reason(GOOD | change, 0)
    assert reason is not None
    assert text in reason


def test_a_good_trial_counts_and_a_long_delay_may_be_later() -> None:
    assert invalid_reason(GOOD, 0) is None
    late = GOOD | {"lateness_us": {"p50": 900.0, "p99": 20_000.0}}
    assert invalid_reason(late, 50_000_000) is None
    assert invalid_reason(late, 30_000_000) is not None


@given(st.lists(st.integers(0, 10**8), min_size=1, max_size=300))
def test_lateness_percentiles_are_within_a_bucket(values: list[int]) -> None:
    late = Lateness()
    for value in values:
        late.add(value)
    summary = late.summary_us()
    ordered = sorted(values)
    assert summary["max"] == ordered[-1] / 1000
    for name, share in (("p50", 0.5), ("p99", 0.99)):
        exact = ordered[max(0, -(-int(share * 1000) * len(ordered) // 1000) - 1)] / 1000
        if exact < 67_000:
            assert abs(summary[name] - exact) <= 8.2


def test_no_frame_no_lateness() -> None:
    assert Lateness().summary_us() == {"p50": 0.0, "p99": 0.0, "max": 0.0}


def test_the_table_knows_the_relay() -> None:
    assert emulators()["relay"].name == "relay"
