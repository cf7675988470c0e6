"""What people read of a record: every number in pages, tables, texts and summaries is readable."""

from __future__ import annotations

import html
import re
from collections.abc import Iterator, Sequence
from dataclasses import fields, is_dataclass
from typing import Any, Final

import pytest
from any_records import records
from hypothesis import given, settings
from hypothesis import strategies as st
from test_output_ktap import printed

from perfcheck.model.record import ComparisonRecord, RunRecord
from perfcheck.output.cases import cases
from perfcheck.output.job_summary import markdown
from perfcheck.output.rows import scenario_label
from perfcheck.output.story import story_of
from perfcheck.output.table import plain_table
from perfcheck.report.compare.page import document
from perfcheck.report.compare.sides import Compared
from perfcheck.report.document import Document
from perfcheck.report.markdown import render_markdown
from perfcheck.report.run import Given, Source, run_document

FEW: Final = settings(max_examples=20, deadline=None)
PLAIN: Final = records(st.sampled_from(["because", "a reason of some words"]))
UNREADABLE: Final = re.compile(r"[0-9]e[+-]?[0-9]|(?<![\w-])-0(?![\w.])|(?<!\w)[+-]?(?:nan|inf)(?!\w)", re.IGNORECASE)


def unreadable(text: str) -> list[str]:
    return [text[max(found.start() - 30, 0) : found.end() + 10] for found in UNREADABLE.finditer(html.unescape(text))]


@pytest.mark.parametrize("text", ["1e+03 %", "-0 us", "nan", "+inf %", "2.5e-07"])
def test_the_pattern_finds_what_nobody_should_read(text: str) -> None:
    assert unreadable(text)
    assert not unreadable("-0.5 %, tx-0, 10 ms, an instance, inform, scene 1")


@FEW
@given(st.lists(PLAIN, min_size=1, max_size=2, unique_by=scenario_label))
def test_all_that_is_told_of_records_is_readable(found: Sequence[RunRecord]) -> None:
    told = [case for record in found for case in cases(record)]
    assert not unreadable(plain_table([case.row for case in told]))
    assert not unreadable("\n".join(case.text for case in told))
    assert not unreadable(markdown(told, stories=[story_of(record, cases(record)) for record in found]))
    # `raw` is for programs, which read exponents.
    lines = [line for line in printed(*found).splitlines() if "# raw " not in line]
    assert not unreadable("\n".join(lines))
    page = run_document(Given(sources=[Source(record=record) for record in found]))
    assert not unreadable("\n".join(words_of(page)))


@FEW
@given(PLAIN.filter(lambda record: record.invalid_reason is None))
def test_all_that_is_told_of_a_comparison_is_readable(record: RunRecord) -> None:
    page = document([Compared(before=record, after=record)])
    assert not unreadable("\n".join(words_of(page)))
    text = render_markdown(page)
    for one in record.comparisons:
        assert one.verdict.value in text or not _is_told(one)


def _is_told(one: ComparisonRecord) -> bool:
    return one.change_pct is not None


def words_of(part: Any) -> Iterator[str]:
    """Yield all texts of a document, without the data that charts are drawn of."""
    if isinstance(part, str):
        yield part
    elif isinstance(part, Document) or is_dataclass(part):
        for field in fields(part):
            if field.name not in ("spec", "columns", "text_of_program") and type(part).__name__ != "Code":
                yield from words_of(getattr(part, field.name))
    elif isinstance(part, (list, tuple)):
        for each in part:
            yield from words_of(each)
