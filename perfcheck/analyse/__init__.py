"""From raw reports and observations to metrics; pure functions."""

from perfcheck.analyse.aggregate import aggregate
from perfcheck.analyse.crosscheck import cross_checks
from perfcheck.analyse.trial import trial_metrics, unmatched_flows
from perfcheck.analyse.validity import why_not_counted

__all__ = ["aggregate", "cross_checks", "trial_metrics", "unmatched_flows", "why_not_counted"]
