"""Looks at a live machine's connections: what all looks told together is what happened, once."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
from hypothesis import given
from hypothesis import strategies as st
from tcp_maps import PENDING, RECORD, SETS, SPREADS

from perfcheck.collect.base import histogram
from perfcheck.collect.tcp import columns, decode
from perfcheck.collect.tcp.distributions import METRICS, Distributions, added
from perfcheck.model.flow import Histogram

JIFFY_US = 4000
ROWS, HISTOGRAMS = 4, 2


@dataclass
class Machine:
    """The maps as the programs change them on a live machine, where histograms come with the eighth sample."""

    now_ns: int = 10**9
    allotted: int = 0
    records: npt.NDArray[Any] = field(default_factory=lambda: np.zeros(ROWS, RECORD))
    sets: npt.NDArray[Any] = field(default_factory=lambda: np.zeros(HISTOGRAMS, SETS))
    told: list[Counter[int]] = field(default_factory=lambda: [Counter() for _ in range(ROWS)])

    def open(self, row: int, cookie: int) -> None:
        record = self.records[row]
        record["cookie"], record["window_ns"], record["state_since_ns"] = cookie, self.now_ns, self.now_ns
        for name in SPREADS:
            record[f"{name}_spread"]["minimum"] = decode.NO_VALUE

    def sample(self, row: int, rtt_us: int) -> None:
        record = self.records[row]
        self.now_ns += 1000
        self.told[row][rtt_us] += 1
        record["samples"][record["pending"]] = (rtt_us, rtt_us, rtt_us % 90 + 1, rtt_us % 40)
        record["pending"] += 1
        if record["pending"] == PENDING:
            if not record["histogram"]:
                self.allotted += 1
                record["histogram"] = self.allotted
            if record["histogram"] <= HISTOGRAMS:
                decode.count_pending(self.records[row : row + 1], self.sets)
            else:
                self._spread(record)

    @staticmethod
    def _spread(record: Any) -> None:
        """As spread_samples() of bpf/tcp_record.h."""
        for name in decode.QUANTITIES:
            record[f"{name}_spread"]["total"] += record["samples"][name].astype(np.uint64).sum()
        record["lost_samples"] += PENDING
        record["pending"] = 0


def look(machine: Machine, spread: Distributions, rows: Sequence[int]) -> tuple[dict[str, Any], dict[str, Histogram]]:
    chosen = np.array(rows)
    own = machine.records[chosen]
    return spread.since(chosen, own, np.arange(len(chosen)))


samples = st.lists(st.integers(1, 60_000_000), max_size=20)


@given(st.lists(st.tuples(st.integers(0, HISTOGRAMS - 1), samples), min_size=1, max_size=8))
def test_each_sample_is_told_once_however_the_looks_fall(turns: list[tuple[int, list[int]]]) -> None:
    machine = Machine()
    spread = Distributions(machine.records, machine.sets, most=10)
    for row in range(HISTOGRAMS):
        machine.open(row, row + 1)
    counted, whole = np.zeros(HISTOGRAMS, np.int64), Counter[str]()
    sums: dict[str, Histogram] = {}
    for row, values in turns:
        for value in values:
            machine.sample(row, value)
        made, merged = look(machine, spread, range(HISTOGRAMS))
        counted += made["rtt_count"].astype(np.int64)
        for name, one in merged.items():
            whole[name] += one.count
            sums[name] = added(sums[name], one) if name in sums else one
        check_columns(made, row, values)
    for row in range(HISTOGRAMS):
        assert counted[row] == machine.told[row].total()
    everything = Counter[int]()
    for told in machine.told:
        everything += told
    assert set(whole.values()) <= {everything.total()}
    rtt = sums[METRICS["rtt"][0]]
    expected = Counter(histogram.bucket_of(value) for value in everything.elements())
    assert {place: count for place, count in enumerate(rtt.counts) if count} == expected
    assert rtt.total == sum(everything.elements())


def check_columns(made: dict[str, Any], row: int, values: list[int]) -> None:
    """What a look says of the connection that moved lies within its values, as exactly as buckets are wide."""
    if not values:
        assert math.isnan(made["rtt_mean_us"][row])
        return
    low, mean, high = (float(made[f"rtt_{stat}_us"][row]) for stat in ("min", "mean", "max"))
    assert low <= mean <= high
    assert low <= min(values) * 1.001
    assert high >= max(values) * 0.96
    percentiles = [float(made[f"rtt_{stat}_us"][row]) for stat in ("p50", "p90", "p99")]
    assert percentiles == sorted(percentiles)
    assert low * 0.96 <= percentiles[0]
    assert percentiles[-1] <= high * 1.04 + 1


@given(st.lists(samples, min_size=1, max_size=5))
def test_without_room_for_histograms_there_are_means_and_no_percentiles(turns: list[list[int]]) -> None:
    machine = Machine(allotted=HISTOGRAMS)
    spread = Distributions(machine.records, machine.sets, most=10)
    machine.open(3, 9)
    seen = 0
    for values in turns:
        for value in values:
            machine.sample(3, value)
        made, _ = look(machine, spread, [3])
        seen += int(made["rtt_count"][0])
    # What waits is told when it has been added up.
    assert machine.told[3].total() - PENDING < seen + PENDING
    assert seen <= machine.told[3].total()


@given(st.lists(st.integers(1, 1000), min_size=1, max_size=30), st.lists(st.integers(1, 1000), min_size=1, max_size=30))
def test_a_record_that_is_used_again_begins_anew(first: list[int], second: list[int]) -> None:
    machine = Machine()
    spread = Distributions(machine.records, machine.sets, most=10)
    machine.open(0, 1)
    for value in first:
        machine.sample(0, value)
    look(machine, spread, [0])
    number = machine.records["histogram"][[0]].copy()
    spread.forget(np.array([0]), number)
    machine.records[0] = np.zeros((), RECORD)
    machine.open(0, 2)
    machine.records[0]["histogram"] = number[0]
    for value in second:
        machine.sample(0, value)
    made, merged = look(machine, spread, [0])
    assert int(made["rtt_count"][0]) == len(second)
    assert merged["tcp.rtt_us"].total == sum(second)


LIVE = np.dtype([*((name, RECORD[name]) for name in RECORD.names or ()), ("in_window", "u4")])
growths = st.lists(
    st.tuples(st.integers(0, 10**6), st.integers(0, 50), st.integers(0, 50), st.integers(0, 10**9)),
    min_size=1,
    max_size=8,
)


@given(growths, st.integers(0, 4))
def test_counts_of_all_looks_add_up_and_parts_stay_within_the_whole(
    turns: list[tuple[int, int, int, int]], state: int
) -> None:
    records = np.zeros(1, LIVE)
    record = records[0]
    now_ns = 10**9
    record["cookie"], record["in_window"], record["window_ns"], record["state_since_ns"] = 7, 1, now_ns, now_ns
    record["state"] = state
    # The kernel's counters of 32 bits may wrap in between.
    record["base"]["segs_out"] = record["now"]["segs_out"] = 2**32 - 5
    grown = columns.Grown(1, JIFFY_US)
    acked = segs = 0
    for acked_more, busy, limited, ns in turns:
        now_ns += ns
        now = record["now"]
        now["bytes_acked"] += acked_more
        now["segs_out"] = (int(now["segs_out"]) + 3) % 2**32
        now["busy_jiffies"] += busy
        now["rwnd_limited_jiffies"] += limited
        record["sndbuf_ns"] += ns // 2
        made = grown.since(np.array([0]), records, now_ns)
        acked += int(made["bytes_acked"][0])
        segs += int(made["segs_out"][0])
        elapsed = int(made["elapsed_us"][0])
        assert elapsed <= ns // 1000 + 1
        parts = int(made["rwnd_limited_us"][0]) + int(made["sndbuf_limited_us"][0])
        assert parts <= int(made["busy_us"][0]) <= elapsed
        assert sum(int(made[f"state_{name}_us"][0]) for name in decode.STATES) <= elapsed
    assert (acked, segs) == (sum(one[0] for one in turns), 3 * len(turns))
    grown.forget(np.array([0]))
    assert not grown.known(np.array([0]), records["cookie"]).any()


@given(st.lists(st.tuples(st.integers(0, 4), st.integers(1, 10**6), st.integers(0, 2000)), min_size=1, max_size=12))
def test_states_are_the_whole_time_also_where_one_changes_after_the_clock_was_read(
    turns: list[tuple[int, int, int]],
) -> None:
    now_ns = 10**9
    records = np.zeros(1, LIVE)
    record = records[0]
    record["cookie"], record["in_window"], record["window_ns"], record["state_since_ns"] = 7, 1, now_ns, now_ns
    grown = columns.Grown(1, JIFFY_US)
    told = Counter[str]()
    for state, later_us, late_us in turns:
        now_ns += 1000 * later_us
        # The state changes between the reading of the clock and that of the record.
        changed_ns = now_ns + 1000 * late_us
        record["state_ns"][record["state"]] += changed_ns - int(record["state_since_ns"])
        record["state_since_ns"], record["state"] = changed_ns, state
        found = grown.since(np.array([0]), records, now_ns)
        parts = {name: int(found[f"state_{name}_us"][0]) for name in decode.STATES}
        assert abs(sum(parts.values()) - int(found["elapsed_us"][0])) <= 5
        told.update(parts)
        now_ns = changed_ns
    assert abs(sum(told.values()) - (now_ns - 10**9) // 1000) <= 2000 + 5 * len(turns)


@given(st.integers(1, 10**6), st.integers(0, 5000), st.integers(1, 10**6), st.integers(0, 4))
def test_what_closed_after_the_clock_was_read_has_not_lived_for_longer_than_the_interval(
    lived_us: int, late_us: int, next_us: int, state: int
) -> None:
    began_ns = 10**9
    records = np.zeros(1, LIVE)
    record = records[0]
    record["cookie"], record["in_window"], record["state"] = 7, 1, state
    record["window_ns"] = record["state_since_ns"] = began_ns
    grown = columns.Grown(1, JIFFY_US)
    now_ns = began_ns + 1000 * lived_us
    # It closes between the reading of the clock and that of the record.
    ended_ns = now_ns + 1000 * late_us
    record["closed"], record["end_ns"] = 1, ended_ns
    record["state_ns"][state] += ended_ns - began_ns
    record["state_since_ns"] = ended_ns
    told = 0
    for at_ns, most_us in ((now_ns, lived_us), (ended_ns + 1000 * next_us, next_us + late_us)):
        found = grown.since(np.array([0]), records, at_ns)
        elapsed = int(found["elapsed_us"][0])
        assert elapsed <= most_us
        assert sum(int(found[f"state_{name}_us"][0]) for name in decode.STATES) == elapsed
        told += elapsed
    assert told == lived_us + late_us
