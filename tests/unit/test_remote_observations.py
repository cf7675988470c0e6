"""What several machines saw, as one."""

from __future__ import annotations

from dataclasses import replace

import pytest
from test_agent_codec import observation

from perfcheck.model.budget import Shedding, Spending
from perfcheck.model.observation import Observation
from perfcheck.remote.clock import Offset
from perfcheck.remote.observations import by_our_clock, joined, joined_metrics, joined_spending


def test_times_are_by_our_clock_and_what_did_not_happen_stays_so() -> None:
    clock = Offset(least_ns=90, most_ns=110, at_ns=0)
    seen = observation()
    never = replace(seen.tcp_sockets[0], established_ns=0, first_ns=0, last_ns=1100)
    (found,) = by_our_clock(replace(seen, tcp_sockets=(never,)), clock).tcp_sockets
    assert (found.established_ns, found.first_ns, found.last_ns) == (0, 0, 1000)


def test_counts_add_up_and_of_anything_else_the_worst_counts() -> None:
    first = {"qdisc.drops": 2.0, "cpu.host_busy_pct": 20.0, "nic.rx_queues": 4.0, "nic.interrupts_per_s": 10.0}
    second = {"qdisc.drops": 3.0, "cpu.host_busy_pct": 70.0, "nic.rx_queues": 8.0, "nic.interrupts_per_s": 5.0}
    assert joined_metrics([first, second, {"qdisc.drops": 1.0}]) == {
        "qdisc.drops": 6.0, "cpu.host_busy_pct": 70.0, "nic.rx_queues": 8.0, "nic.interrupts_per_s": 15.0,
    }  # fmt: skip


def test_sockets_stand_side_by_side_and_distributions_add_up() -> None:
    mine, other = observation(), observation()
    (found,) = joined([[mine], [other]])
    assert len(found.tcp_sockets) == 2
    assert found.distributions["cpu.runq_delay_us"].count == 2 * mine.distributions["cpu.runq_delay_us"].count
    assert found.overhead.programs == (*mine.overhead.programs, *other.overhead.programs)
    assert found.warnings == mine.warnings


def test_a_collector_that_one_machine_lacks_is_left_out() -> None:
    names = [seen.collector for seen in joined([[observation(), Observation(collector="nic")], [observation()]])]
    assert names == ["tcp"]


def test_scales_that_differ_are_no_sum() -> None:
    mine = observation()
    histogram = replace(mine.distributions["cpu.runq_delay_us"], edges=(1.0, 3.0, 4.0))
    with pytest.raises(ValueError, match="different units or edges"):
        joined([[mine], [replace(mine, distributions={"cpu.runq_delay_us": histogram})]])


def test_spending_of_all_machines() -> None:
    shed = Shedding(collector="nic", what="x", why="y", at_s=1.0, stopped=True)
    found = joined_spending([Spending(rest_s=1.0, rest_cpu_s=0.1, shed=(shed,)), Spending(rest_s=2.0, rest_cpu_s=0.2)])
    assert (found.rest_s, round(found.rest_cpu_s, 3), found.shed) == (2.0, 0.3, (shed,))
