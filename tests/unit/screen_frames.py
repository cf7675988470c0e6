"""Frames, feeds and screens that tests make by hand."""

from __future__ import annotations

import asyncio
import re
import threading
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable, Iterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import numpy as np
from live_intervals import flow_table, interval
from textual.pilot import Pilot

from perfcheck.live.grouping import GroupBy
from perfcheck.model.flow_table import FlowTable
from perfcheck.model.interval import Interval
from perfcheck.screen.app import TopApp
from perfcheck.screen.feed import Feed, LiveFeed, RecordingFeed
from perfcheck.screen.frame import Frame
from perfcheck.screen.framing import FrameMaker
from perfcheck.screen.look import Look
from perfcheck.screen.request import ScreenRequest
from perfcheck.screen.ring import Ring

PATIENCE = 1000
"""Looks, 0.02 s apart, at whether a screen has what is waited for."""


def busy(rows: int = 3, **more: Any) -> FlowTable:
    """Return connections that send the more, the later their row is, with a round trip of 20 ms."""
    columns: dict[str, Any] = {
        "bytes_acked": 1_000_000 * np.arange(1, rows + 1), "bytes_received": 0, "srtt_us": 20_000.0,
        "rtt_p50_us": 20_000.0, "rtt_p99_us": 31_000.0, "min_rtt_us": 19_000.0, "cwnd_segs": 40.0,
        "inflight_segs": 20.0, "data_segs_out": 1000, "elapsed_us": 1_000_000, "busy_us": 1_000_000,
        "pid": 100 + np.arange(rows), "mss_bytes": 1448.0, "rtt_count": 100, "rtt_mean_us": 20_000.0,
    }  # fmt: skip
    return flow_table(rows, **{**columns, **more})


class Unjudged(FrameMaker):
    """Makes frames without the diagnosis, which takes a second to load."""

    def _judge(self, *_: object) -> None:
        return


def frames(tables: Iterable[FlowTable]) -> list[Frame]:
    """Return a frame of each table."""
    maker = Unjudged()
    return [maker.frame(interval(number, table)) for number, table in enumerate(tables)]


def ring_of(made: Sequence[Frame], **bounds: int) -> Ring:
    """Return a ring that these frames went into."""
    ring = Ring(**bounds)
    for frame in made:
        ring.append(frame)
    return ring


class Scripted:
    """Intervals of a live machine, of which a test gives one after the other."""

    def __init__(self, given: Sequence[Interval] = (), error: BaseException | None = None) -> None:
        self._given = list(given)
        self._error = error
        self._more = threading.Condition()
        self._over = False

    def give(self, *more: Interval) -> None:
        with self._more:
            self._given += more
            self._more.notify_all()

    def fail(self, error: BaseException) -> None:
        with self._more:
            self._error = error
            self._more.notify_all()

    def stop(self) -> None:
        with self._more:
            self._over = True
            self._more.notify_all()

    def __iter__(self) -> Iterator[Interval]:
        while True:
            with self._more:
                while not self._given and not self._over and self._error is None:
                    self._more.wait(5)
                if self._given:
                    one = self._given.pop(0)
                elif self._error is not None:
                    raise self._error
                else:
                    return
            yield one


class Screen:
    """A screen that runs, and what it shows."""

    def __init__(self, app: TopApp, pilot: Pilot[None], source: Scripted | None) -> None:
        self.app = app
        self.pilot = pilot
        self.source = source

    def pane(self, name: str) -> list[str]:
        return self.app._pane(name).texts

    @property
    def rows(self) -> list[str]:
        """The rows of the table, without the headings."""
        return self.pane("table")[2:]

    @property
    def text(self) -> str:
        return "\n".join(line for name in ("header", "table", "page", "footer") for line in self.pane(name))

    async def press(self, *keys: str) -> None:
        await self.pilot.press(*keys)
        await self.pilot.pause()

    async def type(self, text: str) -> None:
        await self.pilot.press(*text)
        await self.press("enter")

    async def give(self, *tables: FlowTable) -> None:
        """Give intervals, and wait until the screen has them."""
        assert self.source is not None
        first = self.newest + 1
        self.source.give(*(interval(first + number, table) for number, table in enumerate(tables)))
        await self.until_frame(first + len(tables) - 1)

    @property
    def newest(self) -> int:
        last = self.app._ring.last
        return -1 if last is None else last.index

    async def until_frame(self, index: int) -> None:
        for _ in range(PATIENCE):
            if self.newest >= index:
                break
            await self.pilot.pause(0.02)
        assert self.newest >= index
        await self.pilot.pause()


@asynccontextmanager
async def screen(
    *tables: FlowTable, size: tuple[int, int] = (80, 24), look: Look | None = None, ring: Ring | None = None,
    by: GroupBy = GroupBy.CONNECTION, recorded: bool = False, maker: Callable[[], FrameMaker] = Unjudged,
) -> AsyncIterator[Screen]:  # fmt: skip
    """Yield a screen that shows the last of these intervals of a live machine, or the first of a recording."""
    given = [interval(number, table) for number, table in enumerate(tables)]
    source = None if recorded else Scripted(given)
    feed: Feed = RecordingFeed(given, maker) if source is None else LiveFeed(source, maker())
    request = ScreenRequest(title="tests", is_recorded=recorded, look=look or Look(), by=by)
    app = TopApp(feed, request, ring)
    try:
        async with app.run_test(size=size) as pilot:
            shown = Screen(app, pilot, source)
            await shown.until_frame(len(tables) - 1)
            yield shown
    finally:
        feed.stop()
        assert app.defect is None, app.defect


def run_screen(test: Callable[[], Coroutine[Any, Any, None]]) -> None:
    """Run a test's coroutine."""
    asyncio.run(test())


def ports(shown: Screen) -> list[str]:
    """Return the remote ports of the rows, from the top."""
    return [found[1] for row in shown.rows if (found := re.search(r"10\.0\.0\.2:(\d+)", row))]


def several(count: int = 5, **more: Any) -> FlowTable:
    """Return connections with ports 1000, 1001, .. of which the last sends the most."""
    return busy(count, **{"remote_port": 1000 + np.arange(count), **more})


def cursor(shown: Screen) -> str:
    """Return the far end of the row under the cursor."""
    row = next(row for row in shown.rows if row.startswith(("▶", ">")))
    return row.split()[1]
