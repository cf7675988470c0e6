"""Alerts of a live machine: what is judged in each interval, and what keeps a healthy network silent.

`AlertWatch` takes one interval after the other and returns the alerts that are raised, ongoing and cleared in it.
"""

from perfcheck.live.alerts.alert import Alert, AlertState, Subject, alert_event
from perfcheck.live.alerts.user_bounds import UserBounds
from perfcheck.live.alerts.watch import AlertWatch

__all__ = ["Alert", "AlertState", "AlertWatch", "Subject", "UserBounds", "alert_event"]
