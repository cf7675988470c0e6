"""Turns raw reports and observations into metrics; pure functions."""

from perfcheck.analyse.aggregate import aggregate, aggregate_subjects, phase_trials
from perfcheck.analyse.bounds import bound_checks
from perfcheck.analyse.crosscheck import cross_checks
from perfcheck.analyse.detailchecks import detail_checks
from perfcheck.analyse.entries import INFLIGHT_SHARE
from perfcheck.analyse.events import events_of
from perfcheck.analyse.paths import Followed, follow
from perfcheck.analyse.phases import phase_metrics
from perfcheck.analyse.series import curves
from perfcheck.analyse.stages import complete, stage_metrics
from perfcheck.analyse.subjects import subject_metrics
from perfcheck.analyse.trial import timed, trial_metrics, unmatched_flows
from perfcheck.analyse.validity import why_not_counted

__all__ = [
    "INFLIGHT_SHARE", "Followed", "aggregate", "aggregate_subjects", "bound_checks", "complete", "cross_checks",
    "curves", "detail_checks", "events_of", "follow", "phase_metrics", "phase_trials", "stage_metrics",
    "subject_metrics", "timed", "trial_metrics", "unmatched_flows", "why_not_counted",
]  # fmt: skip
