"""The screen by Textual's pilot: what it shows, on which terminal, and how it ends."""

from __future__ import annotations

import asyncio
import re
from typing import Any

import numpy as np
import pytest
from live_intervals import a_histogram, flow_table, interval
from screen_frames import Screen, cursor, ports, run_screen, screen, several
from textual.geometry import Region

from perfcheck.errors import CollectError
from perfcheck.live.grouping import GroupBy
from perfcheck.model.interval import Accounting
from perfcheck.screen.columns import FLOW_COLUMNS
from perfcheck.screen.framing import FrameMaker
from perfcheck.screen.lines import width_of
from perfcheck.screen.look import Look
from perfcheck.screen.pages import KEYS


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

    run_screen(test)


def test_alerts_are_shown_and_listed() -> None:
    async def test() -> None:
        lossy = several(1, retrans_segs=90, bytes_acked=10**7)
        async with screen(*[lossy] * 8) as shown:
            assert "ALERT" in shown.pane("header")[4]
            assert "more than 1 % of data segments" in shown.text
            await shown.press("a")
            assert any(line.startswith("lasting") for line in shown.pane("page"))
            assert any(line.startswith("raised") for line in shown.pane("page"))

    run_screen(test)


def test_the_diagnosis_is_shown_with_its_share() -> None:
    async def test() -> None:
        async with screen(*[several(3)] * 4, maker=FrameMaker) as shown:
            assert re.search(r"diagnosis \w+ \d+ %.* of 3 intervals, 1 ago", shown.text)
            await shown.press("enter")
            assert "diagnosis of all that is watched" in shown.text

    run_screen(test)


def test_what_is_missing_is_told() -> None:
    async def test() -> None:
        async with screen(several(1), size=(160, 50)) as shown:
            assert shown.source is not None
            told = Accounting(refused=3, lost=4, shed=("detail",), cpu_pct=1.25)
            shown.source.give(interval(1, several(1), accounting=told, histograms={"tcp.rtt_us": a_histogram()}))
            await shown.until_frame(1)
            for text in ("3 connections had no room", "4 events lost", "left out to stay below", "perfctl 1.2 %"):
                assert text in shown.text, text

    run_screen(test)


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

    run_screen(test)


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

    run_screen(test)


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

    run_screen(test)


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

    run_screen(test)


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

    run_screen(test)


def test_where_all_connections_ended_it_does_not_say_that_there_was_none() -> None:
    async def test() -> None:
        async with screen() as shown:
            await shown.give(several(3, closed=np.ones(3, np.bool_)))
            assert "3 connections" in shown.text
            assert "no connection" not in shown.text
            assert "all that were here ended in this interval; c shows them" in shown.text
            await shown.press("c")
            assert len(shown.rows) == 3

    run_screen(test)


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

    run_screen(test)


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

    run_screen(test)


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

    run_screen(test)


def test_it_begins_grouped_where_asked() -> None:
    async def test() -> None:
        async with screen(several(2), by=GroupBy.APP) as shown:
            assert "GROUP" in shown.text

    run_screen(test)
