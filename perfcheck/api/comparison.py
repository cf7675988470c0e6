"""Two settings side by side, as tests see them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING

from perfcheck.api.failure import UnknownMetric
from perfcheck.api.judging import cases_of, improvement, line_case, settle
from perfcheck.errors import UsageError
from perfcheck.model.record import ComparisonRecord, RunRecord
from perfcheck.model.verdict import Verdict
from perfcheck.output.rows import scenario_label, signed_pct
from perfcheck.scenario import hint

if TYPE_CHECKING:
    from perfcheck.api.caller import Caller
    from perfcheck.output.cases import Case


class Comparison:
    """B against A, measured in interleaved pairs: `comparison["app.throughput_bps"].verdict`.

    Each metric has `verdict` (PASS, REGRESSED, IMPROVED, INCONCLUSIVE, INVALID), `baseline` and `current` (the
    medians of A and B in the metric's own unit), `change_pct`, `interval_pct`, `margin_pct` and `detectable_pct`.
    """

    def __init__(self, before: RunRecord, after: RunRecord, caller: Caller) -> None:
        """Take the records of A and B; B's holds the comparisons."""
        self._before = before
        self._after = after
        self._caller = caller

    @property
    def a(self) -> RunRecord:
        """The record of A."""
        return self._before

    @property
    def b(self) -> RunRecord:
        """The record of B, with the comparisons."""
        return self._after

    @property
    def verdict(self) -> Verdict:
        """REGRESSED where any metric is worse, PASS elsewhere."""
        return self._after.verdict

    def __getitem__(self, metric: str) -> ComparisonRecord:
        """Return what was found of a metric; UnknownMetric (a KeyError) names the nearest that was compared."""
        names = tuple(self)
        if metric not in names:
            raise UnknownMetric(
                f"{metric!r} was not compared{hint(str(metric), names)}; with a tolerance for it, it is compared"
            )
        return self._after.comparisons[names.index(metric)]

    def __iter__(self) -> Iterator[str]:
        """Return the names of the metrics that were compared."""
        return (each.metric for each in self._after.comparisons)

    def __len__(self) -> int:
        """Return how many metrics were compared."""
        return len(self._after.comparisons)

    def __repr__(self) -> str:
        """Return e.g. `<Comparison office: app.throughput_bps +3.1 % IMPROVED>`."""
        told = ", ".join(
            f"{each.metric} {signed_pct(each.change_pct, each.margin_pct)} {each.verdict.value}"
            for each in self._after.comparisons
        )
        return f"<Comparison {scenario_label(self._after)}: {told}>"

    def assert_no_regression(self) -> None:
        """Assert that no metric of B is worse than A's beyond margin and noise; INCONCLUSIVE passes, counted."""
        __tracebackhide__ = True
        self._settle(cases_of(self._after, "comparisons", strict=self._caller.strict))

    def assert_improved(self, metric: str) -> None:
        """Assert that a metric of B is certainly better than A's by more than the margin.

        No change, a change within the margin and an INCONCLUSIVE one fail: an improvement is what must be shown.
        """
        __tracebackhide__ = True
        line = improvement(self._after, self[metric])
        case = line_case(self._after, line, strict=self._caller.strict, place=self._caller.place())
        settle(self._after, (case,), self._caller)

    def _settle(self, found: tuple[Case, ...]) -> None:
        __tracebackhide__ = True
        if not found:
            raise UsageError(f"{scenario_label(self._after)}: no metric was compared")
        file, line = self._caller.place()
        settle(self._after, [replace(case, file=file, line=line) for case in found], self._caller)
