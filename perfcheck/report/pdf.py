"""The page of a report on paper: printed by a headless Chromium or Chrome, once all its charts are drawn."""

from __future__ import annotations

import base64
import tempfile
from pathlib import Path
from typing import Final

from perfcheck.errors import OutputError
from perfcheck.report import browser

PRINTED: Final = "#print"
"""How a page's address ends that is to be printed: it opens its folds and draws all charts at once."""
LIMIT_S: Final = 120.0
CHART_S: Final = 3.0
"""What printing may take at most, and more for each chart."""
_CHART: Final = '<figure id="'
_PAPER: Final = {"paperWidth": 8.27, "paperHeight": 11.69}
_PAPER_WIDTH_PIXELS: Final = 695
"""What A4 has between the margins of page.css, so that charts are drawn as wide as they are printed."""
_FOOTER: Final = (
    '<div style="width:100%;padding:0 13mm;font:7pt sans-serif;color:#57606a;display:flex;'
    'justify-content:space-between"><span class="title"></span>'
    '<span><span class="pageNumber"></span> / <span class="totalPages"></span></span></div>'
)
_DRAWN: Final = """(async () => {
  const figures = [...document.querySelectorAll("figure.chart")].filter((each) => !each.closest(".unprinted"));
  const pending = () => figures.some((each) => !each.dataset.state);
  while (pending()) await new Promise((resolve) => setTimeout(resolve, 20));
  return figures.filter((each) => each.dataset.state !== "drawn").map((each) => each.id).join(", ");
})()"""
"""Waits for all charts that are printed and tells those that were not drawn."""


def pdf_of(page: str) -> bytes:
    """Return a page that `render_html` made as a PDF; UsageError without a browser, OutputError where it fails."""
    limit_s = LIMIT_S + CHART_S * page.count(_CHART)
    with tempfile.TemporaryDirectory(prefix="perfcheck-page.") as folder, browser.running(limit_s) as running:
        file = Path(folder) / "report.html"
        file.write_text(page, encoding="utf-8")
        running.open_page()
        running.call("Page.enable")
        running.call("Emulation.setEmulatedMedia", media="print")
        running.call(
            "Emulation.setDeviceMetricsOverride", width=_PAPER_WIDTH_PIXELS, height=1000, deviceScaleFactor=1,
            mobile=False,
        )  # fmt: skip
        running.call("Page.navigate", url=file.as_uri() + PRINTED)
        running.wait_for("Page.loadEventFired")
        _require_drawn(running)
        printed = running.call(
            "Page.printToPDF", **_PAPER, preferCSSPageSize=True, printBackground=True, displayHeaderFooter=True,
            headerTemplate="<span></span>", footerTemplate=_FOOTER, generateTaggedPDF=True,
            generateDocumentOutline=True,
        )  # fmt: skip
    return base64.b64decode(printed["data"])


def _require_drawn(running: browser.Browser) -> None:
    answer = running.call("Runtime.evaluate", expression=_DRAWN, awaitPromise=True, returnByValue=True)
    missing = answer["result"].get("value")
    if missing != "":
        raise OutputError(f"charts cannot be drawn for the PDF: {missing}")
