"""When the core sheds, and in which order."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from perfcheck.collect.detail.sampling import EVERYTHING, FEW, LEAST, narrowed
from perfcheck.collect.session import received
from perfcheck.collect.shedding import (
    DETAIL,
    NEGLIGIBLE,
    REST_PACKETS_PER_S,
    STOPPABLE,
    SUSTAINED,
    Step,
    Usage,
    Watch,
    steps,
)
from perfcheck.model.budget import Budget

REST, WORK = 0.0, REST_PACKETS_PER_S * 10.0
NAMES = (*sorted(STOPPABLE), "tcp", "sockdiag", "host", "budget")
USED = st.dictionaries(st.sampled_from(NAMES), st.floats(0, 50), min_size=1)


def look(pct: float, packets_per_s: float = REST) -> Usage:
    return Usage(used_pct={"tcp": pct}, packets_per_s=packets_per_s)


def shed_at(watch: Watch, looks: list[Usage]) -> list[int]:
    return [index for index, each in enumerate(looks) if watch.note(each)]


def test_only_a_row_of_looks_over_the_budget_sheds() -> None:
    watch = Watch(Budget(cpu_pct=1.0))
    assert shed_at(watch, [look(2), look(2), look(0.5), look(2), look(2), look(2), look(2)]) == [5]


def test_after_shedding_the_count_begins_anew() -> None:
    assert shed_at(Watch(Budget(cpu_pct=1.0)), [look(2)] * 7) == [2, 5]


def test_a_loaded_lab_sheds_nothing_under_the_default_budget_however_much_it_costs() -> None:
    assert shed_at(Watch(Budget(cpu_pct=1.0)), [look(80, WORK)] * 20) == []


def test_work_in_between_is_no_rest() -> None:
    assert shed_at(Watch(Budget(cpu_pct=1.0)), [look(2), look(2), look(2, WORK)] * 5) == []


def test_a_budget_that_was_asked_for_holds_under_load() -> None:
    assert shed_at(Watch(Budget(cpu_pct=1.0, always=True)), [look(80, WORK)] * 3) == [2]


@given(st.lists(st.tuples(st.floats(0, 3), st.floats(0, 1000)), max_size=40), st.booleans())
def test_whatever_sheds_was_over_the_budget_each_time(seen: list[tuple[float, float]], always: bool) -> None:
    budget = Budget(cpu_pct=1.0, always=always)
    looks = [look(pct, packets) for pct, packets in seen]
    found = shed_at(Watch(budget), looks)
    for index in found:
        row = looks[index - SUSTAINED + 1 : index + 1]
        assert len(row) == SUSTAINED
        assert all(one.total_pct > 1.0 and (always or one.at_rest) for one in row)
    assert all(later - earlier >= SUSTAINED for earlier, later in pairwise(found))


def test_the_order_is_detail_then_fewer_looks_then_the_dearest() -> None:
    seen = Usage(used_pct={"nic": 0.5, "socket": 0.6, "detail": 0.2, "tcp": 3.0, "cpu": 0.01}, packets_per_s=REST)
    assert list(steps(seen, Budget(cpu_pct=1.0))) == [
        Step(collector="detail", stop=False), Step(collector="detail", stop=True),
        Step(collector="tcp", stop=False), Step(collector="socket", stop=False), Step(collector="nic", stop=False),
        Step(collector="socket", stop=True), Step(collector="nic", stop=True),
    ]  # fmt: skip


@given(USED, st.floats(0.001, 10))
def test_detail_goes_first_and_what_must_stay_is_never_stopped(used: dict[str, float], budget_pct: float) -> None:
    found = list(steps(Usage(used_pct=used, packets_per_s=REST), Budget(cpu_pct=budget_pct)))
    assert len(set(found)) == len(found)
    assert {one.collector for one in found if one.stop} <= STOPPABLE
    assert all(used[one.collector] > NEGLIGIBLE * budget_pct for one in found)
    others = [one.stop for one in found if one.collector != DETAIL]
    assert others == sorted(others), "a collector stopped while another could still do less"
    assert all(one.collector == DETAIL for one in found[: len(found) - len(others)])
    for stop in (False, True):
        dear = [used[one.collector] for one in found if one.collector != DETAIL and one.stop is stop]
        assert dear == sorted(dear, reverse=True)


@given(st.integers(LEAST, EVERYTHING), st.floats(0, 1))
def test_detail_mode_narrows_until_few_packets_are_left(keep: int, share: float) -> None:
    assert LEAST <= narrowed(keep, share) <= keep
    steps_down = 0
    while keep > FEW:
        keep, steps_down = narrowed(keep, share), steps_down + 1
        assert steps_down < 100


def test_received_packets_of_all_devices_are_added_up() -> None:
    text = (
        "Inter-|   Receive                                                |  Transmit\n"
        " face |bytes    packets errs drop fifo frame compressed multicast|bytes    packets errs\n"
        "    lo:     840      10    0    0    0     0          0         0      840      10    0\n"
        "  eth0:1234567    9000    0    0    0     0          0         0  7654321    8000    0\n"
    )
    assert received(text) == 9010
