"""The pages that users see, of runs, comparisons, histories and watches, in a real browser: each is opened once."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Final

import pytest
from axe_playwright_python.sync_playwright import Axe
from compared_sides import RATE, hostile_sides, paired, side
from history_stories import RTT, shifted, story
from live_intervals import a_histogram
from live_watches import busy, gathered, hostile_watch
from playwright.sync_api import Browser
from report_pages import WIDTHS, Opened, hover, launched, open_page, payload, tool
from report_runs import failed_record, hostile_record, run_record, with_events, with_series

from perfcheck.report.compare.page import document as compared_page
from perfcheck.report.document import Document
from perfcheck.report.history.page import document as history_page
from perfcheck.report.html import render_html
from perfcheck.report.live.page import document as watch_page
from perfcheck.report.pdf import pdf_of
from perfcheck.report.run import Given, Source, run_document

Text = Callable[[str], str]
WIDER: Final = """all => all.filter(each => each.checkVisibility() && each.scrollWidth > each.clientWidth + 1
                     && getComputedStyle(each.closest("table")?.tHead ?? each).position !== "absolute")
                 .map(each => `${each.scrollWidth} > ${each.clientWidth}: ${each.textContent.slice(0, 60)}`)"""
"""Tables, and fields of tables, that are wider than their room, so that they would scroll, be clipped or overlap."""
COURSE: Final = "r1-course-tcp-rtt-us-p99"
BETWEEN: Final = (1250, 1024, 900, 640)
"""Widths of windows between those of a desktop, a tablet and a phone."""
WATCHED_S: Final = 20


def of_run(folder: Path, text: Text | None = None) -> Document:
    """Return the report of a run that failed, with series, events, its baseline and its history."""
    record = failed_record() if text is None else hostile_record(text)
    before = with_series(run_record("slow", 9), folder / "before.parquet")
    event = {"number": 1, "timestamp_ns": 2 * 10**9, "type": "alert",
             "context": {"kind": "rto", "host": "client", "run": record.run_id, "trial": 2}}  # fmt: skip
    found = with_events(with_series(record, folder / "now.parquet"), folder / "e.jsonl", [json.dumps(event)])
    label = found.scenario.name
    return run_document(
        Given(
            sources=[Source(record=found), Source(record=run_record("office", 3))],
            baselines={label: Source(record=before)}, stories={label: [story(shifted())]},
        )
    )  # fmt: skip


def of_sides(folder: Path, text: Text | None = None) -> Document:
    """Return the page of interleaved pairs of which B is worse."""
    if text is None:
        return compared_page([paired(side(), side(rate=80e6), ("file", "sysctl net.ipv4.tcp_rmem=1 2 3"))])
    return compared_page([paired(*hostile_sides(text), (text("file"), text("sysctl")))])


def of_history(folder: Path, text: Text | None = None) -> Document:
    """Return the page of a series whose level changed, and of one of a single run."""
    if text is None:
        return history_page(RTT, "a meaning", [story(shifted()), story([20_000.0], scenario="new")])
    names = {name: text(name) for name in ("scenario", "emulators", "machine")} | {"point": f"a={text('point')}"}
    return history_page(RTT, text("meaning"), [story(shifted(), **names)])


def of_watch(folder: Path, text: Text | None = None) -> Document:
    """Return the page of a watch in which segments were lost for some time."""
    if text is not None:
        return watch_page(hostile_watch(text))
    return watch_page(
        gathered(
            *(busy(number, sent=sent_of(number), lost=40 if number >= 5 else 0, rows=3,
                   histograms={"tcp.rtt_us": a_histogram((1, 20, 30 + number, 9, 2))},
                   metrics={"cpu.busy_pct": 30.0 + number})
              for number in range(WATCHED_S))
        )
    )  # fmt: skip


def sent_of(number: int) -> int:
    """Return how many bytes each of three connections sent in a second of the watch."""
    return 1_000_000 + 50_000 * number


MAKERS: Final[Mapping[str, Callable[..., Document]]] = {
    "run": of_run, "sides": of_sides, "history": of_history, "watch": of_watch,
}  # fmt: skip


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with launched() as running:
        yield running


def written(folder: Path, made: Document) -> Path:
    (folder / "page.html").write_text(render_html(made), encoding="utf-8")
    return folder / "page.html"


def fit(opened: Opened, width: int, scheme: str) -> None:
    """Give the page another window and scheme, and require that nothing of it is wider, once it is drawn anew."""
    page = opened.page
    page.set_viewport_size({"width": width, "height": 900})
    page.emulate_media(color_scheme=scheme)  # type: ignore[arg-type]
    page.wait_for_timeout(150)
    opened.wait_for_charts()
    assert page.evaluate("document.documentElement.scrollWidth") == width
    wide = page.locator("main svg").evaluate_all("all => all.map(e => e.getBoundingClientRect().right)")
    assert max(wide) <= width
    assert page.locator("main .scroll, main .scroll :is(th, td)").evaluate_all(WIDER) == []
    assert page.evaluate("getComputedStyle(document.documentElement).colorScheme") == scheme


def cards_lack(opened: Opened) -> list[str]:
    """Return what fields of rows that became cards do not tell on a phone: their heading, or their text."""
    assert opened.page.locator("main table.carded, main table.stacks").count()
    lacking: list[str] = opened.page.locator("main table.carded").evaluate_all("""all => all.flatMap(table => {
        const headings = [...table.tHead.rows[0].cells].map(each => each.textContent);
        return [...table.tBodies[0].rows].flatMap(row => [...row.cells].filter((each, at) => at && each.textContent
            && !(getComputedStyle(each, "::before").content === JSON.stringify(headings[at])
                 && each.innerText === each.textContent)).map(each => each.textContent));
    })""")
    return lacking


def flaws(opened: Opened) -> list[tuple[str, str, str]]:
    found = Axe().run(opened.page).response["violations"]
    return [(each["id"], each["impact"], each["nodes"][0]["html"]) for each in found]


def told(opened: Opened, chart: str, across: float, down: float) -> dict[str, str]:
    """Return what a chart tells at a place, by name."""
    text = hover(opened.page, chart, across, down)
    moment = re.findall(r"^(time \(s\)) ([\d.]+)$", text, re.MULTILINE)
    return dict([*moment, *re.findall(r"^([^\t\n]+)\t([^\t\n]+)$", text, re.MULTILINE)])


def mark_of(opened: Opened, chart: str, number: int) -> tuple[float, float]:
    """Return where a mark is in its chart, as shares of its width and height."""
    of, at = (
        opened.page.locator(f"#{chart} .plot {inner}").bounding_box()
        for inner in ("svg", f".mark-symbol.role-mark path >> nth={number}")
    )
    assert of is not None
    assert at is not None
    return (at["x"] + at["width"] / 2 - of["x"]) / of["width"], (at["y"] + at["height"] / 2 - of["y"]) / of["height"]


def run_tells_its_values(opened: Opened) -> None:
    found = told(opened, COURSE, 0.5, 0.4)
    place = round(10 * float(found["time (s)"])) - 1
    assert 8 < place < 22
    values = {name: float(text) for name, text in found.items() if name.startswith(("bulk", "rpc"))}
    assert values == {"bulk (ms)": pytest.approx(20 + 0.1 * place), "rpc (ms)": pytest.approx(20 + 0.1 * place)}


def sides_tell_their_values(opened: Opened) -> None:
    before, after = side(), side(rate=80e6)
    found = told(opened, "runs-1-1", *mark_of(opened, "runs-1-1", 3))
    values = [trial.metrics[RATE] / 1e6 for trial in (before.trials[3], after.trials[3])]
    assert found["pair"] == "4"
    assert float(found["A: as the file says (Mbit/s)"]) == pytest.approx(values[0], rel=1e-3)
    assert float(found["B: tcp_rmem=1 2 3 (Mbit/s)"]) == pytest.approx(values[1], rel=1e-3)
    assert float(found["change (%)"].replace("\u2212", "-")) == pytest.approx(
        100 * (values[1] / values[0] - 1), rel=1e-3
    )


def history_tells_its_values(opened: Opened) -> None:
    found = told(opened, "history-1", *mark_of(opened, "history-1", 50))
    assert found["of"] == "2024-01-03 02:00"
    assert float(found["value (ms)"]) == pytest.approx(shifted()[50] / 1000, rel=1e-3)
    assert float(found["level (ms)"]) == pytest.approx(23, rel=0.01)


def watch_tells_its_values(opened: Opened) -> None:
    found = told(opened, "throughput", 0.5, 0.4)
    number = int(float(found["time (s)"]))
    assert 5 < number < 15
    assert float(found["sent (Mbit/s)"]) == pytest.approx(8 * 3 * sent_of(number) / 1e6, rel=1e-3)


TELLS: Final[Mapping[str, Callable[[Opened], None]]] = {
    "run": run_tells_its_values, "sides": sides_tell_their_values, "history": history_tells_its_values,
    "watch": watch_tells_its_values,
}  # fmt: skip


@pytest.mark.parametrize("name", MAKERS)
def test_a_page_fits_is_accessible_and_tells_its_values(browser: Browser, tmp_path: Path, name: str) -> None:
    made = MAKERS[name](tmp_path)
    file = written(tmp_path, made)
    opened = open_page(browser, file)
    opened.page.locator("details.fold").evaluate_all("all => all.forEach(each => { each.open = true; })")
    opened.wait_for_charts()
    names = [chart.name for chart in made.charts()]
    assert names
    assert opened.page.locator("figure[data-state=drawn]:has(svg)").evaluate_all("all => all.map(e => e.id)") == names
    TELLS[name](opened)
    assert flaws(opened) == []
    for width in (*BETWEEN, *WIDTHS):
        for scheme in ("light", "dark") if width in WIDTHS else ("light",):
            fit(opened, width, scheme)
    assert cards_lack(opened) == []
    assert flaws(opened) == []
    assert opened.said == []
    assert opened.asked == [file.as_uri()]
    opened.page.close()


PAPER_PIXELS: Final = 695
"""What A4 has between its margins."""
_DRAWN: Final = """() => [...document.querySelectorAll("figure.chart")].filter(each => each.querySelector("svg")
    && !each.closest(".unprinted")).map(each => [each.querySelector("svg").viewBox.baseVal.width,
                                                 each.parentElement.matches(".several")])"""


@pytest.mark.parametrize("emulated", [False, True], ids=["from the screen", "from its print layout"])
@pytest.mark.parametrize("name", MAKERS)
def test_printed_from_a_window_charts_are_drawn_for_paper(
    browser: Browser, tmp_path: Path, name: str, emulated: bool
) -> None:
    opened = open_page(browser, written(tmp_path, MAKERS[name](tmp_path)), scheme="dark")
    page = opened.page
    before = page.evaluate(_DRAWN)
    # Called after the page's own, when all that they promised is done: what the browser lays out next.
    page.evaluate(f"""addEventListener("beforeprint", () => {{
        window.printed = ({_DRAWN})();
        window.closed = document.querySelectorAll("details:not([open], .unprinted)").length;
    }})""")
    folded = "all => all.filter(each => !each.open).length"
    closed = page.locator("details").evaluate_all(folded)
    if emulated:
        page.emulate_media(media="print", color_scheme="dark")
    page.pdf(prefer_css_page_size=True)
    printed = page.evaluate("window.printed")
    assert len(printed) >= len(before) > 0
    for width, several in printed:
        assert PAPER_PIXELS / 3 < width <= (PAPER_PIXELS / 2 if several else PAPER_PIXELS)
    assert page.evaluate("window.closed") == 0
    page.wait_for_timeout(300)
    assert emulated or page.evaluate(_DRAWN) == before
    assert page.locator("details").evaluate_all(folded) == closed
    assert opened.said == []
    page.close()


@pytest.mark.parametrize("name", MAKERS)
def test_pages_of_a_pdf_are_full(tmp_path: Path, name: str) -> None:
    tool("chromium", "chromium")
    reader = tool("pdftotext", "poppler-utils")
    (tmp_path / "page.pdf").write_bytes(pdf_of(render_html(MAKERS[name](tmp_path))))
    text = subprocess.run(
        [reader, "-bbox", str(tmp_path / "page.pdf"), "-"], capture_output=True, text=True, check=True
    ).stdout
    filled = [page_filled(page) for page in text.split("<page ")[1:]]
    assert min(filled[:-1]) > 2 / 3
    # No last page for the line of the version alone.
    assert filled[-1] > 0.2


def page_filled(page: str) -> float:
    """Return how far down a page has text, above the line with its number."""
    height = float(re.findall(r'height="([\d.]+)"', page)[0])
    ends = [float(end) / height for end in re.findall(r'yMax="([\d.]+)"', page)]
    return max(end for end in ends if end < 0.955)


@pytest.mark.parametrize("name", MAKERS)
def test_no_text_of_a_record_is_executed(browser: Browser, tmp_path: Path, name: str) -> None:
    made = MAKERS[name](tmp_path, payload)
    file = written(tmp_path, made)
    opened = open_page(browser, file, suffix="#print")
    for chart in made.charts():
        assert opened.page.locator(f"#{chart.name}").get_attribute("data-state") == "drawn"
        hover(opened.page, chart.name, 0.5, 0.4)
    assert opened.page.evaluate("window.__hit") is None
    assert opened.page.locator("img, iframe, b, svg[onload], [onfocus], [onerror], [autofocus]").count() == 0
    # The page's own, and the plotting library that one of them adds.
    assert opened.page.locator("script").count() == len(re.findall("<script", render_html(of_history(tmp_path)))) + 1
    assert opened.said == []
    assert opened.asked == [f"{file.as_uri()}"]
    opened.page.close()
