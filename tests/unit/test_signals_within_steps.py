"""A signal that comes within a step whose failure others survive ends them all the same."""

from __future__ import annotations

import signal
from collections.abc import Callable
from dataclasses import dataclass, field

import pytest

from perfcheck.collect.ip import conntrack
from perfcheck.errors import Stopped
from perfcheck.model.record import RunRecord
from perfcheck.output.outputs import Outputs
from perfcheck.system import commands, environment
from perfcheck.system.signals import stop_on_signals
from perfcheck.testing import make_record


def terminated(*_words: object, **_options: object) -> None:
    signal.raise_signal(signal.SIGTERM)


@dataclass(kw_only=True)
class Kept:
    """An output that keeps names; a signal comes within what is asked for."""

    name: str
    at_write: Callable[[], None] | None = None
    at_close: Callable[[], None] | None = None
    done: list[str] = field(default_factory=list)

    def open(self) -> None:
        self.done.append("opened")

    def write(self, _record: RunRecord) -> None:
        if self.at_write is not None:
            self.at_write()
        self.done.append("written")

    def close(self) -> None:
        if self.at_close is not None:
            self.at_close()
        self.done.append("closed")


def test_a_signal_while_a_record_is_written_is_no_problem_of_that_output() -> None:
    outputs = Outputs([Kept(name="pdf", at_write=terminated), later := Kept(name="junit")])
    outputs.open()
    with pytest.raises(Stopped, match="SIGTERM"), stop_on_signals():
        outputs.write(make_record())
    assert outputs.problems == ()
    assert later.done == ["opened"]


@pytest.mark.parametrize(
    ("error", "number"), [(Stopped, signal.SIGTERM), (KeyboardInterrupt, signal.SIGINT)], ids=["SIGTERM", "SIGINT"]
)
def test_a_signal_while_one_output_is_ended_leaves_none_without_its_end(
    error: type[BaseException], number: signal.Signals
) -> None:
    outputs = Outputs([
        before := Kept(name="json"), Kept(name="pdf", at_close=lambda: signal.raise_signal(number)),
        after := Kept(name="junit"),
    ])  # fmt: skip
    outputs.open()
    with pytest.raises(error), stop_on_signals():
        outputs.close()
    assert before.done == after.done == ["opened", "closed"]
    assert outputs.problems == ()


@pytest.mark.parametrize(
    ("module", "name", "step"),
    [
        (conntrack, "read", lambda: conntrack.ConntrackCollector().check()),
        (commands, "run", environment._iperf3_version),
    ],
    ids=["connection tracking is asked for", "iperf3's version is asked for"],
)
def test_a_signal_is_not_taken_for_something_that_is_lacking(
    module: object, name: str, step: Callable[[], object], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, name, terminated)
    with pytest.raises(Stopped, match="SIGTERM"), stop_on_signals():
        step()
