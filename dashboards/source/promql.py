"""The forms of PromQL that the dashboards use; every selector asks for the dashboard's job and instance."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from perfcheck.export.family import Family

CHOSEN: Final = 'job=~"$job", instance=~"$instance"'
"""The matchers of Grafana's own conventions: `job` and `instance` are variables of every dashboard."""
WINDOW: Final = "[$__rate_interval]"


Series = Family | str
"""A family, or the name of one of a histogram's series."""


def selector(series: Series, *matchers: str) -> str:
    """Return the series of a metric that the dashboard's variables choose."""
    return f"{series if isinstance(series, str) else series.name}{{{', '.join((CHOSEN, *matchers))}}}"


def rate(series: Series, *matchers: str) -> str:
    """Return a counter's increase per second."""
    return f"rate({selector(series, *matchers)}{WINDOW})"


def increase(series: Series, *matchers: str) -> str:
    """Return a counter's increase over the window."""
    return f"increase({selector(series, *matchers)}{WINDOW})"


def total(expression: str, *by: str) -> str:
    """Return a sum, by labels where they are given."""
    return f"{_over('sum', by)}({expression})"


def greatest(expression: str, *by: str) -> str:
    """Return a maximum, by labels where they are given."""
    return f"{_over('max', by)}({expression})"


def least(expression: str, *by: str) -> str:
    """Return a minimum, by labels where they are given."""
    return f"{_over('min', by)}({expression})"


def buckets(histogram: Family, *matchers: str, by: Sequence[str] = ()) -> str:
    """Return how many values per second came into each bucket of a classic histogram."""
    return total(rate(f"{histogram.name}_bucket", *matchers), "le", *by)


def quantile(share: float, histogram: Family, *matchers: str, by: Sequence[str] = ()) -> str:
    """Return a quantile of what came into a classic histogram within the window."""
    return f"histogram_quantile({share:g}, {buckets(histogram, *matchers, by=by)})"


def ratio(part: str, whole: str) -> str:
    """Return a share that is 0, not absent, where the whole is 0."""
    return f"{part} / clamp_min({whole}, 1e-9)"


def top(count: str, expression: str) -> str:
    """Return the largest series; `count` may be a variable."""
    return f"topk({count}, {expression})"


def named_or_zero(expression: str, label: str, value: str) -> str:
    """Return an expression; where it has no series, one that is 0 with this label."""
    return f'{expression} or on () label_replace(vector(0), "{label}", "{value}", "", "")'


def _over(word: str, by: Sequence[str]) -> str:
    return f"{word} by ({', '.join(by)}) " if by else word
