"""Pages of the site that are made from the code when the site is built, so that they are never out of date."""

from __future__ import annotations

import json
from collections.abc import Iterator

from made import commands, metrics, prometheus, python_api, records, scenario
from perfcheck.scenario.schema import json_schema


def files() -> Iterator[tuple[str, str]]:
    """Yield each file's path in the site's sources, and its content."""
    yield "reference/metrics.md", metrics.metrics_page()
    yield "reference/perfcheck.md", commands.perfcheck_page()
    yield "reference/perfctl.md", commands.perfctl_page()
    yield "reference/scenario-keys.md", scenario.page_of_keys()
    yield "reference/scenario.schema.json", json.dumps(json_schema(), indent=1)
    yield "reference/run-record.md", records.record_page()
    yield "reference/prometheus.md", prometheus.prometheus_page()
    yield "reference/python.md", python_api.python_page()
