"""Queries of Grafana's DuckDB data source, and variables made of them."""

from __future__ import annotations

from enum import IntEnum
from typing import Final

from grafana_foundation_sdk.builders import dashboard as dashboards
from grafana_foundation_sdk.cog.builder import Builder
from grafana_foundation_sdk.cog.runtime import UnknownDataquery
from grafana_foundation_sdk.cog.variants import Dataquery
from grafana_foundation_sdk.models import dashboard as model
from panels import DATASOURCE

PLUGIN: Final = "motherduck-duckdb-datasource"
DUCKDB: Final = model.DataSourceRef(type_val=PLUGIN, uid=DATASOURCE)


class Form(IntEnum):
    """What a query's rows are: the plugin's backend reads these numbers."""

    TIME_SERIES = 0
    """A column `time`, one with a number, and one with the name of the series, in the order of time."""
    TABLE = 1


class Sql(Builder[Dataquery]):
    """One SQL query."""

    def __init__(self, sql: str, form: Form) -> None:
        """Take the text as it is."""
        self._sql = sql
        self._form = form

    def build(self) -> Dataquery:
        """Return the query as the plugin has it in JSON."""
        return UnknownDataquery(
            {
                "datasource": {"type": PLUGIN, "uid": DATASOURCE}, "editorMode": "code", "format": int(self._form),
                "rawQuery": True, "rawSql": self._sql, "refId": "A",
            }
        )  # fmt: skip


def values_of(
    name: str, label: str, sql: str, *, several: bool = False, first: str = ""
) -> Builder[model.VariableModel]:
    """Return a variable whose values are a query's rows; all are chosen at first, or `first` alone."""
    variable = (
        dashboards.QueryVariable(name).label(label).datasource(DUCKDB).query(sql)
        .refresh(model.VariableRefresh.ON_TIME_RANGE_CHANGED).sort(model.VariableSort.DISABLED).multi(several)
    )  # fmt: skip
    if several:
        every = model.VariableOption(selected=True, text=["All"], value=["$__all"])
        return variable.include_all(True).current(every)
    return variable.include_all(False).current(model.VariableOption(selected=True, text=first, value=first))
