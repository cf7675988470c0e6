"""Pages of reports in a real browser: how a test opens one, waits for its charts, points at them, and attacks it."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Final

import pytest
from playwright.sync_api import Browser, Page, sync_playwright

from perfcheck.errors import Unavailable, UsageError
from perfcheck.report import browser as printing
from perfcheck.system import commands

WIDTHS: Final = (1440, 768, 390)
UNDRAWN: Final = "figure.chart:not([data-state])"
_HIT: Final = count(1)


def payload(usual: str) -> str:
    """Return a text that tells if any of it is executed or becomes an element."""
    number = next(_HIT)
    hit = f"window.__hit={number}"
    kinds = (
        f"<script>{hit}</script>", f'"><img src=x onerror="{hit}">', f"</script><script>{hit}</script>",
        f"' autofocus onfocus='{hit}", f"javascript:{hit}", f"{{{{7*7}}}}${{{hit}}}", f"</style><svg onload={hit}>",
        f"datum['x'] || ({hit})", f"\u202e\x1b[31m<b>{number}</b>\x07", "__proto__", "</title><iframe src=//evil.test>",
    )  # fmt: skip
    return f"{usual[:3]}{kinds[number % len(kinds)]}"


def tool(name: str, package: str) -> str:
    """Return a program's path; without it CI fails, and elsewhere the test is skipped."""
    try:
        return printing.find() if name == "chromium" else commands.find(name)
    except (UsageError, Unavailable) as lacking:
        if os.environ.get("CI") or os.environ.get("PERFCHECK_REQUIRE_KERNEL") == "1":
            pytest.fail(f"{lacking} (apt-get install {package})", pytrace=False)
        pytest.skip(str(lacking))


@contextmanager
def launched() -> Iterator[Browser]:
    """Run Chromium; as root it has no sandbox of its own."""
    path = tool("chromium", "chromium")
    with sync_playwright() as playwright:
        running = playwright.chromium.launch(
            executable_path=path, args=["--no-sandbox"] if os.geteuid() == 0 else [], chromium_sandbox=False
        )
        yield running
        running.close()


@dataclass(frozen=True, slots=True)
class Opened:
    """A page with what it complained of and asked for."""

    page: Page
    said: list[str] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)

    def wait_for_charts(self) -> None:
        """Wait until all charts that have room are drawn; the page's policy forbids Playwright's own way to wait."""
        deadline = time.monotonic() + 30
        while self.page.locator(f"{UNDRAWN} .plot:visible").count():
            assert time.monotonic() < deadline, "charts are not drawn"
            self.page.wait_for_timeout(20)


def open_page(browser: Browser, file: Path, width: int = 1440, scheme: str = "light", suffix: str = "") -> Opened:
    """Open a page and wait for its charts."""
    page = browser.new_page(viewport={"width": width, "height": 900}, color_scheme=scheme)  # type: ignore[arg-type]
    opened = Opened(page)
    page.on("console", lambda message: opened.said.append(f"{message.type}: {message.text}"))
    page.on("pageerror", lambda error: opened.said.append(str(error)))
    page.on("dialog", lambda dialog: opened.said.append(f"dialog: {dialog.message}"))
    page.on("request", lambda request: opened.asked.append(request.url))
    page.goto(file.as_uri() + suffix)
    opened.wait_for_charts()
    return opened


def hover(page: Page, chart: str, across: float, down: float) -> str:
    """Point at a place of a chart, as shares of its width and height, and return what is told there."""
    plot = page.locator(f"#{chart} .plot svg")
    plot.scroll_into_view_if_needed()
    box = plot.bounding_box()
    assert box is not None
    page.mouse.move(box["x"] + box["width"] * across, box["y"] + box["height"] * down)
    page.mouse.move(box["x"] + box["width"] * across + 1, box["y"] + box["height"] * down)
    return page.locator(".tip").inner_text()
