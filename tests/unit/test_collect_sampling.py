"""When detail mode follows fewer packets, and what it forgets then."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from perfcheck.collect.detail.collector import packed
from perfcheck.collect.detail.sampling import EVERYTHING, LEAST, Shed, Store, lower_keep, told

RECORD = np.dtype([("ns", "u8"), ("lot", "u4")])


def records(*pairs: tuple[int, int]) -> npt.NDArray[Any]:
    return np.array(list(pairs), RECORD)


def test_without_a_reason_nothing_is_shed() -> None:
    assert lower_keep(EVERYTHING, ring_use=0.1, lost=0, cpu_share=0.2, budget=0.25) == EVERYTHING


@pytest.mark.parametrize(("ring_use", "lost"), [(0.3, 0), (0.0, 1)])
def test_a_ring_that_runs_full_halves_the_share(ring_use: float, lost: int) -> None:
    assert lower_keep(EVERYTHING, ring_use=ring_use, lost=lost, cpu_share=0.0, budget=0.25) == EVERYTHING // 2


def test_a_budget_that_is_spent_twice_over_makes_the_share_smaller_than_half() -> None:
    keep = lower_keep(EVERYTHING, ring_use=0.0, lost=0, cpu_share=0.5, budget=0.25)
    assert EVERYTHING * 0.4 < keep < EVERYTHING * 0.5


@given(
    keep=st.integers(LEAST, EVERYTHING), ring_use=st.floats(0, 1), lost=st.integers(0, 5),
    cpu_share=st.floats(0, 2), budget=st.floats(0.001, 1),
)  # fmt: skip
def test_the_share_never_grows_and_never_ends(
    keep: int, ring_use: float, lost: int, cpu_share: float, budget: float
) -> None:
    assert LEAST <= lower_keep(keep, ring_use=ring_use, lost=lost, cpu_share=cpu_share, budget=budget) <= keep


@given(
    batches=st.lists(st.lists(st.tuples(st.integers(0, 99), st.integers(0, 2**32 - 1)), max_size=9), max_size=6),
    keep=st.integers(0, EVERYTHING),
)
def test_thinning_leaves_what_would_have_been_followed(batches: Sequence[Sequence[tuple[int, int]]], keep: int) -> None:
    store = Store(most=10)
    for batch in batches:
        store.add(records(*batch))
    store.thin(keep)
    kept = [pair for batch in batches for pair in batch if pair[1] < keep]
    assert store.count == len(kept)
    assert sorted(map(tuple, store.in_order(RECORD).tolist())) == sorted(kept)
    assert (np.diff(store.in_order(RECORD)["ns"].astype(np.int64)) >= 0).all()


def test_what_came_before_is_forgotten() -> None:
    store = Store(most=10)
    store.add(records((1, 0), (5, 0)))
    store.add(records((2, 0)))
    store.forget_before(5)
    assert store.in_order(RECORD)["ns"].tolist() == [5]
    assert not store.full


def test_what_was_shed_is_said_once_with_every_reason() -> None:
    assert list(told([])) == []
    (text,) = told([Shed(1, EVERYTHING // 2, "the ring buffer was full"), Shed(2, EVERYTHING // 8, "no room"),
                    Shed(3, EVERYTHING // 16, "no room")])  # fmt: skip
    assert "6.25 %" in text
    assert text.endswith("the ring buffer was full, no room")


def test_addresses_are_packed_as_in_a_packets_two_halves() -> None:
    assert packed("198.18.0.1") == bytes(8) + bytes([198, 18, 0, 1]) + bytes(4)
    assert packed("2001:2::1") == bytes.fromhex("20010002000000000000000000000001")
