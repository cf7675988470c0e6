"""Families as text: Prometheus' format 0.0.4, and OpenMetrics 1.0.0.

The tests read it back with prometheus_client's parsers. Its own writer takes ten times as long for the same text, which
is the most expensive step of a scrape with `--labels`.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Iterable, Iterator

from perfcheck.export.buckets import Accumulated
from perfcheck.export.family import Family, Kind
from perfcheck.export.snapshot import Labels, Series

_ESCAPES = str.maketrans({"\\": r"\\", "\n": r"\n"})
_LABEL_ESCAPES = str.maketrans({"\\": r"\\", "\n": r"\n", '"': r"\""})


def prometheus_text(series: Iterable[Series]) -> str:
    """Return families in Prometheus' text format 0.0.4."""
    return "".join(
        part
        for one in series
        for part in (
            f"# HELP {one.family.name} {one.family.help.translate(_ESCAPES)}\n",
            f"# TYPE {one.family.name} {one.family.kind.value}\n",
            *_samples(one),
        )
    )


def openmetrics_text(series: Iterable[Series]) -> str:
    """Return families in the text format of OpenMetrics 1.0.0, in which a counter's family has no `_total`."""
    return "".join(part for one in series for part in (*_head(one.family), *_samples(one))) + "# EOF\n"


def number_text(value: float) -> str:
    """Return a number as both formats take it."""
    if math.isfinite(value):
        return str(int(value)) if value.is_integer() and abs(value) < 2**53 else repr(value)
    return "NaN" if math.isnan(value) else "+Inf" if value > 0 else "-Inf"


def _head(family: Family) -> Iterator[str]:
    name = family.name.removesuffix("_total") if family.kind is Kind.COUNTER else family.name
    yield f"# TYPE {name} {family.kind.value}\n"
    if family.unit and name.endswith(f"_{family.unit}"):
        yield f"# UNIT {name} {family.unit}\n"
    # Unlike Prometheus' own format, a quotation mark is escaped here, too.
    yield f"# HELP {name} {family.help.translate(_LABEL_ESCAPES)}\n"


def _samples(one: Series) -> Iterator[str]:
    name = one.family.name
    for labels, value in one.values:
        yield f"{name}{_labels(labels)} {number_text(value)}\n"
    for labels, histogram in one.histograms:
        yield from _buckets(name, labels, histogram)


def _buckets(name: str, labels: Labels, histogram: Accumulated) -> Iterator[str]:
    classic = histogram.classic()
    for bound, reached in zip(classic.bounds, classic.cumulative, strict=True):
        yield f"{name}_bucket{_labels((*labels, ('le', repr(bound))))} {reached}\n"
    yield f"{name}_bucket{_labels((*labels, ('le', '+Inf')))} {histogram.count}\n"
    yield f"{name}_sum{_labels(labels)} {number_text(histogram.sum)}\n"
    yield f"{name}_count{_labels(labels)} {histogram.count}\n"


@functools.lru_cache(maxsize=65536)
def _labels(labels: Labels) -> str:
    if not labels:
        return ""
    return "{" + ",".join(f'{name}="{value.translate(_LABEL_ESCAPES)}"' for name, value in labels) + "}"
