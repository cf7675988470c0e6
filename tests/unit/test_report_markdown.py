"""A report as Markdown: no text becomes markup, a link or a mention, also not after the service decoded entities."""

from __future__ import annotations

import html
import re
from dataclasses import replace
from itertools import cycle
from typing import Final

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from markdown_it import MarkdownIt
from report_documents import causes, course, distribution, document, points

from perfcheck.model.printable import printable
from perfcheck.output.markdown_text import code, fenced, inline, prose
from perfcheck.report.document import Chain, Document, Fold, Paragraph
from perfcheck.report.markdown import render_markdown
from perfcheck.report.spark import spark

PROCESSOR: Final = MarkdownIt("commonmark", {"html": True}).enable(["table", "strikethrough"])
TAG: Final = re.compile(r"<(/?[A-Za-z][^\s/>]*)([^>]*)>")
MARKED: Final = (
    "# h", "- a", "1. a", "1) a", "> q", "===", "---", "* * *", "| a | b |", "**b**", "_i_", "`c`", "```", "~~~",
    "a\n\nb", "[l](http://x)", "![i](x)", "<b>", "</details>", "<!--", "www.example.org", "http://example.org",
    "a@b.org", "@octocat", "#12", "octo/cat#12", "GH-12", "!7", "&amp;", "$x$", ":smile:", "~label", "%1", "\\*",
    "    code", "a  ", "[^1]", "[x]: y", "+1", "é", "→", "javascript:x", "\x1b[0m", "\u202e", "::error::x",
)  # fmt: skip
TEXTS: Final = st.one_of(
    st.text(min_size=1),
    st.sampled_from(MARKED),
    st.lists(st.sampled_from(MARKED), min_size=2, max_size=3).map(" ".join),
)


def tags(markdown: str) -> list[str]:
    """Return what elements Markdown becomes, without those that depend on a text or on how many are alike."""
    names = [name for name, _ in TAG.findall(PROCESSOR.render(markdown))]
    return [name for name in names if name.strip("/") not in {"code", "wbr", "p", "pre", "br"}]


PLAIN: Final = tags(render_markdown(document(lambda _: "word")))


@given(texts=st.lists(TEXTS, min_size=1, max_size=9))
@settings(max_examples=30, deadline=None)
@example(texts=list(MARKED))
def test_no_text_becomes_markup(texts: list[str]) -> None:
    endless = cycle(texts)
    shown = render_markdown(document(lambda _: next(endless)))
    assert tags(shown) == PLAIN
    assert all(target.startswith("#") for target in re.findall(r'href="([^"]*)"', PROCESSOR.render(shown)))


@given(text=TEXTS)
@example(text="http://a.b www.c.d e@f.g")
def test_prose_is_read_as_it_was_written(text: str) -> None:
    words = [printable(word) for word in re.split(r"[ \n\t]+", text.strip(" \n\t"))]
    shown = prose(text)
    assert html.unescape(re.sub(r"</?code>|<wbr>", "", shown)) == " ".join(words)
    # A service looks for names and addresses in all text that is not code, when entities are decoded.
    left = html.unescape(re.sub(r"<code>.*?</code>", "", shown))
    assert not re.search(r"@|#|\$|~|://|www\.|!\d|:\w+:|gh-\d", left, re.IGNORECASE)


@pytest.mark.parametrize("text", ["tcp.rtt_us.p50", "21.4 ms", "The window was full in 71 % of the samples.", "a <= b"])
def test_plain_words_stay_readable_in_the_source(text: str) -> None:
    assert prose(text) == inline(text) == text


def test_marks_are_entities_and_what_a_service_acts_on_is_code() -> None:
    assert prose("wan[cubic] at 20:12, see @me") == ("wan&#91;cubic&#93; at 20&#58;12, see <code>&#64;<wbr>me</code>")
    assert code("a|b") == "<code>a&#124;b</code>"


@pytest.mark.parametrize("text", ["a", "```\nb\n```", "````"])
def test_a_fence_is_longer_than_what_it_holds(text: str) -> None:
    rendered = PROCESSOR.render(fenced(text))
    assert rendered == f"<pre><code>{html.escape(text)}\n</code></pre>\n"


def test_a_table_has_its_columns_where_the_texts_have_bars() -> None:
    shown = render_markdown(document(lambda usual: "a | b" if usual == "38.2 ms" else usual))
    assert "| a &#124; b |" in shown


@pytest.mark.parametrize("evil", ['x"]', "a;b", "a --> b", "<b>", "end\nsubgraph", "`"])
def test_a_diagram_is_only_drawn_of_harmless_names(evil: str) -> None:
    chain = Chain(states=("CPU contention", "loss"), lags=("12 ms",))
    assert 's0 -->|"12 ms"| s1' in render_markdown(Document(title="t", lead=(chain,)))
    for changed in (replace(chain, states=("loss", evil)), replace(chain, lags=(evil,))):
        assert "mermaid" not in render_markdown(Document(title="t", lead=(changed,)))


def test_a_fold_stays_around_its_blocks() -> None:
    shown = render_markdown(Document(title="t", lead=(Fold(summary="s", blocks=(Paragraph(text="x"),), opened=True),)))
    assert shown.endswith("<details open><summary>s</summary>\n\nx\n\n</details>\n")


def test_a_chart_is_a_line_of_the_first_series() -> None:
    found = spark(course())
    assert found is not None
    assert (found.series, len(found.line)) == (("flow a",), 48)
    assert [found.low, found.high] == pytest.approx([16.0, 24.0], abs=0.02)
    assert found.line[0] == "▅"
    assert f"<code>{found.line}</code> 16 to 24 flow a" in render_markdown(document())


def test_only_values_in_equal_steps_are_a_course() -> None:
    assert [spark(each) for each in (distribution(), causes(), points())] == [None, None, None]


def test_a_specification_names_the_column_of_the_line() -> None:
    rows: dict[str, list[float | int | str | None]] = {"y": [1.0, None, 3.0, 4.0, 5.0], "z": [5, 5, 5, 5, 5]}
    chart = replace(causes(), columns=rows, spec={"mark": "bar", "usermeta": {"spark": "y"}})
    found = spark(chart)
    assert found is not None
    assert found.line == "▁·▅▇█"
    assert spark(replace(chart, spec={"mark": "bar", "usermeta": {"spark": None}})) is None
    level = spark(replace(chart, spec={"mark": "bar", "usermeta": {"spark": "z"}}))
    assert level is not None
    assert set(level.line) == {"▅"}
