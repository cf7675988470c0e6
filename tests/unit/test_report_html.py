"""The page of a report: whatever the texts are, its markup stays that of the templates and nothing of it is fetched."""

from __future__ import annotations

import base64
import hashlib
import math
import random
import re
from collections.abc import Iterator
from dataclasses import replace
from html.parser import HTMLParser
from itertools import count, cycle
from pathlib import Path
from typing import Any, Final

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from report_documents import as_it_is, causes, course, document

from perfcheck.model.printable import is_printable, printable, printable_lines
from perfcheck.report import bundle, packing, theme
from perfcheck.report.document import Cell, Chart, Document, Figures, Paragraph, Section, Table
from perfcheck.report.html import render_html

HOSTILE: Final = (
    "<script>window.__hit=1</script>", '"><img src=x onerror=alert(1)>', "' onfocus='x", "</script>", "</style>", "-->",
    "<!--", "{{7*7}}", "{% raw %}", "javascript:alert(1)", "&lt;b&gt;", "\u202egpj", "\x1b[31m", "\u2028", "\ud800",
    "\0", "]]>", "`${x}`", "datum.x", "::error::x", "\r\n", "=1+1",
)  # fmt: skip
TEXTS: Final = st.one_of(
    st.text(min_size=1), st.sampled_from(HOSTILE), st.tuples(*2 * [st.sampled_from(HOSTILE)]).map("".join)
)
EMPTY: Final = Document(title="t")


class Page(HTMLParser):
    """A page as a browser would take it: elements with their attributes, texts, and what scripts hold.

    A text goes on through an element that only says where it wraps: a `wbr`, or a `span` without any attribute.
    """

    def __init__(self, html: str) -> None:
        super().__init__(convert_charrefs=True)
        self.elements: list[tuple[str, tuple[tuple[str, str | None], ...]]] = []
        self.texts: list[str] = []
        self.raw: list[tuple[str, str]] = []
        self._inside: list[str] = []
        self._spans: list[bool] = []
        self._goes_on = False
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        wraps = tag in {"wbr", "span"} and not attrs
        if tag == "span":
            self._spans.append(wraps)
        if wraps:
            return
        self.elements.append((tag, tuple(attrs)))
        self._inside.append(tag)
        self._goes_on = False

    def handle_endtag(self, tag: str) -> None:
        if tag == "span" and self._spans.pop():
            return
        self._inside.append(f"/{tag}")
        self._goes_on = False

    def handle_data(self, data: str) -> None:
        if self._inside and self._inside[-1] in {"script", "style"}:
            self.raw.append((self._inside[-1], data))
        elif self._goes_on:
            self.texts[-1] += data
        else:
            self.texts.append(data)
            self._goes_on = True

    def attribute(self, name: str) -> Iterator[str]:
        yield from (value or "" for _, attributes in self.elements for key, value in attributes if key == name)

    @property
    def shape(self) -> list[tuple[str, tuple[str, ...]]]:
        """Return the elements with the names of their attributes."""
        return [(tag, tuple(name for name, _ in attributes)) for tag, attributes in self.elements]


def page_of(texts: list[str]) -> tuple[Page, set[str]]:
    """Return the page of a document with these texts, over and over, and the texts that it must show."""
    used: set[str] = set()
    endless = cycle(texts)

    def text(_: str) -> str:
        used.add(chosen := next(endless))
        return chosen

    return Page(render_html(document(text))), used


@pytest.fixture(scope="module")
def plain() -> Page:
    numbers = count()
    return Page(render_html(document(lambda _: f"word {next(numbers)}")))


@given(texts=st.lists(TEXTS, min_size=1, max_size=12))
@settings(max_examples=15, deadline=None)
@example(texts=["<wbr>", "<span>", "</span>", "a_name_of_many.parts to another_long.name"])
def test_no_text_becomes_markup_and_every_text_is_shown(plain: Page, texts: list[str]) -> None:
    page, used = page_of(texts)
    assert page.shape == plain.shape
    shown = {*page.texts, *page.attribute("aria-label")}
    # Texts of a chart alone, such as those of an axis, stand in its data.
    assert {printable_lines(each) for each in used} <= shown
    assert all(each in "\n\t" or is_printable(each) for text in shown for each in text)
    assert {href for href in page.attribute("href") if not href.startswith("#")} == {"data:,"}
    assert not any(name.startswith("on") or name == "style" for _, names in page.shape for name in names)


@given(columns=st.dictionaries(st.sampled_from(["a", "b"]), st.lists(TEXTS, min_size=3, max_size=3), min_size=1))
def test_a_charts_data_never_ends_its_element(columns: dict[str, list[str]]) -> None:
    title = columns[min(columns)][0]
    text = packing.packed([Chart(name="c", title="", summary="", spec={"title": title}, columns=columns)])
    assert text.isascii()
    assert not set("<>&") & set(text)
    found = packing.unpacked(text)["c"]
    assert found["columns"] == {name: [printable(each) for each in column] for name, column in columns.items()}
    assert found["spec"]["title"] == printable(title)


def repacked(chart: Chart) -> Any:
    return packing.unpacked(packing.packed([chart]))[chart.name]


NUMBERS: Final = st.one_of(st.none(), st.integers(-(2**53), 2**53), st.floats())


@given(column=st.lists(NUMBERS))
def test_numbers_keep_six_digits_whole_numbers_all(column: list[float | int | None]) -> None:
    chart = Chart(name="c", title="", summary="", spec={}, columns={"x": column})
    for before, after in zip(column, repacked(chart)["columns"]["x"], strict=True):
        if before is None or not math.isfinite(before):
            assert after is None
        elif isinstance(before, int):
            assert after == before
        else:
            assert after == pytest.approx(before, rel=1e-5, abs=5e-324)


@pytest.mark.parametrize("start", [1_754_338_320.0, 1e6])
def test_times_far_from_0_keep_their_steps(start: float) -> None:
    column = [start + at / 10 for at in range(100)]
    chart = Chart(name="c", title="", summary="", spec={}, columns={"t": column})
    assert repacked(chart)["columns"]["t"] == pytest.approx(column, rel=0, abs=1e-4)


def test_long_data_is_deflated_and_the_same() -> None:
    chart = course(seconds=2000)
    text = packing.packed([chart])
    assert text.startswith('"')
    assert len(text) < 30_000, "4,000 rows of 3 values"
    assert repacked(chart)["columns"]["t"] == chart.columns["t"]
    assert repacked(chart)["spec"]["layer"][1]["mark"] == "line"


def test_every_script_and_style_is_known_by_its_digest_and_nothing_else_is_allowed() -> None:
    page = Page(render_html(document()))
    (policy,) = (value for value in page.attribute("content") if value.startswith("default-src"))
    rules = dict(each.split(" ", 1) for each in policy.split("; "))
    programs = [text for tag, text in page.raw if tag == "script" and text.startswith('"use strict"')]
    assert rules["script-src"].split() == [digest(text) for text in (*programs, bundle.script())]
    assert [rules["style-src"]] == [digest(text) for tag, text in page.raw if tag == "style"]
    assert {name: rules[name] for name in rules if name not in {"script-src", "style-src"}} == {
        "default-src": "'none'", "img-src": "data:", "base-uri": "'none'", "form-action": "'none'",
    }  # fmt: skip


def digest(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


def test_nothing_is_fetched_and_no_word_of_this_machine_is_in_the_page() -> None:
    html = render_html(document())
    assert not re.search(r"https?:|url\(|@import|src=", html)
    assert str(Path(packing.__file__).parents[2]) not in html


def test_a_page_without_charts_has_no_plotting_library() -> None:
    assert len(render_html(EMPTY)) < 40_000
    assert len(render_html(replace(EMPTY, lead=(Figures(charts=(causes(),)),)))) > 300_000


def test_ten_scenarios_are_less_than_two_megabytes() -> None:
    drawn = random.Random(1)  # noqa: S311

    def noisy(name: str) -> Chart:
        values = [drawn.lognormvariate(3, 1) for _ in range(1200)]
        return replace(course(seconds=600), name=name, columns={**course(seconds=600).columns, "rtt": values})

    sections = tuple(
        Section(anchor=f"s{at}", title="s", blocks=(Figures(charts=tuple(noisy(f"c{at}-{of}") for of in range(12))),))
        for at in range(10)
    )
    assert len(render_html(Document(title="t", sections=sections)).encode()) < 2_000_000


def chart(**changes: Any) -> Document:
    return Document(title="t", lead=(Figures(charts=(replace(causes(), **changes),)),))


@pytest.mark.parametrize(
    ("unsound", "why"),
    [
        (Document(title="t", sections=(Section(anchor="a b", title="t"),)), "'a b' is no name"),
        (Document(title="t", sections=2 * (Section(anchor="a", title="t"),)), "duplicate names .*: a"),
        (Document(title="t", lead=2 * (Figures(charts=(causes(),)),)), "duplicate names .*: causes"),
        (Document(title="t", lead=(Table(headings=("a",), rows=((),)),)), "0 cells below 1 headings"),
        (Document(title="t", lead=(Table(headings=("a",), rows=((Cell(text="x", anchor="y"),),)),)), "leads to 'y'"),
        (chart(columns={"a": [1], "b": []}), "unequal length"),
        (chart(spec={"mark": "bar", "encoding": {"href": {"value": "javascript:x"}}}), "must not have 'href'"),
        (chart(spec={"layer": [{"data": {"url": "x"}}]}), "data must be the source"),
        (chart(spec={"config": {}}), "must not have 'config'"),
    ],
)
def test_an_unsound_document_is_a_defect_of_who_made_it(unsound: Document, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        render_html(unsound)


def test_an_unknown_kind_of_block_is_no_silent_gap() -> None:
    with pytest.raises(Exception, match="undefined_kind_of_block"):
        render_html(Document(title="t", lead=(object(),)))  # type: ignore[arg-type]


def luminance(colour: str) -> float:
    parts = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one: str, other: str) -> float:
    dark, light = sorted((luminance(one), luminance(other)))
    return (light + 0.05) / (dark + 0.05)


@pytest.mark.parametrize("which", [0, 1], ids=["light", "dark"])
def test_colours_stand_out_from_what_they_are_drawn_on(which: int) -> None:
    colour = {name: pair[which] for name, pair in theme.COLOURS.items()}
    tones = ("good", "bad", "warning", "info", "neutral")
    texts = [(name, back) for name in ("ink", "soft", "link", *tones) for back in ("paper", "raised")]
    texts += [(tone, f"{tone}-back") for tone in tones] + [("ink", f"{tone}-back") for tone in tones]
    assert {pair for pair in texts if contrast(colour[pair[0]], colour[pair[1]]) < 4.5} == set()
    series = [f"series-{number}" for number in range(1, 9)]
    assert {name for name in (*series, "edge") if contrast(colour[name], colour["paper"]) < 3} == set()


def test_paint_knows_only_colours_of_the_page() -> None:
    assert theme.paint("bad") == "var(--bad)"
    with pytest.raises(KeyError):
        theme.paint("red")


def test_the_library_is_made_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    (tmp_path / "perfcheck" / "report").mkdir(parents=True, mode=0o700)
    made: list[str] = []

    def make(snippet: str) -> str:
        made.append(snippet)
        return "js"

    monkeypatch.setattr("vl_convert.javascript_bundle", make)
    assert [bundle.script(), bundle.script()] == ["js", "js"]
    assert len(made) == 1
    (kept,) = (tmp_path / "perfcheck" / "report").iterdir()
    kept.chmod(0o666)
    assert bundle.script() == "js"
    assert len(made) == 2, "what others may write is not put into a page"


def test_texts_stay_texts_where_sections_are_deep() -> None:
    deep = Section(anchor="a7", title="deep", blocks=(Paragraph(text="found"),))
    for level in range(6, 0, -1):
        deep = Section(anchor=f"a{level}", title="t", sections=(deep,))
    page = Page(render_html(Document(title=as_it_is("t"), sections=(deep,))))
    assert "found" in page.texts
    assert [tag for tag, _ in page.shape if re.fullmatch("h[1-6]", tag)][:7] == [
        "h1",
        "h2",
        "h3",
        "h4",
        "h5",
        "h6",
        "h6",
    ]
