"""Traces: both formats, and the lines that replay them against oracles that move in small steps."""

from __future__ import annotations

import json
import re
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from links_frames import udp

from perfcheck.lab.links.impair.direction import ImpairedDirection
from perfcheck.lab.links.impair.queue import DropTail
from perfcheck.lab.links.impair.varying import OPPORTUNITY_BYTES, Opportunities, Steps, VaryingQueue
from perfcheck.lab.links.relay.config import plan_of
from perfcheck.lab.links.relay.limits import floor
from perfcheck.lab.links.trace import read_trace
from perfcheck.model.scenario import LinkSpec
from perfcheck.model.trace import Trace, parse_trace

MS = 1_000_000
ARRIVALS = st.lists(st.tuples(st.integers(0, 40 * MS), st.integers(60, 1514)), min_size=1, max_size=40)


def written(folder: Path, text: str) -> str:
    path = folder / "trace.txt"
    path.write_text(text, encoding="utf-8")
    return str(path)


def named(folder: Path, text: str) -> Trace:
    return Trace(name=written(folder, text))


def test_own_format_is_read(tmp_path: Path) -> None:
    trace = read_trace(named(tmp_path, "# a comment\n0s 10mbit 20ms # first\n\n500ms - 30ms\n2s 1mbit -\nrepeat 5s\n"))
    assert trace == {
        "rate": {"at_ns": [0, 2000 * MS], "bps": [10_000_000, 1_000_000], "repeat_ns": 5000 * MS},
        "delay": {"at_ns": [0, 500 * MS], "ns": [20 * MS, 30 * MS], "repeat_ns": 5000 * MS},
    }
    assert json.loads(json.dumps(trace)) == trace


def test_mahimahis_format_is_read(tmp_path: Path) -> None:
    assert read_trace(named(tmp_path, "0\n3\n3\n10\n")) == {
        "opportunities": {"at_ns": [0, 3 * MS, 3 * MS, 10 * MS], "repeat_ns": 10 * MS}
    }


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "the trace is empty"),
        ("# nothing\n", "the trace is empty"),
        ("0s 10mbit\n", "line 1: expected `AT RATE DELAY`"),
        ("0s 10 20ms\n", "line 1: expected a rate such as 100mbit"),
        ("0s 10mbit 20\n", "line 1: expected a duration such as 10ms"),
        ("0s 10mbit -\n\n0s 5mbit -\n", "line 3: expected a time after that of the line above"),
        ("1s 10mbit -\n", "line 1: the first line must begin at 0s"),
        ("0s - 10ms\n1s 5mbit -\n", "line 1: the first line must give the rate"),
        ("0s - -\n", "line 1: the trace changes neither"),
        ("0s 1mbit -\n2s 2mbit -\nrepeat 2s\n", "line 2: this step comes after"),
        ("0s 1mbit -\nrepeat\n", "line 2: expected `repeat` and a duration"),
        ("5\n4\n", "line 2: expected a time that is not before that of the line above"),
        ("0\n0\n", "line 2: a trace must be longer than 0 ms"),
    ],
)
def test_bad_traces_say_where_and_what(tmp_path: Path, text: str, says: str) -> None:
    with pytest.raises(ValueError, match=r"trace\.txt") as caught:
        read_trace(named(tmp_path, text))
    assert says in str(caught.value)


def test_a_trace_that_cannot_be_had_is_refused(tmp_path: Path) -> None:
    def refusal(text: str | None) -> str | None:
        path = str(tmp_path / "none") if text is None else written(tmp_path, text)
        return floor(LinkSpec.model_validate({"between": ("a", "b"), "trace": path}))

    assert refusal("0s 10mbit 20ms\n") is None
    assert refusal("1\n2\n3\n") is None
    assert "No such file" in str(refusal(None))
    assert "has a rate above the limit of the relay for single packets (500 Mbit/s)" in str(
        refusal("0s 10mbit -\n1s 600mbit -\n")
    )
    assert "above the limit of the relay" in str(refusal("1\n" * 60))


@given(
    st.lists(st.tuples(st.integers(1, 30), st.integers(0, 20)), min_size=1, max_size=6),
    st.one_of(st.none(), st.integers(1, 20)),
    st.lists(st.tuples(st.integers(0, 20), st.integers(1, 40)), min_size=1, max_size=12),
)
def test_steps_match_a_line_that_moves_byte_by_byte(
    steps: list[tuple[int, int]], tail_ms: int | None, packets: list[tuple[int, int]]
) -> None:
    """Rates are in bytes a ms, so that the oracle can count whole bytes in whole ms; what it says is then exact."""
    at, rates, time = [], [], 0
    for gap, rate in steps:
        at.append(time)
        rates.append(rate)
        time += gap
    period = None if tail_ms is None else at[-1] + tail_ms

    def rate_at(ms: int) -> int:
        inside = ms % period if period is not None else ms
        return rates[max(index for index, begin in enumerate(at) if begin <= inside)]

    if sum(rate_at(ms) for ms in range(max(at[-1] + 1, period or 0), at[-1] + 1 + (period or 1))) == 0:
        return
    line = Steps([ms * MS for ms in at], [rate * 8000 for rate in rates], None if period is None else period * MS)
    now = free = 0
    for gap, size in packets:
        now += gap
        start = max(now, free)
        left, ms = float(size), start
        while left > 0 and ms < 100_000:
            sent = rate_at(ms) if ms >= start else 0
            if sent >= left:
                exact = ms + left / sent
                break
            left -= sent
            ms += 1
        end = line.send(start * MS, size)
        assert end == pytest.approx(exact * MS, abs=20)
        free = -(-end // MS)


def test_an_opportunity_at_the_end_of_a_round_serves_who_comes_at_that_moment() -> None:
    line = Opportunities([1 * MS], 1 * MS)
    assert line.send(5 * MS, 100) == 5 * MS
    line = Opportunities([0, 2 * MS, 4 * MS, 4 * MS], 4 * MS)
    assert [line.send(8 * MS, OPPORTUNITY_BYTES) for _ in range(4)] == [8 * MS, 8 * MS, 8 * MS, 10 * MS]


@given(st.lists(st.integers(0, 30), min_size=1, max_size=12), ARRIVALS)
def test_opportunities_match_an_oracle(gaps: list[int], arrivals: list[tuple[int, int]]) -> None:
    times = [sum(gaps[: number + 1]) for number in range(len(gaps))]
    if times[-1] == 0:
        return
    queue = VaryingQueue(Opportunities([ms * MS for ms in times], times[-1] * MS), 0, 10**9, None)
    expected: dict[int, int] = {}
    waiting: list[list[int]] = []
    coming, now = [], 0
    for gap, size in arrivals:
        now += gap
        coming.append((now, size))
    ends = [queue.enqueue(at, size) for at, size in coming]
    rounds = 0
    while len(expected) < len(coming):
        for ms in times:
            moment = (rounds * times[-1] + ms) * MS
            budget = OPPORTUNITY_BYTES
            for number, (at, size) in enumerate(coming):
                if at > moment or number in expected:
                    continue
                entry = next((one for one in waiting if one[0] == number), None)
                if entry is None:
                    entry = [number, size]
                    waiting.append(entry)
                sent = min(budget, entry[1])
                entry[1] -= sent
                budget -= sent
                if entry[1] == 0 and sent:
                    expected[number] = moment
                if budget == 0:
                    break
        rounds += 1
    assert ends == [expected[number] for number in range(len(coming))]


@given(ARRIVALS, st.integers(3000, 50_000))
def test_a_trace_of_one_step_is_a_plain_queue(arrivals: list[tuple[int, int]], limit: int) -> None:
    plain = DropTail(8_000_000, limit_packets=limit // 1500)
    traced = VaryingQueue(Steps([0], [8_000_000]), 0, None, limit // 1500)
    now = 0
    for gap, size in arrivals:
        now += gap // 20
        assert traced.enqueue(now, size) == plain.enqueue(now, size)
        assert traced.free_ns == plain.free_ns


def test_a_byte_limit_counts_the_packet_on_the_line_whole() -> None:
    queue = VaryingQueue(Steps([0], [8_000_000]), 0, 3000, None)
    assert [queue.enqueue(0, 1000) for _ in range(4)] == [MS, 2 * MS, 3 * MS, -1]
    assert queue.enqueue(MS - 1, 1000) == -1
    assert queue.enqueue(MS, 1000) == 4 * MS
    assert queue.worst_bytes() == 3000


def direction_of(path: str, **fields: Any) -> ImpairedDirection:
    spec = LinkSpec.model_validate({"between": ("a", "b"), "trace": path} | fields)
    return ImpairedDirection(plan_of(spec.direction("forward")))


def test_the_trace_begins_with_the_trial_and_keeps_order(tmp_path: Path) -> None:
    direction = direction_of(written(tmp_path, "0s - 20ms\n10ms - 5ms\n"))
    direction.begin(1000 * MS)
    for ms in (0, 9, 10, 20):
        direction.accept(udp(10), (1000 + ms) * MS)
    assert [due // MS - 1000 for due, _ in direction.line] == [20, 29, 29, 29]
    direction.line.clear()
    direction.begin(5000 * MS)
    direction.accept(udp(10), 5000 * MS)
    assert direction.line[0][0] == 5020 * MS


def test_the_traced_rate_replaces_the_links(tmp_path: Path) -> None:
    direction = direction_of(written(tmp_path, "0s 1mbit -\n100ms 8mbit -\n"), rate="100mbit", delay="10ms", queue="3p")
    direction.begin(0)
    for _ in range(5):
        direction.accept(udp(958), 200 * MS)
    assert [due // MS for due, _ in direction.line] == [211, 212, 213]
    assert direction.counts.dropped_queue == 2


SECRETS = (
    "root:$6$salt$hash:19000:0:99999:7:::",
    "0s hunter2 20ms",
    "0s 10mbit hunter2",
    "hunter2 10mbit -",
    "17hunter2",
    "0s 10mbit -\nrepeat hunter2",
    "123456789012345678901234567890",
    "0s 1bit -",
    "0s - 10min",
    "99min 1mbit -",
)


@pytest.mark.parametrize("text", SECRETS)
def test_what_is_in_the_file_is_not_told(text: str) -> None:
    with pytest.raises(ValueError, match=r"^line \d: expected ") as caught:
        parse_trace(f"{text}\n".encode())
    for word in text.split():
        assert word in ("-", "10mbit", "repeat", "0s", "20ms") or word not in str(caught.value)


@given(st.binary(max_size=60))
def test_any_content_is_a_trace_or_a_line_that_is_wrong(content: bytes) -> None:
    said = "a trace"
    try:
        assert parse_trace(content)
    except ValueError as wrong:
        said = str(wrong)
    assert said.isprintable()
    assert said in ("a trace", "the trace is empty") or re.match(r"line \d+: \S", said)


def test_long_traces_of_tiny_rates_are_replayed_at_once() -> None:
    """Walking from step to step, a packet would take a million of them, and a line that repeats each ns for ever."""
    begin = time.monotonic()
    line = Steps([0, 1], [0, 8000], 2)
    assert line.send(0, 1500) == 3_000_000_000
    line = Steps(list(range(0, 100_000 * MS, MS)), [0] * 99_999 + [8_000_000])
    assert [line.send(0, 1000) for _ in range(10_000)][-1] == 99_999 * MS + MS
    assert time.monotonic() - begin < 5


def test_a_file_that_changed_since_it_was_read_is_refused(tmp_path: Path) -> None:
    path = written(tmp_path, "0s 10mbit -\n")
    with pytest.raises(ValueError, match="has changed since the scenario was read"):
        read_trace(Trace(name="lte.trace", path=path, sha256="0" * 64))
