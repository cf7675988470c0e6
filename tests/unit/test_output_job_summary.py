"""The job summary of records: plots, causes and diagrams, read again by a Markdown parser."""

from __future__ import annotations

import io
import re
from collections.abc import Sequence
from dataclasses import asdict, replace
from functools import cache
from pathlib import Path
from typing import Any, Final

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from markdown_it import MarkdownIt
from markdown_it.token import Token

from perfcheck.model.record import ComparisonRecord, DiagnosisRecord, MetricRecord, RunRecord, SubjectRecord
from perfcheck.model.series import Curve
from perfcheck.model.subject import SubjectKind
from perfcheck.model.verdict import Verdict
from perfcheck.output import GithubOutput, cases
from perfcheck.output.job_summary import MOST_DRAWN, MOST_PLOTTED, markdown
from perfcheck.output.markdown_text import inline, prose
from perfcheck.output.series import SeriesFile
from perfcheck.output.sparks import CHANGE, COLUMNS, CROSSED, INTERVAL, extremes, interval_bar, spark
from perfcheck.output.story import Story, story_of
from perfcheck.testing import make_record, make_unmeasured_record

RTT: Final = "tcp.rtt_us.p99"
GFM: Final = MarkdownIt("commonmark", {"html": True}).enable(["table", "strikethrough"])
OURS: Final = re.compile(r"</?(code|details|summary|pre|sub)>|<(br|wbr)>")
HOSTILE: Final = st.text(max_size=30) | st.sampled_from([
    "![x](http://evil/x.png)", "[x](javascript:1)", "<img src=x onerror=a>", "a | b", "`c`", "@octocat", "*b*", "# h",
    "_e_", "www.evil.example", "http://evil.example", "a@evil.example", "\n\n# h\n", "\x1b[31m", "::error::x", "</pre>",
    "```\n", "~~~", "1. x", "- x", ":smile:", "owner/repo#1", "</details>", "<!-- x", "&lt;", "\\", "GH-1", "$$x$$",
])  # fmt: skip


BAR: Final = "······┊·│·┊···━╋━"


def failed_record(name: str = "wan", **changes: Any) -> RunRecord:
    comparison = ComparisonRecord(
        metric=RTT, baseline=40e3, current=46e3, change_pct=15.0, interval_pct=(13.0, 17.0), detectable_pct=1.0,
        margin_pct=5.0, verdict=Verdict.REGRESSED,
    )  # fmt: skip
    causes = (
        DiagnosisRecord.model_validate({
            "cause": "bufferbloat", "confidence": 0.93, "chain": ("queue", "delay"), "advice": "Use fq_codel (an AQM).",
            "for": ("a standing queue: rtt (46 ms) > 20 ms",), "against": ("not so: loss: x (0) > 1",),
        }),
        DiagnosisRecord(cause="shaper", confidence=0.2), DiagnosisRecord(cause="policer", confidence=0.01),
    )  # fmt: skip
    known: dict[str, Any] = {
        "comparisons": (comparison,), "diagnosis": causes, "verdict": Verdict.REGRESSED,
        "emulators": {"links[0] client-server": {}},
        "subjects": {host: SubjectRecord(kind=SubjectKind.HOST, metrics={}) for host in ("client", "server")},
        "reproduce": "perfcheck run wan.yaml --repeat 3",
    }  # fmt: skip
    record = make_record({RTT: (45e3, 46e3, 47e3)}, name=name, **(known | changes))
    conditions = {"links[0].delay": "10ms", "links[0].rate": "20mbit", "hosts.client.congestion": "cubic"}
    return record.model_copy(update={"scenario": record.scenario.model_copy(update={"conditions": conditions})})


SEVERAL: Final = tuple((case, story_of(record, cases(record))) for record in (
    failed_record(f"s{number}") for number in range(7)) for case in cases(record))  # fmt: skip


def summary_of(*records: RunRecord) -> str:
    found = [case for record in records for case in cases(record)]
    return markdown(found, stories=[story_of(record, cases(record)) for record in records])


def tokens(text: str) -> list[Token]:
    """Return all tokens, those within a line among them."""
    found = []
    for token in GFM.parse(text):
        found.append(token)
        found += token.children or ()
    return found


def test_what_failed_has_plots_causes_and_diagrams() -> None:
    text = summary_of(failed_record())
    assert text.startswith(
        "## perfcheck: 1 REGRESSED\n\n"
        "| scenario | metric | verdict | value | against | change | interval | detectable |\n"
        "|---|---|---|---|---|---|---|---|\n"
        "| wan | tcp.rtt_us.p99 | REGRESSED | 46&nbsp;ms<br><code>▁▅█</code>&nbsp;<sub>45&nbsp;to&nbsp;47</sub> "
        f"| 40&nbsp;ms | +15.0&nbsp;% | +13.0&nbsp;to&nbsp;+17.0&nbsp;%<br><code>{BAR}</code> | 1&nbsp;% |\n"
    )
    assert (
        "\n### wan\n\n"
        "- **Cause:** bufferbloat (93 %)\n"
        "- **Because:** a standing queue\n"
        "- **Against it:** loss\n"
        "- **Chain:** queue &#8594; delay\n"
        "- **Advice:** Use fq_codel (an AQM).\n"
        "- **Less probable:** shaper (20 %)\n"
    ) in text
    assert '```mermaid\nflowchart LR\n  s0["queue"]\n  s1["delay"]\n  s0 --> s1\n```' in text
    assert '  h0 ---|"delay 10ms#44; rate 20mbit"| h1\n' in text
    assert "<summary>wan baseline:tcp.rtt_us.p99: tcp.rtt_us.p99 went from 40 ms to 46 ms" in text
    assert "<details><summary>What limits each scenario</summary>" in text


def test_what_passed_has_no_section_and_no_diagram() -> None:
    text = summary_of(make_record({RTT: (45e3, 46e3)}))
    assert "###" not in text
    assert "mermaid" not in text
    assert "| example | healthy (90 %) |" in text


def test_what_was_not_measured_has_no_cause() -> None:
    text = summary_of(make_unmeasured_record("no iperf3"))
    assert "Cause" not in text
    assert "What limits" not in text
    assert "could not measure: no iperf3" in text


def test_few_scenarios_are_drawn_and_all_are_told() -> None:
    text = summary_of(*(failed_record(f"s{number}") for number in range(MOST_DRAWN + 3)))
    assert text.count("```mermaid") == 2 * MOST_DRAWN
    assert text.count("\n### ") == MOST_DRAWN + 3


def test_a_long_table_has_plots_where_something_failed() -> None:
    passed = [make_record({RTT: (45e3, 46e3)}, name=f"p{number}") for number in range(MOST_PLOTTED)]
    compared = [
        record.model_copy(update={"comparisons": (failed_record().comparisons[0].model_copy(
            update={"verdict": Verdict.PASS}),)})
        for record in passed
    ]  # fmt: skip
    text = summary_of(*compared, failed_record())
    assert text.count("<br>") == 2
    assert summary_of(*compared[:10]).count("<br>") == 20


@settings(max_examples=40)
@given(st.integers(min_value=300, max_value=9000))
def test_the_summary_keeps_to_its_room_and_cuts_no_block(room: int) -> None:
    text = markdown([case for case, _ in SEVERAL], room, [story for _, story in SEVERAL])
    assert len(text.encode()) <= room
    assert text.count("```") % 2 == 0
    assert text.count("<details>") == text.count("</details>")


def hostile_record(text: str, other: str) -> RunRecord:
    cause = DiagnosisRecord.model_validate({
        "cause": text, "confidence": 0.5, "for": (other, text), "against": (text,), "chain": (text, other),
        "advice": other, "fix_first": text,
    })  # fmt: skip
    record = failed_record(diagnosis=(cause,), reproduce=text, warnings=(other,))
    place = {"name": text or "x", "file": other, "conditions": {"links[0].delay": text}}
    return record.model_copy(update={"scenario": record.scenario.model_copy(update=place)})


@settings(max_examples=40, deadline=None)
@given(HOSTILE.filter(str.strip), HOSTILE.filter(str.strip))
def test_no_text_of_a_record_is_markup(text: str, other: str) -> None:
    shown = summary_of(hostile_record(text, other))
    found = tokens(shown)
    # A parser finds what a record without such texts has, and no link, picture, emphasis or code of another's.
    assert [token.type for token in found if token.type in BLOCKS] == plain_blocks()
    assert not {token.type for token in found} & {
        "link_open",
        "image",
        "em_open",
        "s_open",
        "code_inline",
        "code_block",
    }
    for token in found:
        if token.type in ("html_inline", "html_block"):
            bare = OURS.sub("", token.content)
            assert not re.search(r"<[A-Za-z/!?]", bare), token.content
        elif token.type == "fence":
            assert token.info == "mermaid"
    for line in shown.split("\n"):
        without_code = re.sub(r"<code>.*?</code>", "", line)
        if not line.startswith(("<details>", "  ", "#")):
            assert not re.search(r"&#64;|@|://|&#58;&#47;&#47;", without_code), line


@cache
def plain_blocks() -> list[str]:
    return [token.type for token in tokens(summary_of(hostile_record("a", "b"))) if token.type in BLOCKS]


NOT_OURS: Final = {"link_open", "image", "em_open", "s_open", "code_inline", "code_block"}
BLOCKS: Final = (
    "heading_open", "bullet_list_open", "ordered_list_open", "list_item_open", "table_open", "tr_open", "td_open",
    "fence", "hr", "blockquote_open",
)  # fmt: skip


@pytest.mark.parametrize("text", ["a plain text, of words.", "95 %", "fq_codel (an AQM); cut it"])
def test_prose_reads_as_it_is(text: str) -> None:
    (paragraph,) = (token for token in GFM.parse(prose(text)) if token.type == "inline")
    assert "".join(child.content for child in paragraph.children or ()) == text


def test_a_word_that_would_become_a_link_is_code() -> None:
    assert prose("ask @octocat now") == "ask <code>&#64;<wbr>octocat</code> now"
    assert prose("see http://x.example") == "see <code>http&#58;&#47;&#47;x&#46;example</code>"
    assert inline("a plain text") == "a plain text"


@given(st.lists(st.floats(-1e9, 1e9), min_size=1, max_size=200))
def test_a_spark_has_its_lowest_and_highest_value(values: Sequence[float]) -> None:
    shown = spark(values)
    assert 1 <= len(shown) <= 24
    if len(values) <= 24:
        assert len(shown) == len(values)
        if max(values) - min(values) > 1e-6 * max(map(abs, values)):
            assert shown[list(values).index(min(values))] == "▁"
            assert shown[list(values).index(max(values))] == "█"


@given(st.floats(-500, 500), st.floats(0, 100), st.floats(0, 100), st.floats(0, 50))
def test_a_bar_has_the_change_within_its_interval(change: float, below: float, above: float, margin: float) -> None:
    bar = interval_bar(change, (change - below, change + above), margin)
    assert len(bar) == COLUMNS
    at = bar.index(CHANGE)
    reach = [place for place, mark in enumerate(bar) if mark in (INTERVAL, CROSSED, CHANGE)]
    assert reach == list(range(reach[0], reach[-1] + 1))
    assert reach[0] <= at <= reach[-1]
    middle = COLUMNS // 2
    assert (at - middle) * change >= 0


@pytest.mark.parametrize(
    ("values", "shown"),
    [((44_900.0, 46_100.0), "44.9 to 46.1"), ((900.0, 46_100.0), "900 us to 46.1 ms"), ((5.0, 5.0), "")],
)
def test_extremes(values: Sequence[float], shown: str) -> None:
    assert extremes(values, "us") == shown


def series_of(path: Path, run_id: str, *metrics: str) -> None:
    file = SeriesFile(path)
    file.open()
    times = np.arange(1, 51, dtype=np.int64) * 100_000_000
    for metric in metrics:
        curve = Curve(subject="bulk", metric=metric, t_ns=times, values=np.linspace(20e3, 45e3, 50))
        file.write([curve], run_id=run_id, trial=0)
    file.close()


@pytest.mark.parametrize(
    ("metrics", "title"),
    [
        (("app.throughput_bps", "tcp.rtt_us.p50", RTT), "tcp#46;rtt#95;us#46;p99 of bulk"),
        (("app.throughput_bps", "tcp.rtt_us.p50"), "tcp#46;rtt#95;us#46;p50 of bulk"),
        (("app.throughput_bps", "cpu.busy_pct"), "app#46;throughput#95;bps of bulk"),
        (("cpu.busy_pct",), ""),
    ],
)
def test_a_curve_of_what_failed_is_drawn_where_the_run_wrote_one(
    tmp_path: Path, metrics: Sequence[str], title: str
) -> None:
    summary = tmp_path / "summary.md"
    record = failed_record()
    environ = {"GITHUB_ACTIONS": "true", "GITHUB_STEP_SUMMARY": str(summary)}
    output = GithubOutput(environ, io.StringIO(), series=tmp_path / "s.parquet")
    output.open()
    output.write(record)
    output.write(make_record({RTT: (45e3, 46e3)}, name="passed"))
    # The file is complete when all was measured.
    series_of(tmp_path / "s.parquet", record.run_id, *metrics)
    output.close()
    text = summary.read_text()
    assert text.count("xychart-beta") == (1 if title else 0)
    assert title in text


def test_without_a_file_nothing_is_drawn_and_all_is_told(tmp_path: Path) -> None:
    summary = tmp_path / "summary.md"
    output = GithubOutput(
        {"GITHUB_ACTIONS": "true", "GITHUB_STEP_SUMMARY": str(summary)}, io.StringIO(), series=tmp_path / "none.parquet"
    )
    output.open()
    output.write(failed_record())
    output.close()
    assert "xychart" not in summary.read_text()
    assert "**Cause:**" in summary.read_text()


def test_a_story_crosses_the_border_of_a_process() -> None:
    story = story_of(failed_record(), cases(failed_record()))
    assert Story(**asdict(story)) == story
    assert replace(story, scenario="x") != story


def test_a_metric_without_finite_figures_has_no_bar() -> None:
    record = failed_record()
    part = record.comparisons[0].model_copy(update={"interval_pct": (float("nan"), 1.0)})
    single = {RTT: MetricRecord(value=1.0, unit="us", per_trial=(1.0,))}
    changed = record.model_copy(update={"comparisons": (part,), "metrics": single})
    story = story_of(changed, cases(changed))
    assert story.bars == {}
    assert story.runs == {}
