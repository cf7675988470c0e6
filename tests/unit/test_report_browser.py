"""Pages of reports in a real browser: as wide as it is, light and dark, by pointer and keys, on paper, and hostile."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Final

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser
from report_documents import course, document
from report_pages import WIDTHS, Opened, hover, launched, open_page, payload, tool

from perfcheck.report.document import Document, Figures, Fold, Paragraph, Section
from perfcheck.report.html import render_html
from perfcheck.report.write import write_report

CHARTS: Final = 4


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with launched() as running:
        yield running


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("pages")
    pages = {"usual": document(), "hostile": document(payload)}
    for name, page in pages.items():
        (folder / f"{name}.html").write_text(render_html(page), encoding="utf-8")
    return {name: folder / f"{name}.html" for name in pages}


@pytest.fixture(scope="module")
def usual(browser: Browser, files: dict[str, Path]) -> Iterator[Opened]:
    opened = open_page(browser, files["usual"])
    yield opened
    opened.page.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", WIDTHS)
def test_a_page_fits_its_window_and_complains_of_nothing(
    browser: Browser, files: dict[str, Path], width: int, scheme: str
) -> None:
    opened = open_page(browser, files["usual"], width, scheme)
    page = opened.page
    page.locator("details.fold > summary").click()
    opened.wait_for_charts()
    assert page.locator("figure[data-state=drawn] svg").count() == CHARTS
    assert page.evaluate("document.documentElement.scrollWidth") == width
    assert page.locator("body").evaluate("getComputedStyle(document.documentElement).colorScheme") == scheme
    wide = page.locator("main svg").evaluate_all("all => all.map(e => e.getBoundingClientRect().right)")
    assert max(wide) <= width
    assert opened.said == []
    assert opened.asked == [files["usual"].as_uri()]
    page.close()


@pytest.mark.parametrize(("width", "scheme"), [(1440, "light"), (390, "dark")])
def test_a_page_is_accessible(browser: Browser, files: dict[str, Path], width: int, scheme: str) -> None:
    opened = open_page(browser, files["usual"], width, scheme)
    opened.page.locator("details.fold > summary").click()
    opened.wait_for_charts()
    found = Axe().run(opened.page).response["violations"]
    assert [(each["id"], each["impact"], each["nodes"][0]["html"]) for each in found] == []
    opened.page.close()


def test_hovering_tells_the_values_of_the_columns(usual: Opened) -> None:
    told = hover(usual.page, "course", 0.5, 0.4)
    shared = re.match(r"time \(s\) (\d+)\n", told)
    assert shared is not None, told
    second = int(shared[1])
    rows = dict(re.findall(r"(flow [ab])\t([\d.]+)", told))
    columns = course().columns
    wanted = [
        (name, value)
        for t, name, value in zip(columns["t"], columns["flow"], columns["rtt"], strict=True)
        if t == second
    ]
    assert len(wanted) == 2
    assert {name: float(text) for name, text in rows.items()} == pytest.approx(dict(wanted), abs=0.005)
    assert usual.page.locator("#course .dot").count() == 2
    assert re.search(r"cause\s+receive window\s+probability\s+71%", hover(usual.page, "causes", 0.4, 0.2))
    usual.page.mouse.move(1, 1)
    assert usual.page.locator(".tip").is_hidden()


def test_a_range_is_zoomed_into_and_out_of(usual: Opened) -> None:
    page = usual.page
    labels = "#course .role-axis-label text"
    everything = page.locator(labels).all_inner_texts()
    hover(page, "course", 0.5, 0.4)
    page.mouse.down()
    hover(page, "course", 0.7, 0.5)
    assert page.locator("#course .brush").is_visible()
    page.mouse.up()
    page.wait_for_timeout(100)
    assert page.locator(labels).all_inner_texts() != everything
    told = re.match(r"time \(s\) (\d+)\n", hover(page, "course", 0.5, 0.4))
    assert told is not None
    assert 28 < int(told[1]) < 42
    page.locator("#course .all").click()
    page.wait_for_timeout(100)
    assert page.locator(labels).all_inner_texts() == everything
    assert page.locator("#course .all").is_hidden()


def test_the_wheel_scrolls_the_page_and_zooms_only_with_ctrl(usual: Opened) -> None:
    page = usual.page
    page.evaluate("scrollTo(0, 0)")
    hover(page, "course", 0.5, 0.5)
    before = page.evaluate("scrollY")
    page.mouse.wheel(0, 120)
    page.wait_for_timeout(150)
    assert page.evaluate("scrollY") > before
    assert page.locator("#course .all").is_hidden()
    hover(page, "course", 0.5, 0.5)
    page.keyboard.down("Control")
    page.mouse.wheel(0, -240)
    page.keyboard.up("Control")
    page.wait_for_timeout(150)
    assert page.locator("#course .all").is_visible()
    page.locator("#course .plot").dblclick()
    page.wait_for_timeout(100)
    assert page.locator("#course .all").is_hidden()


def test_keys_read_the_values_of_a_chart(usual: Opened) -> None:
    page = usual.page
    page.locator("#causes .plot").focus()
    spoken = []
    for key in ("ArrowRight", "ArrowLeft", "End", "ArrowRight"):
        page.keyboard.press(key)
        spoken.append(page.locator("#_spoken").inner_text())
    assert spoken == [
        "cause bandwidth, probability 29%", "cause bandwidth, probability 29%",
        "cause receive window, probability 71%", "cause receive window, probability 71%",
    ]  # fmt: skip
    page.keyboard.press("Escape")
    assert page.locator(".tip").is_hidden()


def test_keys_lead_through_the_page(usual: Opened) -> None:
    page = usual.page
    page.evaluate("document.activeElement.blur(); scrollTo(0, 0)")
    headings = []
    for key in ("j", "j", "k"):
        page.keyboard.press(key)
        headings.append(page.evaluate("document.activeElement.id"))
    assert headings == ["verdicts_title", "wan_title", "verdicts_title"]
    page.keyboard.press("?")
    assert page.locator("#_help").is_visible()
    page.keyboard.press("Escape")
    assert page.locator("#_help").is_hidden()


def test_the_theme_is_toggled_with_the_charts(usual: Opened) -> None:
    page = usual.page

    def colours() -> set[str]:
        return {
            page.locator("html").evaluate("each => getComputedStyle(each).backgroundColor"),
            page.locator("#course .mark-line path").first.evaluate("each => getComputedStyle(each).stroke"),
        }

    light = colours()
    page.keyboard.press("t")
    dark = colours()
    assert page.locator("#_theme").inner_text() == "Light"
    page.locator("#_theme").click()
    assert colours() == light
    assert not light & dark


def test_no_text_of_a_hostile_document_is_executed(browser: Browser, files: dict[str, Path]) -> None:
    opened = open_page(browser, files["hostile"], suffix="#print")
    page = opened.page
    for chart in page.locator("figure.chart").evaluate_all("all => all.map(each => each.id)"):
        assert page.locator(f"#{chart}").get_attribute("data-state") == "drawn"
        for across in (0.1, 0.3, 0.5):
            hover(page, chart, across, 0.3)
        page.locator(f"#{chart} .plot").focus()
        for key in ("ArrowRight", "ArrowDown", "ArrowRight", "+", "0"):
            page.keyboard.press(key)
    for link in page.locator("main a").all()[:3]:
        link.click()
    assert page.evaluate("window.__hit") is None
    assert page.locator("img, iframe, b, svg[onload], [onfocus], [onerror]").count() == 0
    assert page.locator("script").count() == len(re.findall("<script", files["usual"].read_text())) + 1
    assert opened.said == []
    assert opened.asked == [files["hostile"].as_uri()]
    page.close()


def test_without_scripts_everything_but_the_drawings_is_there(browser: Browser, files: dict[str, Path]) -> None:
    context = browser.new_context(java_script_enabled=False, viewport={"width": 390, "height": 900})
    page = context.new_page()
    page.goto(files["usual"].as_uri())
    shown = page.locator("body").inner_text()
    assert "Charts need JavaScript." in shown
    assert "The flows are 5 ms apart." in shown
    assert "tcp.rtt_us.p50" in shown
    assert "Copy" not in shown
    context.close()


def test_the_pdf_has_every_chart_and_numbered_pages(tmp_path: Path) -> None:
    tool("chromium", "chromium")
    reader = tool("pdftotext", "poppler-utils")
    folds = [Fold(summary="f", blocks=(Figures(charts=(chart,)),)) for chart in document().charts()]
    hidden = Fold(
        summary="all metrics: 234", printed=False,
        blocks=(Paragraph(text="in the page alone"), Figures(charts=(replace(course(), name="unprinted"),))),
    )  # fmt: skip
    sections = tuple(
        Section(anchor=f"s{at}", title="Section", blocks=(fold, hidden)) for at, fold in enumerate(folds[:1])
    )
    sections += tuple(
        Section(anchor=f"s{at + 1}", title="Section", blocks=(fold,)) for at, fold in enumerate(folds[1:])
    )
    write_report(Document(title="On paper", sections=sections), tmp_path / "report.pdf")
    text = subprocess.run(
        [reader, "-layout", str(tmp_path / "report.pdf"), "-"], capture_output=True, text=True, check=True
    ).stdout
    for chart in document().charts():
        assert chart.title in text
        assert chart.summary in text
    # Words of axes and legends are there only where a chart was drawn.
    for word in ("time (s)", "flow b", "latency (ms)", "baseline", "probability", "receive window"):
        assert word in text
    assert "In the HTML page: all metrics: 234" in text
    assert "in the page alone" not in text
    pages = [tuple(map(int, found)) for found in re.findall(r"^On paper +(\d+) ?/ ?(\d+)$", text, re.MULTILINE)]
    assert pages == [(at, len(pages)) for at in range(1, len(pages) + 1)]
    assert pages
    assert list(tmp_path.iterdir()) == [tmp_path / "report.pdf"]
