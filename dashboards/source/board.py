"""What all dashboards have: names, variables, time range and links; and how rows of panels become one grid."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from grafana_foundation_sdk.builders import dashboard as dashboards
from grafana_foundation_sdk.cog.builder import Builder
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models import dashboard as model
from panels import PROMETHEUS, Panel
from promql import greatest, selector

TAG: Final = "perfcheck"
ALL: Final = model.VariableOption(selected=True, text=["All"], value=["$__all"])


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """Panels below one heading."""

    title: str
    panels: tuple[Panel, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Board:
    """One dashboard; `uid` is its name in links and in the file's name, so it never changes."""

    uid: str
    title: str
    description: str
    tags: tuple[str, ...]
    variables: tuple[Builder[model.VariableModel], ...]
    rows: tuple[Row, ...]
    annotations: tuple[Builder[model.AnnotationQuery], ...] = ()
    since: str = "now-30m"
    refresh: str = "10s"

    def text(self) -> str:
        """Return the dashboard as JSON that Grafana imports; the same each time."""
        return json.dumps(self._built(), cls=JSONEncoder, indent=2, sort_keys=True, ensure_ascii=False) + "\n"

    def _built(self) -> model.Dashboard:
        builder = (
            dashboards.Dashboard(self.title).uid(self.uid).description(self.description).tags([TAG, *self.tags])
            .readonly().time(self.since, "now").refresh(self.refresh).timezone("browser").version(1)
            .tooltip(model.DashboardCursorSync.CROSSHAIR)
            .link(_others())
        )  # fmt: skip
        for variable in self.variables:
            builder.with_variable(variable)
        for annotation in self.annotations:
            builder.annotation(annotation)
        for row in self.rows:
            builder.with_row(dashboards.Row(row.title))
            for panel in row.panels:
                builder.with_panel(panel)
        built = builder.build()
        for number, placed in enumerate(built.panels or (), 1):
            # Links to a panel hold its number.
            placed.id_val = number
        return built


def data_source(kind: str, label: str = "Data source") -> Builder[model.VariableModel]:
    """Return the variable that chooses the data source, of the plugin `kind`."""
    return dashboards.DatasourceVariable("datasource").label(label).type(kind)


def of_label(name: str, metric: str, *, named: str = "", within: str = "") -> Builder[model.VariableModel]:
    """Return a variable whose values are those of a label of a metric; all of them are chosen at first.

    `within` are the matchers of other variables that narrow it; `named` is the label where it has another name.
    """
    chosen = f"{metric}{{{within}}}" if within else metric
    query = f"label_values({chosen}, {named or name})"
    return (
        dashboards.QueryVariable(name).label(name.capitalize())
        .datasource(PROMETHEUS)
        .query({"query": query, "refId": f"variable-{name}"})
        .refresh(model.VariableRefresh.ON_TIME_RANGE_CHANGED).sort(model.VariableSort.ALPHABETICAL_ASC)
        .multi(True).include_all(True).all_value(".+").current(ALL)
    )  # fmt: skip


def machines(metric: str) -> tuple[Builder[model.VariableModel], ...]:
    """Return the variables of every dashboard on Prometheus: data source, job and instance."""
    return (
        data_source("prometheus"),
        of_label("job", metric),
        of_label("instance", metric, within='job=~"$job"'),
    )


def choice(name: str, label: str, values: Sequence[str]) -> Builder[model.VariableModel]:
    """Return a variable with fixed values, of which the first is chosen at first."""
    options = [model.VariableOption(selected=at == 0, text=value, value=value) for at, value in enumerate(values)]
    return (
        dashboards.CustomVariable(name).label(label).values(",".join(values)).options(options).current(options[0])
    )  # fmt: skip


def alert_marks(active: str) -> Builder[model.AnnotationQuery]:
    """Return marks across all panels: from where to where an alert was active, and by which rule."""
    chosen = greatest(selector(active), "instance", "rule")
    return Marks(expression=f"{chosen} > 0", title="{{rule}}", text="{{instance}}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Marks(Builder[model.AnnotationQuery]):
    """Annotations where a PromQL expression has a value: the SDK's own builder lacks their title and text."""

    expression: str
    title: str
    text: str

    def build(self) -> model.AnnotationQuery:
        """Return the query."""
        return _Marks(self)


class _Marks(model.AnnotationQuery):
    def __init__(self, said: Marks) -> None:
        super().__init__(name="Alerts", datasource=PROMETHEUS, enable=True, icon_color="red", expr=said.expression)
        self._said = said

    def to_json(self) -> dict[str, object]:
        said = {"titleFormat": self._said.title, "textFormat": self._said.text, "tagKeys": "rule", "step": "10s"}
        return super().to_json() | said


def _others() -> dashboards.DashboardLink:
    return (
        dashboards.DashboardLink("perfcheck").type(model.DashboardLinkType.DASHBOARDS).tags([TAG]).as_dropdown(True)
        .include_vars(True).keep_time(True)
    )  # fmt: skip
