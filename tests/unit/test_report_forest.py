"""The words of a chart of changes are those of the tables beside it."""

from __future__ import annotations

from perfcheck.report.charts.forest import Change, forest
from perfcheck.report.charts.lines import Labels
from perfcheck.report.document import Tone


def test_a_chart_says_changes_as_the_tables_do() -> None:
    changes = [
        Change(metric="a", group="tcp", change_pct=1234.4, interval_pct=(1100.0, 110.526e1), margin_pct=5.0,
               word="REGRESSED", tone=Tone.BAD),
        Change(metric="b", group="tcp", change_pct=-0.321, interval_pct=(-0.503, -0.119), margin_pct=5.0,
               word="PASS", tone=Tone.GOOD),
        Change(metric="c", group="tcp", change_pct=None, interval_pct=None, margin_pct=None, word="PASS",
               tone=Tone.GOOD),
    ]  # fmt: skip
    said = forest(Labels(name="changes", title="Changes", quantity="change", unit="pct"), changes).summary
    assert str(said) == (
        "a: +1234 % (+1100 to +1105 %), REGRESSED; b: -0.3 % (-0.5 to -0.1 %), PASS; c: PASS, no change in per cent"
    )
