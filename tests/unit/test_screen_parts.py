"""What the screen is made of, without a terminal: ring, order, filters, drawing, layout, times."""

from __future__ import annotations

import math
import string
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from screen_frames import busy, frames, ring_of

from perfcheck.errors import UsageError
from perfcheck.live.grouping import GroupBy
from perfcheck.screen.clock import Clock, Span
from perfcheck.screen.columns import FLOW_COLUMNS, GROUP_COLUMNS, MARK, laid_out
from perfcheck.screen.drawing import ASCII_STEPS, STEPS, bar, graph, sparkline, stacked
from perfcheck.screen.filtering import MOST_CHARACTERS, FoundTexts, parse_filter
from perfcheck.screen.frame import compact, series
from perfcheck.screen.lines import cut_end, cut_middle, padded, shown_text, width_of
from perfcheck.screen.look import Look, look_of
from perfcheck.screen.ordering import KEPT_SHARE, Order
from perfcheck.screen.ring import Ring
from perfcheck.screen.rows import GroupHistory, flow_rows

SECOND_NS = 1_000_000_000
SIZES = frames(busy(rows) for rows in range(6))
"""A frame of 0 to 5 connections each."""
VALUES = st.lists(st.floats(0, 1e12) | st.just(math.nan), max_size=40)


@given(counts=st.lists(st.integers(0, 5), min_size=1, max_size=40), most=st.integers(1, 8), kbytes=st.integers(1, 120))
@settings(max_examples=50, deadline=None)
def test_a_ring_keeps_the_newest_within_its_bounds(counts: list[int], most: int, kbytes: int) -> None:
    made = [replace(SIZES[rows], index=index) for index, rows in enumerate(counts)]
    ring = ring_of(made, most_frames=most, most_bytes=1000 * kbytes)
    assert ring.last is made[-1]
    assert len(ring) <= most
    kept = made[-len(ring) :]
    assert ring.bytes == sum(frame.size for frame in kept)
    assert len(ring) == 1 or ring.bytes <= 1000 * kbytes
    assert [ring.get(frame.index) for frame in kept] == kept
    assert ring.before(made[-1], 3) == tuple(kept[-3:])
    # It kept all that it could.
    if len(ring) < min(len(made), most):
        assert ring.bytes + made[-len(ring) - 1].size > 1000 * kbytes


def test_a_ring_begins_anew_where_frames_do_not_follow() -> None:
    made = frames(busy(1) for _ in range(6))
    ring = ring_of([*made[:2], *made[4:]])
    assert ring.first is made[4]
    assert ring.get(0) is None


@given(values=st.lists(st.floats(0, 1e9, width=32) | st.just(math.nan), max_size=30), descending=st.booleans())
def test_an_order_is_exact_at_first_and_stable(values: list[float], descending: bool) -> None:
    column = np.array(values, np.float32)
    keys = np.arange(len(values), dtype=np.uint64)
    order = Order().places(keys, column, descending=descending).tolist()
    assert sorted(order) == list(range(len(values)))
    known = [row for row in order if not math.isnan(values[row])]
    assert order[: len(known)] == known, "absent values are last"
    for one, other in pairwise(known):
        one_value, other_value = column[one], column[other]
        assert (one_value >= other_value) if descending else (one_value <= other_value)
        assert one_value != other_value or one < other, "equal ones keep their order"


@given(st.lists(st.tuples(st.floats(1, 1e6), st.floats(0.96, 1.04)), min_size=1, max_size=20))
def test_small_changes_move_no_row(rows: list[tuple[float, float]]) -> None:
    keys = np.arange(len(rows), dtype=np.uint64)
    order = Order()
    first = order.places(keys, np.array([value for value, _ in rows]), descending=True)
    shaken = np.array([value * factor for value, factor in rows])
    assert (order.places(keys, shaken, descending=True) == first).all()
    largest = int(np.argmin(shaken))
    shaken[largest] = shaken.max() * (1 + 3 * KEPT_SHARE) + 1
    assert order.places(keys, shaken, descending=True)[0] == largest


def test_rows_that_come_and_go_leave_the_others_in_order() -> None:
    order = Order()
    order.places(np.array([1, 2, 3], np.uint64), np.array([30.0, 20.0, 10.0]), descending=True)
    keys = np.array([4, 3, 1], np.uint64)
    assert keys[order.places(keys, np.array([15.0, 10.0, 30.0]), descending=True)].tolist() == [1, 4, 3]


@given(values=VALUES, wide=st.booleans(), from_zero=st.booleans())
def test_a_sparkline_has_a_character_a_value(values: list[float], wide: bool, from_zero: bool) -> None:
    drawn = sparkline(values, wide=wide, from_zero=from_zero)
    assert len(drawn) == len(values)
    assert set(drawn) <= {" ", *(STEPS if wide else ASCII_STEPS)}
    known = [(value, mark) for value, mark in zip(values, drawn, strict=True) if not math.isnan(value)]
    assert all((mark == " ") == math.isnan(value) for value, mark in zip(values, drawn, strict=True))
    steps = STEPS if wide else ASCII_STEPS
    ranked = sorted(known, key=lambda each: each[0])
    heights = [steps.index(mark) for _, mark in ranked]
    assert heights == sorted(heights), "a larger value is never drawn lower"
    if from_zero:
        assert all((mark == steps[0]) == (value == 0) for value, mark in known)


def test_what_hardly_changes_is_drawn_flat() -> None:
    assert sparkline([100.0, 101.0, 100.5]) == "▁▂▂"
    assert sparkline([100.0, 200.0]) == "▁█"
    assert sparkline([0.0, 0.0], from_zero=True) == "▁▁"


@given(share=st.floats(-1, 2) | st.just(math.nan), width=st.integers(0, 40), wide=st.booleans())
def test_a_bar_is_as_wide_as_asked(share: float, width: int, wide: bool) -> None:
    assert len(bar(share, width, wide=wide)) == width


@given(st.lists(st.floats(0, 100), min_size=1, max_size=5), st.integers(1, 120))
def test_parts_of_a_stacked_bar_add_up(parts: list[float], width: int) -> None:
    total = sum(parts) or 1.0
    lengths = stacked([100 * part / total for part in parts], width)
    assert all(length >= 0 for length in lengths)
    assert sum(lengths) == (width if sum(parts) else 0)


@given(VALUES, st.integers(1, 5), st.booleans())
def test_a_graph_has_a_column_a_value(values: list[float], rows: int, wide: bool) -> None:
    lines = graph(values, rows, high=max([value for value in values if value > 0], default=0.0), wide=wide)
    assert [len(line) for line in lines] == [len(values)] * rows
    full = (STEPS if wide else ASCII_STEPS)[-1]
    if any(value > 0 for value in values):
        assert full in lines[0], "the largest value reaches the top"


@given(st.integers(10, 300), st.sampled_from([FLOW_COLUMNS, GROUP_COLUMNS]), st.integers(0, 60), st.integers(0, 60))
def test_columns_fit_every_width(width: int, columns: tuple, remote: int, process: int) -> None:  # type: ignore[type-arg]
    placed = laid_out(columns, width, {"remote": remote, "process": process, "group": remote})
    assert sum(each.width + 1 for each in placed) - 1 + MARK <= width
    names = [each.column.name for each in placed]
    assert names == [each.name for each in columns if each.name in names], "in their order"
    assert columns[0].name in names
    assert all(each.width >= each.column.least for each in placed[1:])


def test_80_columns_have_room_for_what_matters() -> None:
    placed = laid_out(FLOW_COLUMNS, 80, {"remote": 21, "process": 12})
    assert [each.column.name for each in placed] == [
        "remote", "process", "out", "in", "rtt", "retr", "bottleneck", "bottleneck share"
    ]  # fmt: skip
    assert [each.width for each in placed if each.column.name == "remote"] == [21]


@given(st.text(max_size=40), st.integers(0, 30))
def test_texts_take_the_width_that_they_get(text: str, width: int) -> None:
    shown = shown_text(text)
    assert width_of(padded(shown, width)) == width
    assert width_of(cut_end(shown, width)) <= width
    assert width_of(cut_middle(shown, width)) <= width
    assert shown_text(text, wide=False).isascii()
    assert not set(shown) & set("\x1b\r\n\x00\u202e")


WORDS = st.sampled_from(["443", "nginx", "!idle", "remote:10.0.0.2", "rtt>20ms", "out>1mbit", "retr>0", "fe80::1"])


@given(st.lists(WORDS, max_size=6), st.sampled_from([" ", "   ", "\t"]))
def test_filters_read_what_they_say(words: list[str], gap: str) -> None:
    found = parse_filter(gap.join(words))
    assert len(found.conditions) == len(words)
    assert [each.negated for each in found.conditions] == [word.startswith("!") for word in words]


@given(st.text(string.printable, max_size=60))
def test_a_filter_is_read_or_refused(text: str) -> None:
    try:
        found = parse_filter(text)
    except UsageError:
        return
    assert len(found.passing(flow_rows(SIZES[3], SIZES))) == 3


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("rtt>20", None), ("rtt>", "value is missing"), ("rtt>much", "expected"),
        ("rtt>20mbit", "expected a number in"),
        ("speed>1", "unknown figure"), ("rttt>1ms", "did you mean rtt?"), ("proces:x", "did you mean process?"),
        ("!", "needs a word"), ("x" * (MOST_CHARACTERS + 1), "at most"), ("[::1]:443", None), ("a=b", "unknown figure"),
    ],
)  # fmt: skip
def test_mistakes_in_filters_are_told(text: str, said: str | None) -> None:
    if said is None:
        parse_filter(text)
        return
    with pytest.raises(UsageError, match=said.replace("?", r"\?")):
        parse_filter(text)


@pytest.mark.parametrize(
    ("text", "rows"),
    [
        ("", [0, 1, 2, 3]), ("nginx", [0, 1]), ("!nginx", [2, 3]), ("NGINX", [0, 1]), ("10.0.0.2:5201", [0, 1, 2, 3]),
        ("rtt>25ms", [3]), ("rtt<25ms nginx", [0, 1]), ("retr>0", [2]), ("port=40001", [1]), ("pid=102", [2]),
        ("out>20mbit", [2, 3]), ("nothing", []), ("bottleneck:loss", [2]), ("local:40003", [3]),
    ],
)  # fmt: skip
def test_filters_pass_what_they_should(text: str, rows: list[int]) -> None:
    table = busy(
        4, comm=[b"nginx", b"nginx", b"curl", b"curl"], retrans_segs=[0, 0, 40, 0],
        rtt_p50_us=[20_000.0, 20_000.0, 20_000.0, 30_000.0],
    )  # fmt: skip
    made = frames([table])
    assert np.flatnonzero(parse_filter(text).passing(flow_rows(made[0], made))).tolist() == rows


OF_A_SOCKET = st.tuples(st.integers(1, 6), st.sampled_from([0, 102, 7]), st.sampled_from([b"nginx", b"curl", b""]))


@given(
    st.lists(st.lists(OF_A_SOCKET, max_size=6, unique_by=lambda each: each[0]), min_size=1, max_size=5),
    st.lists(st.sampled_from(["nginx", "!nginx", "process:102", "local:40003", "4000", "remote:x"]), max_size=3),
)
@settings(max_examples=50)
def test_what_was_found_before_changes_nothing(seen: list[list[tuple[int, int, bytes]]], words: list[str]) -> None:
    wanted, found = parse_filter(" ".join(words)), FoundTexts()
    for sockets in seen:
        cookies, pids, comms = zip(*sockets, strict=True) if sockets else ((), (), ())
        table = busy(
            len(sockets), cookie=np.array(cookies, np.uint64), pid=np.array(pids, np.uint32),
            comm=np.array(comms, "S16"), local_port=40_000 + np.array(cookies, np.uint16),
        )  # fmt: skip
        made = frames([table])
        rows = flow_rows(made[0], made)
        assert wanted.passing(rows, found).tolist() == wanted.passing(rows).tolist()


def test_the_past_follows_a_connection_wherever_its_row_is() -> None:
    one, two = busy(3, rtt_p50_us=[1.0, 2.0, 3.0]), busy(3, rtt_p50_us=[5.0, 6.0, 7.0], cookie=[3, 1, 9])
    made = frames([one, two])
    past = series(made, made[1].keys, "rtt_us")
    assert past[:2].tolist() == [[3.0, 5.0], [1.0, 6.0]]
    assert math.isnan(past[2, 0])
    assert past[2, 1] == 7.0


def test_one_socket_of_two_namespaces_is_two() -> None:
    made = frames([busy(2, cookie=7, netns=[1, 2])])
    assert len(set(made[0].keys.tolist())) == 2


@given(st.lists(st.floats(allow_nan=True, allow_infinity=True) | st.floats(1e30, 1e300), min_size=2, max_size=2))
def test_compact_tables_hold_any_number(values: list[float]) -> None:
    found = compact(busy(2, srtt_us=values))["srtt_us"]
    assert all(math.isnan(was) == math.isnan(now) for was, now in zip(values, found.tolist(), strict=True))
    assert not np.isinf(found).any()


def test_groups_sum_and_name_what_most_of_them_have() -> None:
    table = busy(4, comm=[b"a", b"a", b"a", b"b"], rwnd_limited_us=[900_000, 900_000, 0, 0])
    made = frames([table, table])
    rows = GroupHistory().rows(made[1], made, GroupBy.APP)
    place = [rows.text("group", row) for row in range(len(rows))].index("a")
    assert rows.values["connections"][place] == 3
    assert rows.values["send_bps"][place] == 8e6 * 6
    assert rows.values["limit_pct"][place] == pytest.approx(100 * 2 / 3)
    assert rows.past("send_bps", [place]).tolist() == [[48e6, 48e6]]


@pytest.mark.parametrize(
    ("environment", "encoding", "look"),
    [
        ({"TERM": "xterm", "LANG": "en_US.UTF-8"}, "utf-8", Look()),
        ({"TERM": "xterm", "LANG": "en_US.UTF-8", "NO_COLOR": "1"}, "utf-8", Look(colours=False)),
        ({"TERM": "dumb", "LANG": "en_US.UTF-8"}, "UTF-8", Look(colours=False, attributes=False)),
        ({"TERM": "xterm", "LC_ALL": "C"}, "utf-8", Look(wide=False)),
        ({"TERM": "xterm", "LANG": "C", "LC_CTYPE": "C.UTF-8"}, "utf-8", Look(wide=False)),
        ({"TERM": "xterm", "LANG": "C.UTF-8"}, "utf-8", Look()),
        ({"TERM": "xterm", "LANG": "de_DE"}, "ISO-8859-1", Look(wide=False)),
    ],
)
def test_the_look_follows_the_terminal(environment: dict[str, str], encoding: str, look: Look) -> None:
    assert look_of(environment, encoding=encoding) == look


CLOCK = Clock(utc=True)
BEGIN = 1_790_000_000 // 86_400 * 86_400 * SECOND_NS
SPAN = Span(first_ns=BEGIN + 3600 * SECOND_NS, last_ns=BEGIN + 7200 * SECOND_NS)


@pytest.mark.parametrize(
    ("text", "at_s"),
    [("1:30", 5400), ("01:30:15", 5415), ("-30s", 3970), ("+5min", 4300), ("-2min", 3880), ("+9min ", 4540),
     ("-1000s", 3600), ("2:00", 7200), ("1:00:00.5", 3600.5)],
)  # fmt: skip
def test_times_are_read(text: str, at_s: float) -> None:
    assert CLOCK.moment(text, SPAN, BEGIN + 4000 * SECOND_NS) == BEGIN + round(at_s * SECOND_NS)


@pytest.mark.parametrize(
    ("text", "said"), [("3:00", "is not between"), ("25:00", "no time of day"), ("soon", "expected"), ("+x", "after")]
)
def test_mistakes_in_times_are_told(text: str, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        CLOCK.moment(text, SPAN, SPAN.first_ns)


def test_a_time_after_midnight_is_found() -> None:
    span = Span(first_ns=BEGIN + 86_000 * SECOND_NS, last_ns=BEGIN + 87_000 * SECOND_NS)
    assert CLOCK.moment("00:05", span, span.first_ns) == BEGIN + (86_400 + 300) * SECOND_NS


def test_an_empty_ring_has_nothing() -> None:
    ring = Ring()
    assert ring.first is ring.last is ring.get(0) is ring.at(5) is None
