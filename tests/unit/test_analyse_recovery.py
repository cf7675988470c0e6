"""Recovery: how long goodput or latency takes to be as it was, on traffic whose answer is known."""

from __future__ import annotations

from typing import Final

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from perfcheck.analyse.phases import phase_metrics, phase_spans
from perfcheck.analyse.recovery import recovered_ns
from perfcheck.model.observation import Arrival, Requests, TrafficReport
from perfcheck.testing import make_scenario

S: Final = 10**9
STEP_NS: Final = S // 10
BEFORE: Final = (1 * S, 3 * S)
RATE_BPS: Final = 20_000_000


def stretches(moved: list[tuple[float, float]], steps: int = 70, offset_ns: int = 0) -> list[Arrival]:
    """Return intervals of 100 ms of what a rate that changes moves: from each time (s) on so many bit/s."""
    edges_s = [time for time, _ in moved] + [1e9]
    found = []
    for step in range(steps):
        begin_ns = offset_ns + step * STEP_NS
        begin_s, end_s = begin_ns / S, (begin_ns + STEP_NS) / S
        bits = sum(
            rate * max(min(end_s, edges_s[index + 1]) - max(begin_s, edges_s[index]), 0.0)
            for index, (_, rate) in enumerate(moved)
        )
        found.append(Arrival(begin_ns=begin_ns, end_ns=begin_ns + STEP_NS, size_bytes=round(bits / 8)))
    return found


def flow(moved: list[tuple[float, float]], *, steps: int = 70, offset_ns: int = 0, **more: object) -> TrafficReport:
    found = stretches(moved, steps, offset_ns)
    return TrafficReport(
        generator="iperf3", flows=(), metrics={"app.throughput_bps": 1.0}, start_ns=0, end_ns=found[-1].end_ns,
        arrivals=tuple(found), measured_ns=(found[0].begin_ns, found[-1].end_ns), **more,  # type: ignore[arg-type]
    )  # fmt: skip


def asked(latency_ms: list[tuple[float, float]], *, apart_ms: float = 20.0, until_s: float = 7.0) -> TrafficReport:
    """Return requests one at a time: from each time (s) on with a latency, the next `apart_ms` after the last."""
    sent, latencies, now_ms = [], [], 0.0
    while now_ms < until_s * 1000:
        (latency,) = [value for time, value in latency_ms if time * 1000 <= now_ms][-1:]
        sent.append(now_ms)
        latencies.append(latency)
        now_ms += max(apart_ms, latency)
    sent_ns = np.array(sent) * 1e6
    requests = Requests(sent_ns=sent_ns.astype(np.int64), latency_us=np.array(latencies) * 1000)
    end_ns = int(sent_ns[-1] + latencies[-1] * 1e6)
    return TrafficReport(
        generator="http", flows=(), metrics={"app.requests_per_s": 1.0}, start_ns=0, end_ns=end_ns,
        measured_ns=(0, end_ns), requests=requests,
    )  # fmt: skip


@given(away_s=st.floats(0.3, 2.5), offset_ns=st.integers(0, STEP_NS))
@settings(deadline=None)
def test_the_time_until_a_flow_is_back_is_found_within_an_interval(away_s: float, offset_ns: int) -> None:
    report = flow([(0, RATE_BPS), (3, 0), (3 + away_s, RATE_BPS)], offset_ns=offset_ns)
    found = recovered_ns(report, BEFORE, 3 * S)
    assert found is not None
    assert found / S == pytest.approx(away_s, abs=0.012)


@given(st.floats(0.4, 1.8))
@settings(deadline=None)
def test_a_recovery_that_is_30_percent_slower_is_30_percent_longer(away_s: float) -> None:
    once, slower = (
        recovered_ns(flow([(0, RATE_BPS), (3, 0), (3 + each, RATE_BPS)]), BEFORE, 3 * S)
        for each in (away_s, 1.3 * away_s)
    )
    assert once is not None
    assert slower is not None
    assert slower / once == pytest.approx(1.3, rel=0.05)


def test_a_flow_that_was_never_away_has_nothing_to_recover_from() -> None:
    assert recovered_ns(flow([(0, RATE_BPS)]), BEFORE, 3 * S) == 0
    assert recovered_ns(flow([(0, RATE_BPS), (3, 0.95 * RATE_BPS)]), BEFORE, 3 * S) == 0


def test_a_flow_that_stays_below_does_not_recover() -> None:
    assert recovered_ns(flow([(0, RATE_BPS), (3, 0.8 * RATE_BPS)]), BEFORE, 3 * S) is None
    assert recovered_ns(flow([(0, RATE_BPS), (3, 0), (6.95, RATE_BPS)]), BEFORE, 3 * S) is None


def test_a_queue_that_empties_is_no_recovery() -> None:
    burst = flow([(0, RATE_BPS), (3, 0), (3.5, RATE_BPS), (3.7, 0), (5, RATE_BPS)])
    assert recovered_ns(burst, BEFORE, 3 * S) == pytest.approx(2 * S, abs=0.02 * S)


@given(away_s=st.floats(0.3, 2.0), offset_ns=st.integers(0, STEP_NS))
@settings(deadline=None)
def test_a_sender_that_makes_up_for_the_outage_is_not_taken_to_have_come_back_earlier(
    away_s: float, offset_ns: int
) -> None:
    back_s = 3 + away_s
    report = flow(
        [(0, RATE_BPS), (3, 0), (back_s, 10 * RATE_BPS), (back_s + away_s / 9, RATE_BPS)], offset_ns=offset_ns
    )
    found = recovered_ns(report, BEFORE, 3 * S)
    assert found is not None
    assert found / S == pytest.approx(away_s, abs=0.1)


def test_before_the_flow_began_nobody_can_say_what_it_was() -> None:
    with pytest.raises(ValueError, match="nothing arrived before"):
        recovered_ns(flow([(0, 0), (3.5, RATE_BPS)]), BEFORE, 3 * S)
    with pytest.raises(ValueError, match="no request was answered before"):
        recovered_ns(asked([(0, 20.0)]), (-2 * S, -S), 3 * S)


@given(st.floats(300, 2500))
@settings(deadline=None)
def test_requests_have_recovered_where_they_are_answered_as_fast_as_before(away_ms: float) -> None:
    # The request at 3 s waits for all of the outage.
    report = asked([(0, 20.0), (3, away_ms), (3.001, 20.0)])
    found = recovered_ns(report, BEFORE, 3 * S)
    assert found is not None
    assert found / 1e6 == pytest.approx(away_ms, abs=21)


def test_slower_answers_are_no_recovery_and_slightly_slower_ones_are() -> None:
    assert recovered_ns(asked([(0, 20.0), (3, 30.0)]), BEFORE, 3 * S) is None
    assert recovered_ns(asked([(0, 20.0), (3, 21.5)]), BEFORE, 3 * S) == 0
    assert recovered_ns(asked([(0, 0.3), (3, 0.45)]), BEFORE, 3 * S) == 0


def test_one_fast_answer_before_a_long_wait_is_no_recovery() -> None:
    report = asked([(0, 20.0), (3.03, 1000.0), (3.1, 20.0)])
    assert recovered_ns(report, BEFORE, 3 * S) == pytest.approx(1.04 * S, abs=0.03 * S)


SCENARIO: Final = make_scenario(
    traffic=[{"name": name, "iperf3": {"from": "client", "to": "server"}} for name in ("bulk", "other")],
    phases_ns={"before": 1 * S, "outage": 3 * S, "after": 4 * S},
)


def test_the_longest_recovery_of_all_entries_is_the_phases() -> None:
    reports = [flow([(0, RATE_BPS), (3, 0), (back, RATE_BPS)]) for back in (4, 5)]
    found = phase_metrics(SCENARIO, reports, [], SCENARIO.phases_ns, {})
    assert found["outage"].metrics["app.recovery_ms"] == pytest.approx(2000, abs=20)
    assert found["outage"].subjects["bulk"]["app.recovery_ms"] == pytest.approx(1000, abs=20)
    assert found["after"].subjects["bulk"]["app.recovery_ms"] == pytest.approx(0, abs=20)
    assert found["after"].subjects["other"]["app.recovery_ms"] == pytest.approx(1000, abs=20)
    assert "app.recovery_ms" not in found["before"].metrics


def test_where_one_entry_does_not_recover_the_phase_says_which_and_has_no_time() -> None:
    reports = [flow([(0, RATE_BPS), (3, 0), (4, RATE_BPS)]), flow([(0, RATE_BPS), (3, 0)])]
    found = phase_metrics(SCENARIO, reports, [], SCENARIO.phases_ns, {})
    assert found["outage"].unrecovered == ("other",)
    assert "app.recovery_ms" not in found["outage"].metrics
    assert found["outage"].subjects["bulk"]["app.recovery_ms"] == pytest.approx(1000, abs=20)


def test_each_phase_has_its_own_goodput() -> None:
    reports = [flow([(0, RATE_BPS), (3, 0), (4, RATE_BPS / 2)]), flow([(0, 0)])]
    found = phase_metrics(SCENARIO, reports, [], SCENARIO.phases_ns, {})
    got = {name: phase.subjects["bulk"]["app.throughput_bps"] for name, phase in found.items()}
    assert got == pytest.approx({"before": RATE_BPS, "outage": 0, "after": RATE_BPS / 2}, rel=1e-6, abs=1)


def test_a_phase_after_the_traffic_is_absent_and_the_last_one_ends_with_it() -> None:
    begins = {"a": 1 * S, "b": 2 * S, "c": 9 * S}
    assert phase_spans(begins, 5 * S) == {"a": (1 * S, 2 * S), "b": (2 * S, 5 * S)}


def test_requests_that_vary_are_back_when_they_vary_as_before() -> None:
    # In a queue that rises and falls, half a second has a median that is up to a quarter above that of two seconds.
    wave = [(0.0, 40.0), (1.0, 40.0), (1.5, 60.0), (2.0, 40.0), (2.5, 60.0), (3.0, 900.0), (3.85, 60.0), (4.6, 40.0)]
    report = asked(wave)
    found = recovered_ns(report, BEFORE, 3 * S)
    assert found is not None
    assert 0.9 * S <= found < 1.1 * S


def test_requests_that_stay_longer_than_most_were_are_not_back() -> None:
    steady = [(0.0, 40.0), (2.7, 60.0), (3.0, 900.0), (3.85, 60.0)]
    assert recovered_ns(asked(steady), BEFORE, 3 * S) is None
