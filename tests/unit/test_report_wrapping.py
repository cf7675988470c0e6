"""Where the texts of table cells wrap: names at their joints, intervals between their ends, numbers nowhere."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from markupsafe import Markup, escape

from perfcheck.model.printable import printable_lines
from perfcheck.report.wrapping import interval, number_class, wrapping


@pytest.mark.parametrize(
    ("text", "wraps"),
    [
        ("tcp.rtt_us.p99@bulk", "tcp.|rtt_|us.|p99@|bulk"),
        ("net.ipv4.tcp_rmem: not set", "net.|ipv4.|tcp_|rmem: not set"),
        ("10.0.0.1:40000 → 10.0.0.2:5201", "10.0.0.1:|40000 → 10.0.0.2:|5201"),
        ("qdisc.drops@server>client", "qdisc.|drops@|server>|client"),
        ("1,234,567.890123 of 6.18.44-test", "1,234,567.890123 of 6.18.44-test"),
        ("p50@rpc", "p50@rpc"),
    ],
)  # fmt: skip
def test_long_names_wrap_after_their_joints_and_numbers_do_not(text: str, wraps: str) -> None:
    assert wrapping(text) == wraps.replace(">", "&gt;").replace("|", "<wbr>")


@given(st.text())
def test_a_text_is_whole_and_escaped_whatever_it_is(text: str) -> None:
    assert wrapping(text).replace("<wbr>", "") == escape(printable_lines(text))
    assert "<wbr><wbr>" not in wrapping(text)
    assert re.sub("</?span>", "", interval(f"{text} to {text}")) == escape(printable_lines(f"{text} to {text}"))


def test_an_interval_wraps_between_its_ends() -> None:
    assert interval("+28.0 to +33.1 %") == Markup("<span>+28.0 to</span> <span>+33.1 %</span>")


@pytest.mark.parametrize(
    ("text", "found"),
    [("16.4 Mbit/s", "number"), ("", "number"), ("-", "number"), ("receive_window", "number word"),
     ("-0.1 to +0.1 %", "number interval")],
)  # fmt: skip
def test_a_field_of_numbers_is_one_an_interval_or_a_word(text: str, found: str) -> None:
    assert number_class(text) == found
