"""Verdicts from per-run values: statistics and judgement; pure functions.

Only `perfcheck history` needs `changepoints` and `trends`. Import them from their modules: they load large libraries.
"""

from perfcheck.compare.ab import SideBySide, judge_pairs, pairs_wanted
from perfcheck.compare.calibrate import Calibration, Noise, calibrate
from perfcheck.compare.decided import decided_by
from perfcheck.compare.effect import Effect, Finding, effect_of, overall_finding
from perfcheck.compare.judge import (
    MoreRuns,
    changed_conditions,
    judge,
    judge_records,
    more_runs,
    planned_metrics,
    wanted_metrics,
)  # fmt: skip
from perfcheck.compare.metric import compare_metric
from perfcheck.compare.pairs import order_of_pairs

__all__ = [
    "Calibration", "Effect", "Finding", "MoreRuns", "Noise", "SideBySide", "calibrate", "changed_conditions",
    "compare_metric", "decided_by", "effect_of", "judge", "judge_pairs", "judge_records", "more_runs",
    "order_of_pairs", "overall_finding", "pairs_wanted", "planned_metrics", "wanted_metrics",
]  # fmt: skip
