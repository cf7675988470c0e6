"""The page of all exported families, made from the names that the endpoint and the text files have."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from made.markdown import anchor_of, code, heading, page, prose, table
from perfcheck.export.family import Family
from perfcheck.export.names import live_families, record_families

_INTRO: Final = """\
After this page you know each family that Prometheus can scrape, its type and its labels.

    perfctl observe --output prometheus
    perfcheck run FILE --prometheus-textfile FILE.prom

`netns` and `interface` stand beside these labels where several are watched. How to scrape, and which labels can be
asked for: [Prometheus](../prometheus.md)."""


def prometheus_page() -> str:
    """Return the page."""
    return page(
        "All Prometheus families", _INTRO,
        heading(2, "Of a live machine", "live"), _table(live_families()),
        heading(2, "Of runs", "runs"), _table(record_families()),
    )  # fmt: skip


def _table(families: Iterable[Family]) -> str:
    return table(("family", "type", "labels", "meaning"), (_row(one) for one in families))


def _row(one: Family) -> tuple[str, str, str, str]:
    name = f'<span id="{anchor_of(one.name)}">{code(one.name)}</span>'
    return name, one.kind.value, ", ".join(map(code, one.labels)), prose(one.help)
