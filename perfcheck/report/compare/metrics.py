"""The metrics of both sides: the forest of their changes, the table of verdicts, and each one's single runs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from perfcheck.model.catalogue_of import catalogue_of
from perfcheck.model.metric import Layer
from perfcheck.model.record import ComparisonRecord
from perfcheck.model.subject import read_key
from perfcheck.output.rows import interval_text, plain_pct, signed_pct, value_text
from perfcheck.report.charts.distribution import Side, cdf
from perfcheck.report.charts.forest import Change, forest
from perfcheck.report.charts.lines import Labels
from perfcheck.report.charts.pairs import pairs
from perfcheck.report.charts.trials import trials
from perfcheck.report.compare.sides import VERDICT_TONES, Compared
from perfcheck.report.compare.words import smallest_seen
from perfcheck.report.document import Block, Cell, Chart, Figures, Paragraph, Table

MOST_SHOWN: Final = 12
"""Metrics whose single runs are drawn, of one scenario: those that moved first."""
LEAST_FOR_DISTRIBUTION: Final = 12
"""Runs of a side: of fewer the dots say all."""
_LAYERS: Final = {layer.value: place for place, layer in enumerate(Layer)}
_MEANING: Final = (
    "A and B: medians of the runs that count. A change counts from the margin on. Could be seen: the smallest change "
    "that these runs could have shown; `at`: the value itself, where A has 0."
)
_HEADINGS: Final = ("metric", "verdict", "A", "B", "change", "interval", "margin", "could be seen")


def by_layer(compared: Compared) -> list[ComparisonRecord]:
    """Return the comparisons from the application down, as the catalogue has them within a layer."""
    order = {name: place for place, name in enumerate(catalogue_of(compared.after))}

    def place(one: ComparisonRecord) -> tuple[int, int, str]:
        metric = read_key(one.metric).metric
        layer = metric.partition(".")[0]
        return _LAYERS.get(layer, len(_LAYERS)), order.get(metric, len(order)), one.metric

    return sorted(compared.after.comparisons, key=place)


def forest_of(compared: Compared, number: int) -> Chart:
    """Return the chart of all changes."""
    labels = Labels(
        name=f"changes-{number}", quantity="change", unit="pct",
        title="Change from A to B (diamond) with its interval (bar); within the margin (grey) it does not count",
    )  # fmt: skip
    return forest(labels, [_change(one) for one in by_layer(compared)])


def _change(one: ComparisonRecord) -> Change:
    values = " → ".join(value_text(value, one.unit) or "?" for value in (one.baseline, one.current))
    return Change(
        metric=one.metric, group=one.metric.partition(".")[0], change_pct=one.change_pct,
        interval_pct=one.interval_pct, margin_pct=one.margin_pct, word=one.verdict.value,
        tone=VERDICT_TONES[one.verdict], detail=values,
    )  # fmt: skip


def verdict_table(compared: Compared, number: int, most: int = MOST_SHOWN) -> Table:
    """Return the table of all comparisons; a metric leads to the chart of its runs, where there is one."""
    drawn = {one.metric: place for place, one in enumerate(shown_metrics(compared, most), 1)}
    reasons = any(one.reason for one in compared.after.comparisons)
    rows = []
    for one in by_layer(compared):
        anchor = f"runs-{number}-{drawn[one.metric]}" if one.metric in drawn else None
        texts = (
            value_text(one.baseline, one.unit), value_text(one.current, one.unit),
            signed_pct(one.change_pct, one.margin_pct), interval_text(one.interval_pct, one.margin_pct),
            plain_pct(one.margin_pct), smallest_seen(one),
        )  # fmt: skip
        rows.append((
            Cell(text=one.metric, anchor=anchor), Cell(text=one.verdict.value, tone=VERDICT_TONES[one.verdict]),
            *(Cell(text=text) for text in texts),
            *([Cell(text=one.reason or "")] if reasons else []),
        ))  # fmt: skip
    headings = (*_HEADINGS, *(["why"] if reasons else []))
    return Table(
        headings=headings, rows=tuple(rows), numeric=frozenset(range(2, 8)), caption=_MEANING
    )  # fmt: skip


def shown_metrics(compared: Compared, most: int = MOST_SHOWN) -> Sequence[ComparisonRecord]:
    """Return the metrics whose runs are drawn: those that moved, then the others, as long as there are not too many."""
    there = [one for one in by_layer(compared) if all(compared.values(one.metric)) and _varies(compared, one)]
    return sorted(there, key=lambda one: one.verdict.value == "PASS")[:most]


def _varies(compared: Compared, one: ComparisonRecord) -> bool:
    """Whether there is anything to be seen: not one and the same value in all runs of both sides."""
    return len({value for side in compared.values(one.metric) for value in side}) > 1


def run_figures(compared: Compared, number: int, most: int = MOST_SHOWN) -> tuple[Block, ...]:
    """Return the charts of single runs, and beside them their distributions where there are enough of them."""
    alike = [
        f"{one.metric} ({value_text(values[0][0], one.unit)})"
        for one in by_layer(compared)
        if all(values := compared.values(one.metric)) and not _varies(compared, one)
    ]
    drawn = [
        tuple(_charts(compared, one, f"{number}-{place}")) for place, one in enumerate(shown_metrics(compared, most), 1)
    ]
    if all(len(charts) == 1 for charts in drawn):
        # Without distributions beside them the runs of two metrics stand side by side.
        drawn = [tuple(chart for charts in drawn for chart in charts)] if drawn else []
    return (
        *(Figures(charts=charts) for charts in drawn),
        *([Paragraph(text=f"The same in every run of both sides: {', '.join(alike)}.")] if alike else []),
    )


def _charts(compared: Compared, one: ComparisonRecord, suffix: str) -> list[Chart]:
    names = compared.chart_names
    before, after = (
        Side(name=name, values=values) for name, values in zip(names, compared.values(one.metric), strict=True)
    )  # fmt: skip
    quantity = read_key(one.metric).metric
    labels = Labels(name=f"runs-{suffix}", title=f"{one.metric}: each run", quantity=quantity, unit=one.unit)
    charts = [pairs(labels, before, after) if compared.paired else trials(labels, [before, after])]
    if min(len(before.values), len(after.values)) >= LEAST_FOR_DISTRIBUTION:
        labels = Labels(name=f"spread-{suffix}", title=f"{one.metric}: distribution of the runs", quantity=quantity,
                        unit=one.unit)  # fmt: skip
        charts.append(cdf(labels, [before, after]))
    return charts
