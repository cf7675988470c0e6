"""Alerts: raised once and cleared once, never by a healthy network, and soon after each kind of trouble begins."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from live_traffic import TROUBLES, S, Traffic, histogram_of, interval, table

from perfcheck.live.alerts import Alert, AlertState, AlertWatch, Subject, UserBounds, alert_event
from perfcheck.live.alerts.hysteresis import Holding, Hysteresis, Turn
from perfcheck.live.alerts.readers import samples_above
from perfcheck.live.alerts.reading import Reading, beyond_chance
from perfcheck.live.alerts.rule import Rule
from perfcheck.live.drops import drops_of, harmful_drops
from perfcheck.model.event import EventType
from perfcheck.model.interval import Interval
from perfcheck.model.metric import Layer

ALL = Subject()
VALUES = st.lists(st.one_of(st.none(), st.floats(0, 3)), max_size=80)
HOLDINGS = st.builds(
    Holding, raise_count=st.integers(1, 4), raise_within=st.integers(4, 8), clear_after=st.integers(1, 6),
    clear_share=st.floats(0.1, 1), veto_above=st.sampled_from([0.0, 1.25, 10.0]),
)  # fmt: skip


def reading(value: float | None, *, enough: bool = True) -> Reading | None:
    return None if value is None else Reading(subject=ALL, value=value, bound=1.0, enough=enough)


def observed(watch: AlertWatch, intervals: list[Interval]) -> list[Alert]:
    return [alert for each in intervals for alert in watch.observe(each)]


def turns(alerts: list[Alert]) -> list[tuple[str, str]]:
    return [(alert.rule, alert.state.value) for alert in alerts if alert.state is not AlertState.ONGOING]


@given(VALUES, HOLDINGS)
def test_raised_and_cleared_take_turns(values: list[float | None], holding: Holding) -> None:
    one = Hysteresis(holding)
    found = [turn for value in values if (turn := one.tell(reading(value))) is not Turn.NOTHING]
    assert found == [Turn.RAISED, Turn.CLEARED] * (len(found) // 2) + [Turn.RAISED] * (len(found) % 2)
    assert one.raised == bool(len(found) % 2)


@given(VALUES, HOLDINGS)
def test_nothing_is_raised_without_its_count_or_cleared_early(values: list[float | None], holding: Holding) -> None:
    one = Hysteresis(holding)
    for at, value in enumerate(values):
        turn = one.tell(reading(value))
        if turn is Turn.RAISED:
            recent = values[max(0, at + 1 - holding.raise_within) : at + 1]
            assert sum(each is not None and each > 1 for each in recent) >= holding.raise_count
        if turn is Turn.CLEARED:
            recent = values[at + 1 - holding.clear_after : at + 1]
            assert all(each is None or each <= holding.clear_share for each in recent)


@given(st.lists(st.floats(0.75, 1.5), min_size=200, max_size=300))
def test_noise_about_the_bound_does_not_flap(values: list[float]) -> None:
    one = Hysteresis(Holding())
    assert Counter(one.tell(reading(value)) for value in values)[Turn.CLEARED] == 0


@given(st.lists(st.floats(0, 1.0), max_size=100), st.integers(0, 99), st.floats(1, 1000))
def test_one_slow_interval_raises_nothing(values: list[float], place: int, slow: float) -> None:
    one = Hysteresis(Holding())
    values = [slow if at == place else value for at, value in enumerate(values)]
    assert {one.tell(reading(value)) for value in values} <= {Turn.NOTHING}


def test_what_is_usual_here_counts_only_near_the_bound() -> None:
    rng = np.random.default_rng(3)
    near = Hysteresis(Holding(veto_above=1.25))
    assert not any(near.tell(reading(float(value))) is Turn.RAISED for value in rng.normal(0.95, 0.06, 5000))
    found = [near.tell(reading(1.6)) for _ in range(5)]
    assert Turn.RAISED in found


def test_a_slow_rise_is_found_whatever_is_usual() -> None:
    one = Hysteresis(Holding(veto_above=1.25))
    found = [value for value in np.linspace(0.5, 3, 20_000) if one.tell(reading(float(value))) is Turn.RAISED]
    assert found
    assert found[0] < 1.6


@pytest.mark.parametrize("enough", [True, False])
def test_below_the_floor_nothing_is_raised(enough: bool) -> None:
    one = Hysteresis(Holding())
    assert (Turn.RAISED in [one.tell(reading(50.0, enough=enough)) for _ in range(10)]) is enough


def test_one_loss_is_no_trouble_and_chance_is_not() -> None:
    assert not beyond_chance(1, 10, 0.01)
    assert beyond_chance(2, 10, 0.01)
    assert not beyond_chance(3, 100, 0.01)
    assert beyond_chance(4, 100, 0.01)


@given(st.lists(st.floats(100, 1e6), min_size=1, max_size=200), st.floats(100, 1e6))
def test_samples_above_a_bound_are_as_many_as_their_buckets_allow(values: list[float], bound: float) -> None:
    found = samples_above(histogram_of(np.array(values)), bound)
    least = sum(value > bound * 1.2 for value in values)
    most = sum(value > bound / 1.2 for value in values)
    assert least - 1e-6 <= found <= most + 1e-6


def lossy(share: float, row: int | None = None) -> dict[str, Any]:
    again = np.full(8, round(1000 * share)) if row is None else np.where(np.arange(8) == row, round(1000 * share), 0)
    return {"data_segs_out": 1000, "retrans_segs": again}


def test_an_alert_tells_its_whole_life() -> None:
    watch = AlertWatch()
    bad, good = table(**lossy(0.03)), table(**lossy(0.001))
    worse = table(**lossy(0.05))
    alerts = observed(watch, [interval(n, bad if n < 4 else worse if n == 4 else good) for n in range(12)])
    states = [alert.state for alert in alerts]
    assert states == [AlertState.RAISED, *[AlertState.ONGOING] * 6, AlertState.CLEARED]
    first, last = alerts[0], alerts[-1]
    assert {alert.id for alert in alerts} == {first.id}
    assert (first.since_ns, first.intervals, first.value) == (S, 3, 3.0)
    assert (last.worst, last.intervals, last.seconds) == (5.0, 10, 10.0)
    assert "cleared after 10 s, worst 5 %, bound 1 %" in last.text
    assert watch.active == ()


def test_a_flow_is_named_where_all_together_are_healthy() -> None:
    columns = lossy(0.05, row=3)
    alerts = observed(AlertWatch(), [interval(n, table(**columns)) for n in range(3)])
    assert [alert.subject.label for alert in alerts] == ["10.0.0.1:40003->10.0.0.2:443"]
    assert alerts[0].text.startswith(
        "retransmissions: more than 1 % of data segments were retransmitted, 10.0.0.1:40003"
    )


def test_many_flows_are_not_told_one_by_one() -> None:
    rows = 500
    columns: dict[str, Any] = {"data_segs_out": 1000, "retrans_segs": 50}
    alerts = observed(AlertWatch(), [interval(n, table(rows, **columns)) for n in range(10)])
    assert {alert.subject for alert in alerts} == {ALL}
    assert "of them of" in alerts[0].text


def test_a_connection_that_ends_clears_its_alert() -> None:
    bad, gone = lossy(0.05, row=3), table(2)
    found = observed(AlertWatch(), [interval(n, table(**bad) if n < 3 else gone) for n in range(12)])
    assert turns(found) == [("retransmissions", "raised"), ("retransmissions", "cleared")]


def test_near_and_far_flows_together_are_no_tail() -> None:
    mixed = histogram_of(np.concatenate([np.full(900, 200.0), np.full(100, 80_000.0)]))
    rtts = np.where(np.arange(8) < 6, 150.0, 78_000.0)
    healthy = [interval(n, table(min_rtt_us=rtts, rtt_count=100), rtt=mixed) for n in range(20)]
    assert not observed(AlertWatch(), healthy)
    near = [interval(n, table(min_rtt_us=150.0, rtt_count=100), rtt=mixed) for n in range(3)]
    assert turns(observed(AlertWatch(), near)) == [("rtt-tail", "raised")]


def test_a_peer_that_went_away_is_no_trouble_of_the_network() -> None:
    loss = np.where(np.arange(8) == 0, 1_000_000, 0)
    one = table(state_loss_us=loss, busy_us=loss)
    assert not observed(AlertWatch(), [interval(n, one) for n in range(20)])
    every = table(state_loss_us=1_000_000, busy_us=1_000_000)
    assert turns(observed(AlertWatch(), [interval(n, every) for n in range(3)])) == [("loss-state", "raised")]


def test_the_users_bounds() -> None:
    bounds = UserBounds(rtt_p99_us=30_000, retrans_pct=0.1, drops_pct=0.5)
    slow = histogram_of(np.full(200, 50_000.0))
    flows = table(**lossy(0.008))
    bad = [interval(n, flows, rtt=slow, metrics={"qdisc.drops": 19.0, "nic.tx_packets": 1000.0}) for n in range(3)]
    assert {rule for rule, _ in turns(observed(AlertWatch(bounds), bad))} == {"rtt-p99", "retrans-rate", "drop-rate"}
    assert not observed(AlertWatch(), bad)


def test_each_host_has_its_own_drops() -> None:
    hosts = {"": {"qdisc.drops_full": 0.0}, "client": {"qdisc.drops_full": 900.0}}
    found = observed(AlertWatch(), [interval(n, hosts=hosts) for n in range(2)])
    assert [alert.subject.label for alert in found] == ["host client"]


def test_drops_are_counted_once_and_intended_ones_alert_nobody() -> None:
    metrics = {"qdisc.drops": 12.0, "qdisc.drops_full": 10.0, "ip.drops_netfilter": 99.0, "nic.rx_drops": 0.0}
    assert drops_of(metrics) == {"ip.drops_netfilter": 99, "qdisc.drops_full": 10, "qdisc.drops": 2}
    assert harmful_drops(metrics) == {"qdisc.drops_full": 10, "qdisc.drops": 2}


def test_the_event_of_an_alert_has_the_one_schema() -> None:
    alert = observed(AlertWatch(), [interval(n, table(**lossy(0.05, row=3))) for n in range(3)])[0]
    event = alert_event(alert, 7)
    assert event.type is EventType.ALERT
    assert event.flow is not None
    told = event.as_dict(tool="perfctl observe")
    assert told["context"]["alert"] == alert.id
    assert (told["context"]["state"], told["value"], told["context"]["bound"]) == ("raised", 5.0, 1.0)


def test_an_id_is_the_same_for_each_reading_of_a_recording() -> None:
    made = [interval(n, table(**lossy(0.03))) for n in range(3)]
    assert observed(AlertWatch(), made)[0].id == observed(AlertWatch(), made)[0].id


def test_memory_is_bounded_with_ever_new_subjects() -> None:
    def many(one: Interval) -> list[Reading]:
        return [
            Reading(subject=Subject(host=f"{one.number}-{at}"), value=2.0, bound=1.0, enough=True) for at in range(100)
        ]

    rule = Rule(name="r", summary="s", metric="m", layer=Layer.TCP, unit="pct", read=many)
    watch = AlertWatch(rules=(rule,))
    observed(watch, [interval(n, table(1)) for n in range(50)])
    assert len(watch.active) <= 256


def test_24_hours_of_healthy_traffic_raise_nothing() -> None:
    watch = AlertWatch(UserBounds(rtt_p99_us=150_000, retrans_pct=1.0, drops_pct=1.0))
    assert observed(watch, list(Traffic(8640))) == []


@pytest.mark.parametrize("trouble", TROUBLES)
@pytest.mark.parametrize("seconds", [1.0, 10.0])
def test_each_trouble_is_raised_within_a_few_intervals(trouble: str, seconds: float) -> None:
    watch = AlertWatch()
    traffic = Traffic(120, seconds=seconds, trouble=trouble, from_interval=100, from_hour=12, seed=4)
    raised = [(alert.rule, each.number) for each in traffic for alert in watch.observe(each)
              if alert.state is AlertState.RAISED]  # fmt: skip
    assert raised[0][0] == trouble
    assert raised[0][1] < 100 + 8
    assert {rule for rule, _ in raised} == {trouble}
