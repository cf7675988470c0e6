"""The kinds of panel that the dashboards use, built with Grafana's Foundation SDK."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Protocol, Self, TypeVar

from grafana_foundation_sdk.builders import bargauge, common, heatmap, prometheus, stat, statetimeline, table
from grafana_foundation_sdk.builders import dashboard as dashboards
from grafana_foundation_sdk.builders import timeseries as series
from grafana_foundation_sdk.cog.builder import Builder
from grafana_foundation_sdk.cog.variants import Dataquery
from grafana_foundation_sdk.models import common as words
from grafana_foundation_sdk.models import dashboard as model
from grafana_foundation_sdk.models import heatmap as heat_words
from grafana_foundation_sdk.models.prometheus import PromQueryFormat, QueryEditorMode

Panel = Builder[model.Panel]
DATASOURCE: Final = "${datasource}"
PROMETHEUS: Final = model.DataSourceRef(type_val="prometheus", uid=DATASOURCE)
HEIGHT: Final = 8
GREEN: Final = "green"
ORANGE: Final = "orange"
RED: Final = "red"
_FILL: Final = 12.0
_STACKED_FILL: Final = 35.0


class Framed(Protocol):
    """What the builders of all kinds of panel have in common; the SDK has no class for it."""

    def title(self, title: str) -> Self:
        """Set the title."""

    def description(self, description: str) -> Self:
        """Set the text behind the panel's information sign."""

    def unit(self, unit: str) -> Self:
        """Set the unit of values, by Grafana's name of it."""

    def datasource(self, datasource: model.DataSourceRef) -> Self:
        """Set where queries go."""

    def with_target(self, target: Builder[Dataquery]) -> Self:
        """Add a query."""

    def span(self, w: int) -> Self:
        """Set the width in columns of 24."""

    def height(self, h: int) -> Self:
        """Set the height in rows of the grid."""


P = TypeVar("P", bound=Framed)


@dataclass(frozen=True, slots=True, kw_only=True)
class Query:
    """One PromQL expression, and what its series are called: `{{label}}` stands for a label's value."""

    expr: str
    legend: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Frame:
    """What every panel has: its words, its unit by Grafana's name, and its size on a grid of 24 columns."""

    title: str
    description: str
    unit: str
    width: int
    height: int = HEIGHT
    datasource: model.DataSourceRef = PROMETHEUS


def lines(
    frame: Frame, queries: Sequence[Builder[Dataquery]], *, stacked: bool = False, least: float | None = 0,
    bounds: Mapping[float, str] | None = None, joined: bool = False, units: Mapping[str, str] | None = None,
) -> series.Panel:  # fmt: skip
    """Return values over time; `bounds` are lines across the panel, by value, in a colour.

    `joined`: points are few and far apart, and a line goes from each to the next. `units` are those of series, by
    regular expressions over their names.
    """
    panel = (
        _framed(series.Panel(), frame, queries)
        .line_width(1).fill_opacity(_STACKED_FILL if stacked else _FILL)
        .show_points(words.VisibilityMode.ALWAYS if joined else words.VisibilityMode.AUTO).span_nulls(joined)
        .tooltip(common.VizTooltipOptions().mode(words.TooltipDisplayMode.MULTI).sort(words.SortOrder.DESCENDING))
        .legend(_legend())
    )  # fmt: skip
    if stacked:
        panel.stacking(common.StackingConfig().mode(words.StackingMode.NORMAL))
    if least is not None:
        panel.min(least)
    for pattern, unit in (units or {}).items():
        panel.override_by_regexp(pattern, [model.DynamicConfigValue(id_val="unit", value=unit)])
    if bounds:
        panel.thresholds(thresholds(bounds))
        panel.thresholds_style(common.GraphThresholdsStyleConfig().mode(words.GraphTresholdsStyleMode.DASHED))
    return panel


def figure(
    frame: Frame, queries: Sequence[Builder[Dataquery]], *, bounds: Mapping[float, str] | None = None,
    texts: Mapping[str, tuple[str, str]] | None = None, decimals: int | None = None,
) -> stat.Panel:  # fmt: skip
    """Return the latest value as large digits; `texts` are words and colours instead of certain values."""
    panel = (
        _framed(stat.Panel(), frame, queries)
        .reduce_options(common.ReduceDataOptions().calcs(["lastNotNull"]))
        .color_mode(words.BigValueColorMode.VALUE).graph_mode(words.BigValueGraphMode.AREA)
        .thresholds(thresholds(bounds or {}))
    )  # fmt: skip
    if texts:
        panel.mappings([_mapping(texts)])
    if decimals is not None:
        panel.decimals(decimals)
    return panel


def heat(frame: Frame, query: Builder[Dataquery]) -> heatmap.Panel:
    """Return a distribution over time; the query's series are the buckets of a histogram."""
    return (
        _framed(heatmap.Panel(), frame, [query])
        .calculate(False)
        .y_axis(heatmap.YAxisConfig().unit(frame.unit))
        .color(
            heatmap.HeatmapColorOptions().mode(heat_words.HeatmapColorMode.SCHEME).scheme("Turbo")
            .scale(heat_words.HeatmapColorScale.EXPONENTIAL).exponent(0.5).steps(64)
        )
        .cell_gap(1)
        .filter_values(heatmap.FilterValueRange().le(1e-9))
        .scale_distribution(common.ScaleDistributionConfig().type(words.ScaleDistribution.LINEAR))
        .show_tooltip().show_y_histogram().show_legend()
    )  # fmt: skip


def states(
    frame: Frame, queries: Sequence[Builder[Dataquery]], bounds: Mapping[float, str],
    texts: Mapping[str, tuple[str, str]] | None = None,
) -> statetimeline.Panel:  # fmt: skip
    """Return a row for each series, whose colour is its value's; `texts` are words and colours for certain values."""
    panel = (
        _framed(statetimeline.Panel(), frame, queries)
        .show_value(words.VisibilityMode.NEVER).merge_values(True).row_height(0.85).fill_opacity(80).line_width(0)
        .legend(_legend(calcs=()))
        .thresholds(thresholds(bounds))
        .color_scheme(dashboards.FieldColor().mode(model.FieldColorModeId.THRESHOLDS))
    )  # fmt: skip
    return panel.mappings([_mapping(texts)]) if texts else panel


def bars(
    frame: Frame, queries: Sequence[Builder[Dataquery]], *, most: float | None = None,
    bounds: Mapping[float, str] | None = None,
) -> bargauge.Panel:  # fmt: skip
    """Return the latest value of each series as a bar."""
    panel = (
        _framed(bargauge.Panel(), frame, queries)
        .reduce_options(common.ReduceDataOptions().calcs(["lastNotNull"]))
        .orientation(words.VizOrientation.HORIZONTAL).display_mode(words.BarGaugeDisplayMode.GRADIENT).show_unfilled(True)
        .min(0).thresholds(thresholds(bounds or {}))
    )  # fmt: skip
    return panel if most is None else panel.max(most)


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """One column of a table: how it is headed, its unit, and what colours its cells."""

    title: str
    unit: str
    bounds: Mapping[float, str] | None = None
    texts: Mapping[str, tuple[str, str]] | None = None


def rows(
    frame: Frame, queries: Mapping[str, Builder[Dataquery]], columns: Mapping[str, Column], *, key: Sequence[str],
    worst: str,
) -> table.Panel:  # fmt: skip
    """Return a table with one row for each value of the labels `key`, and one column for each query, by its name.

    `worst` is the title of the column by which rows are sorted, largest first.
    """
    panel = _framed(table.Panel(), frame, list(queries.values())).show_header(True)
    panel.with_transformation(model.DataTransformerConfig(id_val="merge", options={}))
    names = {f"Value #{name}": columns[name].title for name in queries}
    order = {name: at for at, name in enumerate((*key, *names))}
    panel.with_transformation(
        model.DataTransformerConfig(
            id_val="organize", options={"excludeByName": {"Time": True}, "indexByName": order, "renameByName": names}
        )
    )
    panel.sort_by([common.TableSortByFieldState().display_name(worst).desc(True)])
    for column in columns.values():
        panel.override_by_name(column.title, _cell(column))
    return panel


def cells(frame: Frame, query: Builder[Dataquery], columns: Sequence[Column]) -> table.Panel:
    """Return a table of what one query gives, whose columns have the names that the query gives them."""
    panel = _framed(table.Panel(), frame, [query]).show_header(True)
    for column in columns:
        panel.override_by_name(column.title, _cell(column))
    return panel


def over_time(*queries: Query) -> list[Builder[Dataquery]]:
    """Return queries over the dashboard's time range."""
    return [_query(query, at).range() for at, query in enumerate(queries)]


def latest(*queries: Query) -> list[Builder[Dataquery]]:
    """Return queries of the end of the dashboard's time range."""
    return [_query(query, at).instant() for at, query in enumerate(queries)]


def bucket_rows(expr: str) -> Builder[Dataquery]:
    """Return a query whose series are the buckets of a classic histogram."""
    return _query(Query(expr=expr, legend="{{le}}"), 0).range().format(PromQueryFormat.HEATMAP)


def column_queries(expressions: Mapping[str, str]) -> dict[str, Builder[Dataquery]]:
    """Return a query for each column of a table, by the column's name."""
    return {
        name: _query(Query(expr=expr), 0).ref_id(name).instant().format(PromQueryFormat.TABLE)
        for name, expr in expressions.items()
    }


def thresholds(bounds: Mapping[float, str]) -> dashboards.ThresholdsConfig:
    """Return colours from certain values on; below the first, that of 0 or green."""
    base = model.Threshold(value=None, color=bounds.get(0, GREEN))
    steps = [base, *(model.Threshold(value=value, color=color) for value, color in sorted(bounds.items()) if value)]
    return dashboards.ThresholdsConfig().mode(model.ThresholdsMode.ABSOLUTE).steps(steps)


def _framed(panel: P, frame: Frame, queries: Sequence[Builder[Dataquery]]) -> P:
    panel.title(frame.title).description(frame.description).unit(frame.unit).datasource(frame.datasource)
    panel.span(frame.width).height(frame.height)
    for query in queries:
        panel.with_target(query)
    return panel


def _query(query: Query, at: int) -> prometheus.Dataquery:
    made = prometheus.Dataquery().expr(query.expr).ref_id(chr(ord("A") + at)).editor_mode(QueryEditorMode.CODE)
    return made.datasource(PROMETHEUS).legend_format(query.legend) if query.legend else made.datasource(PROMETHEUS)


def _legend(calcs: Sequence[str] = ("lastNotNull", "max")) -> common.VizLegendOptions:
    mode = words.LegendDisplayMode.TABLE if calcs else words.LegendDisplayMode.LIST
    place = words.LegendPlacement.BOTTOM
    return common.VizLegendOptions().show_legend(True).display_mode(mode).placement(place).calcs(list(calcs))


def _mapping(texts: Mapping[str, tuple[str, str]]) -> model.ValueMap:
    results = {
        value: model.ValueMappingResult(text=text, color=color, index=at)
        for at, (value, (text, color)) in enumerate(texts.items())
    }
    return model.ValueMap(options=results)


def _cell(column: Column) -> list[model.DynamicConfigValue]:
    said: list[model.DynamicConfigValue] = [model.DynamicConfigValue(id_val="unit", value=column.unit)]
    if column.bounds is not None:
        said.append(model.DynamicConfigValue(id_val="thresholds", value=thresholds(column.bounds).build()))
    if column.texts is not None:
        said.append(model.DynamicConfigValue(id_val="mappings", value=[_mapping(column.texts)]))
    if column.bounds is not None or column.texts is not None:
        said.append(model.DynamicConfigValue(id_val="custom.cellOptions", value={"type": "color-text"}))
    return said
