"""Text made safe to show: nothing that is obeyed or invisible is left, and all else is left as it is."""

from __future__ import annotations

import json
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perfcheck.model.printable import (
    ascii_json,
    is_printable,
    printable,
    printable_html,
    printable_lines,
    printable_markup,
    unprintable,
)

TEXT = st.text(st.characters(codec=None) | st.sampled_from("\x00\x1b\r\n\t\x7f\x85\u2028\u202e\u200b\udc80#[:"))
SENSIBLE = "Größe 20 µs → 5 % “quoted” 日本語 a::b C:\\path # ## head [x] 🛰"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("a\x1b[31mred", r"a\x1b[31mred"),
        ("two\nlines\tand\rmore", r"two\nlines\tand\rmore"),
        ("\x7f\x9b\x00", r"\x7f\x9b\x00"),
        ("evil\u202etxt.exe\u2066\u200b\ufeff\u00ad", r"evil\u202etxt.exe\u2066\u200b\ufeff\xad"),
        ("\u2028\u2029\ue000\U000e0041\U000e0100\u3164", r"\u2028\u2029\ue000\U000e0041\U000e0100\u3164"),
        ("latin-\udce9.yaml", r"latin-\udce9.yaml"),
        ("::error file=a::b", r"\::error file=a::b"),
        (" \u00a0::set-env", " \u00a0\\::set-env"),
        ("a ##[group]b ##vso[task.x] ##teamcity[y]", r"a #\#[group]b #\#vso[task.x] #\#teamcity[y]"),
        (SENSIBLE, SENSIBLE),
    ],
)
def test_one_line(text: str, shown: str) -> None:
    assert printable(text) == shown


def test_several_lines_keep_their_newlines_and_tabs() -> None:
    assert printable_lines("a\tb\r\n::error::c\n  ::d\r") == "a\tb\n\\::error::c\n  \\::d\\r"


@given(TEXT)
def test_nothing_unprintable_is_left(text: str) -> None:
    shown = printable(text)
    assert all(unicodedata.category(each) not in {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"} for each in shown)
    assert not shown.lstrip().startswith("::")
    assert "##[" not in shown
    shown.encode()


@given(TEXT)
def test_lines_are_no_commands(text: str) -> None:
    shown = printable_lines(text)
    assert set("".join(filter(lambda each: not is_printable(each), shown))) <= {"\n", "\t"}
    assert not any(line.lstrip().startswith("::") or "##[" in line for line in shown.split("\n"))


@given(TEXT)
def test_twice_is_once(text: str) -> None:
    assert printable(printable(text)) == printable(text)
    assert printable_lines(printable_lines(text)) == printable_lines(text)


@given(TEXT)
def test_the_first_unprintable_is_found_exactly_where_there_is_one(text: str) -> None:
    assert (unprintable(text) is None) is all(map(is_printable, text))
    assert unprintable(text, allowed=text) is None


@given(TEXT)
def test_html_holds_no_markup(text: str) -> None:
    assert not set("<>\"'") & set(printable_markup(text))
    assert not set("<>\"'`|@~\\") & set(printable_html(text))
    assert "](" not in printable_html(text)


@given(st.recursive(st.text() | st.floats(allow_nan=False), lambda inner: st.dictionaries(st.text(), inner)))
def test_json_in_ascii_means_the_same(value: object) -> None:
    text = ascii_json(json.dumps(value, ensure_ascii=False))
    assert json.loads(text) == value
    assert text.isascii()
    assert text.isprintable()
