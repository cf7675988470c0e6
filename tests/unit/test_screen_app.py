"""The screen by Textual's pilot: what it shows, and what each key does."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable
from typing import Any

import numpy as np
import pytest
from live_intervals import a_histogram, flow_table, interval
from screen_frames import Screen, busy, screen
from textual.geometry import Region

from perfcheck.errors import CollectError
from perfcheck.live.grouping import GroupBy
from perfcheck.model.flow_table import FlowTable
from perfcheck.model.interval import Accounting
from perfcheck.screen.columns import FLOW_COLUMNS
from perfcheck.screen.framing import FrameMaker
from perfcheck.screen.lines import width_of
from perfcheck.screen.look import Look
from perfcheck.screen.pages import KEYS
from perfcheck.screen.ring import Ring

SIZES = [(80, 24), (160, 50)]


def run(test: Callable[[], Awaitable[None]]) -> None:
    asyncio.run(test())  # type: ignore[arg-type]


def ports(shown: Screen) -> list[str]:
    """Return the remote ports of the rows, from the top."""
    return [found[1] for row in shown.rows if (found := re.search(r"10\.0\.0\.2:(\d+)", row))]


def several(count: int = 5, **more: Any) -> FlowTable:
    """Return connections with ports 1000, 1001, .. of which the last sends the most."""
    return busy(count, **{"remote_port": 1000 + np.arange(count), **more})


def cursor(shown: Screen) -> str:
    row = next(row for row in shown.rows if row.startswith(("▶", ">")))
    return row.split()[1]


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

    run(test)


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

    run(test)


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

    run(test)


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

    run(test)


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

    run(test)


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

    run(test)


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

    run(test)


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

    run(test)


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

    run(test)


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

    run(test)


def test_help_names_all_keys_and_columns() -> None:
    async def test() -> None:
        async with screen(several(2)) as shown:
            await shown.press("question_mark")
            page = "\n".join(shown.pane("page"))
            assert all(key.keys in page for key in KEYS)
            assert all(column.what.split(";")[0][:30] in re.sub(r"\s+", " ", page) for column in FLOW_COLUMNS)
            assert all(width_of(line) <= 80 for line in shown.pane("page"))
            await shown.press("question_mark")
            assert not shown.app.page

    run(test)


def test_alerts_are_shown_and_listed() -> None:
    async def test() -> None:
        lossy = several(1, retrans_segs=90, bytes_acked=10**7)
        async with screen(*[lossy] * 8) as shown:
            assert "ALERT" in shown.pane("header")[4]
            assert "more than 1 % of data segments" in shown.text
            await shown.press("a")
            assert any(line.startswith("lasting") for line in shown.pane("page"))
            assert any(line.startswith("raised") for line in shown.pane("page"))

    run(test)


def test_the_diagnosis_is_shown_with_its_share() -> None:
    async def test() -> None:
        async with screen(*[several(3)] * 4, maker=FrameMaker) as shown:
            assert re.search(r"diagnosis \w+ \d+ %.* of 3 intervals, 1 ago", shown.text)
            await shown.press("enter")
            assert "diagnosis of all that is watched" in shown.text

    run(test)


def test_what_is_missing_is_told() -> None:
    async def test() -> None:
        async with screen(several(1), size=(160, 50)) as shown:
            assert shown.source is not None
            told = Accounting(refused=3, lost=4, shed=("detail",), cpu_pct=1.25)
            shown.source.give(interval(1, several(1), accounting=told, histograms={"tcp.rtt_us": a_histogram()}))
            await shown.until_frame(1)
            for text in ("3 connections had no room", "4 events lost", "left out to stay below", "perfctl 1.2 %"):
                assert text in shown.text, text

    run(test)


HOSTILE = [
    b"[red]x[/red]",
    b"\x1b[2Jboom",
    b"a\nb\r",
    b"\xff\xfe\x80",
    "\u202eevil".encode(),
    b"[link=http:/",
    b"$(reboot)",
]


@pytest.mark.parametrize("look", [Look(), Look(wide=False), Look(colours=False, attributes=False, wide=False)], ids=str)
def test_hostile_names_are_shown_as_they_are(look: Look) -> None:
    async def test() -> None:
        table = several(len(HOSTILE), comm=np.array(HOSTILE, "S16"), congestion=b"\x1b]0;x\x07")
        async with screen(table, size=(160, 50), look=look) as shown:
            assert "[red]x[/red]" in shown.text
            for keys in ((), ("enter",), ("escape", "g"), ("enter",)):
                await shown.press(*keys)
                assert not set(shown.text) & set("\x1b\x07\r\u202e")
                assert look.wide or shown.text.isascii()
                drawn = "".join(part.text for strip in _drawn(shown) for part in strip)
                assert not set(drawn) & set("\x1b\x07\r\n\u202e")
            await shown.press("escape")

    run(test)


def _drawn(shown: Screen) -> list[Any]:
    """Return what Textual draws of each line, its filters applied."""
    return [pane.render_line(y) for pane in (shown.app._pane("table"), shown.app._pane("page"))
            for y in range(pane.size.height)]  # fmt: skip


@pytest.mark.parametrize(
    ("look", "colours", "attributes"),
    [(Look(), True, True), (Look(colours=False), False, True), (Look(colours=False, attributes=False), False, False)],
)
def test_styles_are_those_that_the_terminal_has(look: Look, colours: bool, attributes: bool) -> None:
    async def test() -> None:
        async with screen(several(3, retrans_segs=50), look=look) as shown:
            styles = [part.style for strip in _drawn(shown) for part in strip if part.style]
            assert any(style.color for style in styles) == colours
            assert any(style.bold or style.reverse for style in styles) == attributes
            assert shown.rows[0].startswith("▶"), "a mark stands for the cursor, too"

    run(test)


def test_it_can_be_of_any_size() -> None:
    async def test() -> None:
        async with screen(several(60)) as shown:
            await shown.press("down", "down")
            for width, height in ((20, 6), (160, 50), (40, 10), (300, 80), (80, 24)):
                await shown.pilot.resize_terminal(width, height)
                await shown.pilot.pause()
                await shown.give(several(60))
                assert all(
                    width_of(line) <= width for name in ("header", "table", "footer") for line in shown.pane(name)
                )
                assert cursor(shown)[:6] in "10.0.0.2:1057", (width, height)
                assert len(shown.rows) == min(60, max(shown.app._pane("table").size.height - 2, 1))

    run(test)


def test_1000_connections_are_gone_through() -> None:
    async def test() -> None:
        random = np.random.default_rng(5)
        tables = [several(1000, bytes_acked=random.integers(0, 10**8, 1000)) for _ in range(5)]
        async with screen(*tables) as shown:
            await shown.press("pagedown", "pagedown", "down")
            assert shown.app.view.cursor == 2 * (shown.app.view.visible - 1) + 1
            one = cursor(shown)
            await shown.give(several(1000, bytes_acked=random.integers(0, 10**8, 1000)))
            assert cursor(shown) == one
            await shown.press("u", "slash")
            await shown.type("port=1500")
            assert ports(shown) == ["1500"]

    run(test)


def test_only_lines_that_changed_are_drawn(monkeypatch: pytest.MonkeyPatch) -> None:
    async def test() -> None:
        async with screen(several(5)) as shown:
            drawn: list[int] = []
            pane = shown.app._pane("table")
            refresh = pane.refresh

            def noted(*regions: Region) -> None:
                drawn.extend(each.y for each in regions)
                refresh(*regions)

            monkeypatch.setattr(pane, "refresh", noted)
            sent = 1_000_000 * np.arange(1, 6)
            sent[1] += 40_000
            await shown.give(several(5, bytes_acked=sent))
            assert drawn == [5], "the row of port 1001 alone"

    run(test)


def test_without_connections_it_says_so() -> None:
    async def test() -> None:
        async with screen() as shown:
            assert "waiting for the first interval" in shown.text
            await shown.press("enter", "down", "g", "s", "r", "space", "left_square_bracket", "home")
            await shown.press("space", "end")
            await shown.give(flow_table(0))
            assert "no connection in this interval" in shown.text
            await shown.press("g", "g", "g", "enter", "pagedown", "1", "9")
            assert shown.app.is_running

    run(test)


@pytest.mark.parametrize("error", [CollectError("the ring is gone"), None])
def test_the_end_of_the_intervals_ends_the_screen(error: CollectError | None) -> None:
    async def test() -> None:
        async with screen(several(2)) as shown:
            assert shown.source is not None
            if error is None:
                shown.source.stop()
            else:
                shown.source.fail(error)
            for _ in range(100):
                await asyncio.sleep(0.02)
                if not shown.app.is_running:
                    break
            assert not shown.app.is_running
            assert shown.app.failure is error

    run(test)


@pytest.mark.parametrize("key", ["q", "ctrl+c"])
def test_keys_end_it(key: str) -> None:
    async def test() -> None:
        async with screen(several(2)) as shown:
            await shown.pilot.press("question_mark", key)
            for _ in range(100):
                await asyncio.sleep(0.01)
                if not shown.app.is_running:
                    break
            assert not shown.app.is_running
            assert shown.app.failure is None

    run(test)


def test_it_begins_grouped_where_asked() -> None:
    async def test() -> None:
        async with screen(several(2), by=GroupBy.APP) as shown:
            assert "GROUP" in shown.text

    run(test)
