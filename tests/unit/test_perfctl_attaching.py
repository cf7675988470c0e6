"""The seconds in which programs are attached are told on a terminal."""

from __future__ import annotations

from contextlib import nullcontext

import pytest

import perfcheck.live.session
from perfcheck.cli.perfctl.attaching import attached
from perfcheck.model.interval import LiveRequest


@pytest.mark.parametrize("is_terminal", [True, False])
def test_a_terminal_alone_says_that_programs_are_attached(
    is_terminal: bool, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(perfcheck.live.session, "open_live", lambda _request: nullcontext(()))
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setattr("sys.stderr.isatty", lambda: is_terminal)
    with attached(LiveRequest()) as intervals:
        told = capsys.readouterr()
        assert intervals == ()
    assert told.out == ""
    assert ("attaching to the kernel" in told.err) is is_terminal
    assert is_terminal is told.err.endswith("\x1b[2K")
