"""The nearest known word, for messages about unknown ones."""

from __future__ import annotations

import pytest

from perfcheck.model.catalogue import CATALOGUE
from perfcheck.scenario import hint


@pytest.mark.parametrize(
    ("word", "begins"),
    [
        ("tcp.rtt", "tcp.rtt_us."),
        ("tcp.rt", "tcp.rtt_us."),
        ("app.throughput", "app.throughput_bps"),
        ("tcp.rtt_us", "tcp.rtt_us."),
        ("tcp.rtt_us.p9", "tcp.rtt_us.p9"),
        ("tcp.retrans_pc", "tcp.retrans_pct"),
        ("TCP.RTT_US.P99", "tcp.rtt_us.p99"),
    ],
)
def test_an_unfinished_name_is_finished_before_another_is_guessed(word: str, begins: str) -> None:
    assert hint(word, CATALOGUE).startswith(f"; did you mean '{begins}")


def test_a_misspelled_word_is_corrected_though_another_begins_with_it() -> None:
    assert hint("streamss", ["streamss-of-udp", "streams"]) == "; did you mean 'streams'?"


def test_nothing_alike_lists_the_few_that_are_known() -> None:
    assert hint("x", ["delay", "rate"]) == "; known: delay, rate"
    assert hint("", ["delay", "rate"]) == "; known: delay, rate"
