"""The screen by Textual's pilot: what each key does."""

from __future__ import annotations

import re

import numpy as np
import pytest
from live_intervals import flow_table
from screen_frames import cursor, ports, run_screen, screen, several
from textual.events import Key
from textual.widgets import Input

from perfcheck.screen.lines import width_of
from perfcheck.screen.ring import Ring

SIZES = [(80, 24), (160, 50)]


@pytest.mark.parametrize("size", SIZES)
def test_all_lines_fit_and_say_what_matters(size: tuple[int, int]) -> None:
    async def test() -> None:
        table = several(40, retrans_segs=30, rtt_p50_us=np.linspace(50, 900_000, 40))
        async with screen(table, size=size) as shown:
            for name in ("header", "table", "footer"):
                assert all(width_of(line) <= size[0] for line in shown.pane(name)), name
            for word in ("40 connections", "out ", "RTT p50", "retransmitted", "perfctl 0 % of a CPU", "diagnosis",
                         "alerts", "LIVE", "REMOTE", "RTT", "RETR", "BOTTLENECK", "random_loss", "? help"):  # fmt: skip
                assert word in shown.text, word
            assert ("RTT TREND" in shown.text) == (size[0] == 160)
            heading = shown.pane("table")[1]
            row = shown.rows[0]
            end = heading.index("RETR") + len("RETR")
            assert row[:end].endswith(" 30"), "figures end where their heading ends"

    run_screen(test)


def test_rows_are_sorted_and_turned() -> None:
    async def test() -> None:
        table = several(rtt_p50_us=[5e3, 1e3, 4e3, 2e3, 3e3])
        async with screen(table) as shown:
            assert ports(shown) == ["1004", "1003", "1002", "1001", "1000"]
            await shown.press("r")
            assert ports(shown) == ["1000", "1001", "1002", "1003", "1004"]
            assert "out ▲" in shown.pane("footer")[0]
            await shown.press("s", "s")
            assert "rtt ▼" in shown.pane("footer")[0]
            assert ports(shown) == ["1000", "1002", "1004", "1003", "1001"]
            await shown.press("1")
            assert "remote ▲" in shown.pane("footer")[0]
            assert ports(shown) == ["1000", "1001", "1002", "1003", "1004"]
            await shown.press("1")
            assert ports(shown) == ["1004", "1003", "1002", "1001", "1000"]
            await shown.press("S")
            assert "bottleneck share" in shown.pane("footer")[0]

    run_screen(test)


def test_the_cursor_stays_on_its_connection() -> None:
    async def test() -> None:
        async with screen(several(40)) as shown:
            await shown.press("down", "down", "down")
            assert cursor(shown) == "10.0.0.2:1036"
            line = next(place for place, row in enumerate(shown.rows) if row.startswith("▶"))
            # It becomes the slowest but one of all.
            sent = 1_000_000 * np.arange(1, 41)
            sent[36] = 1_500_000
            await shown.give(several(40, bytes_acked=sent))
            assert cursor(shown) == "10.0.0.2:1036"
            assert shown.app.view.cursor == 38
            await shown.press("r")
            assert cursor(shown) == "10.0.0.2:1036"
            assert line == 3
            await shown.press("u")
            assert cursor(shown) == "10.0.0.2:1000"

    run_screen(test)


def test_a_connection_that_ends_leaves_the_cursor_where_it_was() -> None:
    async def test() -> None:
        async with screen(several(5)) as shown:
            await shown.press("down")
            assert cursor(shown) == "10.0.0.2:1003"
            closed = np.array([False, False, False, True, False])
            await shown.give(several(5, closed=closed))
            assert ports(shown) == ["1004", "1002", "1001", "1000"]
            assert "(+1 closed)" in shown.text
            assert cursor(shown) == "10.0.0.2:1002"
            await shown.press("c")
            assert ports(shown) == ["1004", "1003", "1002", "1001", "1000"]
            assert any(row[1] == "x" and "1003" in row for row in shown.rows)
            await shown.give(several(3), flow_table(0), several(4))
            assert ports(shown) == ["1003", "1002", "1001", "1000"]

    run_screen(test)


def test_filters_are_typed_mended_and_removed() -> None:
    async def test() -> None:
        async with screen(several(5, comm=[b"nginx", b"curl", b"nginx", b"curl", b"curl"])) as shown:
            await shown.press("slash")
            await shown.type("comm>5")
            assert "unknown figure" in shown.pane("footer")[0]
            assert len(shown.rows) == 5
            await shown.press(*["backspace"] * 6)
            await shown.type("nginx")
            assert ports(shown) == ["1002", "1000"]
            assert "1-2 of 2" in shown.pane("footer")[0]
            assert "/ nginx" in shown.pane("footer")[0]
            await shown.give(several(5, comm=b"curl"))
            assert "none of 5 passes the filter" in shown.text
            await shown.press("enter", "down", "r", "escape")
            assert len(shown.rows) == 5
            await shown.press("slash", "q", "escape")
            assert len(shown.rows) == 5, "Esc leaves the prompt and changes nothing"

    run_screen(test)


@pytest.mark.parametrize(("key", "text"), [("slash", "quic"), ("colon", "#1 s")])
def test_what_is_typed_ahead_goes_into_the_prompt(key: str, text: str) -> None:
    """Over a slow line many keys come at once: none of them is lost, sorts the rows, or ends the screen."""

    async def test() -> None:
        async with screen(several(5)) as shown:
            keys = [Key(key, None), *(Key(names.get(each, each), each) for each in text)]
            for one in keys:
                shown.app.post_message(one)
            await shown.pilot.pause()
            await shown.pilot.pause()
            assert shown.app.is_running
            assert shown.app.query_one("#prompt", Input).value == text
            assert "out ▼" in shown.pane("footer")[0]
            await shown.press("ctrl+c")
            assert shown.app._exit, "Ctrl-C ends the screen from a prompt, too"

    names = {"#": "number_sign", " ": "space"}
    run_screen(test)


def test_groups_go_round() -> None:
    async def test() -> None:
        table = several(4, comm=[b"nginx", b"nginx", b"curl", b"curl"], pid=[1, 2, 3, 3])
        async with screen(table) as shown:
            await shown.press("g")
            assert [row.split()[0].lstrip("▶") or row.split()[1] for row in shown.rows]
            assert {"nginx[1]", "nginx[2]", "curl[3]"} <= set(" ".join(shown.rows).split())
            await shown.press("g")
            assert "app" in shown.pane("footer")[0]
            assert len(shown.rows) == 2
            await shown.press("g")
            assert "own namespace" in shown.rows[0]
            assert "4" in shown.rows[0].split()
            await shown.press("enter")
            assert "10.0.0.2:1003" in shown.text, "of a group, the connection that carries the most"
            await shown.press("escape", "g")
            assert len(shown.rows) == 4

    run_screen(test)


@pytest.mark.parametrize("size", SIZES)
def test_a_connection_is_looked_into(size: tuple[int, int]) -> None:
    async def test() -> None:
        limited = several(2, rwnd_limited_us=700_000, rtt_p50_us=[5e3, 40e3], srtt_us=[5e3, 40e3])
        async with screen(*[limited] * 10, size=size) as shown:
            await shown.press("enter")
            assert all(width_of(line) <= size[0] for line in shown.pane("page"))
            page = "\n".join(shown.pane("page"))
            for text in ("10.0.0.1:40001->10.0.0.2:1001", "receive_window 70 %", "raise net.ipv4.tcp_rmem",
                         "network 30 %",
                         "receive window 70 %", "in flight", "BDP", "RTT 20 ms = path 19 ms", "cwnd, segs",
                         "rwnd_limited_us", "700ms"):  # fmt: skip
                assert text in re.sub(r"\s+", " ", page), text
            await shown.give(several(1))
            assert "is not in this interval" in shown.text
            await shown.give(limited)
            assert "receive_window 70 %" in shown.text
            await shown.press("pagedown")
            assert shown.app._pane("page").top > 0 or size[1] == 50
            await shown.press("escape")
            assert not shown.app.page

    run_screen(test)


def test_pausing_keeps_the_view_and_counts() -> None:
    async def test() -> None:
        async with screen(several(2), ring=Ring(most_frames=3)) as shown:
            await shown.press("space")
            assert "paused, 0 intervals behind" in shown.text
            await shown.give(*[several(number) for number in (3, 4, 5, 6, 7)])
            assert "paused, 5 intervals behind" in shown.text
            assert len(shown.rows) == 2, "the view stands, though the ring has let go of it"
            await shown.press("space")
            assert "LIVE" in shown.text
            assert len(shown.rows) == 7

    run_screen(test)


def test_time_is_gone_through() -> None:
    async def test() -> None:
        async with screen(*[several(number) for number in range(1, 16)]) as shown:
            await shown.press("left_square_bracket")
            assert len(shown.rows) == 14
            assert "paused, 1 interval behind" in shown.text
            await shown.press("left_curly_bracket")
            assert len(shown.rows) == 4
            await shown.press("right_square_bracket")
            assert len(shown.rows) == 5
            await shown.press("home")
            assert len(shown.rows) == 1
            await shown.press("left_square_bracket")
            assert len(shown.rows) == 1
            await shown.press("colon")
            await shown.type("+3s")
            assert len(shown.rows) == 4
            await shown.press("colon")
            await shown.type("#9")
            assert len(shown.rows) == 10
            await shown.press("colon")
            await shown.type("#99")
            assert "#0 to #14" in shown.pane("footer")[0]
            await shown.press("escape", "end")
            assert "LIVE" in shown.text
            assert len(shown.rows) == 15

    run_screen(test)


def test_a_recording_plays_and_is_read_again() -> None:
    async def test() -> None:
        tables = [several(number) for number in range(1, 9)]
        async with screen(*tables, recorded=True) as shown:
            assert re.search(r"PLAYING [1-8] of 8", shown.text)
            await shown.press("space", "home")
            assert "STANDING 1 of 8" in shown.text
            await shown.press("end")
            assert len(shown.rows) == 8
            assert "END 8 of 8" in shown.text
            assert " UTC" in shown.text
            await shown.press("home", "right_square_bracket")
            assert len(shown.rows) == 2
            assert shown.app.is_running, "its end does not end the screen"

    run_screen(test)
