"""A scenario's record, for tests that know beforehand what it has to say."""

from __future__ import annotations

from perfcheck.model.record import RunRecord
from perfcheck.model.verdict import Verdict
from perfcheck.runner import Runner
from perfcheck.scenario import load_text


def measured(runner: Runner, text: str) -> RunRecord:
    """Return a record that counts, of the one scenario in the text."""
    (scenario,) = load_text(text, "measured.yaml")
    record = runner.run(scenario)
    if record.verdict is Verdict.INVALID:
        # The machine was too busy for the link, which is told and never judged; ask once more.
        record = runner.run(scenario)
    assert record.verdict is not Verdict.INVALID, record.invalid_reason
    return record
