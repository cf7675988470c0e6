"""The window of a trial: what counts is after the warm-up, and a failure in its thread is told."""

from __future__ import annotations

import threading

import pytest

from perfcheck.collect.base.window import Window
from perfcheck.errors import CollectError

LONG_NS = 60_000_000_000


def test_without_a_warm_up_the_window_opens_at_once_and_in_the_same_thread() -> None:
    opened: list[str] = []
    window = Window(0, lambda: opened.append(threading.current_thread().name))
    assert opened == [threading.current_thread().name]
    assert window.close() > 0


def test_after_a_warm_up_it_opens_in_a_thread_of_its_own() -> None:
    opened = threading.Event()
    window = Window(1_000_000, opened.set)
    assert opened.wait(5)
    assert 0 < window.close() < LONG_NS
    assert window.close() > 0


def test_a_trial_that_ends_in_its_warm_up_has_no_window() -> None:
    opened = threading.Event()
    window = Window(LONG_NS, opened.set)
    assert window.close() == 0
    assert not opened.is_set()


def test_a_failed_first_look_is_told_at_the_end() -> None:
    begun = threading.Event()

    def look() -> None:
        begun.set()
        raise ValueError("no such file")

    window = Window(1_000_000, look)
    assert begun.wait(5)
    with pytest.raises(CollectError, match="no such file"):
        window.close()
    window.abandon()


def test_an_abandoned_window_is_silent() -> None:
    window = Window(LONG_NS, lambda: None)
    window.abandon()
    window.abandon()
    assert window.close() == 0
